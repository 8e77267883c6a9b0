//! `docs/flags.md` is what the programs say of their flags with `--help`: names, environment, defaults.
//!
//! With `UPDATE` set the file is written, and not compared.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use harness::{agent, gateway, plugin, run};

const OPENING: &str = "\
# Flags

What `--help` says, in one place; made by `UPDATE=1 make one T=the_flags_of_all_programs_are_documented DEBUG=1`. A flag wins over the
environment, the environment over the default. Flags of a program are those of all its commands.
";

/// A flag, as `--help` shows it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flag {
    /// With its short form and value: `-c, --container <NAME>`.
    names: String,
    about: String,
}

impl Flag {
    /// The row of the table; what stands in brackets behind the text has columns of its own.
    fn row(&self) -> String {
        let (environment, about) = apart(&self.about, "[env: ");
        let (default, about) = apart(&about, "[default: ");
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let environment = code(environment.split('=').next().unwrap_or_default());
        let about = in_a_sentence(&about);
        let names = self.names.replace('|', "\\|");
        format!(
            "| `{names}` | {environment} | {} | {} |",
            code(&default),
            about.replace('|', "\\|")
        )
    }
}

/// What is in the brackets that begin with `opening`, and the text without them.
fn apart(text: &str, opening: &str) -> (String, String) {
    let Some((before, rest)) = text.split_once(opening) else {
        return (String::new(), text.to_owned());
    };
    let (inside, after) = rest.split_once(']').expect("a bracket is closed");
    // A default in words is part of the sentence.
    if opening == "[default: " && inside.contains(' ') {
        return (String::new(), text.to_owned());
    }
    let text = format!("{} {}", before.trim(), after.trim());
    (inside.to_owned(), text.trim().to_owned())
}

/// `Which one Possible values: - a: Aye - b: Bee`, where each value had a line, as a sentence.
fn in_a_sentence(about: &str) -> String {
    let Some((what, values)) = about.split_once(" Possible values: - ") else {
        return about.to_owned();
    };
    let values = values.split(" - ").map(|value| {
        let (name, text) = value.split_once(':').unwrap_or((value, ""));
        format!("`{name}` ({})", text.trim())
    });
    format!("{what}: {}", values.collect::<Vec<_>>().join(" or "))
}

/// The flags of a help text, which gives each a line, or a line and a paragraph below it.
fn flags(help: &str) -> Vec<Flag> {
    let mut found: Vec<Flag> = Vec::new();
    let mut inside = false;
    for line in help.lines() {
        let text = line.trim();
        let indent = line.len() - line.trim_start().len();
        if indent == 0 && !text.is_empty() {
            inside = false;
        } else if text.starts_with('-') && indent <= "      ".len() {
            let (names, about) = text.split_once("  ").unwrap_or((text, ""));
            found.push(Flag { names: names.to_owned(), about: about.trim().to_owned() });
            inside = true;
        } else if let Some(flag) = found.last_mut().filter(|_| inside && !text.is_empty()) {
            flag.about = [flag.about.as_str(), text].join(" ").trim_start().into();
        }
    }
    found.retain(|flag| !["--help", "--version"].iter().any(|own| flag.names.ends_with(own)));
    found
}

/// The commands of a help text, but the one that prints help.
fn commands(help: &str) -> Vec<String> {
    let list = help.split_once("\nCommands:\n").map_or("", |(_, list)| list);
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    // Further indented is what does not fit on the line before.
    let names = lines
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn help(mut program: Command, words: &[&str]) -> String {
    run(program.args(words).arg("--help")).expect_code(0).out()
}

/// The tables of a program: its own flags, then what each command has besides.
fn tables(name: &str, program: impl Fn() -> Command) -> String {
    let top = help(program(), &[]);
    let shared = flags(&top);
    let mut text = format!("\n## {name}\n{}", table(name, &shared));
    for command in commands(&top) {
        let mut own = flags(&help(program(), &[&command]));
        own.retain(|flag| !shared.iter().any(|known| known.names == flag.names));
        write!(text, "\n### {name} {command}\n{}", table(name, &own)).expect("a text takes it");
    }
    text
}

/// Of the command or program of this `name`.
fn table(name: &str, flags: &[Flag]) -> String {
    if flags.is_empty() {
        return format!("\nTakes the flags of `{name}` above.\n");
    }
    let rows = flags.iter().map(|flag| flag.row() + "\n").collect::<String>();
    format!("\n| flag | environment | default | meaning |\n|---|---|---|---|\n{rows}")
}

#[test]
fn the_flags_of_all_programs_are_documented() {
    let made = [
        OPENING.to_owned(),
        tables("kubectl nsdebug", plugin),
        tables("nsdebug-agent", agent),
        tables("nsdebug-gateway", gateway),
    ]
    .concat();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/flags.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &made).expect("the documentation can be written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = made.lines().zip(written.lines().chain(std::iter::repeat("")));
    let first = differs.into_iter().find(|(made, written)| made != written);
    assert!(
        made == written,
        "docs/flags.md is not what --help says: make it again, as its first lines say. First difference: {first:?}"
    );
}

#[test]
fn a_flag_is_read_from_either_form_of_help() {
    let long = "Options:\n  -c, --container <NAME>\n          Which\n          one\n\n          [env: X=]\n          [default: a]\n\n  -h, --help\n          Print\n";
    let short = "Options:\n  -c, --container <NAME>  Which one [env:\n                          X=] [default: a]\n  -h, --help              Print\n\nExit codes:\n  1  no\n";
    for help in [long, short] {
        let found = flags(help);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].row(), "| `-c, --container <NAME>` | `X` | `a` | Which one |");
    }
    let words = Flag { names: "--x".to_owned(), about: "Y [default: Z, else W]".to_owned() };
    assert_eq!(words.row(), "| `--x` |  |  | Y [default: Z, else W] |");
    let values = "Options:\n      --x <X>\n          Which one\n\n          Possible values:\n          - a:   Aye\n          - bee: Bee\n\n          [default: a]\n";
    assert_eq!(
        flags(values)[0].row(),
        "| `--x <X>` |  | `a` | Which one: `a` (Aye) or `bee` (Bee) |"
    );
}

#[test]
fn commands_are_read_from_help() {
    let help =
        "Usage: x\n\nCommands:\n  exec  Run\n        one\n  help  Print\n\nOptions:\n  -h  x\n";
    assert_eq!(commands(help), ["exec"]);
}
