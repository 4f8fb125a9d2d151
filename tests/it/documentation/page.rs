//! Pages: Markdown as far as the blocks in it.

use std::path::{Path, PathBuf};

/// Page with the blocks in it.
#[derive(Debug)]
pub struct Page {
    /// Path in the repository.
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// Numbers of the lines at which indented blocks begin.
    pub indented: Vec<usize>,
}

/// Block between fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Number of the line with the opening fence.
    pub line: usize,
    pub language: String,
    /// Second word behind the fence.
    pub word: Option<String>,
    pub text: String,
    /// True if the block's section says why something is not run.
    pub has_reason: bool,
}

/// Command of a `console` block with the output that the page shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    pub command: String,
    pub output: String,
}

impl Page {
    /// Finds the blocks of a page.
    pub fn read(path: &Path, text: &str) -> Self {
        let mut page = Self { path: path.to_owned(), blocks: Vec::new(), indented: Vec::new() };
        let mut open: Option<Block> = None;
        let mut section = 0;
        let mut prose = String::new();
        let mut blank = true;
        for (number, line) in text.lines().enumerate() {
            if let Some(block) = &mut open {
                if line == "```" {
                    page.blocks.extend(open.take());
                } else {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            } else if let Some(words) = line.strip_prefix("```") {
                let mut words = words.split_whitespace().map(str::to_owned);
                let (language, word) = (words.next().unwrap_or_default(), words.next());
                open = Some(Block {
                    line: number + 1,
                    language,
                    word,
                    text: String::new(),
                    has_reason: false,
                });
            } else if line.starts_with('#') {
                page.close_section(section, &prose);
                (section, prose) = (page.blocks.len(), String::new());
            } else if line.starts_with("    ") && blank {
                page.indented.push(number + 1);
            }
            if open.is_none() {
                prose.push_str(line);
                prose.push(' ');
                blank = line.trim().is_empty();
            }
        }
        assert!(open.is_none(), "{}: a block without an end", path.display());
        page.close_section(section, &prose);
        page
    }

    fn close_section(&mut self, from: usize, prose: &str) {
        for block in &mut self.blocks[from..] {
            block.has_reason = says_why(prose);
        }
    }
}

/// True for a section with a reason: `Not run: ` and a few words.
fn says_why(prose: &str) -> bool {
    prose.split_once("Not run: ").is_some_and(|(_, reason)| reason.split_whitespace().count() >= 3)
}

impl Block {
    /// True if the block is commands that the test runs.
    pub fn is_run(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "console")
            && self.word.as_deref() != Some("not-run")
    }

    /// True if the last command has to fail.
    pub fn fails(&self) -> bool {
        self.word.as_deref() == Some("fails")
    }

    /// Line of a command that names a path of the machine, or becomes root: such a command could change the machine
    /// that runs the tests.
    pub fn reaches_out(&self) -> Option<String> {
        let commands = match self.language.as_str() {
            "console" => self.typed().into_iter().map(|typed| typed.command).collect(),
            _ => self.text.clone(),
        };
        let mut end: Option<String> = None;
        for line in commands.lines() {
            if let Some(word) = &end {
                if line == word {
                    end = None;
                }
                continue;
            }
            end = line
                .split_once("<< '")
                .and_then(|(_, word)| Some(word.split_once('\'')?.0.to_owned()));
            // What single quotes hold is data.
            let open: String = line.split('\'').step_by(2).collect();
            let mut before = ' ';
            let names_path = open.char_indices().any(|(at, letter)| {
                let begins = letter == '/' && " \t\"=<>(".contains(before);
                before = letter;
                begins && !open[at..].starts_with("/dev/null")
            });
            if names_path || open.split_whitespace().any(|word| word == "sudo") {
                return Some(line.to_owned());
            }
        }
        None
    }

    /// Commands of a `console` block.
    pub fn typed(&self) -> Vec<Typed> {
        let mut found: Vec<Typed> = Vec::new();
        let mut continues = false;
        for line in self.text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                found.push(Typed { command: format!("{command}\n"), output: String::new() });
                continues = true;
                continue;
            }
            let last = found
                .last_mut()
                .unwrap_or_else(|| panic!("line {}: output without a command", self.line));
            match line.strip_prefix("> ").or_else(|| (line == ">").then_some("")) {
                Some(more) if continues => {
                    last.command.push_str(more);
                    last.command.push('\n');
                }
                _ => {
                    continues = false;
                    last.output.push_str(line);
                    last.output.push('\n');
                }
            }
        }
        found
    }
}

/// True if the output is what a page shows, where `…` stands for any text in a line, and a line of it for any lines.
pub fn fits(shown: &str, output: &str) -> bool {
    let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let output: Vec<&str> = output.lines().map(str::trim_end).collect();
    fit_lines(&shown, &output)
}

fn fit_lines(shown: &[&str], output: &[&str]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((&"…", rest)) => {
            (0..=output.len()).any(|skipped| fit_lines(rest, &output[skipped..]))
        }
        Some((line, rest)) => output
            .split_first()
            .is_some_and(|(first, further)| fit_line(line, first) && fit_lines(rest, further)),
    }
}

fn fit_line(shown: &str, line: &str) -> bool {
    match shown.split_once('…') {
        None => shown == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            starts.into_iter().any(|at| fit_line(after, &rest[at..]))
        }),
    }
}

#[test]
fn blocks_are_found_with_their_sections_reasons() {
    let text = "# A\n\n```sh\none\n```\n*Not run: it needs a network.*\n\n## B\n```console fails\n$ a\n> b\nc\n```\nx\n\n    y\n";
    let page = Page::read(Path::new("a.md"), text);
    let [first, second] = &page.blocks[..] else { panic!("{page:?}") };
    assert_eq!((first.line, first.text.as_str(), first.has_reason), (3, "one\n", true));
    assert_eq!((second.line, second.fails(), second.has_reason), (9, true, false));
    assert_eq!(second.typed(), [Typed { command: "a\nb\n".to_owned(), output: "c\n".to_owned() }]);
    assert_eq!(page.indented, [16]);
}

#[test]
fn commands_that_reach_out_are_found() {
    for (text, expected) in [
        ("cp a /usr/bin/b", true),
        ("x=$(readlink /opt/a)", true),
        ("echo a >/etc/b", true),
        ("sudo ls", true),
        ("cat > build << 'END'\ncp a /usr/b\nEND\nls ~/a ../b c/d 2> /dev/null", false),
        ("cat > build << 'END'\nEND\nls /", true),
        ("printf '#!/bin/sh\\ncp /etc/a b\\n' > build", false),
        ("panda --root=\"$machine/opt/mesosphere\"", false),
    ] {
        let page = Page::read(Path::new("a.md"), &format!("```sh\n{text}\n```\n"));
        assert_eq!(page.blocks[0].reaches_out().is_some(), expected, "{text}");
    }
}

#[test]
fn an_ellipsis_stands_for_any_text() {
    for (shown, output, expected) in [
        ("a\n", "a\n", true),
        ("a\n", "b\n", false),
        ("a…c\n", "abbc\n", true),
        ("a…c\n", "abb\n", false),
        ("a\n…\nb\n", "a\nx\ny\nb\n", true),
        ("a\n…\nb\n", "a\nb\nc\n", false),
        ("…\n", "", true),
        ("", "a\n", false),
    ] {
        assert_eq!(fits(shown, output), expected, "{shown:?} {output:?}");
    }
}
