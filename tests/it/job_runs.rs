//! Runs of portable jobs: what the machine gives and refuses, limits, and the end.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::environment::with_image;
use crate::interrupt::{END, Gate, eventually, processes_with};
use crate::jobs::{carry_out, edit, export, record};
use crate::support::{Place, copy_folder, ran, sha256};

#[test]
fn a_machine_that_cannot_carry_a_job_out_says_so_by_its_exit_code() {
    let place = Place::new();
    place.package("p", "{}", "true");
    let job = export(&place, "p", "job");
    let whole = place.path().join("whole");
    copy_folder(&job, &whole);
    let path = job.to_str().unwrap();
    // Its own folders would be among the job's files.
    let inside = job.join("scratch");
    let scratch = ["job", "run", path, "--scratch", inside.to_str().unwrap()];
    place.run("", &scratch).fails(75).says("in the job's folder");
    assert!(!inside.exists());
    let mut command = place.command("", &["job", "run", path]);
    command.env("MKPANDA_HOME", job.join("home"));
    ran(&command.output().unwrap()).fails(75).says("in the job's folder");
    assert!(!job.join("home").exists());
    let found = record(&job.join("out"));
    assert_eq!(found["outcome"], "unable");
    // A folder of something else is left as it is.
    for (out, words) in [
        (place.path().join("mine"), "its file log is not the result of a job"),
        (job.clone(), "the job's own folder"),
    ] {
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(out.join("log"), "mine").unwrap();
        let out_option = ["job", "run", path, "--out", out.to_str().unwrap()];
        place.run("", &out_option).fails(1).says(words).says("--out DIR");
        assert_eq!(std::fs::read_to_string(out.join("log")).unwrap(), "mine");
    }
    assert!(found["message"].as_str().unwrap().contains("in the job's folder"));
    // The job's files are larger than this machine's user wants to copy.
    std::fs::File::create(job.join("package.tar")).unwrap().set_len(1 << 40).unwrap();
    place.run("", &["job", "run", path]).fails(1).says("the job is too large").says("unpacked");
    std::fs::copy(whole.join("package.tar"), job.join("package.tar")).unwrap();
    // The tier of the user's word stands.
    edit(&job, |job| job["tier"] = json!("ranges"));
    place.run("", &["job", "run", path, "--isolation", "single"]).fails(75).says("the tier ranges");
    let unable = record(&job.join("out"));
    assert!(unable["hint"].as_str().unwrap().contains("--isolation ranges"), "{unable}");
    // The embedded builder of another system.
    edit(&job, |job| job["image"] = json!({"host": {"id": "0".repeat(64)}}));
    place.run("", &["job", "run", path]).fails(75).says("embedded builder of another system");
    // An image for another processor.
    std::fs::remove_dir_all(&job).unwrap();
    copy_folder(&whole, &job);
    edit(&job, |document| {
        let id = document["image"]["layers"]["id"].as_str().unwrap().to_owned();
        let config = std::fs::read_to_string(job.join("image").join(id)).unwrap();
        let other = config.replace("\"amd64\"", "\"s390x\"");
        assert_ne!(other, config);
        let id = sha256(other.as_bytes());
        std::fs::write(job.join("image").join(&id), other).unwrap();
        document["image"]["layers"]["id"] = json!(id);
    });
    let refused = place.run("", &["job", "run", path]).fails(75);
    refused.says("the job's image is for linux/s390x").says("a machine with linux/s390x");
    assert_eq!(record(&job.join("out"))["outcome"], "unable");
    place.assert_clean();
}

#[test]
fn results_or_a_home_that_cannot_be_made_are_matters_of_the_machine() {
    let place = Place::new();
    place.package("p", "{}", "true");
    let job = export(&place, "p", "job");
    let path = job.to_str().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let out = file.join("out").display().to_string();
    place.run("", &["job", "run", path, "--out", &out]).fails(75).says("folder for the results");
    let mut command = place.command("", &["job", "run", path]);
    command.env_clear().env("TMPDIR", &file);
    let refused = ran(&command.output().unwrap()).fails(75);
    refused.says("make the builder's own folder").says("MKPANDA_HOME=DIR");
    assert!(!job.join("out/record.json").exists());
    let mut command = place.command("", &["job", "run", path]);
    let home = place.path().join("broken");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("scratch"), "").unwrap();
    command.env("MKPANDA_HOME", home);
    ran(&command.output().unwrap()).fails(75).says("make a scratch folder");
    assert_eq!(record(&job.join("out"))["outcome"], "unable");
    carry_out(&place, &job).ok();
    place.assert_clean();
}

