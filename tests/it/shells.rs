//! Help, completion by real shells, manual pages, and the long version.

use std::process::{Command, Stdio};

use crate::inside::left_out_here;
use crate::pkgpanda;
use crate::support::{Place, binary, ran};
use crate::tiny::tiny_image;

/// Words that bash offers for a command line.
fn completed_by_bash(place: &Place, words: &[&str]) -> Vec<String> {
    let script = place.run("", &["completions", "bash"]).ok().stdout;
    let file = place.path().join("mkpanda.bash");
    std::fs::write(&file, script).unwrap();
    let folder = binary().parent().unwrap().display().to_string();
    let list = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    // What readline does: the function is called with the words and the place of the cursor.
    let program = format!(
        "export PATH={folder}:$PATH; source {}; COMP_WORDS=({list}); COMP_CWORD={}; COMP_TYPE=9; \
         COMP_LINE=\"${{COMP_WORDS[*]}}\"; COMP_POINT=${{#COMP_LINE}}; \
         spec=$(complete -p mkpanda); name=${{spec##*-F }}; name=${{name%% *}}; \
         \"$name\" mkpanda \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        file.display(),
        words.len() - 1
    );
    let plain = place.command("", &[]);
    let mut command = Command::new("/bin/bash");
    command.args(["--norc", "-c", &program]).current_dir(&place.packages).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = ran(&command.stdin(Stdio::null()).output().unwrap()).ok();
    said.stdout.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn bash_completes_commands_options_and_names_that_are_there() {
    let place = Place::bare();
    place.package("hello", "{}", "true");
    place.write("treeinfo.json", "{}");
    place.write("small.treeinfo.json", "{}");
    place.run("", &["image", "load", tiny_image().to_str().unwrap(), "--name", "tiny"]).ok();
    for (words, expected) in [
        (&["mkpanda", "doc"][..], "doctor"),
        (&["mkpanda", "doctor", "--form"], "--format"),
        (&["mkpanda", "log", "hel"], "hello"),
        (&["mkpanda", "tree", "sm"], "small"),
        (&["mkpanda", "tree", "def"], "default"),
        (&["mkpanda", "image", "rm", "ti"], "tiny:latest"),
        (&["mkpanda", "image", "inspect", "ti"], "tiny:latest"),
        (&["mkpanda", "schema", "buil"], "buildinfo"),
        (&["mkpanda", "--isolation", "sing"], "single"),
    ] {
        assert_eq!(completed_by_bash(&place, words), [expected], "{words:?}");
    }
    let shells = [("zsh", "#compdef mkpanda"), ("fish", "complete --keep-order")];
    for (shell, begins) in shells {
        let script = place.run("", &["completions", shell]).ok().stdout;
        assert!(script.contains(begins), "{shell}: {script}");
        if !Command::new(shell).arg("--version").output().is_ok_and(|it| it.status.success()) {
            left_out_here(&format!("completion in {shell}"), &format!("the package {shell}"));
            continue;
        }
        let file = place.path().join(shell);
        std::fs::write(&file, script).unwrap();
        let checked = Command::new(shell).arg("-n").arg(&file).output().unwrap();
        assert!(checked.status.success(), "{shell}: {checked:?}");
    }
    place.run("", &["completions", "tcsh"]).fails(2).says("[possible values: bash, fish, zsh]");
}

#[test]
fn no_name_of_a_tree_becomes_a_command_by_completion() {
    let place = Place::bare();
    place.write("treeinfo.json", "{}");
    for name in ["x$(id)", "x;id", "x`id`", "x\nid", "x*", "x\u{1b}[31m", "x&id"] {
        place.write(&format!("{name}.treeinfo.json"), "{}");
        std::fs::create_dir(place.packages.join(name)).unwrap();
    }
    place.write("xy.treeinfo.json", "{}");
    assert_eq!(completed_by_bash(&place, &["mkpanda", "tree", "x"]), ["xy"]);
    let files = completed_by_bash(&place, &["mkpanda", "-C", "x"]);
    assert_eq!(files, ["xy.treeinfo.json"]);
}

/// An argument for a package, a variant or an image completes the names that are there.
#[test]
fn arguments_with_names_complete_them() {
    let place = Place::new();
    place.package("hello", "{}", "true");
    place.package("help", "{}", "true");
    place.write("treeinfo.json", "{}");
    for words in [
        &["mkpanda", "explain", "hel"][..],
        &["mkpanda", "graph", "hel"],
        &["mkpanda", "graph", "--why", "hel"],
        &["mkpanda", "check", "hel"],
        &["mkpanda", "log", "hel"],
    ] {
        assert_eq!(completed_by_bash(&place, words), ["hello", "help"], "{words:?}");
    }
    for command in ["list", "graph"] {
        let words = ["mkpanda", command, "--variant", "def"];
        assert_eq!(completed_by_bash(&place, &words), ["default"], "{command}");
    }
}

#[test]
fn manual_pages_are_there_for_both_programs_and_every_command() {
    let place = Place::bare();
    let page = place.run("", &["man"]).ok().stdout;
    assert!(page.contains(".TH mkpanda 1") && page.contains("MKPANDA_HOME"), "{page}");
    let folder = place.path().join("man1");
    place.run("", &["man", folder.to_str().unwrap()]).ok();
    for name in ["mkpanda", "mkpanda-doctor", "mkpanda-image-build", "pkgpanda", "pkgpanda-swap"] {
        let path = folder.join(format!("{name}.1"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains(".SH SYNOPSIS"), "{name}: {text}");
    }
    assert!(!folder.join("pkgpanda-installer.1").exists(), "it is hidden");
    let rendered = Command::new("man").arg("-l").arg(folder.join("mkpanda.1")).output();
    let Ok(output) = rendered else {
        return left_out_here("manual pages in man", "the package man-db");
    };
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_version_says_more_if_asked() {
    let place = Place::bare();
    let short = place.run("", &["--version"]).ok().stdout;
    assert_eq!(short, format!("mkpanda {}\n", env!("CARGO_PKG_VERSION")));
    for arguments in [&["--version", "--verbose"][..], &["-vV"]] {
        let long = place.run("", arguments).ok().stdout;
        assert!(long.starts_with(&short), "{long}");
        for line in ["commit:", "features:     builder", "libcontainer: 0.", "kernel:"] {
            assert!(long.contains(&format!("\n{line}")), "{line} in {long}");
        }
    }
}

#[test]
fn the_help_of_both_programs_has_examples_exit_codes_variables_and_documents() {
    let place = Place::bare();
    let helps = [
        place.run("", &["--help"]).ok().stdout,
        ran(&Command::new(pkgpanda::binary()).arg("--help").output().unwrap()).ok().stdout,
    ];
    for help in helps {
        for part in ["Examples:\n", "Exit codes:\n", "Variables:\n", "Documents:\n", "docs/"] {
            assert!(help.contains(part), "{part} in {help}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
    }
    let doctor = place.run("", &["doctor", "--help"]).ok().stdout;
    assert!(doctor.contains("Examples:\n  mkpanda doctor"), "{doctor}");
}
