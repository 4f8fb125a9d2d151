//! The documents, held against the programs: commands that pages show are run, pages that are made from the programs'
//! help are compared with it, and examples of configuration are read.
//!
//! Every block of a page is fenced and has a language. Blocks of the languages `sh` and `console` are commands:
//!
//! - Those of one page run one after another in one shell, in a folder of their own with an own home, with the programs
//!   under test on `PATH` and copies of `examples/`, `rootfs/` and `scripts/`. They have no network.
//! - No command names a path of the machine, so that none changes it.
//! - A `console` block has a `$ ` before each command (`> ` before its further lines), and its output below. `…` stands
//!   for any text of a line, and alone on a line for any lines.
//! - `sh not-run` is not run, and a sentence in the same section says why (`Not run: …`).
//! - The last command of `console fails` fails, and no other one does.

mod generated;
mod page;
mod session;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mkpanda::cli::config::ConfigFile;
use page::{Block, Page};

/// Languages of blocks.
const LANGUAGES: [&str; 8] = ["sh", "console", "json", "toml", "yaml", "ini", "text", "dockerfile"];

/// Folder with `docs/` and `README.md`.
fn repository() -> PathBuf {
    crate::support::data().parent().and_then(Path::parent).unwrap().to_owned()
}

/// Paths of all pages, relative to the repository.
fn pages() -> Vec<Page> {
    let mut open: Vec<PathBuf> =
        ["README.md", "docs", "examples", "rootfs"].map(PathBuf::from).into();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let full = repository().join(&path);
        if full.is_dir() {
            let entries = std::fs::read_dir(&full).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name());
            open.extend(names.filter(|name| name != "cache").map(|name| path.join(name)));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(Page::read(&path, &std::fs::read_to_string(&full).unwrap()));
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 20, "only {} pages were found", found.len());
    found
}

/// Text between the pages' name and what is wrong with them, a page a paragraph.
#[track_caller]
fn assert_nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn commands_of_pages_do_what_the_pages_show() {
    let only = std::env::var("MKPANDA_TEST_PAGE").ok();
    let chosen = |page: &Page| only.as_ref().is_none_or(|only| page.path.ends_with(only));
    let has_commands = |page: &Page| page.blocks.iter().any(Block::is_run);
    let pages: Vec<Page> =
        pages().into_iter().filter(|page| chosen(page) && has_commands(page)).collect();
    assert!(!pages.is_empty());
    let (open, wrong) = (Mutex::new(pages.iter()), Mutex::new(Vec::new()));
    let next = || open.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(page) = next() {
                    if let Err(message) = session::run(page, &repository()) {
                        wrong.lock().unwrap().push(format!("{}: {message}", page.path.display()));
                    }
                }
            });
        }
    });
    assert_nothing(&wrong.into_inner().unwrap());
}

#[test]
fn blocks_have_a_language_and_those_that_are_not_run_say_why() {
    let mut wrong = Vec::new();
    for page in pages() {
        let place = |line: usize| format!("{}:{line}", page.path.display());
        for line in &page.indented {
            wrong.push(format!(
                "{}: an indented block; put it between fences with a language",
                place(*line)
            ));
        }
        for block in &page.blocks {
            let place = place(block.line);
            let language = block.language.as_str();
            let is_known = match block.word.as_deref() {
                Some("not-run") => matches!(language, "sh" | "console"),
                Some("fails") => language == "console",
                Some(_) => false,
                None => LANGUAGES.contains(&language),
            };
            if !is_known {
                wrong.push(format!("{place}: no such language: {language:?} {:?}", block.word));
            } else if block.word.as_deref() == Some("not-run") && !block.has_reason {
                let missing = "no sentence \"Not run: …\" in its section says why";
                wrong.push(format!("{place}: not run, and {missing}"));
            }
        }
    }
    assert_nothing(&wrong);
}

/// True for an example of `mkpanda.lock`; all other ones in TOML are configuration.
fn is_lock(block: &Block) -> bool {
    block.text.lines().any(|line| line == "version = 1")
}

/// Fault of an example in JSON or TOML.
fn fault(block: &Block) -> Option<String> {
    let text = &block.text;
    match block.language.as_str() {
        "json" => Some(serde_json::from_str::<serde_json::Value>(text).err()?.to_string()),
        "toml" if is_lock(block) => Some(toml::from_str::<toml::Table>(text).err()?.to_string()),
        "toml" => Some(toml::from_str::<ConfigFile>(text).err()?.to_string()),
        _ => None,
    }
}

#[test]
fn examples_of_json_and_configuration_can_be_read() {
    let mut wrong = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            let place = format!("{}:{}", page.path.display(), block.line);
            wrong.extend(fault(block).map(|fault| format!("{place}: {fault}")));
        }
    }
    assert_nothing(&wrong);
}