#[test]
fn faulty_settings_are_matters_of_the_machine_unless_an_option_has_the_fault() {
    let place = Place::new();
    place.package("p", "{}", "true");
    let job = export(&place, "p", "job");
    let path = job.to_str().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let faulty: [(&str, &OsStr, &str); 3] = [
        ("MKPANDA_HOME", file.as_os_str(), "Not a directory"),
        ("MKPANDA_LIMITS_TIME", OsStr::new("soon"), "\"soon\" is not a"),
        ("MKPANDA_NETWORK", OsStr::from_bytes(b"\xff"), "not UTF-8"),
    ];
    for (name, value, words) in faulty {
        let with = |arguments: &[&str]| {
            let mut command = place.command("", arguments);
            ran(&command.env(name, value).output().unwrap())
        };
        with(&["job", "run", path]).fails(75).says(words);
        // Nothing that an option could mend.
        with(&["job", "run", path, "--cache", "ftp://x"]).fails(75);
        with(&["job", "export", "p", "other"]).fails(1).says(words);
    }
    place.run("", &["job", "run", path, "--cache", "ftp://x"]).fails(1).says("--cache");
    place.run("", &["-C", "missing", "job", "run", path]).fails(1).says("missing");
    place.user("jobs = 'many'\n");
    place.run("", &["job", "run", path]).fails(75).says("config.toml").says("jobs");
    assert!(!job.join("out").exists());
}

/// A run of a job under way.
fn begun(place: &Place, job: &str) -> Child {
    let mut command = place.command("", &["job", "run", job]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn the_results_of_one_run_are_not_mixed_with_those_of_another() {
    let gate = Gate::new();
    let place = Place::new();
    place.package("p", "{}", &gate.script());
    let job = export(&place, "p", "job");
    let path = job.to_str().unwrap();
    let child = begun(&place, path);
    gate.wait(1);
    let mut second = begun(&place, path);
    // A run that is not refused would wait for the same gate.
    let ends = Instant::now() + END;
    while second.try_wait().unwrap().is_none() {
        if Instant::now() > ends {
            gate.open(2);
            panic!("the second run is not refused");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = ran(&second.wait_with_output().unwrap()).fails(75);
    refused.says("another run of a job writes its results into").says("out").says("--out DIR");
    assert!(!job.join("out/record.json").exists());
    gate.open(1);
    ran(&child.wait_with_output().unwrap()).ok();
    assert_eq!(record(&job.join("out"))["outcome"], "built");
    place.assert_clean();
}

#[test]
fn a_record_of_another_job_or_version_is_not_shown_as_the_outcome() {
    let place = Place::new();
    place.package("p", "{}", "true");
    let job = export(&place, "p", "job");
    let show = || place.run("", &["job", "show", job.to_str().unwrap()]);
    assert!(!show().ok().stdout.contains("outcome"));
    carry_out(&place, &job).ok();
    assert!(show().ok().stdout.contains("built"));
    edit(&job, |job| job["limits"]["time"] = json!(7));
    let shown = show().ok().stdout;
    assert!(shown.contains("that of another job") && !shown.contains("built"), "{shown}");
    let path = job.join("out/record.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"version\": 1", "\"version\": 2", 1)).unwrap();
    show().fails(1).says("version 2").says("version 1 only");
}

#[test]
fn the_limits_of_a_job_are_those_of_its_maker_and_count_elsewhere() {
    let mut place = Place::new();
    place.package("p", "{}", "echo begun; sleep 5000");
    place.variables.push(("MKPANDA_LIMITS_TIME".to_owned(), "1s".to_owned()));
    let job = export(&place, "p", "job");
    let elsewhere = Place::bare();
    let ended = carry_out(&elsewhere, &job).fails(1);
    ended.says("the build script was ended after its time limit of 1s").says("| begun");
    let found = record(&job.join("out"));
    assert_eq!(found["outcome"], "failed");
    assert!(found["hint"].as_str().unwrap().contains("limits.time"), "{found}");
    elsewhere.assert_clean();
}

#[test]
fn the_user_of_an_image_builds_in_a_job_too() {
    let place = with_image(&json!({"User": "builder", "Env": ["PATH=/bin"]}));
    place.package("p", "{}", "id -u > $PKG_PATH/id; stat -c %u /pkg/src $PKG_PATH >> $PKG_PATH/id");
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "id"), "1000\n".repeat(3));
    let job = export(&place, "p", "job");
    let elsewhere = Place::bare();
    carry_out(&elsewhere, &job).ok();
    let built = std::fs::read(job.join("out/package.tar.xz")).unwrap();
    assert_eq!(built, std::fs::read(place.archive("p")).unwrap());
    elsewhere.assert_clean();
}

#[test]
fn a_job_ends_with_its_parent_and_cleanly_by_a_signal() {
    let gate = Gate::new();
    let place = Place::new();
    place.package("p", "{}", &gate.script());
    let job = export(&place, "p", "job");
    let path = job.to_str().unwrap();
    let child = begun(&place, path);
    gate.wait(1);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    ran(&child.wait_with_output().unwrap()).fails(130);
    assert!(!job.join("out/record.json").exists());
    gate.wait(0);
    place.assert_clean();

    let run = place.command("", &["job", "run", path]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\"; true", "sh"]).arg(run.get_program()).args(run.get_args());
    shell.env_clear().current_dir(place.path());
    shell.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut shell = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    gate.wait(1);
    shell.kill().unwrap();
    shell.wait().unwrap();
    eventually("the job's end", END, || processes_with(path).is_empty());
    gate.wait(0);
    assert!(!job.join("out/record.json").exists());
    let scratch = place.home.join("scratch");
    eventually("an empty scratch folder", END, || {
        std::fs::read_dir(&scratch).map_or(true, |mut entries| entries.next().is_none())
    });
    place.assert_clean();
}

