//! Pages that are made from the programs' help, and lists that the code knows.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::repository;

/// Page of all commands.
const PAGE: &str = "docs/commands.md";

const BEGINNING: &str = "# Commands

All commands of both programs with their options, as `--help` shows them. This page is made from the programs:

```sh not-run
MKPANDA_WRITE_DOCS=1 cargo test --test it -- documentation::generated
```

Not run: this command is itself a part of the tests, which compare the page with the programs.

[configuration.md](configuration.md) describes settings that files and variables give. Exit codes are 0 for done, 1 for
failed, 2 for wrong usage, 130 for interrupted.
";

/// Help of a command.
fn help(program: &Path, command: &[&str]) -> String {
    let output = Command::new(program)
        .args(command)
        .arg("--help")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?} --help: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names below `Commands:` of a help.
fn commands(help: &str) -> Vec<&str> {
    let below = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = below.take_while(|line| line.starts_with(' '));
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

/// Help without the options that every command has.
fn without_common_options(help: &str) -> String {
    let mut kept = String::new();
    let mut passing = false;
    for line in help.lines() {
        if !line.is_empty() && !line.starts_with(' ') {
            passing = line == "Options of every command:";
        }
        if !passing {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept.trim_end().to_owned()
}

fn describe(page: &mut String, program: &Path, path: &[&str]) {
    let help = help(program, &path[1..]);
    let level = "#".repeat(path.len().min(3) + 1);
    let shown =
        if path.len() == 1 { help.trim_end().to_owned() } else { without_common_options(&help) };
    // Blocks end at a fence, and lines end without blanks.
    let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let shown = shown.join("\n").replace("```", "'''");
    writeln!(page, "\n{level} {}\n\n```text\n{shown}\n```", path.join(" ")).unwrap();
    for name in commands(&help) {
        describe(page, program, &[path, &[name]].concat());
    }
}

#[test]
fn the_page_of_commands_is_what_the_programs_print() {
    let mut page = BEGINNING.to_owned();
    describe(&mut page, &crate::support::binary(), &["mkpanda"]);
    describe(&mut page, &crate::pkgpanda::binary(), &["pkgpanda"]);
    let file = repository().join(PAGE);
    if std::env::var_os("MKPANDA_WRITE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(one, other)| one != other);
    assert!(
        written == page,
        "{PAGE} is not what the programs print (first difference: {differs:?}); \
         MKPANDA_WRITE_DOCS=1 cargo test --test it -- documentation::generated writes it"
    );
}

/// Keys of a table of the configuration, as listed by the error about an unknown key.
fn keys(text: &str) -> BTreeSet<String> {
    let error = toml::from_str::<mkpanda::cli::config::ConfigFile>(text).unwrap_err().to_string();
    let listed = error.split_once("expected").unwrap().1;
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_configuration_has_every_key() {
    let page = std::fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let mut wanted = keys("zzz = 1");
    assert!(wanted.len() > 20, "{wanted:?}");
    for (table, text) in [
        ("limits.", "[limits]\nzzz = 1"),
        ("builders.", "[builders]\nzzz = 1"),
        ("executor.", "[executor]\nzzz = 1"),
        ("remote.", "[remote]\nzzz = 1"),
        ("registries.HOST.", "[registries.\"a\"]\nzzz = 1"),
        ("credentials.HOST.", "[credentials.\"a\"]\nzzz = 1"),
        ("cache.", "[[cache]]\nzzz = 1"),
        ("trust.TREE.", "[trust.\"/a\"]\nzzz = 1"),
    ] {
        wanted.extend(keys(text).into_iter().map(|key| format!("{table}{key}")));
    }
    for table in [
        "limits",
        "builders",
        "executor",
        "remote",
        "registries",
        "credentials",
        "cache",
        "trust",
        "images",
    ] {
        wanted.remove(table);
    }
    let is_there = |key: &String| {
        page.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{key}`")))
    };
    let missing: Vec<_> = wanted.iter().filter(|key| !is_there(key)).collect();
    assert!(missing.is_empty(), "docs/configuration.md has no row for {missing:?}");
}
