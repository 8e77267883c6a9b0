{{/* What the agent may do, as SECURITY.md itemises it. */}}
{{- define "nsdebug.capabilities" -}}
SYS_ADMIN,SYS_CHROOT,SYS_PTRACE,SETPCAP,SETUID,SETGID,KILL,DAC_READ_SEARCH,NET_RAW,NET_ADMIN,WAKE_ALARM
{{- end }}
