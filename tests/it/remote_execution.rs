//! Builds by an engine of the Remote Execution API, which runs in this process: each fault that an engine has.

mod engine;
mod faults;
mod scale;
mod services;
mod simulation;

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tonic::Code;

use crate::interrupt::{END, eventually};
use crate::support::{Place, Ran};
use engine::Engine;

/// A place with an engine.
struct Farm {
    place: Place,
    engine: Engine,
}

impl Farm {
    fn new() -> Self {
        Self::of(Engine::start)
    }

    fn of(start: fn(&Path) -> Engine) -> Self {
        let mut place = Place::new();
        place.variables.push(("SECRET".to_owned(), "of-the-caller".to_owned()));
        let engine = start(&place.path().join("engine"));
        // What runs there is the executable under test; what goes there need not be large.
        std::fs::write(place.path().join("program"), "a program").unwrap();
        let farm = Self { place, engine };
        farm.configure("");
        farm
    }

    /// Writes the user's configuration, with more keys of the engine.
    fn configure(&self, more: &str) {
        let program = self.place.path().join("program");
        self.place.user(&format!(
            "[remote]\nexecutor = '{}'\nprogram = '{}'\npatience = '400ms'\n{more}\n",
            self.engine.address,
            program.display(),
        ));
    }

    fn run(&self, package: &str, more: &[&str]) -> Ran {
        self.place.run(package, more)
    }

    /// Removes the packages, so that they are asked for again.
    fn forget(&self) {
        let cache = self.place.packages.join("cache");
        if cache.exists() {
            std::fs::remove_dir_all(cache).unwrap();
        }
    }

    fn record(&self, name: &str) -> Value {
        let folder = self.place.archive(name);
        let id = folder.file_name().unwrap().to_str().unwrap().strip_suffix(".tar.xz").unwrap();
        let path = self.place.home.join("builds").join(name).join(id).join("record.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn is_built(&self, name: &str) -> bool {
        self.place.packages.join("cache/packages").join(name).join("latest").exists()
    }

    #[track_caller]
    fn assert_clean(&self) {
        self.place.assert_clean();
        let jobs = std::fs::read_dir(self.place.home.join("remote/jobs")).unwrap();
        assert_eq!(jobs.count(), 0, "jobs are left");
    }

    /// Has the engine give the results of one build again, without a container.
    fn replay(&self) {
        self.run("p", &[]).ok();
        let state = self.engine.state();
        let result = state.actions.values().next().unwrap();
        let files = result.output_files.iter().map(|file| {
            (file.path.clone(), state.blobs[&file.digest.as_ref().unwrap().hash].clone())
        });
        let files = files.collect();
        drop(state);
        self.engine.state().replay = Some(files);
    }
}

#[test]
fn packages_that_an_engine_builds_are_those_that_are_built_here() {
    let farm = Farm::new();
    let place = &farm.place;
    place.package("lib", "{}", "echo lib > $PKG_PATH/text; env | sort > $PKG_PATH/environment");
    let script = "cat /opt/mesosphere/packages/lib--*/text > $PKG_PATH/app; echo built the app";
    place.package("app", r#"{"requires": ["lib"]}"#, script);
    let local = farm.run("app", &["--executor", "local"]).ok();
    assert!(!local.stderr.contains("remote"), "{}", local.stderr);
    let read = |name: &str| std::fs::read(place.archive(name)).unwrap();
    let [lib, app] = ["lib", "app"].map(read);
    farm.forget();
    std::fs::remove_dir_all(&place.home).unwrap();

    farm.configure("headers = { X-Test = '$SECRET' }\nproperties = { OSFamily = 'linux' }");
    let store = place.path().join("store").display().to_string();
    let more = ["-j", "3", "--cache", &store, "--remote-property", "ISA=any"];
    let built = farm.run("app", &more).ok();
    built.says("(1 of 2) on w1 (remote) in ").says("(2 of 2) on w2 (remote) in ");
    assert_eq!([read("lib"), read("app")], [lib, app]);
    assert!(!place.file_of("lib", "environment").contains("of-the-caller"));
    let record = farm.record("app");
    assert_eq!(record["ran_on"], serde_json::json!({"engine": "remote", "node": "w2"}));
    assert!(!record.to_string().contains("of-the-caller"));
    assert_eq!(place.run("", &["log", "app"]).ok().stdout, "built the app\n");
    // This machine made no container.
    let unpacked = std::fs::read_dir(place.home.join("layers")).into_iter().flatten().flatten();
    assert_eq!(unpacked.count(), 0);
    farm.assert_clean();
    let state = farm.engine.state();
    assert_eq!(state.headers["x-test"], "of-the-caller");
    assert!(state.command.environment_variables.is_empty());
    let properties = &state.platform.properties;
    let properties: Vec<&str> = properties.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(properties, ["ISA", "OSFamily"]);
    // Layers, the program and required packages go there once, whatever needs them.
    assert!(state.uploads.values().all(|count| *count == 1), "{:?}", state.uploads);
    assert!(
        state.blobs.values().all(|blob| !blob.windows(13).any(|word| word == b"of-the-caller"))
    );
    drop(state);

    // The engine's cache has the results.
    farm.forget();
    farm.run("app", &["--remote-property", "ISA=any"]).ok().says("on w2 (remote cache)");
    assert_eq!(farm.engine.count("Execute"), 2);
    // Others get the packages from the store.
    farm.forget();
    farm.run("app", &["--cache", &store]).ok().says("fetched app");
}

#[test]
fn a_build_that_fails_elsewhere_is_shown_and_not_believed_for_ever() {
    let farm = Farm::new();
    farm.engine.state().caches_failures = true;
    farm.place.package("p", "{}", "echo the last words; exit 3");
    for execution in 1..=2 {
        let failed = farm.run("p", &[]).fails(1).says("the last words");
        failed.says(&format!("the build script exited with code 3, on w{execution} (remote)"));
    }
    assert_eq!(farm.place.run("", &["log", "p"]).ok().stdout, "the last words\n");
    assert_eq!(farm.engine.count("Execute"), 2);
    let shell = farm.place.run("", &["shell", "--failed", "p", "--", "true"]).fails(1);
    shell
        .says("the last build of p failed on w2 (remote), and what its script left is not here")
        .says("--executor local --keep-failed")
        .says("mkpanda job export --failed p DIR");
    farm.assert_clean();
}

#[test]
fn a_stream_that_ends_is_taken_up_and_a_lost_operation_is_begun_anew() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    farm.replay();
    farm.forget();
    farm.engine.clear();
    farm.engine.state().short_streams = 2;
    farm.run("p", &[]).ok().says("on w2 (remote)");
    assert_eq!((farm.engine.count("Execute"), farm.engine.count("WaitExecution")), (1, 2));
    // An engine that was restarted knows nothing of it.
    farm.forget();
    farm.engine.clear();
    farm.engine.state().short_streams = 1;
    farm.engine.state().failing.insert("WaitExecution", (Code::NotFound, 1));
    farm.run("p", &[]).ok();
    assert_eq!((farm.engine.count("Execute"), farm.engine.count("WaitExecution")), (2, 1));
}

#[test]
fn a_job_that_no_worker_takes_is_reported_once_and_an_interrupt_cancels_it() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    farm.engine.state().stuck = 1;
    let more = ["--remote-property", "OSFamily=plan9"];
    let mut command = farm.place.command("p", &more);
    let stderr = farm.place.path().join("stderr");
    let file = std::fs::File::create(&stderr).unwrap();
    let mut child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
    let said = || std::fs::read_to_string(&stderr).unwrap();
    let question = "does a worker have OSFamily=plan9?";
    eventually("it is said", END, || said().contains(question));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(said().matches(question).count(), 1, "{}", said());
    assert_eq!(farm.engine.state().cancelled, ["operations/1"]);
    farm.assert_clean();
}

