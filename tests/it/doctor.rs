//! `mkpanda doctor`: what it finds on this machine, and what it advises where something is missing.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;
use serde_json::Value;

use crate::inside::{left_out, tier};
use crate::support::{Place, Ran, binary, ran, write_program};

/// The findings of a run, as JSON.
fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

fn finding(report: &Value, feature: &str) -> Value {
    let features = report["features"].as_array().unwrap();
    features.iter().find(|finding| finding["feature"] == feature).unwrap().clone()
}

#[test]
fn the_doctor_finds_what_builds_get() {
    let place = Place::bare();
    let ran = place.run("", &["doctor", "--format", "json"]).ok();
    let report = report(&ran);
    assert_eq!(report["tier"], tier());
    for feature in ["user-namespaces", tier(), "seccomp", "git", "home", "scratch"] {
        assert_eq!(finding(&report, feature)["state"], "works", "{report:#}");
    }
    let features = report["features"].as_array().unwrap();
    assert_eq!(features.len(), 18);
    for finding in features {
        let needs_remedy = finding["state"] == "missing" || finding["state"] == "limited";
        let remedies = finding["remedies"].as_array().unwrap();
        assert!(!needs_remedy || !remedies.is_empty(), "no remedy: {finding:#}");
        assert!(finding["state"] != "works" || remedies.is_empty(), "{finding:#}");
    }
    // The short form says the same; free space and the like may have changed meanwhile.
    let short = self::report(&place.run("", &["doctor", "--json"]).ok());
    let states = |report: &Value| {
        let findings = report["features"].as_array().unwrap().iter();
        let state = |finding: &Value| (finding["feature"].clone(), finding["state"].clone());
        findings.map(state).collect::<Vec<_>>()
    };
    assert_eq!((&short["tier"], states(&short)), (&report["tier"], states(&report)));
    let text = place.run("", &["doctor", "--require", &format!("git,{}", tier())]).ok().stdout;
    assert!(text.contains(&format!("\nbuilds run in the tier {}; ", tier())), "{text}");
    place.assert_clean();
}

#[test]
fn what_is_required_and_missing_fails_the_doctor() {
    let mut place = Place::bare();
    place.variables.push(("PATH".to_owned(), "/nowhere".to_owned()));
    let ran = place.run("", &["doctor", "--require", "scratch,git"]).fails(1);
    assert!(ran.stdout.contains("missing  git              git cannot be run: "), "{}", ran.stdout);
    let ran = ran.says("error: required, but not there: git\n");
    assert!(!ran.stderr.contains("scratch"), "{}", ran.stderr);
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if release.contains("ID=debian") {
        assert!(
            ran.stdout.contains("mend by:  apt-get install -y git\n") || !Uid::current().is_root()
        );
    }
    let mistyped = place.run("", &["doctor", "--require", "git-lsf"]).fails(2);
    mistyped.says("a similar value exists: 'git-lfs'");
}

