//! What a tree may set and what only the user may, and the lines that let a tree do more.

use std::path::Path;

use crate::support::{Place, git, repository};

/// The lines of a hint, as they are pasted into the user's configuration.
fn pasted(said: &str) -> String {
    let lines = said.lines().skip_while(|line| !line.contains("if you trust this tree"));
    lines.skip(1).take_while(|line| line.starts_with("    ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_only_the_user_may_set_is_refused_with_lines_that_work() {
    for (text, key, grant) in [
        ("network = 'host'", "network", "network"),
        ("repository_url = 'file:///none'", "repository_url", "repository_url"),
        ("scratch = '../../room'", "scratch", "scratch"),
        ("root_range = [1700000000, 65536]", "root_range", "root_range"),
        ("builders.push = true", "builders.push", "builders"),
        ("builders.registry = 'r.invalid'", "builders.registry", "builders"),
        ("registries.'r.invalid'.insecure = true", "registries.\"r.invalid\"", "registries"),
        ("registries.'r.invalid'.ca = 'ca'", "registries.\"r.invalid\"", "registries"),
        ("registries.'r.invalid'.mirrors = ['m.invalid']", "registries", "registries"),
        ("limits.time = '5h'", "limits.time", "limits"),
        ("limits.entries = 999999999999", "limits.entries", "limits"),
    ] {
        let place = Place::new();
        place.package("p", "{}", "true");
        place.configure(text);
        let ran = place.run("p", &["--dry-run"]).fails(1).says("sets what only you may set: ");
        assert!(ran.stderr.contains(key), "{}", ran.stderr);
        let lines = pasted(&ran.stderr);
        assert!(lines.contains(&format!("allow = [\"{grant}\"]")), "{lines}");
        assert!(!place.packages.join("cache").exists());
        place.user(&lines);
        place.run("p", &["--dry-run"]).ok();
    }
}

#[test]
fn a_tree_with_quotes_in_its_path_is_trusted_by_the_line_that_is_said() {
    let place = Place::new();
    let odd = place.packages.parent().unwrap().join("it's \"odd\" \\ä");
    std::fs::rename(&place.packages, &odd).unwrap();
    std::fs::write(odd.join("mkpanda.toml"), "network = 'host'\nimages.i = 'host'\n").unwrap();
    std::fs::create_dir(odd.join("p")).unwrap();
    std::fs::write(odd.join("p/buildinfo.json"), "{\"docker\": \"i\"}").unwrap();
    std::fs::write(odd.join("p/build"), "").unwrap();
    let folder = odd.join("p").display().to_string();
    std::fs::create_dir(&place.packages).unwrap();
    let run = || place.run(".", &["-C", &folder, "--dry-run"]);
    place.user(&pasted(&run().fails(1).stderr));
    run().ok();
}

#[test]
fn the_users_word_needs_no_permission() {
    let place = Place::new();
    place.package("p", "{}", "true");
    place.configure("network = 'host'\nlimits.time = '9h'");
    let mut place = place;
    place.variables.push(("MKPANDA_LIMITS_TIME".to_owned(), "10h".to_owned()));
    place.run("p", &["--dry-run", "--network", "none"]).ok();
    place.user(&format!("[trust.'{}']\nallow = ['network']\n", place.packages.display()));
    let file = place.packages.join("mkpanda.toml");
    std::fs::write(file, "[trust.'/x']\nallow = ['network']\n").unwrap();
    place.run("p", &["--dry-run"]).fails(1).says("[trust] counts in your own configuration alone");
    let credentials = "[credentials.'h']\npassword = '$NONE'\n";
    let file = place.packages.join("mkpanda.toml");
    std::fs::write(&file, credentials).unwrap();
    let ran = place.run("p", &["--dry-run"]).fails(1);
    ran.says("[credentials] counts in your own configuration alone");
    std::fs::remove_file(file).unwrap();
    place.user(credentials);
    let ran = place.run("p", &["--dry-run"]).fails(1);
    ran.says("credentials.\"h\".password: \"NONE\" is not an environment variable that is set");
}

#[test]
fn a_repository_of_the_users_is_no_source_of_a_tree() {
    let place = Place::new();
    let private = place.path().join("private");
    std::fs::create_dir(&private).unwrap();
    std::fs::write(private.join("file"), "secret\n").unwrap();
    repository(&private);
    let source = |path: &str| {
        format!(r#"{{"single_source": {{"kind": "git_local", "rel_path": "{path}"}}}}"#)
    };
    let script = "cat /pkg/src/p/file > $PKG_PATH/file";
    let refused = |place: &Place| place.run("p", &[]).fails(1).says("leads out of ");
    place.package("p", &source("../../../private"), script);
    refused(&place);
    // By a link; by a file .git; by links in a repository of the tree's.
    std::os::unix::fs::symlink("../../private", place.packages.join("link")).unwrap();
    place.package("p", &source("../link"), script);
    refused(&place);
    place.write("file/.git", &format!("gitdir: {}/.git\n", private.display()));
    place.package("p", &source("../file"), script);
    refused(&place);
    let linked = place.packages.join("linked/.git");
    std::fs::create_dir_all(&linked).unwrap();
    for name in ["HEAD", "objects", "refs"] {
        std::os::unix::fs::symlink(private.join(".git").join(name), linked.join(name)).unwrap();
    }
    place.package("p", &source("../linked"), script);
    refused(&place);
    // A file .git of the tree itself makes that repository no own one of the tree's.
    let tree = place.packages.parent().unwrap();
    std::fs::write(tree.join(".git"), format!("gitdir: {}/.git\n", private.display())).unwrap();
    place.package("p", &source("../.."), script);
    let ran = refused(&place);
    std::fs::remove_file(tree.join(".git")).unwrap();
    place.user(&pasted(&ran.stderr));
    place.package("p", &source("../../../private"), script);
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "file"), "secret\n");
}

/// Ways in which the files of a repository of the tree's own lead to a private one.
#[test]
fn files_of_a_trees_own_repository_lead_to_no_other() {
    let made = || {
        let place = Place::new();
        let private = place.path().join("private");
        std::fs::create_dir(&private).unwrap();
        std::fs::write(private.join("secret"), "secret\n").unwrap();
        repository(&private);
        let source = r#"{"single_source": {"kind": "git_local", "rel_path": "../.."}}"#;
        place.package("p", source, "cp -r /pkg/src/p/.git $PKG_PATH/git");
        let tree = place.packages.parent().unwrap().to_owned();
        std::fs::write(tree.join(".gitignore"), "cache\n").unwrap();
        repository(&tree);
        place.run("p", &[]).ok();
        std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
        (place, private, tree)
    };
    let refused = |place: &Place, why: &str| {
        let ran = place.run("p", &[]).fails(1).says(why);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
        assert!(!place.packages.join("cache/packages/p/latest").exists());
    };
    let (place, private, tree) = made();
    let borrowed = format!("{}\n", private.join(".git/objects").display());
    let quoted = format!("\"{}\"\n", private.join(".git/objects").display());
    for text in [borrowed.clone(), format!("#\r{borrowed}"), quoted] {
        std::fs::write(tree.join(".git/objects/info/alternates"), text).unwrap();
        refused(&place, "leads out of ");
    }
    let (place, private, tree) = made();
    std::os::unix::fs::symlink(private.join("secret"), tree.join(".git/shallow")).unwrap();
    refused(&place, "can't be used as a git repository: invalid graft");
    for name in ["index", "config", "info"] {
        let (place, private, tree) = made();
        let own = tree.join(".git").join(name);
        drop(std::fs::remove_dir_all(&own).or_else(|_| std::fs::remove_file(&own)));
        std::os::unix::fs::symlink(private.join(".git").join(name), own).unwrap();
        refused(&place, "leads out of ");
    }
    let (place, private, tree) = made();
    let pack = tree.join(".git/objects/pack");
    std::fs::remove_dir_all(&pack).unwrap();
    std::os::unix::fs::symlink(private.join(".git/objects/pack"), pack).unwrap();
    refused(&place, "objects/pack is a symlink");
    // A file .git whose folder points back, with a `commondir` that leads to the private one.
    let (place, private, tree) = made();
    std::fs::rename(tree.join(".git"), tree.join("g")).unwrap();
    std::fs::write(tree.join("g/commondir"), format!("{}/.git\n", private.display())).unwrap();
    std::fs::write(tree.join("g/gitdir"), format!("{}/.git\n", tree.display())).unwrap();
    std::fs::write(tree.join(".git"), "gitdir: g\n").unwrap();
    refused(&place, "leads out of ");
}

#[test]
fn images_of_a_tree_are_built_from_folders_of_it_alone() {
    let place = Place::new();
    place.package("p", r#"{"docker": "x:1"}"#, "true");
    place.write("own/Dockerfile", "FROM scratch\n");
    let outside = place.path().join("private");
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir_all(place.packages.join("cache/x")).unwrap();
    for (at, is_refused) in [
        (outside.display().to_string(), true),
        ("absent".to_owned(), true),
        ("cache/x".to_owned(), true),
        ("own".to_owned(), false),
        ("/\\n  hint: if you trust this tree".to_owned(), true),
    ] {
        let file = format!("[images]\n\"x:1\" = \"dockerfile:{at}\"\n");
        std::fs::write(place.packages.join("mkpanda.toml"), file).unwrap();
        let said = place.run("p", &["--offline"]).fails(1).stderr;
        assert_eq!(said.contains("sets what only you may set: images."), is_refused, "{said}");
        assert_eq!(
            said.lines().filter(|line| line.starts_with("  hint: if you")).count(),
            usize::from(is_refused),
            "{said}"
        );
    }
}

#[test]
fn a_trees_own_repository_is_a_source_of_it() {
    let place = Place::new();
    let own = r#"{"single_source": {"kind": "git_local", "rel_path": "../../.."}}"#;
    place.package("p", own, "cp /pkg/src/p/file $PKG_PATH/");
    std::fs::write(place.path().join("file"), "own\n").unwrap();
    std::fs::write(place.path().join(".gitignore"), "/home\n/elsewhere\ncache\n").unwrap();
    // One above that has nothing of the tree is not its own.
    git(place.path(), &["init", "-q"]);
    place.run("p", &[]).fails(1).says("leads out of ");
    repository(place.path());
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "file"), "own\n");
    let elsewhere = place.path().join("elsewhere");
    git(place.path(), &["worktree", "add", "-q", "elsewhere", "-b", "other"]);
    let packages = elsewhere.join("tree/packages");
    run_in(&place, &packages.join("p"));
}

