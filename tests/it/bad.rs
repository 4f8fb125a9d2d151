//! What is wrong with trees, sources, images, configurations and builds, as the command says it:
//! the texts, the exit code, and that nothing is left behind.
//!
//! `data/bad/tree/<case>/`: `packages/`, and in `command` what is asked of it, in words; what is
//! said is in `data/bad/tree.snap`, which the tree's own tests write.
//! `data/bad/run/<case>/`: `packages/`, in `command` the folder and the arguments, and in `config`
//! what the tree's `mkpanda.toml` begins with. What is said, and left, is in `data/bad/run.snap`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::{Place, copy_folder, data, files_below, snapshot};

fn cases(kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data().join("bad").join(kind)).unwrap();
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 20, "{kind}");
    cases
}

fn name(case: &Path) -> String {
    case.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_bad_tree_is_refused_before_anything_is_done() {
    let snapshot = std::fs::read_to_string(data().join("bad/tree.snap")).unwrap();
    for case in cases("tree") {
        let place = Place::bare();
        copy_folder(&case.join("packages"), &place.packages);
        let command = std::fs::read_to_string(case.join("command")).unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        let variant = words.get(2).map(|variant| format!("--variant={variant}"));
        let (folder, mut arguments) = match words[0] {
            "package" if words[1] == "nope" => continue,
            "package" => (words[1], vec![]),
            _ => (".", vec!["tree"]),
        };
        arguments.extend(variant.as_deref().or(words.get(1).filter(|_| folder == ".").copied()));
        let ran = place.run(folder, &arguments).fails(1);
        let said = ran
            .stderr
            .replace(&format!("{}/", place.packages.display()), "")
            .replace(&place.packages.display().to_string(), "<packages>");
        let wanted =
            format!("## {}\n{}", name(&case), said.strip_prefix("error: ").unwrap().trim_end());
        // Each problem is an error of its own.
        let wanted = wanted.replace("\nerror: ", "\n");
        assert!(snapshot.contains(&wanted), "not in the snapshot:\n{wanted}");
        assert_eq!(ran.stdout, "");
        assert!(!place.packages.join("cache").exists(), "{}", name(&case));
        assert!(files_below(&place.home).is_empty(), "{}", name(&case));
    }
}

fn refused(case: &Path) -> String {
    let mut place = Place::new();
    // So that what is said comes in one order.
    place.variables.push(("MKPANDA_JOBS".to_owned(), "1".to_owned()));
    copy_folder(&case.join("packages"), &place.packages);
    if let Ok(config) = std::fs::read_to_string(case.join("config")) {
        place.configure_first(&config);
    }
    let command = std::fs::read_to_string(case.join("command")).unwrap();
    let mut words = command.split_whitespace();
    let folder = words.next().unwrap();
    let ran = place.run(folder, &words.collect::<Vec<_>>());
    place.assert_clean();
    let mut text = format!("## {}: exit code {}\n", name(case), ran.code);
    _ = writeln!(text, "{}{}", ran.stdout, place.generic(&ran.stderr).trim_end());
    let cache = place.packages.join("cache");
    for left in files_below(&cache) {
        let left = left.strip_prefix(&cache).unwrap().display().to_string();
        _ = writeln!(text, "left: {}", place.generic(&left));
    }
    text
}

#[test]
fn what_is_refused_is_named_and_nothing_is_left() {
    // Two at a time: most of it is waiting for processes.
    let cases = cases("run");
    let (one, two) = cases.split_at(cases.len() / 2);
    let all = std::thread::scope(|scope| {
        let run = |cases: &[PathBuf]| cases.iter().map(|case| refused(case)).collect::<Vec<_>>();
        let first = scope.spawn(move || run(one));
        let second = scope.spawn(move || run(two));
        [first.join().unwrap(), second.join().unwrap()].concat()
    });
    snapshot("run", &all.join("\n"));
}
