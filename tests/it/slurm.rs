//! Builds by Slurm, with programs that stand in for Slurm's: each fault that a cluster has.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::interrupt::{END, Gate, eventually, processes_with};
use crate::support::{Place, Ran, binary, data, ran};

/// A place with a cluster.
struct Cluster {
    place: Place,
    folder: PathBuf,
}

impl Cluster {
    fn new() -> Self {
        let mut place = Place::new();
        let folder = place.path().join("cluster");
        std::fs::create_dir_all(folder.join("jobs")).unwrap();
        let bin = folder.join("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in ["common", "sbatch", "squeue", "scontrol", "scancel"] {
            std::fs::copy(data().join("slurm").join(name), bin.join(name)).unwrap();
        }
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", bin.display());
        let configuration = folder.join("slurm.conf").display().to_string();
        for (name, value) in
            [("PATH", path.as_str()), ("SLURM_CONF", &configuration), ("SECRET", "of-the-caller")]
        {
            place.variables.push((name.to_owned(), value.to_owned()));
        }
        let cluster = Self { place, folder };
        cluster.configure("");
        cluster
    }

    /// Writes the user's configuration, with more keys of the engine.
    fn configure(&self, more: &str) {
        let at = |name: &str| self.place.path().join(name).display().to_string();
        self.place.user(&format!(
            "[executor]\nkind = 'slurm'\nfolder = '{}'\nprogram = '{}'\nhome = '{}'\npoll = '20ms'\n{more}\n",
            at("shared"),
            binary().display(),
            at("node"),
        ));
    }

    /// Has jobs run shell commands, among which `run` carries the job out.
    fn hook(&self, text: &str) {
        std::fs::write(self.folder.join("hook"), text).unwrap();
    }

    fn run(&self, package: &str, more: &[&str]) -> Ran {
        self.place.run(package, more)
    }