#[test]
fn nothing_of_the_working_directory_is_run() {
    let mut place = Place::bare();
    let (bin, ran) = (place.path().join("bin"), place.path().join("ran"));
    std::fs::create_dir(&bin).unwrap();
    // Without git-lfs, git takes an alias of that name for it.
    let git = ["/usr/local/bin/git", "/usr/bin/git"].into_iter().find(|it| Path::new(it).exists());
    std::os::unix::fs::symlink(git.unwrap(), bin.join("git")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
    let script = format!(": > '{}'", ran.display());
    for folder in ["objects", "refs"] {
        std::fs::create_dir_all(place.packages.join(".git").join(folder)).unwrap();
    }
    place.write(".git/HEAD", "ref: refs/heads/main\n");
    place.write(".git/config", &format!("[alias]\n\tlfs = \"!{script}\"\n"));
    write_program(&place.packages.join("git"), &format!("#!/bin/sh\n{script}\n"));
    let state = |report: &Value, feature: &str| finding(report, feature)["state"].clone();
    for (path, has_git) in [
        (bin.to_str().unwrap().to_owned(), true),
        (format!("{}:", bin.display()), true),
        (".:".to_owned(), false),
        (String::new(), true),
    ] {
        place.variables = vec![("PATH".to_owned(), path.clone())];
        let report = report(&place.run("", &["doctor", "--json"]));
        assert!(!ran.exists(), "PATH={path}: a program of the working directory was run");
        assert_eq!(state(&report, "git") == "works", has_git, "PATH={path}: {report:#}");
        assert!(path.is_empty() || state(&report, "git-lfs") == "missing", "PATH={path}");
    }
}

/// Runs the doctor as an ordinary user without an entry in `/etc/subuid`.
fn as_nobody(place: &Place, arguments: &[&str]) -> Ran {
    std::os::unix::fs::chown(&place.home, Some(65534), Some(65534)).unwrap();
    let plain = place.command("", &[&["doctor"], arguments].concat());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(binary()).args(plain.get_args()).current_dir(place.path()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ran(&command.output().unwrap())
}

#[test]
fn a_user_without_ranges_is_told_the_command_for_a_free_one() {
    if !Uid::current().is_root() {
        return left_out("the doctor as another user", "it-root");
    }
    let place = Place::bare();
    let ran = as_nobody(&place, &["--json", "--require", "single"]);
    let report = report(&ran);
    assert_eq!(report["tier"], "single", "{report:#}");
    let ranges = finding(&report, "ranges");
    assert_eq!(ranges["state"], "missing");
    let command = ranges["remedies"][0].as_str().unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(
        (words[..3].join(" "), words[6]),
        ("sudo usermod --add-subuids".to_owned(), "nobody")
    );
    let (first, last) = words[3].split_once('-').unwrap();
    let proposed = first.parse::<u64>().unwrap()..=last.parse::<u64>().unwrap();
    let mut taken = BTreeSet::new();
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for line in text.lines() {
            let numbers: Vec<u64> = line.split(':').skip(1).flat_map(str::parse).collect();
            taken.extend([numbers[0], numbers[0] + numbers[1] - 1]);
        }
    }
    assert!(taken.iter().all(|id| !proposed.contains(id)), "{proposed:?} of {taken:?}");
    as_nobody(&place, &["--require", "ranges"]).fails(1).says("not there: ranges");
}

#[test]
fn a_scratch_folder_from_which_nothing_can_be_run_is_missing() {
    if !Uid::current().is_root() {
        return left_out("a filesystem without programs", "it-root");
    }
    let mount = "mount -t tmpfs -o noexec tmpfs /mnt";
    let mounts = Command::new("unshare").args(["--mount", "sh", "-ec", mount]).output();
    if !mounts.is_ok_and(|output| output.status.success()) {
        return left_out("a filesystem without programs (no mount allowed here)", "it-root");
    }
    let place = Place::bare();
    let scratch = place.path().join("s");
    std::fs::create_dir(&scratch).unwrap();
    let path = scratch.to_str().unwrap();
    let plain = place.command("", &["--scratch", path, "doctor", "--json", "--require", "scratch"]);
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o noexec,mode=755 tmpfs {path} && exec \"$@\"");
    command.args(["--mount", "sh", "-ec", &script, "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = ran(&command.current_dir(place.path()).output().unwrap()).fails(1);
    let finding = finding(&report(&ran), "scratch");
    assert!(finding["detail"].as_str().unwrap().contains("is mounted noexec"), "{finding:#}");
    assert_eq!(finding["state"], "missing");
}

#[test]
fn without_user_namespaces_the_cause_is_named_once() {
    let probe = Command::new("bwrap")
        .args(["--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "true"])
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return left_out("a sandbox without user namespaces", "it-root");
    }
    let place = Place::bare();
    let plain = place.command("", &["doctor", "--json"]);
    let mut command = Command::new("bwrap");
    command.args(["--dev-bind", "/", "/", "--unshare-user", "--disable-userns"]);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = ran(&command.current_dir(&place.packages).output().unwrap()).fails(1);
    let report = report(&ran);
    assert_eq!(report["tier"], Value::Null);
    assert_eq!(finding(&report, "user-namespaces")["state"], "missing", "{report:#}");
    assert_eq!(finding(&report, "overlay")["state"], "untried");
    ran.says("error: no container can be run here: neither tier works\n");
}
