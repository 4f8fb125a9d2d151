//! The imports of the modules of a crate, read from their text by a small tokenizer.
//!
//! An import is a `use` declaration, or a path in code that begins with `crate`, `self` or `super`.
//! A name that a module only re-exports (`pub use`) leads to the module that
//! defines it. Comments, strings and `pub(in …)` are no imports.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path below the crate, or a path in code, by its segments.
pub(super) type Path = Vec<String>;

/// The modules of a crate, and what they import.
pub(super) struct Crate {
    modules: BTreeMap<Path, Module>,
}

#[derive(Default)]
struct Module {
    /// Paths that it uses.
    uses: Vec<Path>,
    /// Names that it re-exports, and the paths that they mean.
    exports: BTreeMap<String, Path>,
}

/// Code that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// All of it.
    All,
    /// What is compiled outside of tests.
    Product,
}

impl Crate {
    /// Reads the files of a crate, given by their paths below `src` and their texts.
    pub(super) fn read<'f>(
        files: impl IntoIterator<Item = (&'f str, &'f str)>,
        code: Code,
    ) -> Self {
        let files: Vec<_> = files
            .into_iter()
            .filter(|(path, _)| code == Code::All || !is_test(path))
            .map(|(path, text)| (module_of(path), text))
            .collect();
        let known: BTreeSet<Path> = files.iter().map(|(module, _)| module.clone()).collect();
        let mut modules: BTreeMap<Path, Module> = BTreeMap::new();
        for (module, text) in files {
            let tokens = tokens(text);
            let found = modules.entry(module.clone()).or_default();
            Reader { tokens: &tokens, at: 0, known: &known, code, found }.items(&module);
        }
        Self { modules }
    }

    /// The modules that each module imports, without itself.
    pub(super) fn imports(&self) -> BTreeMap<&Path, BTreeSet<&Path>> {
        let imports = |(module, found): (_, &Module)| {
            let targets = found.uses.iter().filter_map(|path| self.home(path, 0));
            (module, targets.filter(|target| *target != module).collect())
        };
        self.modules.iter().map(imports).collect()
    }

    /// The module that defines what a path names.
    fn home(&self, path: &[String], depth: usize) -> Option<&Path> {
        let (length, (module, found)) = (0..=path.len())
            .rev()
            .find_map(|end| Some((end, self.modules.get_key_value(&path[..end])?)))?;
        let rest = &path[length..];
        let exported = rest.first().and_then(|name| found.exports.get(name));
        match exported.filter(|_| depth < 8) {
            Some(path) => self.home(&[path, &rest[1..]].concat(), depth + 1),
            None => Some(module),
        }
    }
}

/// Groups of nodes each of which leads to all others of its group.
pub(super) fn cycles<N: Ord + Clone>(edges: &BTreeMap<N, BTreeSet<N>>) -> Vec<BTreeSet<N>> {
    let reached = |from: &N| {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&N> = edges.get(from).into_iter().flatten().collect();
        while let Some(node) = open.pop() {
            if reached.insert(node.clone()) {
                open.extend(edges.get(node).into_iter().flatten());
            }
        }
        reached
    };
    let all: BTreeMap<&N, BTreeSet<N>> = edges.keys().map(|node| (node, reached(node))).collect();
    let group = |node: &N| -> BTreeSet<N> {
        let leads_back = |other: &&N| all.get(other).is_some_and(|reached| reached.contains(node));
        all[node].iter().filter(leads_back).cloned().collect()
    };
    let groups: BTreeSet<BTreeSet<N>> = edges.keys().map(group).collect();
    groups.into_iter().filter(|group| group.len() > 1).collect()
}

fn is_test(path: &str) -> bool {
    let is_one = |part: &str| {
        let name = part.trim_end_matches(".rs");
        ["tests", "fuzzing", "test_server"].contains(&name) || name.ends_with("_tests")
    };
    path.split('/').any(is_one)
}

/// The module of a file.
fn module_of(path: &str) -> Path {
    let mut parts: Path = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// Identifiers, `::`, and punctuation one by one; literals and comments are left out.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal(rest) {
            length
        } else if is_word(letter) {
            let length = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            tokens.push(&rest[..length]);
            length
        } else if rest.starts_with("::") {
            tokens.push(&rest[..2]);
            2
        } else {
            let length = letter.len_utf8();
            if !letter.is_whitespace() {
                tokens.push(&rest[..length]);
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the string, character or lifetime that a text begins with.
fn literal(text: &str) -> Option<usize> {
    for prefix in ["br", "cr", "r"] {
        let Some(body) = text.strip_prefix(prefix) else { continue };
        let hashes = body.len() - body.trim_start_matches('#').len();
        let Some(content) = body[hashes..].strip_prefix('"') else { continue };
        let end = format!("\"{}", &body[..hashes]);
        let before = text.len() - content.len();
        return Some(content.find(&end).map_or(text.len(), |at| before + at + end.len()));
    }
    let body = text.strip_prefix(['b', 'c']).unwrap_or(text);
    let quote = body.chars().next().filter(|letter| ['"', '\''].contains(letter))?;
    let content = &body[1..];
    let first = content.chars().next()?;
    if quote == '\'' && first != '\\' && !content[first.len_utf8()..].starts_with('\'') {
        // A lifetime: its name is no path.
        let is_end = |letter: char| !letter.is_alphanumeric() && letter != '_';
        return Some(text.len() - content.len() + content.find(is_end).unwrap_or(content.len()));
    }
    let mut letters = content.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Some(text.len() - content.len() + at + 1);
        }
        if letter == '\\' {
            letters.next();
        }
    }
    Some(text.len())
}