#[test]
fn an_engine_that_is_away_is_an_error_and_this_machine_helps_where_that_is_wanted() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    let away = ["--remote-executor", "grpc://127.0.0.1:1"];
    let failed = farm.run("p", &away).fails(1).says("the engine has not answered for");
    failed.says("does not answer").says("--executor local");
    farm.configure("fallback = true");
    let built = farm.run("p", &away).ok().says("it is built on this machine");
    assert!(!built.stderr.contains("(remote)"), "{}", built.stderr);
    assert!(farm.record("p").get("ran_on").is_none());
    // A share of the packages can be built here in any case.
    farm.forget();
    let built = farm.run("p", &["--remote-local-jobs", "1"]).ok();
    assert!(!built.stderr.contains("(remote)"), "{}", built.stderr);
    assert_eq!(farm.engine.count("Execute"), 0);
}

#[test]
fn an_engine_that_cannot_is_refused_by_name() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    let execution = farm.engine.state().capabilities.execution_capabilities.take();
    farm.run("p", &[]).fails(1).says("stores files, but builds nothing").says("--remote-instance");
    let mut state = farm.engine.state();
    state.capabilities.execution_capabilities = execution;
    state.capabilities.cache_capabilities.as_mut().unwrap().max_cas_blob_size_bytes = 1000;
    drop(state);
    farm.run("p", &[]).fails(1).says("takes files of 1000 bytes at most");
    assert_eq!(farm.engine.count("Execute"), 0);
}

#[test]
fn output_is_shown_while_a_job_runs_where_the_engine_has_a_stream_and_else_at_its_end() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo the first; sleep 1.5; echo the last; touch $PKG_PATH/x");
    farm.engine.state().names_streams = true;
    let stderr = farm.place.path().join("stderr");
    let file = std::fs::File::create(&stderr).unwrap();
    let mut command = farm.place.command("p", &["-v"]);
    let mut child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
    let said = || std::fs::read_to_string(&stderr).unwrap();
    eventually("it is shown", END, || said().contains("the first"));
    assert!(farm.engine.state().actions.is_empty(), "it came with the result");
    assert!(child.wait().unwrap().success(), "{}", said());
    let lines = |text: &str, said: &str| said.matches(text).count();
    assert_eq!([lines("the first", &said()), lines("the last", &said())], [1, 1], "{}", said());
    for (names_streams, option) in [(false, Some("-v")), (true, None)] {
        farm.forget();
        farm.engine.clear();
        farm.engine.state().names_streams = names_streams;
        let options: Vec<&str> = option.into_iter().collect();
        let said = farm.run("p", &options).ok().stderr;
        let count = options.len();
        assert_eq!([lines("the first", &said), lines("the last", &said)], [count; 2], "{said}");
    }
    // A stream that is not there keeps nothing up.
    farm.forget();
    farm.engine.clear();
    farm.engine.state().failing.insert("ByteStream.Read", (Code::NotFound, 1));
    farm.engine.state().names_streams = true;
    farm.run("p", &["-v"]).ok().says("the last");
    farm.assert_clean();
}

