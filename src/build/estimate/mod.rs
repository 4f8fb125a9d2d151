//! Estimates of build times from the records of earlier builds.
//!
//! A package's last build is the best estimate for the next one: the build of the same variant
//! first, recorded in the cache's `latest`; else the newest successful build of the name, of
//! whatever id. Only the helper's phases count (preparing, building, packing): sources are in the
//! cache the second time. Only packages to be built are looked up, so a run with nothing to do
//! reads no records.
//!
//! Records are untrusted: files may be truncated or edited. Unusable records are skipped, and a
//! package without a usable record has no estimate.

mod forecast;

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::record::{self, RecordedTimes};
use crate::package::{PackageId, PackageName};
use crate::runner::home::Home;

pub use forecast::{Forecast, Remaining};

/// How many records of one name are looked into.
const LOOKED_INTO: usize = 4;

/// About how long a package's build takes; `last` is the id of the last build of the same variant.
pub fn estimate(home: &Home, name: &PackageName, last: Option<&PackageId>) -> Option<Duration> {
    let of_variant = last.and_then(|id| built_in(&home.build(id)));
    of_variant.or_else(|| newest(&home.builds(name)).iter().find_map(|folder| built_in(folder)))
}

/// The folders of a name's builds, those with the newest records first, as many as are looked into.
fn newest(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(SystemTime, std::path::PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if let Ok(changed) = fs_err::metadata(record::path(&path)).and_then(|it| it.modified()) {
            found.push((changed, path));
            // Kept short on the way: a name may have thousands of builds.
            if found.len() > 2 * LOOKED_INTO {
                keep_newest(&mut found);
            }
        }
    }
    keep_newest(&mut found);
    found.into_iter().map(|(_, path)| path).collect()
}

fn keep_newest(found: &mut Vec<(SystemTime, std::path::PathBuf)>) {
    found.sort_by(|one, other| other.cmp(one));
    found.truncate(LOOKED_INTO);
}

/// Returns the duration of a build, if its record shows success.
fn built_in(folder: &Path) -> Option<Duration> {
    record::read::<RecordedTimes>(folder)?.of_a_good_build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the record of a build, of which newer ones have a larger `age`.
    fn record(home: &Home, id: &str, text: &str, age: u64) {
        let folder = home.build(&id.parse().unwrap());
        fs_err::create_dir_all(&folder).unwrap();
        let path = folder.join("record.json");
        fs_err::write(&path, text).unwrap();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + age);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(changed).unwrap();
    }

    fn built(millis: u64) -> String {
        format!(
            r#"{{"phases": {{"wait": 90000, "fetch": 90000, "prepare": 1, "build": {millis}, "pack": 2}},
            "buildinfo": {{"x": [1]}}, "ending": {{"built": {{"bytes": 1}}}}}}"#
        )
    }

    #[test]
    fn the_variants_own_build_counts_else_the_newest_of_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned(), None);
        let ask = |last: Option<&str>| {
            let last = last.map(|id| id.parse().unwrap());
            estimate(&home, &"p".parse().unwrap(), last.as_ref())
        };
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(ask(None), None);
        record(&home, "p--1", &built(1000), 1);
        record(&home, "p--2", &built(5000), 2);
        assert_eq!(ask(None), millis(5003));
        assert_eq!(ask(Some("p--1")), millis(1003));
        assert_eq!(ask(Some("p--gone")), millis(5003));
        let failed =
            r#"{"phases": {"build": 9}, "ending": {"failed": {"phase": "build", "message": ""}}}"#;
        record(&home, "p--1", failed, 9);
        assert_eq!(ask(Some("p--1")), millis(5003));
    }

    #[test]
    fn records_that_cannot_be_used_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned(), None);
        let ask = || estimate(&home, &"p".parse().unwrap(), None);
        for (place, bad) in [
            "",
            "{",
            "[]",
            r#"{"phases": {}, "ending": {"built": {}}}"#,
            r#"{"phases": {"build": -1}, "ending": {"built": {}}}"#,
            r#"{"phases": {"build": 18446744073709551615}, "ending": {"built": {}}}"#,
        ]
        .iter()
        .enumerate()
        {
            record(&home, "p--1", bad, place as u64);
            assert_eq!(ask(), None, "{bad}");
        }
        fs_err::create_dir_all(home.builds(&"p".parse().unwrap()).join("p--3/record.json"))
            .unwrap();
        fs_err::write(home.builds(&"p".parse().unwrap()).join("file"), "").unwrap();
        record(&home, "p--2", &built(1), 0);
        assert_eq!(ask(), Some(Duration::from_millis(4)));
    }
}
