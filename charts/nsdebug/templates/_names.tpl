{{/* Labels of every object. */}}
{{- define "nsdebug.labels" -}}
app.kubernetes.io/name: nsdebug
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What selects the pods of a component; takes a list of the root and the component's name. */}}
{{- define "nsdebug.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: nsdebug
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image's whole name; takes a list of the root and the component's values. */}}
{{- define "nsdebug.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- $own := index . 1 -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $own.repository }}
{{- if $own.digest }}@{{ $own.digest }}{{ else }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The profiles up to the largest, each including those before it. */}}
{{- define "nsdebug.profiles" -}}
{{- $all := list "restricted" "baseline" "general" "netadmin" "sysadmin" -}}
{{- $last := .Values.maxProfile -}}
{{- $found := list -}}
{{- $done := false -}}
{{- range $all }}
{{- if not $done }}{{ $found = append $found . }}{{ end }}
{{- if eq . $last }}{{ $done = true }}{{ end }}
{{- end -}}
{{- join "," $found -}}
{{- end }}

{{/* What only a template can see; the schema sees the rest. */}}
{{- define "nsdebug.check" -}}
{{- $certificate := .Values.certificate -}}
{{- if eq $certificate.source "existingSecret" }}
{{- if not $certificate.existingSecret.name }}
{{- fail "certificate.source is existingSecret: certificate.existingSecret.name must name a Secret" }}
{{- end }}
{{- if not $certificate.existingSecret.caBundle }}
{{- fail "certificate.source is existingSecret: certificate.existingSecret.caBundle must say who signed it, or kube-apiserver could not believe it" }}
{{- end }}
{{- end }}
{{- $needed := mul (add 2 (int64 .Values.agent.maxSessionsPerUser)) (int64 .Values.session.pids) }}
{{- if gt $needed (int64 .Values.allSessions.pids) }}
{{- fail (printf "allSessions.pids must be at least %d: that are agent.maxSessionsPerUser sessions of one user, as many processes as one leaves unreaped, and one session of another, of session.pids processes each" $needed) }}
{{- end }}
{{- end }}

{{/* Annotations of what exists for the time of `helm test` only. */}}
{{- define "nsdebug.hook" -}}
helm.sh/hook: test
helm.sh/hook-weight: "-1"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}
