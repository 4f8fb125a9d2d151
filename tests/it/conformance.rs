//! Tables and archives of other projects' suites, for `scripts/conformance`, which names the files.
//!
//! Each test prints a line of JSON per case: `{"case": …, "failed": null | REASON}`.

use std::path::{Path, PathBuf};

use mkpanda::archive::{ArchiveLimits, unpack_plain, unpack_source_archive};
use mkpanda::dockerfile::Dockerfile;
use mkpanda::dockerfile::expand::{Expander, expand, expand_words};
use serde_json::json;

fn folder(variable: &str) -> PathBuf {
    let folder = std::env::var_os(variable);
    folder.unwrap_or_else(|| panic!("{variable} is not set; run scripts/conformance")).into()
}

#[expect(clippy::print_stdout, reason = "the script reads the results")]
fn report(case: &str, failed: Option<&str>) {
    println!("{}", json!({ "case": case, "failed": failed }));
}

fn difference(expected: &str, found: Result<String, String>) -> Option<String> {
    match found {
        Ok(found) if expected == "error" => Some(format!("{found:?} instead of an error")),
        Ok(found) => (found != expected).then(|| format!("{found:?} instead of {expected:?}")),
        Err(_) if expected == "error" => None,
        Err(error) => Some(format!("{error} instead of {expected:?}")),
    }
}

#[test]
#[ignore = "needs BuildKit's tables; scripts/conformance runs it"]
fn words_of_buildkit() {
    let folder = folder("MKPANDA_CONFORMANCE_BUILDKIT").join("frontend/dockerfile/shell");
    let variables = [("PWD", "/home"), ("SHELL", "bash"), ("KOREAN", "한국어"), ("NULL", "")];
    let lookup = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    for (at, line) in
        std::fs::read_to_string(folder.join("envVarTest")).unwrap().lines().enumerate()
    {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [platform, source, expected] = parts.as_slice() else { panic!("{line}") };
        // W is for Windows.
        if *platform == "W" {
            continue;
        }
        let found = expand(source, &Expander::new('\\', &lookup)).map_err(|e| e.to_string());
        report(
            &format!("envVarTest:{} {platform} {source}", at + 1),
            difference(expected, found).as_deref(),
        );
    }
    let mut known: Vec<(String, String)> = Vec::new();
    for (at, line) in std::fs::read_to_string(folder.join("wordsTest")).unwrap().lines().enumerate()
    {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if let Some((name, value)) = line.strip_prefix("ENV ").and_then(|line| line.split_once('='))
        {
            known.retain(|(other, _)| other != name.trim());
            known.push((name.trim().to_owned(), value.to_owned()));
            continue;
        }
        let (source, expected) = line.split_once('|').unwrap();
        let lookup = |name: &str| {
            known.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        // Neither an expected nor a found word has a comma of its own.
        let expander = Expander::new('\\', &lookup);
        let found = expand_words(source.trim(), &expander).map(|words| words.join(","));
        let expected = expected.trim_start();
        let found = found.map_err(|error| error.to_string());
        report(
            &format!("wordsTest:{} {}", at + 1, source.trim()),
            difference(expected, found).as_deref(),
        );
    }
}

/// Files that BuildKit's parser takes are parsed, those that it refuses are refused.
#[test]
#[ignore = "needs BuildKit's files; scripts/conformance runs it"]
fn dockerfiles_of_buildkit() {
    let parser = folder("MKPANDA_CONFORMANCE_BUILDKIT").join("frontend/dockerfile/parser");
    for (name, is_good) in [("testfiles", true), ("testfiles-negative", false)] {
        for file in sorted(&parser.join(name)) {
            let text = std::fs::read(file.join("Dockerfile")).unwrap();
            let parsed = Dockerfile::parse(&String::from_utf8_lossy(&text));
            let failed = match parsed {
                Ok(_) => (!is_good).then(|| "parsed, although it has to be refused".to_owned()),
                Err(problem) => is_good.then(|| problem.message.clone()),
            };
            report(
                &format!("{name}/{}", file.file_name().unwrap().to_str().unwrap()),
                failed.as_deref(),
            );
        }
    }
}

/// Unpacks each file of a folder, `X`, into `X.unpacked`.
#[test]
#[ignore = "needs archives; scripts/conformance runs it"]
fn archives_are_unpacked() {
    let limits = ArchiveLimits { max_bytes: 1 << 30, ..ArchiveLimits::NONE };
    for file in sorted(&folder("MKPANDA_CONFORMANCE_ARCHIVES")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let target = file.with_file_name(format!("{name}.unpacked"));
        let start: Vec<u8> = std::fs::read(&file).unwrap().into_iter().take(1024).collect();
        let open = || std::fs::File::open(&file).unwrap();
        let is_zip = start.starts_with(b"PK")
            || [".zip", ".zipx", ".xps"].iter().any(|end| name.ends_with(end));
        let failed = if is_zip {
            unpack_source_archive(open(), name, &target, &limits).map(drop)
        } else {
            unpack_plain(&start, open(), &target, &limits)
        };
        report(name, failed.err().map(|error| described(&error)).as_deref());
    }
}

fn described(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(cause) => format!("{error}: {}", described(cause)),
    }
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}
