//! Input that is not valid, and runs that store nothing.

use std::os::unix::fs::PermissionsExt;

use super::Releases;

/// The fault is named, the exit code is 1, and nothing is stored.
#[test]
fn bad_input_is_named_and_nothing_is_stored() {
    let releases = Releases::new();
    let folder = releases.place.path().display().to_string();
    let create: &[&str] = &["create", "master", "1.0", "default"];
    let only = |storage: &str| format!("  main: {{{storage}}}\n");
    let local = format!("kind: local_path, path: {folder}/main");
    let cases: &[(String, &str, &[&str], &str)] = &[
        (
            only(&format!("{local}, color: red")),
            "",
            create,
            "storage main: the key color is not known here",
        ),
        (only("kind: local_path"), "", create, "storage main: the key path is missing"),
        (
            only("kind: local_path, path: $SECRET"),
            "",
            create,
            "the variable SECRET is not set, or empty",
        ),
        (only("kind: local_paths, path: /x"), "", create, "it is not one of aws_s3"),
        (only(&format!("{local}, read_only: true")), "", create, "no storage is written to"),
        (releases.storages(), "  color: red\n", create, "options: the key color is not known here"),
        (releases.storages(), "  preferred: main\n", create, "given twice"),
        (
            releases.storages(),
            "",
            &["create", "commit/x", "1.0", "default"],
            "commit is the name of a folder for other files",
        ),
        (
            releases.storages(),
            "",
            &["create", "a b", "1.0", "default"],
            "cannot be a path below a storage",
        ),
        (releases.storages(), "", &["create", "master", "1.0", "nope"], "nope"),
        (
            releases.storages(),
            "",
            &["--pkgpanda", "/bin/sh", "create", "master", "1.0", "default"],
            "cannot be released as the static pkgpanda",
        ),
        (
            releases.storages(),
            "",
            &["--format", "html", "create", "master", "1.0", "default"],
            "--format html is of no use",
        ),
        (
            releases.storages(),
            "",
            &["promote", "testing/none", "stable"],
            "storage main has no release at testing/none",
        ),
        (releases.storages(), "", &["create-installer", "../x"], "is not a valid name in a store"),
        (
            releases.storages(),
            "",
            &["show", "testing/none"],
            "storage main has no release at testing/none",
        ),
        (releases.storages(), "", &["-c", "nowhere.yaml", "list"], "or name the file: -c FILE"),
    ];
    for (storages, options, arguments, said) in cases {
        releases.configure(storages, options);
        let ran = releases.run(arguments).fails(1).says(said);
        assert!(ran.stdout.is_empty(), "{arguments:?}");
        assert!(!releases.folder("main").exists(), "{said}");
    }
    let config = releases.place.path().join("tree/dcos-release.config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[cloud-init]", "[nowhere]")).unwrap();
    releases.run(create).fails(1).says("cannot read the provider's file").says("tree/nowhere");
    assert!(!releases.folder("main").exists());
    releases.configure(&releases.storages(), "");
    let template = releases.place.path().join("tree/cloud-init/user-data.json");
    std::fs::write(&template, "{\"a\":\n {{ nothing }}}").unwrap();
    releases.run(create).fails(1).says("user-data.json:2").says("nothing");
    assert!(!releases.folder("main").exists());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("  cloudformation_s3_url: https://s3.example/bucket\n", ""),
    )
    .unwrap();
    releases.run(create).fails(1).says("the key cloudformation_s3_url is missing");
    assert!(!releases.folder("main").exists());
}

#[test]
fn options_that_a_command_has_no_use_for_are_refused() {
    let releases = Releases::new();
    for (arguments, said) in [
        (&["--noop", "list"][..], "--noop is of no use for mkpanda release list"),
        (&["--local", "show", "testing/master"], "--local is of no use for mkpanda release show"),
        (&["--replace", "list"], "--replace is of no use for mkpanda release list"),
        (&["--replace", "create-installer", "x"], "--replace is of no use"),
        (&["--replace", "--noop", "create", "master", "1.0", "default"], "stores nothing (--noop)"),
        (&["--pkgpanda", "x", "diff", "a", "b"], "--pkgpanda is of no use"),
        (&["promote", "--jobs=2", "testing/master", "stable"], "--jobs is of no use"),
        (&["--format", "json", "create-installer", "x"], "--format json is of no use"),
        (&["--format", "html", "--local", "create", "m", "1", "default"], "--format html is of no"),
    ] {
        releases.run(arguments).fails(1).says(said);
    }
}

#[test]
fn a_local_run_makes_the_installer_and_stores_nothing() {
    let releases = Releases::new();
    let create = ["--local", "create", "master", "1.0", "default", "ee", "installer"];
    let ran = releases.run(&create).ok().says("tree ee: there is no installer");
    let installer = releases.place.packages.join("cache/dcos_generate_config.sh");
    assert_eq!(ran.stdout, format!("{}\n", installer.display()));
    let content = std::fs::read(&installer).unwrap();
    assert!(content.starts_with(b"#!/bin/sh\n"));
    assert!(std::fs::metadata(&installer).unwrap().permissions().mode() & 0o111 == 0o111);
    for storage in ["main", "mirror", "closed"] {
        assert!(!releases.folder(storage).exists(), "{storage}");
    }
    // The installer of a release that is in a storage is the same file, and nothing more is stored.
    releases.run(&["create", "master", "1.0", "default", "installer"]).ok();
    let stored = releases.objects("main");
    assert_eq!(stored["testing/master/dcos_generate_config.sh"], content);
    std::fs::remove_dir_all(releases.place.packages.join("cache")).unwrap();
    releases.run(&["create-installer", "testing/master"]).ok();
    assert_eq!(std::fs::read(&installer).unwrap(), content);
    assert_eq!(releases.objects("main"), stored);
}
