use super::*;
use crate::package::DEFAULT_IMAGE;

fn parse(text: &str) -> Result<BuildInfo, Problem> {
    BuildInfo::parse(text, &"p".parse().unwrap(), &Variant::DEFAULT)
}

#[test]
fn defaults_are_the_documented_ones() {
    for text in ["", "\n", "{}"] {
        let info = parse(text).unwrap();
        assert_eq!(info.build_script, "build");
        assert_eq!(info.image().as_str(), DEFAULT_IMAGE);
        assert_eq!(info.state_directory, StateDirectory::Bool(false));
        assert!(info.requires.is_empty() && info.sources.is_empty() && info.environment.is_empty());
    }
    let variant = "two.three".parse().unwrap();
    let info = BuildInfo::parse("{}", &"p".parse().unwrap(), &variant).unwrap();
    assert_eq!(info.build_script, "two.three.build");
}

#[test]
fn all_faults_are_found_in_their_order() {
    let text = r#"{
        "requries": [], "requires": ["a--1", 5, "b"], "environment": {"A": 1.5, "B-": 1},
        "sources": {"s": {"kind": "url"}, "t": {"kind": "git_loca"}}, "state_directory": 2
    }"#;
    let faults = BuildInfo::parse_all(text, &"p".parse().unwrap(), &Variant::DEFAULT).unwrap_err();
    let lines: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    assert!(lines[0].contains("no key \"requries\""), "{lines:#?}");
    let hint = faults[0].hint.as_deref().unwrap();
    assert!(hint.starts_with("did you mean requires? The keys are requires, "), "{hint}");
    assert!(lines[7].contains("state_directory must be"), "{lines:#?}");
    assert!(faults.is_sorted_by_key(|fault| fault.offset));
}

#[test]
fn a_build_script_may_be_below_the_folder_it_is_in() {
    for (written, path) in [("./build", "build"), (".//././a/b", "a/b"), ("a/b", "a/b")] {
        let info = parse(&format!(r#"{{"build_script": "{written}"}}"#)).unwrap();
        assert_eq!(info.build_script, path, "{written}");
    }
    for bad in ["./", "./../build", ".//etc/../x", "a/./b"] {
        assert!(parse(&format!(r#"{{"build_script": "{bad}"}}"#)).is_err(), "{bad}");
    }
}

#[test]
fn state_directory_keeps_its_type() {
    for (text, value) in [("true", Value::from(true)), ("1", 1.into()), ("0", 0.into())] {
        let info = parse(&format!(r#"{{"state_directory": {text}}}"#)).unwrap();
        assert_eq!(info.state_directory.to_value(), value);
    }
    for bad in ["2", "\"yes\"", "null", "1.0", "[]"] {
        assert!(parse(&format!(r#"{{"state_directory": {bad}}}"#)).is_err(), "{bad}");
    }
}

#[test]
fn what_the_original_refused_or_crashed_on_is_refused_by_name() {
    for (text, needle) in [
        ("[]", "must be an object"),
        ("null", "must be an object"),
        (r#"{"bogus": 1}"#, "no key \"bogus\""),
        (r#"{"docker": null}"#, "docker must be a string"),
        (r#"{"environment": {"A": 1.5}}"#, "fractions"),
        (r#"{"environment": {"A-B": "1"}}"#, "can't be the name of a variable"),
        (r#"{"environment": {"A": "x\ufdd0"}}"#, "the value of A has U+FDD0, which is not"),
        (r#"{"environment": {"A": "\ud83f\udfff"}}"#, "the value of A has U+1FFFF, which is not"),
        (r#"{"environment": {"A": null}}"#, "value of A"),
        (r#"{"environment": {"A": {}}}"#, "value of A"),
        (r#"{"requires": "q"}"#, "requires must be a list"),
        (r#"{"requires": [5]}"#, "a requirement must be"),
        (r#"{"requires": ["q--123"]}"#, "exact package id"),
        (r#"{"requires": [{"name": "q"}]}"#, "exactly the keys"),
        (r#"{"requires": [{"name": "q", "variant": ""}]}"#, "variant"),
        (r#"{"username": "foo"}"#, "dcos_"),
        (r#"{"username": "dcos_a", "group": "9x"}"#, "group name"),
        (r#"{"sources": {}, "single_source": {}}"#, "not both"),
        (r#"{"single_source": {}}"#, "no kind"),
        (r#"{"build_script": "../q/build"}"#, "leaves"),
        (r#"{"build_script": "/bin/sh"}"#, "leaves"),
        (r#"{"version_extra": "1-2"}"#, "version_extra"),
        (r#"{"sysctl": {"s": 1}}"#, "sysctl of s"),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.message.contains(needle), "{text}: {}", problem.message);
    }
}

#[test]
fn odd_but_accepted_things_are_warned_of() {
    for text in [
        r#"{"group": "nogroup"}"#,
        r#"{"environment": {"A": ["y", "x"]}}"#,
        r#"{"docker": "a", "docker": "b"}"#,
    ] {
        assert_eq!(parse(text).unwrap().warnings.len(), 1, "{text}");
    }
}