struct Reader<'r> {
    tokens: &'r [&'r str],
    at: usize,
    known: &'r BTreeSet<Path>,
    code: Code,
    found: &'r mut Module,
}

impl<'r> Reader<'r> {
    fn next(&mut self) -> Option<&'r str> {
        let token = self.peek(0)?;
        self.at += 1;
        Some(token)
    }

    fn peek(&self, ahead: usize) -> Option<&'r str> {
        self.tokens.get(self.at + ahead).copied()
    }

    /// Reads to the end of the block that has been entered.
    fn items(&mut self, module: &Path) {
        let mut is_public = false;
        while let Some(token) = self.next() {
            match token {
                "}" => return,
                "{" => self.items(module),
                "#" if self.peek(0) == Some("[") => {
                    let attribute = self.group();
                    if self.code == Code::Product && is_for_tests(attribute) {
                        self.skip();
                    }
                }
                "pub" => {
                    is_public = true;
                    if self.peek(0) == Some("(") {
                        self.group();
                    }
                    continue;
                }
                "use" => self.declaration(module, &[], is_public),
                "mod" if self.peek(1) == Some("{") => {
                    let name = self.next().unwrap_or_default();
                    self.next();
                    self.items(&[module.as_slice(), &[name.to_owned()]].concat());
                }
                word @ ("crate" | "self" | "super") if self.peek(0) == Some("::") => {
                    let mut path = vec![word.to_owned()];
                    while self.peek(0) == Some("::") && self.peek(1).is_some_and(is_name) {
                        self.next();
                        path.extend(self.next().map(str::to_owned));
                    }
                    self.found.uses.extend(self.absolute(module, &path));
                }
                _ => {}
            }
            is_public = false;
        }
    }

    /// Reads a tree of `use`, to its end.
    fn declaration(&mut self, module: &Path, above: &[String], is_public: bool) {
        let mut path = above.to_vec();
        let mut name = None;
        while let Some(token) = self.next() {
            match token {
                "{" => {
                    self.declaration(module, &path, is_public);
                    path.truncate(above.len());
                }
                "," | "}" | ";" => {
                    if path.len() > above.len() {
                        self.import(module, &path, name.take(), is_public);
                    }
                    path.truncate(above.len());
                    if token != "," {
                        return;
                    }
                }
                "as" => name = self.next(),
                "::" => {}
                token => path.push(token.to_owned()),
            }
        }
    }

    fn import(&mut self, module: &Path, path: &[String], name: Option<&str>, is_public: bool) {
        let Some(path) = self.absolute(module, path) else { return };
        match name.or(path.last().map(String::as_str)).filter(|_| is_public) {
            Some(name) => drop(self.found.exports.insert(name.to_owned(), path)),
            None => self.found.uses.push(path),
        }
    }

    /// A path from the crate's root; nothing for one that leads out of the crate.
    fn absolute(&self, module: &Path, path: &[String]) -> Option<Path> {
        let mut base = module.clone();
        let mut rest = path;
        let is_known =
            |base: &Path, name: &String| self.known.contains(&[base, &[name.clone()][..]].concat());
        match path.first()?.as_str() {
            "crate" => (base, rest) = (Path::new(), &path[1..]),
            "self" | "super" => {}
            _ => return is_known(&base, &path[0]).then(|| [&base, path].concat()),
        }
        while let Some(first) =
            rest.first().filter(|first| ["self", "super"].contains(&first.as_str()))
        {
            if first == "super" {
                base.pop()?;
            }
            rest = &rest[1..];
        }
        // `use super::module::{self, Type}`
        let rest = rest.iter().filter(|segment| *segment != "self").cloned();
        Some(base.into_iter().chain(rest).collect())
    }

    /// Reads a group in parentheses, brackets or braces, of which the first token is next.
    fn group(&mut self) -> &'r [&'r str] {
        let start = self.at;
        let mut depth = 0;
        while let Some(token) = self.next() {
            match token {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        &self.tokens[start..self.at]
    }

    /// Skips the item, field or arm after an attribute.
    fn skip(&mut self) {
        let mut is_item = false;
        while let Some(token) = self.peek(0) {
            match token {
                "(" | "[" => _ = self.group(),
                "{" => {
                    self.group();
                    return;
                }
                ";" | "}" => return,
                "," if !is_item => return,
                token => {
                    is_item |= ITEMS.contains(&token);
                    self.at += 1;
                }
            }
        }
    }
}

/// Words that begin an item, in which a comma is not its end.
const ITEMS: [&str; 8] = ["fn", "impl", "struct", "enum", "trait", "const", "static", "type"];

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

fn is_for_tests(attribute: &[&str]) -> bool {
    let is = |name: &str| attribute.contains(&name);
    is("cfg") && is("test") && !is("not")
}
