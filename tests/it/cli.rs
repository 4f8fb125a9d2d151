//! What is typed, the environment and the configuration, and the exit codes that come of them.

use crate::support::Place;

#[test]
fn help_and_version_are_data() {
    let place = Place::bare();
    let help = place.run(".", &["--help"]).ok();
    assert!(help.stdout.contains("Usage: mkpanda [OPTIONS] [COMMAND]"), "{}", help.stdout);
    assert_eq!(help.stderr, "");
    for command in [&["tree", "--help"][..], &["image", "--help"], &["image", "load", "--help"]] {
        assert!(place.run(".", command).ok().stdout.contains("Usage: mkpanda "));
    }
    let version = place.run(".", &["--version"]).ok();
    assert_eq!(version.stdout, format!("mkpanda {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let place = Place::new();
    place.package("p", "{}", "");
    for wrong in [
        &["build"][..],
        &["--nonsense"],
        &["image"],
        &["image", "load"],
        &["image", "rm"],
        &["-j0"],
        &["--jobs=many"],
        &["--isolation=none"],
        &["--network=some"],
        &["--progress=loud"],
        &["tree", "--dry-run", "--nonsense"],
    ] {
        let ran = place.run("p", wrong).fails(2);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("--help"), "{ran:?}");
    }
    place.run("p", &["tre"]).fails(2).says("a similar subcommand exists: 'tree'");
    place.run("p", &["build"]).fails(2).says("hint: mkpanda without a command builds the package");
    let nested = place.run("p", &["image", "p"]).fails(2);
    assert!(!nested.stderr.contains("without a command"), "{nested:?}");
    assert!(!place.packages.join("cache").exists());
}

#[test]
fn another_folder_can_be_named() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    place.package("p", "{}", "");
    place.run(".", &["-C", "p", "--dry-run"]).ok();
    place.run("p", &["tree", "-C", "..", "--dry-run"]).ok();
    place.run(".", &["-C", "nowhere"]).fails(1).says("can't work in nowhere: ");
    place.run(".", &["-C", "p/build"]).fails(1).says("p/build is not the folder of a package");
    place
        .run(".", &[])
        .fails(1)
        .says("is not the folder of a package: it has no buildinfo.json")
        .says("hint: go to a package's folder, or build a tree: mkpanda tree");
    place.run("p", &["tree"]).fails(1).says("hint: the tree is the folder above: mkpanda -C ");
    // Through a link, too: the cache is where the packages are.
    std::os::unix::fs::symlink("tree/packages/p", place.path().join("link")).unwrap();
    place.run("../..", &["-C", "link"]).ok();
    assert!(place.archive("p").is_file());
}

#[test]
fn variables_are_read_and_checked() {
    let mut place = Place::new();
    place.package("p", "{}", "");
    place.variables.push((String::new(), String::new()));
    let mut with = |name: &str, value: &str| {
        *place.variables.last_mut().unwrap() = (name.to_owned(), value.to_owned());
        place.run("p", &["--dry-run"])
    };
    with("MKPANDA_JOBS", "many").fails(1).says("error: MKPANDA_JOBS: \"many\" is not a number");
    with("MKPANDA_JOBS", "0").fails(1).says("error: MKPANDA_JOBS: \"0\" is not a number");
    with("MKPANDA_OFFLINE", "maybe").fails(1).says("MKPANDA_OFFLINE: \"maybe\" is not a boolean");
    with("MKPANDA_PROGRESS", "loud")
        .fails(1)
        .says("MKPANDA_PROGRESS: \"loud\" is not a known choice");
    with("MKPANDA_ISOLATION", "none").fails(1).says("MKPANDA_ISOLATION");
    with("MKPANDA_NETWORK", "wifi").fails(1).says("MKPANDA_NETWORK");
    with("MKPANDA_LIMITS_TIME", "5").fails(1).says("MKPANDA_LIMITS_TIME: \"5\" is not a time");
    with("MKPANDA_LIMITS_MEMORY", "x").fails(1).says("MKPANDA_LIMITS_MEMORY: \"x\" is not a size");
    with("MKPANDA_LIMITS_ENTRIES", "-1").fails(1).says("MKPANDA_LIMITS_ENTRIES");
    with("MKPANDA_MIRROR", "ftp://x").fails(1).says("MKPANDA_MIRROR: \"ftp://x\" is not a mirror");
    with("MKPANDA_JOBS", "2").ok();
    with("MKPANDA_JOBS", "").ok();
    place.variables.clear();
    let mut command = place.command("p", &["--dry-run"]);
    let output = command.env_remove("MKPANDA_HOME").env_remove("HOME").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("neither MKPANDA_HOME, XDG_DATA_HOME nor HOME is set"), "{said}");
    let data = place.path().join("data");
    let mut command = place.command("p", &[]);
    let output = command.env_remove("MKPANDA_HOME").env("XDG_DATA_HOME", &data).output().unwrap();
    assert!(output.status.success());
    assert!(data.join("mkpanda/builds/p").is_dir());
}

#[test]
fn an_option_counts_before_a_variable_and_that_before_the_files() {
    let mut place = Place::new();
    place.package("p", "{}", "sleep 0.3");
    place.configure("limits.time = '100ms'");
    place.run("p", &[]).fails(1).says("time limit of 100ms");
    place.variables.push(("MKPANDA_LIMITS_TIME".to_owned(), "1m".to_owned()));
    place.run("p", &[]).ok();
    // The nearest file counts, key by key.
    let place = Place::new();
    place.package("p", "{}", "exit 1");
    let user = place.path().join(".config/mkpanda");
    std::fs::create_dir_all(&user).unwrap();
    std::fs::write(user.join("config.toml"), "offline = true\nnonsense = 1\n").unwrap();
    place
        .run("p", &[])
        .fails(1)
        .says(".config/mkpanda/config.toml:2:1: there is no key \"nonsense\"");
    let source = r#"{"single_source": {"kind": "url", "url": "http://example.org/x", "sha1": "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5"}}"#;
    place.package("p", source, "");
    std::fs::write(user.join("config.toml"), "offline = true\n").unwrap();
    place.run("p", &[]).fails(1).says("--offline forbids");
}

#[test]
fn the_configuration_may_lie_above_the_packages() {
    let place = Place::new();
    place.package("p", "{}", "touch -d @1500000000 $PKG_PATH/x");
    let text = std::fs::read_to_string(place.packages.join("mkpanda.toml")).unwrap();
    std::fs::remove_file(place.packages.join("mkpanda.toml")).unwrap();
    let above = place.packages.join("../mkpanda.toml");
    std::fs::write(above, format!("source_date_epoch = 1000000000\n{text}")).unwrap();
    place.run("p", &[]).ok();
    let archive = place.archive("p");
    let mut command = std::process::Command::new("tar");
    let output = command.args(["--utc", "--full-time", "-tvJf"]).arg(archive).output().unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    let line = listing.lines().find(|line| line.ends_with("./x")).unwrap();
    assert!(line.contains("2001-09-09 01:46:40"), "{listing}");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let place = Place::new();
    place.package("p", "{}", "");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.command("p", &["--dry-run"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
