//! What the command line takes and refuses, and how failures are reported.

use std::fs::OpenOptions;

use super::support::*;

#[test]
fn options_before_a_command_are_refused_and_never_passed_over() {
    let place = Place::bare();
    for option in [
        "--dry-run",
        "--variant=x",
        "--recursive",
        "--jobs=2",
        "--keep-going",
        "--dont-clean-after-build",
    ] {
        for command in [&["tree"][..], &["gc"], &["image", "list"]] {
            let arguments = [&[option], command].concat();
            place.run(".", &arguments).fails(2).says("behind");
        }
    }
    // Those of every command stand anywhere, and may be abbreviated.
    place.run(".", &["-C", ".", "--quiet", "image", "list"]).ok();
    place.run(".", &["--quie", "image", "list"]).ok();
    assert!(place.run(".", &["help", "image", "list"]).ok().stdout.contains("Usage: mkpanda"));
}

#[test]
fn data_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    place.package("app", "{}", "true");
    place.write("treeinfo.json", "{}");
    place.run("app", &[]).ok();
    for arguments in [
        &["tree", "--dry-run"][..],
        &["-C", "app"],
        &["gc", "--dry-run"],
        &["--help"],
        &["list", "-h"],
        &["--version"],
        &["--version", "--verbose"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command(".", arguments).stdout(full).output().unwrap();
        ran(&output).fails(1).says("cannot write to stdout");
    }
}

#[test]
fn packages_that_were_not_begun_are_named_with_the_way_to_build_them() {
    let place = Place::new();
    for name in ["aa", "bb", "cc"] {
        place.package(name, "{}", "exit 7");
    }
    place.write("treeinfo.json", "{}");
    let failed = place.run(".", &["tree", "-j1"]).fails(1);
    assert_eq!(failed.stderr.matches("not built: ").count(), 2, "{}", failed.stderr);
    let failed =
        failed.says("hint: to build all that does not need what failed, too, add --keep-going");
    assert!(failed.stderr.contains("2 not built"));
    let all = place.run(".", &["tree", "-j1", "--keep-going"]).fails(1);
    assert_eq!(all.stderr.matches("exited with code 7").count(), 3);
    assert!(!all.stderr.contains("keep-going"), "{}", all.stderr);
    let json = place.run(".", &["tree", "-j1", "--progress=json"]).fails(1);
    assert_eq!(json.stderr.matches(r#""because":null"#).count(), 2, "{}", json.stderr);
}

#[test]
fn each_problem_of_a_tree_is_an_error_with_its_hints() {
    let place = Place::bare();
    place.package("service", r#"{"requires": ["servcie"]}"#, "true");
    place.package("other", r#"{"requires": ["nothing-like-it"]}"#, "true");
    place.write("treeinfo.json", "{}");
    let said = place.run(".", &["tree", "--progress=json"]).fails(1).stderr;
    let events: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "start");
    let errors: Vec<_> = events.iter().filter(|event| event["event"] == "error").collect();
    assert_eq!(errors.len(), 2, "{said}");
    let hints: Vec<_> = errors.iter().map(|error| error["hints"][0].as_str().unwrap()).collect();
    assert!(hints.contains(&"did you mean service? If not, add the package, or take the name out"));
    assert!(errors.iter().all(|error| !error["message"].as_str().unwrap().contains("hint")));
    // Also where the configuration is wrong.
    place.configure("nonsense = 1");
    let said = place.run(".", &["tree", "--progress=json"]).fails(1).stderr;
    assert!(said.starts_with(r#"{"event":"start""#), "{said}");
}

#[test]
fn a_setting_below_the_images_is_refused_with_its_line() {
    let place = Place::new();
    place.package("app", "{}", "true");
    let path = place.packages.join("mkpanda.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    for key in ["isolation", "repository_url", "offline", "network"] {
        std::fs::write(&path, format!("{text}{key} = \"nonsense\"\n")).unwrap();
        let said = place.run("app", &[]).fails(1).says("mkpanda.toml:3:1");
        said.says(&format!("hint: move the line with {key} above the first line in brackets"));
    }
}

#[test]
fn output_of_scripts_is_shown_while_they_run() {
    let place = Place::new();
    place.package("app", "{}", "echo said-by-the-script");
    place.write("treeinfo.json", "{}");
    assert!(!place.run("app", &[]).ok().stderr.contains("said-by-the-script"));
    place.package("app", r#"{"environment": {"A": "1"}}"#, "echo said-by-the-script");
    place.run("app", &["-v"]).ok().says("| said-by-the-script");
    place.package("app", r#"{"environment": {"A": "2"}}"#, "echo said-by-the-script");
    let json = place.run("app", &["-v", "--progress=json"]).ok();
    json.says(r#""event":"output""#).says(r#""line":"said-by-the-script""#);
}

#[test]
fn variables_that_mean_nothing_are_named() {
    use std::os::unix::ffi::OsStringExt;
    let place = Place::bare();
    let run = |name: &str, value: &[u8]| {
        let value = std::ffi::OsString::from_vec(value.to_vec());
        ran(&place.command(".", &["image", "list"]).env(name, value).output().unwrap())
    };
    run("MKPANDA_JBOS", b"2").ok().says(
        "the variable MKPANDA_JBOS is not one of mkpanda's, and does nothing\n  hint: did you mean MKPANDA_JOBS?",
    );
    run("MKPANDA_TEST_ANY", b"2").ok();
    assert_eq!(run("MKPANDA_JOBS", b"2").ok().stderr, "");
    for name in ["MKPANDA_JOBS", "MKPANDA_OFFLINE", "XDG_CONFIG_HOME"] {
        run(name, b"/odd\xff")
            .fails(1)
            .says(&format!("the variable {name} is set to something that is not UTF-8"))
            .says(&format!("hint: set {name} to UTF-8 text, or unset it"));
    }
}

#[test]
fn suggestions_have_the_label_of_hints() {
    let place = Place::bare();
    place.run(".", &["chekc"]).fails(2).says("\n  hint: some similar subcommands exist: ");
    place.run(".", &["tree", "--dry-rum"]).fails(2).says("\n  hint: a similar argument exists: ");
}

#[test]
fn lines_that_name_an_image_can_be_pasted() {
    let place = Place::bare();
    place.write("treeinfo.json", "{}");
    place.package("app", r#"{"docker": "127.0.0.1:9/none:1"}"#, "true");
    let ran = place.run(".", &["tree"]).fails(1);
    let after = ran.stderr.split("this machine's own /usr, by lines in mkpanda.toml:\n").nth(1);
    let lines = after.unwrap_or_else(|| panic!("{}", ran.stderr)).lines();
    let lines: Vec<&str> = lines.take_while(|line| line.starts_with("    ")).collect();
    assert_eq!(lines.len(), 2, "{}", ran.stderr);
    place.write("mkpanda.toml", &lines.join("\n"));
    place.run(".", &["tree", "--offline"]).ok();
}