    fn start(&self, package: &str) -> Child {
        let mut command = self.place.command(package, &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Options of each submission.
    fn submissions(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("submissions")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn state(&self, id: u32) -> String {
        std::fs::read_to_string(self.folder.join(format!("jobs/{id}/state"))).unwrap()
    }

    fn away(&self, is_away: bool) {
        let file = self.folder.join("away");
        if is_away {
            std::fs::write(file, "").unwrap();
        } else {
            std::fs::remove_file(file).unwrap();
        }
    }

    /// Jobs in the shared folder.
    fn jobs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.place.path().join("shared/jobs")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The record of a package's last build in the home.
    fn record(&self, name: &str) -> Value {
        let folder = self.place.archive(name);
        let id = folder.file_name().unwrap().to_str().unwrap().strip_suffix(".tar.xz").unwrap();
        let path = self.place.home.join("builds").join(name).join(id).join("record.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[track_caller]
    fn assert_clean(&self) {
        assert!(self.jobs().is_empty(), "{:?}", self.jobs());
        self.place.assert_clean();
        let scratch = std::fs::read_dir(self.place.path().join("node/scratch"));
        assert_eq!(scratch.map_or(0, Iterator::count), 0, "left in the scratch folder of the node");
    }
}

#[test]
fn packages_that_slurm_builds_are_those_that_are_built_here() {
    let cluster = Cluster::new();
    let place = &cluster.place;
    place.package("lib", "{}", "echo lib > $PKG_PATH/text; env | sort > $PKG_PATH/environment");
    let script = "cat /opt/mesosphere/packages/lib--*/text > $PKG_PATH/app; echo built the app";
    place.package("app", r#"{"requires": ["lib"]}"#, script);
    // The same, built here.
    let local = place.run("app", &["--executor", "local"]).ok();
    assert!(!local.stderr.contains("slurm"), "{}", local.stderr);
    let read = |name: &str| std::fs::read(place.archive(name)).unwrap();
    let [lib, app] = ["lib", "app"].map(read);
    std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    std::fs::remove_dir_all(&place.home).unwrap();

    let store = place.path().join("store").display().to_string();
    let built = cluster.run("app", &["-j", "3", "--cache", &store]).ok();
    built.says("(1 of 2) on n1 (slurm 1) in ").says("(2 of 2) on n2 (slurm 2) in ");
    assert_eq!([read("lib"), read("app")], [lib, app]);
    assert!(!place.file_of("lib", "environment").contains("of-the-caller"));
    let given = std::fs::read_to_string(cluster.folder.join("environment")).unwrap();
    assert!(!given.contains("of-the-caller") && !given.contains("HOME="), "{given}");
    let record = cluster.record("app");
    assert_eq!(record["ran_on"]["node"], "n2");
    assert_eq!(
        (&record["ran_on"]["engine"], &record["ran_on"]["job"]),
        (&"slurm".into(), &"2".into())
    );
    assert_eq!(place.run("", &["log", "app"]).ok().stdout, "built the app\n");
    // This machine made no container.
    let unpacked = std::fs::read_dir(place.home.join("layers")).into_iter().flatten().flatten();
    assert_eq!(unpacked.map(|entry| entry.file_name()).collect::<Vec<_>>(), [""; 0]);
    cluster.assert_clean();
    cluster.run("app", &[]).ok();
    assert_eq!(cluster.submissions().len(), 2);
    // Others get the packages from the store.
    std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    cluster.run("app", &["--cache", &store]).ok().says("fetched app");
    assert_eq!(cluster.submissions().len(), 2);
}

#[test]
fn a_build_that_fails_elsewhere_is_shown_like_one_that_fails_here() {
    let cluster = Cluster::new();
    cluster.place.package("p", "{}", "echo the last words; exit 3");
    let failed = cluster.run("p", &[]).fails(1);
    failed.says("the build script exited with code 3, on n1 (slurm 1)").says("the last words");
    assert_eq!(cluster.place.run("", &["log", "p"]).ok().stdout, "the last words\n");
    cluster.assert_clean();
    // It is tried again, as a build here would be.
    let followed = cluster.run("p", &["-v"]).fails(1).says("slurm 2");
    followed.says("| the last words");
    assert_eq!(cluster.submissions().len(), 2);
}

#[test]
fn a_lost_job_is_submitted_again_and_not_for_ever() {
    let cluster = Cluster::new();
    cluster.place.package("p", "{}", "echo p > $PKG_PATH/p");
    // Slurm says that it is done, as it may of a lost node; then it knows nothing of it.
    let held = "echo 'launch failed requeued held' > $job/reason; state PENDING";
    cluster
        .hook(&format!("case $id in 1) ;; 2) touch $job/forgotten ;; 4) {held} ;; *) run ;; esac"));
    let built = cluster.run("p", &[]).ok();
    let built = built.says("the job ended without a result: n1 (slurm 1) is COMPLETED");
    built.says("slurm 2 is unknown to Slurm").says("on n3 (slurm 3)");
    cluster.assert_clean();
    // One that Slurm could not launch stays in the queue for ever.
    cluster.place.package("held", "{}", "echo held > $PKG_PATH/held");
    let built = cluster.run("held", &[]).ok();
    built.says("is PENDING (launch failed requeued held)").says("on n5 (slurm 5)");
    assert_eq!(cluster.state(4).trim(), "CANCELLED");

    cluster.place.package("q", "{}", "echo q > $PKG_PATH/q");
    cluster.hook("echo the machine is on fire; code=1");
    let failed = cluster.run("q", &[]).fails(1);
    let failed = failed.says("the job ended 3 times without a result").says("is FAILED");
    let output = cluster.jobs()[0].join("output");
    let failed = failed.says(&format!("hint: see its output: cat {}", output.display()));
    assert!(std::fs::read_to_string(output).unwrap().contains("on fire"), "{failed:?}");
    // A job that a person has cancelled is not submitted again.
    cluster.hook("state CANCELLED");
    cluster.run("q", &[]).fails(1).says("was stopped without a result").says("CANCELLED");
    assert_eq!(cluster.submissions().len(), 9);
    // A machine that could do it is found in the end, in the job's own folder.
    std::fs::remove_file(cluster.folder.join("hook")).unwrap();
    cluster.run("q", &[]).ok();
    cluster.assert_clean();
}

/// Python that rewrites the record, and a package in place of the right one.
const FORGE: &str = r#"
import hashlib, json, lzma, sys
out, package, claims = sys.argv[1:]
data = open(package, "rb").read()
if package != out + "/package.tar.xz":
    open(out + "/package.tar.xz", "wb").write(data)
record = json.load(open(out + "/record.json"))
built, sums = record["build"]["ending"]["built"], record["package"]
for place in built, sums:
    place.update(sha256=hashlib.sha256(data).hexdigest(), sha1=hashlib.sha1(data).hexdigest(), bytes=len(data))
tar = lzma.decompress(data)
built.update(tar_sha256=hashlib.sha256(tar).hexdigest(), unpacked=len(tar))
exec(claims)
json.dump(record, open(out + "/record.json", "w"))
"#;

#[test]
fn a_lying_result_is_refused_by_name() {
    let cluster = Cluster::new();
    let place = &cluster.place;
    place.package("p", "{}", "echo p > $PKG_PATH/p");
    place.package("other", "{}", "echo other > $PKG_PATH/other");
    place.run("other", &["--executor", "local"]).ok();
    let other = place.archive("other").display().to_string();
    std::fs::write(cluster.folder.join("forge"), FORGE).unwrap();
    let forge =
        |package: &str, claims: &str| format!("python3 $here/forge $out {package} '{claims}'");
    let own = "$out/package.tar.xz";
    let cases = [
        ("echo more >> $out/package.tar.xz".to_owned(), "the size of the package of its record"),
        (
            "printf x | dd of=$out/package.tar.xz conv=notrunc status=none".to_owned(),
            "the SHA-256 of the package of its record",
        ),
        (
            "rm $out/package.tar.xz; ln -s /etc/passwd $out/package.tar.xz".to_owned(),
            "its package.tar.xz cannot be read",
        ),
        ("echo '{' > $out/record.json".to_owned(), "its record.json is not the record of a job"),
        ("echo '{\"version\": 2}' > $out/record.json".to_owned(), "version 2"),
        (forge(&other, ""), "its package.tar.xz is not a package of p--"),
        (forge(own, r#"record["job"] = "0" * 64"#), "the job of its record"),
        (forge(own, r#"record["id"] = "p--0""#), "the package of its record does not fit: p--0"),
        (forge(own, r#"record["build"]["id"] = "p--0""#), "the built package of its record"),
        (forge(own, r#"record["build"]["buildinfo"]["x"] = 1"#), "the description of its record"),
        (forge(own, r#"record["build"]["dependencies"] = ["a--1"]"#), "required packages"),
        (forge(own, r#"record["build"]["network"] = "host""#), "the network of its record"),
        (forge(own, r#"record["package"]["bytes"] = 1"#), "the size of its record"),
        (forge(own, r#"built["tar_sha256"] = "0" * 64"#), "the SHA-256 of the tar of its record"),
        (forge(own, r#"built["unpacked"] = 1"#), "the size of the tar of its record"),
        (forge(own, r#"record["outcome"] = "failed""#), "the outcome of its record"),
        (forge(own, r#"del record["package"]"#), "the outcome of its record"),
    ];
    for (lie, said) in &cases {
        // Of a copy, so that no true result is seen before.
        cluster.hook(&format!(
            "cp -r $folder/job $job/copy; sed \"s#\\\"\\$here/job\\\"#$job/copy#\" $script > $job/script
            script=$job/script; run; out=$job/copy/out; {lie}; mv $out $folder/job/out"
        ));
        let refused = cluster.run("p", &[]).fails(1);
        let refused = refused.says("the result of n").says("is refused").says(said);
        assert!(!refused.stderr.contains("submitted again"), "{}", refused.stderr);
        assert!(!place.packages.join("cache/packages/p").exists(), "{lie}");
        let aside = cluster.jobs()[0].join("refused");
        assert!(aside.is_dir(), "{lie}");
        refused.says(&format!("look at it: ls -l {}", aside.display()));
    }
    assert_eq!(cluster.submissions().len(), cases.len());
    std::fs::remove_file(cluster.folder.join("hook")).unwrap();
    cluster.run("p", &[]).ok();
    cluster.assert_clean();
}

#[test]
fn a_job_goes_on_without_its_caller_and_is_found_by_the_next_one() {
    let cluster = Cluster::new();
    let gate = Gate::new();
    cluster.place.package("p", "{}", &format!("{}; echo p > $PKG_PATH/p", gate.script()));
    for (seen, packages) in [(true, 1), (false, 2)] {
        let mut child = cluster.start("p");
        gate.wait(1);
        child.kill().unwrap();
        child.wait().unwrap();
        if seen {
            let child = cluster.start("p");
            // The second caller has read the queue before the job ends.
            std::thread::sleep(Duration::from_millis(200));
            gate.open(1);
            ran(&child.wait_with_output().unwrap()).ok().says("on n1 (slurm 1)");
        } else {
            gate.open(1);
            let id = u32::try_from(cluster.submissions().len()).unwrap();
            let is_done = || cluster.state(id).trim() == "COMPLETED";
            eventually("the job is done", END, is_done);
            cluster.run("p", &[]).ok().says("on n2 (slurm 2)");
        }
        assert_eq!(cluster.submissions().len(), packages);
        std::fs::remove_dir_all(cluster.place.packages.join("cache")).unwrap();
        cluster.assert_clean();
    }
}

#[test]
fn an_interrupt_cancels_the_jobs() {
    let cluster = Cluster::new();
    let gate = Gate::new();
    cluster.place.package("p", "{}", &gate.script());
    let child = cluster.start("p");
    gate.wait(1);
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGINT).unwrap();
    ran(&child.wait_with_output().unwrap()).fails(130);
    assert_eq!(cluster.state(1).trim(), "CANCELLED");
    gate.wait(0);
    let path = cluster.jobs()[0].join("job").display().to_string();
    eventually("the node's mkpanda has ended", END, || processes_with(&path).is_empty());
    cluster.place.assert_clean();
}

#[test]
fn a_controller_that_is_away_is_waited_for_with_one_warning() {
    let cluster = Cluster::new();
    let gate = Gate::new();
    cluster.place.package("p", "{}", &format!("{}; echo p > $PKG_PATH/p", gate.script()));
    cluster.away(true);
    let refusals = |count: usize| {
        let path = cluster.folder.join("refusals");
        let refused = || std::fs::read_to_string(&path).unwrap_or_default().lines().count();
        eventually(&format!("{count} refusals"), END, || refused() >= count);
        std::fs::remove_file(&path).unwrap();
    };
    let child = cluster.start("p");
    refusals(3);
    cluster.away(false);
    gate.wait(1);
    // Once the queue has answered, another silence is another matter.
    eventually("the job is seen", END, || cluster.folder.join("listed").exists());
    cluster.away(true);
    refusals(3);
    cluster.away(false);
    gate.open(1);
    let built = ran(&child.wait_with_output().unwrap()).ok().says("on n1 (slurm 1)");
    // Once each time.
    assert_eq!(built.stderr.matches("asked again until it answers").count(), 2, "{}", built.stderr);
    assert_eq!(cluster.submissions().len(), 1);
    cluster.assert_clean();
    // One that does not come back ends the build: 360 intervals of the configuration.
    cluster.place.package("q", "{}", "true");
    cluster.configure("");
    let text = std::fs::read_to_string(cluster.place.path().join(".config/mkpanda/config.toml"));
    cluster.place.user(&text.unwrap().replace("20ms", "1ms"));
    cluster.away(true);
    cluster.run("q", &[]).fails(1).says("Slurm has not answered").says("start it again");
}

/// Record of a machine that cannot carry a job out.
const UNABLE: &str = r#"
mkdir -p $folder/job/out
printf '{"version": 1, "id": "%s", "job": "%s", "outcome": "unable", "message": "no namespaces", "hint": "mend it"}' \
  $(sed -n 's/^  "id": "\(.*\)",/\1/p' $folder/job/job.json) $(sha256sum < $folder/job/job.json | cut -c-64) \
  > $folder/job/out/record.json
echo $id n$id > $folder/ran-on
code=75"#;

#[test]
fn a_machine_that_cannot_carry_a_job_out_is_left_out_and_this_one_helps_where_that_is_wanted() {
    let cluster = Cluster::new();
    cluster.configure("options = ['--partition=p', '--exclude=bad']");
    cluster.place.package("p", "{}", "echo p > $PKG_PATH/p");
    cluster.hook(&format!("if [ $id = 1 ]; then {UNABLE}\nelse run; fi"));
    let built = cluster.run("p", &[]).ok();
    built.says("n1 (slurm 1) cannot carry it out: no namespaces; another machine is asked for");
    let submissions = cluster.submissions();
    assert!(submissions[0].starts_with("--partition=p --exclude=bad --time=270 --parsable "));
    assert!(submissions[1].contains(" --exclude=bad,n1 "), "{submissions:?}");
    cluster.hook(UNABLE);
    cluster.place.package("q", "{}", "echo q > $PKG_PATH/q");
    let failed = cluster.run("q", &[]).fails(1);
    failed.says("no machine could carry the job out").says("no namespaces").says("hint: mend it");
    assert_eq!(cluster.submissions().len(), 5);
    cluster.configure("fallback = true");
    let built = cluster.run("q", &[]).ok();
    let built = built.says("no namespaces; it is built on this machine");
    assert!(!built.stderr.contains("built q on"), "{}", built.stderr);
    assert!(cluster.record("q").get("ran_on").is_none());
}

#[test]
fn a_job_that_waits_for_long_is_reported_with_slurms_reason() {
    let cluster = Cluster::new();
    cluster.place.package("p", "{}", "echo p > $PKG_PATH/p");
    cluster.hook("state PENDING; sleep 3; state RUNNING; run");
    let built = cluster.run("p", &[]).ok();
    assert_eq!(built.stderr.matches("Slurm's job 1 has been waiting for").count(), 1);
}

#[test]
fn what_other_machines_cannot_give_is_refused_before_anything_is_built() {
    let cluster = Cluster::new();
    cluster.place.package("p", "{}", "true");
    let refused = |arguments: &[&str], said: &str, hint: &str| {
        cluster.run("p", arguments).fails(1).says(said).says(hint);
    };
    refused(&["--network", "host"], "cannot use a machine's network", "--network none");
    refused(&["--dont-clean-after-build"], "keeps folders of this machine", "--executor local");
    cluster.place.user("");
    refused(
        &["--executor", "slurm"],
        "no folder is named that all of them share",
        "--executor-folder DIR",
    );
    let folder = cluster.place.path().join("file");
    std::fs::write(&folder, "").unwrap();
    let folder = folder.display().to_string();
    let arguments = ["--executor", "slurm", "--executor-folder", &folder];
    refused(
        &arguments,
        "the folder that is shared with Slurm's machines cannot be used",
        "--executor-folder",
    );
    cluster.configure("options = ['p']");
    refused(&[], "\"p\" is not a single option of sbatch", "");
    cluster.configure("");
    std::fs::remove_file(cluster.folder.join("bin/sbatch")).unwrap();
    // The machine may have a real one.
    let mut command = cluster.place.command("p", &[]);
    command.env("PATH", cluster.folder.join("bin"));
    let without = ran(&command.output().unwrap()).fails(1).says("there is no sbatch in PATH");
    without.says("apt-get install slurm-client");
    cluster.place.configure_first("executor.kind = 'slurm'\n");
    refused(&[], "[executor] counts in your own configuration alone", "");
    assert_eq!(cluster.submissions().len(), 0);
}

#[test]
fn a_shared_folder_that_others_may_change_is_refused() {
    let cluster = Cluster::new();
    cluster.place.package("p", "{}", "true");
    let shared = cluster.place.path().join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    let open =
        |mode| std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(mode)).unwrap();
    open(0o777);
    let refused = cluster.run("p", &[]).fails(1).says("other users may change");
    refused.says(&format!("chmod go-w {}", shared.display()));
    assert_eq!(cluster.submissions().len(), 0);
    open(0o755);
    cluster.run("p", &[]).ok();
}

#[test]
fn the_program_is_copied_into_the_shared_folder_unless_one_is_named() {
    let cluster = Cluster::new();
    cluster.place.package("p", "{}", "echo p > $PKG_PATH/p");
    let folder = cluster.place.path().join("elsewhere");
    let home = cluster.place.path().join("node").display().to_string();
    cluster.place.user(&format!("executor.poll = '20ms'\nexecutor.home = '{home}'\n"));
    let arguments = ["--executor", "slurm", "--executor-folder", folder.to_str().unwrap()];
    cluster.run("p", &arguments).ok().says("on n1 (slurm 1)");
    let copies = programs(&folder);
    assert_eq!(copies.len(), 1);
    assert_eq!(std::fs::metadata(&copies[0]).unwrap().permissions().mode() & 0o777, 0o755);
}

fn programs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("programs")).unwrap();
    entries.map(|entry| entry.unwrap().path().join("mkpanda")).collect()
}
