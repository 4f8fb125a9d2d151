//! References in comments, scripts and documents lead to documents of this repository and to sections
//! that exist: `docs/format.md, "Package id"` in text, `[here](format.md#package-id)` in Markdown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Documents that are not in the repository.
const ELSEWHERE: [&str; 5] = ["SPEC", "DESIGN", "HOUSE_STYLE", "CONTAINER_FACTS", "RELEASE_FACTS"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Text files below some folders, by their paths in the repository.
fn texts(folders: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| repository().join(folder)).collect();
    let mut found = BTreeMap::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.insert(path.strip_prefix(repository()).unwrap().to_owned(), text);
        }
    }
    found
}

/// Text that people read: all of a document; of other files the comments, each on one line.
fn prose(path: &Path, text: &str) -> String {
    if path.extension().is_some_and(|extension| extension == "md") {
        return text.to_owned();
    }
    let marks: &[&str] = match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => &["//! ", "/// ", "// "],
        _ => &["# "],
    };
    let comment = |line: &str| {
        let line = line.trim_start();
        marks.iter().find_map(|mark| line.strip_prefix(mark)).map(str::to_owned)
    };
    let lines = text.lines().map(|line| comment(line).unwrap_or_else(|| "\n".to_owned()));
    lines.collect::<Vec<_>>().join(" ")
}

/// Documents and sections that a text refers to, as in `docs/format.md, "Package id"`.
fn references(prose: &str) -> Vec<(&str, &str)> {
    let parts = prose.match_indices(".md, \"").filter_map(|(at, mark)| {
        let begin = prose[..at].rfind([' ', '\n', '(', '`', '[']).map_or(0, |space| space + 1);
        let rest = &prose[at + mark.len()..];
        Some((&prose[begin..at + ".md".len()], &rest[..rest.find('"')?]))
    });
    parts.collect()
}

/// Files and anchors that a document links to; an empty anchor is the whole file. Examples have no links.
fn links(document: &str) -> Vec<(&str, &str)> {
    let outside = document.split("\n```").step_by(2);
    let targets = outside.flat_map(|text| text.split("](").skip(1));
    let targets = targets.filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.split_once('#').unwrap_or((target, ""))).collect()
}

/// Headings of a document, outside of its examples.
fn headings(document: &str) -> Vec<&str> {
    let mut in_example = false;
    let outside = document.lines().filter(|line| {
        let fence = line.starts_with("```");
        in_example ^= fence;
        !fence && !in_example
    });
    outside
        .filter_map(|line| line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' '))
        .collect()
}

/// Anchor of a heading, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn comments_refer_to_sections_that_exist() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in
        texts(&["src", "tests/it", "tests/layering", "scripts", "docs", "README.md"])
    {
        let prose = prose(&path, &text);
        let words = prose.split(|c: char| !c.is_alphanumeric() && c != '_');
        wrong.extend(
            words
                .filter(|word| ELSEWHERE.contains(word))
                .map(|word| format!("{}: {word} is not in this repository", path.display())),
        );
        for (document, section) in references(&prose) {
            seen += 1;
            let text = fs::read_to_string(repository().join(document)).unwrap_or_default();
            if !headings(&text).contains(&section) {
                wrong.push(format!("{}: {document} has no section {section:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 20, "only {seen} references were found");
}

#[test]
fn links_in_documents_lead_to_files_and_sections_that_exist() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in texts(&["docs", "README.md", "examples", "rootfs"]) {
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        for (document, section) in links(&text).into_iter().filter(|link| !link.0.contains("://")) {
            seen += 1;
            let target = match document {
                "" => path.clone(),
                _ => path.parent().unwrap().join(document),
            };
            let target = repository().join(target);
            let text = fs::read_to_string(&target).unwrap_or_default();
            let has_section = section.is_empty()
                || headings(&text).iter().any(|heading| anchor(heading) == section);
            if !target.exists() || !has_section {
                wrong.push(format!("{}: {document}#{section}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "only {seen} links were found");
}

#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(repository().join("docs/README.md")).unwrap();
    let targets: Vec<&str> = links(&index).into_iter().map(|(file, _)| file).collect();
    let pages = texts(&["docs"]).into_keys().filter_map(|path| {
        let is_page = path.extension().is_some_and(|extension| extension == "md");
        is_page.then(|| path.strip_prefix("docs").unwrap().to_str().unwrap().to_owned())
    });
    let missing: Vec<String> =
        pages.filter(|name| name != "README.md" && !targets.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "docs/README.md does not list {missing:?}");
}

#[test]
fn references_are_found_across_lines() {
    let text = "//! Ids (docs/format.md,\n//! \"Package id\").\nfn f() {} // no comment line\n";
    assert_eq!(references(&prose(Path::new("a.rs"), text)), [("docs/format.md", "Package id")]);
    assert_eq!(references("See `docs/a.md`, \"B\"."), []);
    assert_eq!(
        links("[a](b.md#c-d), [e](f.md)\n```sh\n[i](j)\n```\n[g](#h)"),
        [("b.md", "c-d"), ("f.md", ""), ("", "h")]
    );
    assert_eq!(headings("# A\n```\n# no\n```\n### B c\n#no"), ["A", "B c"]);
    assert_eq!(anchor("Keys of buildinfo.json"), "keys-of-buildinfojson");
}
