//! Sources as they are declared.

use super::*;

fn read(text: &str) -> Result<SourceSpec, String> {
    PackageSource::from_json(&JsonNode::parse(text).unwrap())
        .map(|source| source.spec)
        .map_err(|problem| problem.message)
}

#[test]
fn file_names_come_from_the_url() {
    for (url, name) in [
        ("https://example.org/a/b-1.tar.gz?x=1#f", "b-1.tar.gz?x=1#f"),
        ("https://example.org/a/b?x=1/2", "2"),
        ("file://foo-1.zip", "foo-1.zip"),
        ("file:///a/b%20c", "b%20c"),
    ] {
        assert_eq!(file_name(url), Some(name));
    }
    for url in ["https://example.org/", "https://example.org", "file://", "file://a/..", "nofile"] {
        assert_eq!(file_name(url), None, "{url}");
    }
}

#[test]
fn a_file_may_be_named_and_nothing_secret_is_shown() {
    let sum = "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";
    let source = |rest: &str| {
        let text = format!(r#"{{"kind": "url_extract", "sha1": "{sum}", "url": {rest}}}"#);
        PackageSource::from_json(&JsonNode::parse(&text).unwrap())
    };
    for (rest, name, archive, by_query) in [
        (r#""https://u:p@h/a.zip?t=secret""#, "a.zip?t=secret", "a.zip", true),
        (r#""https://h/a.zip#f?""#, "a.zip#f?", "a.zip", false),
        (r#""https://h/?t=secret", "filename": "b.zip""#, "b.zip", "b.zip", false),
        (r#""file://a?b.zip""#, "a?b.zip", "a?b.zip", false),
        (r#""FILE://a?b.zip""#, "a?b.zip", "a?b.zip", false),
        (r#""HTTPS://h/a.zip?t=secret""#, "a.zip?t=secret", "a.zip", true),
    ] {
        let source = source(rest).unwrap();
        let SourceSpec::UrlExtract(file) = &source.spec else { panic!("{rest}") };
        let named = (file.file_name(), file.archive_name(), file.is_named_by_query());
        assert_eq!(named, (name, archive, by_query));
        let shown = Value::from(source.shown()).to_string();
        assert!(!shown.contains("secret") && !shown.contains("u:p"), "{shown}");
    }
    for bad in ["", ".", "..", "a/b", "a\\n", &"x".repeat(248)] {
        let problem = source(&format!(r#""https://h/a.zip", "filename": "{bad}""#)).unwrap_err();
        assert!(problem.message.contains("filename"), "{}", problem.message);
    }
    let problem = source(r#""https://u:secret@h/""#).unwrap_err();
    assert!(!problem.message.contains("secret"), "{}", problem.message);
    assert!(problem.hint.unwrap().contains("filename"));
}

#[test]
fn a_git_source_calls_its_url_git_or_url() {
    let commit = "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";
    for key in ["git", "url"] {
        let text =
            format!(r#"{{"kind": "git", "{key}": "u", "ref": "{commit}", "ref_origin": "main"}}"#);
        assert!(matches!(read(&text).unwrap(), SourceSpec::Git { url, .. } if url == "u"));
    }
    let zero = "0".repeat(40);
    for reference in ["main", &commit.to_uppercase(), &zero] {
        let text =
            format!(r#"{{"kind": "git", "git": "u", "ref": "{reference}", "ref_origin": "m"}}"#);
        assert!(read(&text).unwrap_err().contains("is not a commit"), "{reference}");
    }
}

#[test]
fn a_source_name_is_one_path_component() {
    assert!("Upper@.x_+-1".parse::<SourceName>().is_ok());
    for bad in ["", ".", "..", "a/b", "latest", "x.latest", "p--1.tar.xz", "a\nb"] {
        assert!(bad.parse::<SourceName>().is_err(), "{bad}");
    }
}

#[test]
fn sums_of_other_lengths_have_a_hint() {
    for (key, text, hint) in [
        ("sha1", "A".repeat(40), Some("write it in lower case")),
        (
            "sha1",
            "a".repeat(64),
            Some("that has the length of a SHA-256; sha1sum FILE prints the right one"),
        ),
        (
            "sha256",
            "a".repeat(40),
            Some("that has the length of a SHA-1; sha256sum FILE prints the right one"),
        ),
        ("sha1", "a".repeat(39), Some("it has 39 digits; sha1sum FILE prints the whole sum")),
        ("sha1", "xyz".to_owned(), None),
    ] {
        assert_eq!(hint_of_sum(key, &text).as_deref(), hint, "{text}");
    }
}