#[test]
fn a_storage_may_have_an_address_of_its_own() {
    let farm = Farm::of(Engine::apart);
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    farm.run("p", &[]).fails(1).says("UNIMPLEMENTED");
    let storage = farm.engine.storage.clone().unwrap();
    farm.run("p", &["--remote-cache", &storage]).ok().says("on w1 (remote) in ");
    assert_eq!(farm.engine.count("GetCapabilities"), 3);
    farm.forget();
    farm.configure(&format!("cache = '{storage}'"));
    farm.run("p", &[]).ok().says("on w1 (remote cache)");
    // Each is named where it is the one that is away.
    farm.forget();
    farm.run("p", &["--remote-cache", "grpc://127.0.0.1:1"])
        .fails(1)
        .says("the engine at grpc://127.0.0.1:1 does not answer (GetCapabilities of the storage");
    let secret = ["--remote-cache", "grpc://192.0.2.1:1", "--remote-header", "authorization=x"];
    farm.run("p", &secret).fails(1).says("would go to grpc://192.0.2.1:1 without encryption");
}

#[test]
fn a_token_is_sent_and_never_shown() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    farm.engine.state().token = Some("geheim".to_owned());
    farm.run("p", &[]).fails(1).says("UNAUTHENTICATED").says("token_file");
    std::fs::write(farm.place.path().join(".config/mkpanda/token"), "geheim\n").unwrap();
    farm.run("p", &["--remote-token-file", "../../../.config/mkpanda/token"]).ok();
    farm.forget();
    farm.engine.clear();
    farm.configure("token_file = 'token'");
    let built = farm.run("p", &["-v"]).ok();
    assert!(!built.stderr.contains("geheim"), "{}", built.stderr);
    farm.forget();
    farm.engine.clear();
    farm.configure("");
    let built = farm.run("p", &["--remote-header", "Authorization=Bearer geheim"]).ok();
    assert!(!built.stderr.contains("geheim"), "{}", built.stderr);
    // Not where others could read it on the way.
    farm.forget();
    let elsewhere =
        ["--remote-executor", "grpc://192.0.2.1:1", "--remote-header", "authorization=geheim"];
    let refused = farm.run("p", &elsewhere).fails(1).says("without encryption").says("grpcs://");
    assert!(!refused.stderr.contains("geheim"), "{}", refused.stderr);
    farm.configure("headers = { authorization = 'geheim' }");
    let shown = farm.run("p", &["config"]);
    assert!(!format!("{shown:?}").contains("geheim"), "{shown:?}");
}

#[test]
fn a_tree_cannot_name_an_engine_and_wrong_settings_are_refused_by_name() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    let refused =
        |arguments: &[&str], said: &str| drop(farm.run("p", arguments).fails(1).says(said));
    refused(&["--remote-executor", "example.org:1"], "address of an engine");
    refused(&["--remote-executor", "grpc://"], "the connection to grpc:// cannot be prepared");
    refused(&["--remote-property", "linux"], "pair NAME=VALUE");
    refused(&["--remote-header", "a b=c"], "the header \"a b\" or its value is not valid");
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    refused(&["--require-signature", key], "those that an engine builds, or has in its cache");
    let here = ["--require-signature", key, "--executor", "local"];
    farm.run("p", &here).ok();
    farm.forget();
    refused(&["--network", "host"], "cannot use a machine's network");
    let alone = ["--remote-certificate", "cert.pem"];
    farm.run("p", &alone).fails(2).says("--remote-key <FILE>");
    refused(&["--remote-cache", "example.org:1"], "address of an engine");
    let encrypted = ["--remote-executor", "grpcs://127.0.0.1:1", "--remote-ca", "no.pem"];
    refused(&encrypted, "no.pem");
    let pair = ["--remote-key", "key.pem"];
    refused(&[&encrypted[..2], &alone, &pair].concat(), "cert.pem");
    farm.configure("certificate = 'cert.pem'");
    refused(&[], "certificate together with its key");
    farm.configure("headers = { x = '$NOT_SET' }");
    refused(&[], "NOT_SET");
    farm.place.user("");
    refused(&["--executor", "remote"], "none is named");
    farm.place.configure_first("remote.executor = 'grpc://127.0.0.1:1'\n");
    refused(&[], "[remote] counts in your own configuration alone");
    assert_eq!(farm.engine.count("GetCapabilities"), 0);
}
