//! Runs every target over its seeds and over what it found so far.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn seeds_and_regressions_pass() {
    let mut failed = Vec::new();
    let mut taken = String::new();
    for (name, target) in TARGETS {
        let seeds = inputs(&folder("seeds").join(name));
        let regressions = inputs(&folder("regressions").join(name));
        for path in seeds.iter().chain(&regressions) {
            let data = fs_err::read(path).unwrap();
            assert!(data.len() <= 4096, "{} is too large to be kept", path.display());
            let file = path.file_name().unwrap().to_string_lossy();
            match std::panic::catch_unwind(|| target(&data)) {
                Ok(true) => _ = write!(taken, "{name} {file}, "),
                Ok(false) => {}
                Err(_) => failed.push(path.display().to_string()),
            }
        }
    }
    assert!(failed.is_empty(), "what these show is written above:\n{}", failed.join("\n"));
    // Where nothing good is among them, fuzzing would begin far from what matters.
    for (name, _) in TARGETS {
        assert!(taken.contains(&format!("{name} ")), "no seed of {name} is taken, but {taken}");
    }
}

#[test]
fn every_folder_belongs_to_a_target_and_every_target_has_a_binary() {
    let names: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for above in ["seeds", "regressions"] {
        for path in inputs(&folder(above)) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(names.contains(&name), "{} is of no target", path.display());
        }
    }
    let mut binaries: Vec<_> = inputs(&folder("targets"))
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    binaries.sort();
    let mut sorted = names;
    sorted.sort();
    assert_eq!(binaries, sorted);
}
