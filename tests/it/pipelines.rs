//! `mkpanda pipeline`: pipelines of CI engines from the graph of a tree, and the jobs that they have.

use std::path::Path;

use crate::signing::Key;
use crate::support::{Place, Ran, files_below, snapshot};
use crate::tree::built;

/// A checkout with a tree of four packages.
fn checkout() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path().join("tree/.git")).unwrap();
    place.write("treeinfo.json", "{}");
    place.package("low", "{}", "echo low > $PKG_PATH/low");
    place.package(
        "lib",
        r#"{"requires": ["low"]}"#,
        "cp /opt/mesosphere/packages/low--*/low $PKG_PATH/of-low",
    );
    place.package("tool", r#"{"requires": ["low"]}"#, "echo tool > $PKG_PATH/tool");
    place.package("app", r#"{"requires": ["lib", "tool"]}"#, "echo app > $PKG_PATH/app");
    place
}

fn store(place: &Place) -> String {
    format!("--cache={}/store", place.path().display())
}

/// Runs a subcommand as in a checkout's top.
fn pipeline(place: &Place, arguments: &[&str]) -> Ran {
    let cache = store(place);
    place.run("..", &[&["-C", "packages", &cache, "pipeline"], arguments].concat())
}

/// Packages of a pipeline's commands, in their order.
fn packages_of(text: &str) -> Vec<String> {
    let commands = text.lines().filter(|line| line.contains("pipeline build "));
    let words = commands.map(|line| line.rsplit_once("/store ").unwrap().1.to_owned());
    words.map(|packages| packages.trim_end_matches('"').to_owned()).collect()
}

#[test]
fn each_engine_gets_its_form() {
    let place = checkout();
    place.write("t.yml", "env: {A: '1'}\n");
    for engine in ["gitlab", "buildkite", "github"] {
        let made = pipeline(&place, &[engine, "--tags", "linux,x64"]).ok();
        assert!(made.stderr.ends_with("4 packages in 4 jobs\n"), "{}", made.stderr);
        snapshot(&format!("pipeline-{engine}"), &place.generic(&made.stdout));
        // The same graph gives the same text, in every folder of the checkout.
        let again =
            place.run("", &[&store(&place), "pipeline", engine, "--tags", "linux,x64"]).ok();
        assert_eq!(again.stdout, made.stdout);
    }
    let with =
        pipeline(&place, &["github", "--template", "packages/t.yml", "--mkbootstrap"]).ok().stdout;
    assert_eq!(with.matches("\n    env:\n      A: \"1\"\n").count(), 4, "{with}");
    assert!(with.contains("run: mkpanda -C packages tree --mkbootstrap --cache "), "{with}");
}

#[test]
fn a_workflow_asks_the_stores_when_it_runs() {
    let place = checkout();
    let made = pipeline(&place, &["github", "--planned", "--mkbootstrap", "default"]).ok();
    snapshot("pipeline-planned", &place.generic(&made.stdout));
    // The command of its first job, as the engine's shell runs it.
    let run = made.stdout.lines().find(|line| line.contains("--waves 3")).unwrap();
    let command = run.split_once("mkpanda ").unwrap().1.split_once(" >> ").unwrap().0;
    let plan = || {
        let ran = place.run("..", &command.split(' ').collect::<Vec<_>>()).ok();
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let wanted = [
        r#"wave-1=[{"name":"build low","packages":"low:default"}]"#,
        r#"wave-2=[{"name":"build lib","packages":"lib:default"},{"name":"build tool","packages":"tool:default"}]"#,
        r#"wave-3=[{"name":"build app","packages":"app:default"}]"#,
    ];
    assert_eq!(plan(), wanted);
    // Of a workflow that was written for a flatter tree.
    let ran = pipeline(&place, &["github", "--waves", "2"]).ok();
    assert!(
        ran.stdout.contains(r#""packages":"low:default lib:default tool:default""#),
        "{}",
        ran.stdout
    );
    ran.says("warning: 2 waves for 3 levels, so neighbouring levels share jobs\n  hint: write the workflow again");
    place.run("lib", &[&store(&place)]).ok();
    let wanted = [
        r#"wave-1=[{"name":"build tool","packages":"tool:default"}]"#,
        r#"wave-2=[{"name":"build app","packages":"app:default"}]"#,
        "wave-3=[]",
    ];
    assert_eq!(plan(), wanted);
    // The file is the same, whatever the store has.
    let again = pipeline(&place, &["github", "--planned", "--mkbootstrap", "default"]).ok();
    assert_eq!(again.stdout, made.stdout);
    pipeline(&place, &["github", "--planned", "--all"]).fails(2);
}

#[test]
fn packages_that_a_store_has_get_no_job() {
    let place = checkout();
    let (cache, path) = (store(&place), place.path().join("store"));
    place.run("lib", &[&cache]).ok();
    let made = pipeline(&place, &["gitlab"]).ok();
    assert_eq!(packages_of(&made.stdout), ["tool:default", "app:default"]);
    assert!(
        made.stdout.contains("needs:\n    - job: build tool\n      artifacts: false\n  script"),
        "{}",
        made.stdout
    );
    assert_eq!(packages_of(&pipeline(&place, &["gitlab", "--all"]).ok().stdout).len(), 4);
    // What this machine alone has is of no use to jobs.
    std::fs::remove_dir_all(&path).unwrap();
    let made = pipeline(&place, &["buildkite"]).ok();
    assert_eq!(packages_of(&made.stdout).len(), 4);
    let said = "2 packages are in the tree's cache and in no store, so jobs build them again\n  hint: send what was built here: mkpanda cache push";
    assert!(made.stderr.contains(said), "{}", made.stderr);
    place.run("", &[&cache, "tree"]).ok();
    place.run("", &[&cache, "cache", "push"]).ok();
    for (engine, job) in [
        ("gitlab", "\nnothing to build:\n"),
        ("buildkite", "label: nothing to build\n"),
        ("github", "\n  nothing:\n"),
    ] {
        let made = pipeline(&place, &[engine]).ok().stdout;
        assert!(made.contains(job) && made.contains("echo 'Nothing is to be built"), "{made}");
        assert!(packages_of(&made).is_empty() && made.starts_with("# Made by `mkpanda pipeline"));
        // The bootstrap is an artifact, too.
        let made = pipeline(&place, &[engine, "--mkbootstrap"]).ok().stdout;
        assert!(made.contains("tree --mkbootstrap") && !made.contains(job), "{made}");
    }
    place.run("", &[&cache, "tree", "--mkbootstrap"]).ok();
    assert!(
        pipeline(&place, &["gitlab", "--mkbootstrap"]).ok().stdout.contains("nothing to build")
    );
    // The repository counts as well, and jobs get it.
    let url = format!("--repository-url=file://{}", path.display());
    let empty = format!("--cache={}/empty", place.path().display());
    let made = place.run("", &[&empty, &url, "pipeline", "gitlab"]).ok().stdout;
    assert!(made.contains("nothing to build"), "{made}");
    place.package("app", r#"{"requires": ["lib", "tool"]}"#, "echo new > $PKG_PATH/app");
    let made = place.run("", &[&empty, &url, "pipeline", "gitlab"]).ok().stdout;
    assert!(
        made.contains(&format!("--repository-url file://{} app:default", path.display())),
        "{made}"
    );
}

#[test]
fn variants_have_jobs_of_their_own() {
    let place = checkout();
    place.package("free", "{}", "true");
    place.write("one.treeinfo.json", r#"{"variants": {"free": "one"}}"#);
    place.write("free/one.buildinfo.json", r#"{"environment": {"A": "1"}}"#);
    let default = pipeline(&place, &["gitlab", "default"]).ok().stdout;
    assert_eq!(packages_of(&default).len(), 5);
    let one = packages_of(&pipeline(&place, &["gitlab", "--variant", "one"]).ok().stdout);
    let has = |packages: &[String], name: &str| packages.iter().any(|package| package == name);
    assert!(has(&one, "free:one") && !has(&one, "free:default"), "{one:?}");
    let both = packages_of(&pipeline(&place, &["gitlab"]).ok().stdout);
    assert!(has(&both, "free:one") && has(&both, "free:default"), "{both:?}");
}

#[test]
fn packages_share_jobs_where_there_may_not_be_as_many() {
    let place = checkout();
    let made = pipeline(&place, &["gitlab", "--max-jobs", "3"]).ok();
    assert_eq!(
        packages_of(&made.stdout),
        ["low:default", "lib:default tool:default", "app:default"]
    );
    assert!(made.stderr.ends_with("4 packages in 3 jobs\n"), "{}", made.stderr);
    let made = pipeline(&place, &["buildkite", "--max-jobs", "1"]).ok();
    assert_eq!(packages_of(&made.stdout), ["low:default lib:default tool:default app:default"]);
}

#[test]
fn pipelines_hold_no_passwords_and_begin_where_jobs_do() {
    let place = checkout();
    place
        .run("", &["pipeline", "gitlab"])
        .fails(1)
        .says("no cache is named that jobs could read and write");
    let secret = "--cache=https://user:secret@127.0.0.1:9/store";
    let ran = place.run("", &[secret, &store(&place), "pipeline", "gitlab", "--all"]).fails(1);
    assert!(!ran.stderr.contains("secret") && ran.stdout.is_empty(), "{}", ran.stderr);
    ran.says("the URL of https://127.0.0.1:9/store has a password");
    let other = checkout();
    let ran = other.run("", &["-C", place.packages.to_str().unwrap(), "pipeline", "gitlab"]);
    ran.fails(1).says("where jobs begin").says("hint: run the command in the checkout");
    place.write("t.yml", "image: x\nscript: [true]\n");
    let ran = pipeline(&place, &["gitlab", "--template", "packages/t.yml"]);
    ran.fails(1).says("packages/t.yml:2:1: \"script\" of each job is the pipeline's own");
    // A store that cannot be asked would have all packages built again.
    let ran =
        place.run("", &["--cache=http://127.0.0.1:9/store", &store(&place), "pipeline", "gitlab"]);
    ran.fails(1).says("127.0.0.1:9");
}

/// Logs of jobs by the names of packages.
fn logs(folder: &Path) -> Vec<(String, String)> {
    let logs = files_below(folder).into_iter().filter(|path| path.extension().unwrap() == "log");
    let named = |path: std::path::PathBuf| {
        let name =
            path.file_name().unwrap().to_string_lossy().split("--").next().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    logs.map(named).collect()
}

#[test]
fn a_job_builds_its_package_alone_and_the_next_one_finds_it() {
    let place = checkout();
    place.package("low", "{}", "echo low > $PKG_PATH/low; echo said");
    let build = |place: &Place, packages: &[&str]| {
        pipeline(place, &[&["build", "--logs", "../mkpanda-logs"], packages].concat())
    };
    let ran = build(&place, &["low:default"]).ok();
    assert_eq!(built(&ran.stderr).len(), 1, "{}", ran.stderr);
    assert_eq!(
        logs(&place.path().join("tree/mkpanda-logs")),
        [("low".to_owned(), "said\n".to_owned())]
    );
    // Another runner, with the same store.
    let mut other = checkout();
    other.package("low", "{}", "echo low > $PKG_PATH/low; echo said");
    other.variables.push(("MKPANDA_HOME".to_owned(), other.home.display().to_string()));
    let cache = store(&place);
    let run = |packages: &[&str]| {
        let arguments =
            [&["-C", "packages", &cache, "pipeline", "build", "--logs", "../logs"], packages]
                .concat();
        other.run("..", &arguments)
    };
    let ran = run(&["lib:default"]).ok();
    assert_eq!(built(&ran.stderr).len(), 1, "{}", ran.stderr);
    let ran = run(&["app:default", "tool:default"]).ok();
    assert_eq!(built(&ran.stderr).len(), 2, "{}", ran.stderr);
    let ran = run(&["app"]).ok();
    assert!(built(&ran.stderr).is_empty(), "{}", ran.stderr);
    let local = checkout();
    local.package("low", "{}", "echo low > $PKG_PATH/low; echo said");
    local.run("", &["tree"]).ok();
    for name in ["low", "lib", "tool", "app"] {
        let ours = local.archive(name);
        let stored = place.path().join("store/packages").join(name).join(ours.file_name().unwrap());
        assert_eq!(std::fs::read(ours).unwrap(), std::fs::read(stored).unwrap(), "{name}");
    }
}

#[test]
fn a_job_whose_package_stays_in_no_store_fails() {
    let place = checkout();
    place.run("", &["pipeline", "build", "low"]).fails(1).says("no cache is named");
    // Built before, without the store: it is sent.
    place.run("low", &[]).ok();
    let ran = pipeline(&place, &["build", "low:default"]).ok();
    assert!(built(&ran.stderr).is_empty() && place.path().join("store/packages/low").exists());
    // Of unknown origin: nothing proves that it was built here.
    place.run("tool", &[]).ok();
    std::fs::remove_dir_all(&place.home).unwrap();
    std::fs::create_dir(&place.home).unwrap();
    pipeline(&place, &["build", "tool:default"]).fails(1).says("no record of making an archive");
    // A store that takes nothing: a build says so, and ends well; a job does not.
    std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    std::fs::write(place.path().join("full"), "").unwrap();
    let full = format!("--cache={}/full/store", place.path().display());
    place.run("tool", &[&full]).ok();
    let ran = place.run("", &[&full, "pipeline", "build", "tool:default"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
}

#[test]
fn a_job_that_fails_leaves_its_log_and_the_way_to_see_it_fail_elsewhere() {
    let place = checkout();
    place.package("low", "{}", "echo broken; exit 3");
    let job = ["build", "--logs", "../logs", "--export-failed", "low:default", "tool:default"];
    let ran = pipeline(&place, &job).fails(1);
    let folder = place.path().join("tree/logs");
    assert_eq!(logs(&folder), [("low".to_owned(), "broken\n".to_owned())]);
    let again = format!(
        "to see low fail on another machine, with the same commit: mkpanda -C packages --cache {}/store pipeline build low:default\n",
        place.path().display()
    );
    let ran = ran.says(&again).says("low--");
    let command =
        ran.stderr.lines().find_map(|line| line.split_once("commit: mkpanda ")).unwrap().1;
    place.run("..", &command.split(' ').collect::<Vec<_>>()).fails(1).says("exited with code 3");
    let job =
        files_below(&folder).into_iter().find(|path| path.extension().unwrap() == "tar").unwrap();
    let listed = std::process::Command::new("tar").arg("-tf").arg(job).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("job.json") && listed.contains("log"), "{listed}");
    // Nothing else of a group is held up by a failure.
    place.package("other", "{}", "true");
    let ran = pipeline(&place, &["build", "low:default", "other:default"]).fails(1);
    assert_eq!(built(&ran.stderr), ["other"], "{}", ran.stderr);
    assert!(place.path().join("store/packages/other").exists());
}

#[test]
fn packages_without_a_trusted_signature_get_a_job_that_signs() {
    let place = checkout();
    place.run("", &[&store(&place), "tree"]).ok();
    let key = Key::new(place.path(), "own");
    let sign = format!("--sign={}", key.secret.display());
    let options = [&store(&place), &key.option(), &sign, "pipeline"].map(str::to_owned);
    let run = |more: &[&str]| {
        let options = options.iter().map(String::as_str);
        place.run("", &options.chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let made = run(&["gitlab"]).ok().stdout;
    assert_eq!(made.matches("pipeline build --").count(), 4, "{made}");
    assert!(made.contains(&sign) && made.contains(&key.option()), "{made}");
    // What is there already gets a signature of this machine, which made it.
    run(&["build", "low:default"]).ok();
    let made = run(&["gitlab"]).ok().stdout;
    assert_eq!(made.matches("pipeline build --").count(), 3, "{made}");
}