fn run_in(place: &Place, folder: &Path) {
    place.run(".", &["-C", &folder.display().to_string()]).ok();
}

#[test]
fn a_forged_archive_reaches_no_other_tree() {
    let mut hostile = Place::new();
    let honest = Place::new();
    hostile.home.clone_from(&honest.home);
    for place in [&hostile, &honest] {
        place.package("lib", "{}", "echo genuine > $PKG_PATH/x");
        place.package(
            "app",
            r#"{"requires": ["lib"]}"#,
            "cp /opt/mesosphere/packages/lib--*/x $PKG_PATH/",
        );
        place.run("lib", &[]).ok();
    }
    // Another package's archive under the id of the well known one.
    hostile.package("forged", "{}", "echo forged > $PKG_PATH/x");
    hostile.run("forged", &[]).ok();
    std::fs::copy(hostile.archive("forged"), hostile.archive("lib")).unwrap();
    for (place, content) in [(&hostile, "forged\n"), (&honest, "genuine\n")] {
        place.run("app", &[]).ok();
        assert_eq!(place.file_of("app", "x"), content);
    }
    let unpacked = std::fs::read_dir(honest.home.join("packages")).unwrap();
    let names = unpacked.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.len() == 64).count(), 2);
}

#[test]
fn kept_results_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let script = "touch $PKG_PATH/s; chmod 4755 $PKG_PATH/s; chmod 777 $PKG_PATH /pkg/src";
    place.package("p", "{}", script);
    place.run("p", &["--dont-clean-after-build"]).ok();
    for name in ["src", "result"] {
        let kept = place.packages.join("cache/packages/p").join(name);
        let mode = std::fs::metadata(kept).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{name}");
    }
}
