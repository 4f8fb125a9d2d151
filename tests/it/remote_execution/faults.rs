//! Status codes at each call, results that lie, and lost files.

use serde_json::Value;
use tonic::Code;

use super::Farm;
use super::engine::{Results, status};
use crate::support::sha256;

/// Calls of a build.
const CALLS: [&str; 7] = [
    "GetCapabilities",
    "GetActionResult",
    "FindMissingBlobs",
    "BatchUpdateBlobs",
    "ByteStream.Write",
    "Execute",
    "ByteStream.Read",
];

fn all_codes() -> impl Iterator<Item = Code> {
    (1..=16).map(Code::from_i32)
}

/// Name of a code as messages have it, without underscores and in lower case.
fn named(code: Code) -> String {
    format!("{code:?}").to_lowercase()
}

#[test]
fn each_status_code_at_each_call_ends_with_the_package_or_with_an_error_that_names_it() {
    // Side by side: most of the time passes with waiting.
    std::thread::scope(|scope| {
        for call in CALLS {
            scope.spawn(move || each_status_code_at(call));
        }
    });
}

fn each_status_code_at(call: &'static str) {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    farm.replay();
    let right = sha256(&std::fs::read(farm.place.archive("p")).unwrap());
    for code in all_codes() {
        // Once, and for ever: one of each kind.
        let for_ever = [Code::Unavailable, Code::Internal, Code::PermissionDenied];
        let times = if for_ever.contains(&code) { vec![1, u32::MAX] } else { vec![1] };
        for times in times {
            farm.forget();
            farm.engine.clear();
            farm.engine.state().failing.insert(call, (code, times));
            let run = farm.run("p", &[]);
            let said = run.stderr.replace('_', "").to_lowercase();
            if run.code == 0 {
                assert_eq!(sha256(&std::fs::read(farm.place.archive("p")).unwrap()), right);
                continue;
            }
            assert_eq!(run.code, 1, "{call} {code:?}: {}", run.stderr);
            assert!(!farm.is_built("p"));
            let may_pass = [
                Code::Unavailable,
                Code::DeadlineExceeded,
                Code::Aborted,
                Code::ResourceExhausted,
                Code::Internal,
                Code::Unknown,
            ];
            let is_named = said.contains(&named(code))
                || said.contains("time limit")
                || said.contains("cancelled on the engine")
                || said.contains("is lost");
            assert!(is_named, "{call} {code:?}: {}", run.stderr);
            assert!(times > 1 || !may_pass.contains(&code), "{call} {code:?}: {}", run.stderr);
            assert!(run.stderr.contains("hint: "), "{call} {code:?}: {}", run.stderr);
        }
    }
    farm.assert_clean();
}

#[test]
fn each_status_of_an_execution_ends_with_the_package_or_with_an_error_that_names_it() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    farm.replay();
    for code in all_codes() {
        farm.forget();
        farm.engine.clear();
        let mut is_first = true;
        farm.engine.hook(move |results: &mut Results| {
            if std::mem::take(&mut is_first) {
                results.status = Some(status(code, "as planned"));
            }
        });
        let run = farm.run("p", &[]);
        let again = [
            Code::NotFound,
            Code::Internal,
            Code::DataLoss,
            Code::Aborted,
            Code::Unavailable,
            Code::Unknown,
            Code::ResourceExhausted,
        ];
        assert_eq!(run.code, i32::from(!again.contains(&code)), "{code:?}: {}", run.stderr);
        let said = run.stderr.replace('_', "").to_lowercase();
        let is_named = said.contains(&named(code)) || said.contains("time limit");
        assert!(is_named, "{code:?}: {}", run.stderr);
    }
}

/// Rewrites the record of a result.
fn forge(results: &mut Results, change: impl FnOnce(&mut Value)) {
    let text = results.files.get_mut("out/record.json").unwrap();
    let mut record: Value = serde_json::from_slice(text).unwrap();
    change(&mut record);
    *text = serde_json::to_vec(&record).unwrap();
}

type Lie = fn(&mut Results);

#[test]
fn a_lying_result_is_refused_by_name_and_a_cached_one_is_built_again() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    farm.replay();
    let package = "out/package.tar.xz";
    let lies: [(Lie, &str); 9] = [
        (|it| it.files.get_mut("out/package.tar.xz").unwrap().push(0), "the size of the package"),
        (
            |it| *it.files.get_mut("out/package.tar.xz").unwrap().last_mut().unwrap() ^= 1,
            "the SHA-256 of the package",
        ),
        (|it| forge(it, |record| record["id"] = "p--0".into()), "the package of its record"),
        (|it| forge(it, |record| record["job"] = "0".repeat(64).into()), "the job of its record"),
        (
            |it| forge(it, |record| record["build"]["network"] = "host".into()),
            "the network of its record",
        ),
        (|it| forge(it, |record| record["package"]["bytes"] = 1.into()), "the size of its record"),
        (|it| it.exit_code = 1, "that of the exit code 1"),
        (|it| forge(it, |record| record["outcome"] = "failed".into()), "the outcome of its record"),
        (
            |it| drop(it.files.insert("out/record.json".to_owned(), b"{".to_vec())),
            "its record.json is not the record of a job",
        ),
    ];
    let count = lies.len();
    for (lie, said) in lies {
        farm.forget();
        farm.engine.clear();
        farm.engine.hook(lie);
        let refused = farm.run("p", &[]).fails(1).says(said).says("is refused");
        refused.says("the result of w");
        assert!(!farm.is_built("p"), "{said}");
        // The lie is in the engine's cache now, if the exit code was 0.
        farm.engine.state().hook = None;
        let is_cached = !farm.engine.state().actions.is_empty();
        let built = farm.run("p", &[]).ok();
        if is_cached {
            built.says("a result of the engine's cache is not used").says(said);
        }
    }
    assert!(count > 0);
    // An exit code of 0 without any output, and a package that is missing.
    for (what, said) in
        [("out/record.json", "no record: last words of the worker"), (package, "no package")]
    {
        farm.forget();
        farm.engine.clear();
        farm.engine.hook(move |results| drop(results.files.remove(what)));
        let failed = farm.run("p", &[]).fails(1).says(said);
        failed.says("the job ended 3 times without a result");
        assert_eq!(farm.engine.count("Execute"), 3);
        farm.engine.state().hook = None;
        farm.run("p", &[]).ok().says("a result of the engine's cache is not used");
    }
    farm.assert_clean();
}

#[test]
fn what_the_engine_loses_is_uploaded_again_and_not_for_ever() {
    let farm = Farm::new();
    farm.place.package("p", "{}", "echo p > $PKG_PATH/p");
    farm.replay();
    for names_missing in [false, true] {
        farm.forget();
        farm.engine.clear();
        farm.engine.state().names_missing = names_missing;
        farm.engine.state().forgets = 1;
        let built = farm.run("p", &[]).ok();
        built.says("that the engine had lost").says("run again");
    }
    farm.forget();
    farm.engine.clear();
    farm.engine.state().forgets = u32::MAX;
    farm.run("p", &[]).fails(1).says("inputs are missing");
    assert_eq!(farm.engine.count("Execute"), 3);
    farm.engine.state().forgets = 0;
    farm.run("p", &[]).ok();
    // A result whose files are lost is built again.
    farm.forget();
    farm.engine.state().blobs.clear();
    farm.run("p", &[]).ok().says("its record.json is lost; the package is built again");
    farm.assert_clean();
}