#[test]
fn a_job_needs_nothing_of_the_environment() {
    let place = Place::new();
    place.package("p", "{}", "touch $PKG_PATH/x");
    let job = export(&place, "p", "job");
    let folder = place.path().join("tmp");
    std::fs::create_dir(&folder).unwrap();
    let mut command = place.command("", &["job", "run", job.to_str().unwrap()]);
    command.env_clear().env("TMPDIR", &folder);
    ran(&command.output().unwrap()).ok();
    assert_eq!(record(&job.join("out"))["outcome"], "built");
    let entries: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert_eq!(entries.len(), 1, "{entries:?}");

    // An empty variable names nothing, and the folder's name is known to others.
    let home = entries[0].as_ref().unwrap().path();
    let mode = std::fs::metadata(&home).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    let elsewhere = place.path().join("elsewhere");
    std::fs::rename(&home, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &home).unwrap();
    let mut command = place.command("", &["job", "run", job.to_str().unwrap()]);
    command.env_clear().env("TMPDIR", &folder).env("MKPANDA_HOME", "").env("HOME", "");
    let refused = ran(&command.output().unwrap()).fails(75);
    refused.says("is not a folder of this user's").says("MKPANDA_HOME=DIR");
    if nix::unistd::geteuid().is_root() {
        std::fs::remove_file(&home).unwrap();
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(65534), None).unwrap();
        ran(&command.output().unwrap()).fails(75).says("is not a folder of this user's");
    }
}

#[test]
fn a_job_has_no_network() {
    let place = Place::host();
    place.package("p", "{}", "wc -l < /proc/net/dev > $PKG_PATH/lines; cat /proc/net/dev");
    place.user("network = \"host\"\n");
    let job = export(&place, "p", "job");
    carry_out(&place, &job).ok();
    let log = std::fs::read_to_string(job.join("out/log")).unwrap();
    // Two lines of heading, and loopback.
    assert!(log.lines().count() == 3 && log.contains("lo:"), "{log}");
    assert_eq!(record(&job.join("out"))["build"]["network"], "none");
}
