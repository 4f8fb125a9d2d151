//! The tests that the page on trust names: each is there, in the file or module beside its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Parts of a name of a test below which all names are other words of the page.
const LEAST_UNDERSCORES: usize = 3;

/// Paths of all sources, relative to the repository, by the names of their functions.
fn functions() -> BTreeMap<String, BTreeSet<PathBuf>> {
    let mut found: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    let mut open: Vec<PathBuf> = ["src", "tests/it"].map(PathBuf::from).into();
    while let Some(path) = open.pop() {
        let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
        if full.is_dir() {
            let entries = std::fs::read_dir(&full).unwrap();
            open.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&full).unwrap();
            for line in text.lines() {
                let name = line.trim_start().strip_prefix("fn ");
                let name = name.and_then(|rest| rest.split(['(', '<']).next());
                if let Some(name) = name {
                    found.entry(name.to_owned()).or_default().insert(path.clone());
                }
            }
        }
    }
    found
}

/// Place in the sources that a word of the page names: a file, or a folder of tests.
fn place(word: &str) -> Option<PathBuf> {
    let is_file = Path::new(word).extension().is_some_and(|extension| extension == "rs");
    match word.strip_prefix("it/") {
        Some(below) => Some(Path::new("tests/it").join(below)),
        None if is_file => Some(Path::new("src").join(word)),
        None => None,
    }
}

/// True if a test lies in a file, or in the files of its module.
fn is_in(test: &Path, named: &Path) -> bool {
    test == named || test.starts_with(named.with_extension(""))
}

#[test]
fn tests_that_the_page_on_trust_names_are_there() {
    let functions = functions();
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md"))
            .unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (number, line) in text.lines().enumerate() {
        let at = format!("docs/security.md:{}", number + 1);
        let mut named: Option<PathBuf> = None;
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "_/.:".contains(letter);
        for word in line.split(|letter| !letters(letter)) {
            let bare = word.trim_end_matches([':', '.', '/']);
            if let Some(path) = place(bare) {
                if !Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists() {
                    wrong.push(format!("{at}: {bare} is not there"));
                }
                named = Some(path);
                continue;
            }
            let (module, name) = bare.rsplit_once("::").unwrap_or(("", bare));
            let is_test = name.matches('_').count() >= LEAST_UNDERSCORES && !name.contains('/');
            if !is_test || name.starts_with('_') {
                continue;
            }
            count += 1;
            let module = module.trim_start_matches(':').replace("::", "/");
            let places = functions.get(name);
            let fits = |path: &&PathBuf| match &named {
                _ if !module.is_empty() => {
                    let first = module.split('/').next().unwrap_or_default();
                    path.with_extension("").components().any(|part| part.as_os_str() == first)
                }
                // Of the module before, in another column or line.
                _ if bare.starts_with("::") => true,
                Some(named) => is_in(path, named),
                None => true,
            };
            if !places.is_some_and(|places| places.iter().any(|path| fits(&path))) {
                let module = named.map(|named| named.display().to_string()).unwrap_or(module);
                wrong.push(format!("{at}: {module} has no test {name}"));
                named = None;
            }
        }
    }
    assert!(count > 150, "only {count} tests were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
