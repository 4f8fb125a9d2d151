//! `.dockerignore`, and the patterns of `--exclude`: files to leave out.
//!
//! A file is left out if the last pattern that matches the file, or one of its parent folders, has
//! no `!`. The rules are those of Docker's pattern matcher: a pattern is matched against the whole
//! path below the root; outer spaces, a leading `/` and a trailing `/` mean nothing, and `**` is
//! any number of folders.

use super::glob::Glob;
use crate::package::Problem;

/// More patterns than this are refused: each is tried on every file.
const MOST: usize = 10_000;

/// Patterns, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    patterns: Vec<IgnorePattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct IgnorePattern {
    /// True for `!`: matching paths stay.
    exception: bool,
    /// Literal prefix before the first wildcard.
    beginning: String,
    glob: Glob,
}

/// Flags of the patterns that match a folder, for its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched(Vec<bool>);

impl Patterns {
    /// Reads the text of a `.dockerignore`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        // Editors of Windows begin UTF-8 with a byte order mark, which docker drops, too.
        let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut patterns = Self::default();
        let mut offset = start;
        for line in text[start..].split_inclusive('\n') {
            let written = line.trim();
            // Only at the very beginning: after blanks a `#` is part of a name.
            if !line.starts_with('#') && !written.is_empty() {
                let (exception, pattern) = match written.strip_prefix('!') {
                    Some(pattern) => (true, pattern.trim()),
                    None => (false, written),
                };
                patterns.add(exception, pattern).map_err(|message| {
                    Problem::at(offset + (line.len() - line.trim_start().len()), message)
                })?;
            }
            offset += line.len();
        }
        Ok(patterns)
    }

    /// Parses a list of patterns.
    pub fn new<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let mut patterns = Self::default();
        for text in texts {
            let text = text.trim();
            match text.strip_prefix('!') {
                _ if text.is_empty() => {}
                Some(pattern) => patterns.add(true, pattern)?,
                None => patterns.add(false, text)?,
            }
        }
        Ok(patterns)
    }

    fn add(&mut self, exception: bool, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Err("a ! has no pattern".to_owned());
        }
        if self.patterns.len() == MOST {
            return Err(format!("there are more than {MOST} patterns"));
        }
        let clean = cleaned(text);
        let glob = Glob::deep(&clean).map_err(|_bad| format!("{text:?} is not a pattern"))?;
        // A comparison of beginnings decides for most files, and is far cheaper than the pattern.
        let special = clean.find(['*', '?', '[', '\\']).unwrap_or(clean.len());
        let beginning = clean[..special].to_owned();
        self.patterns.push(IgnorePattern { exception, beginning, glob });
        Ok(())
    }

    /// True if there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// True if a path below the root is left out; for single paths.
    pub fn leaves_out(&self, path: &str) -> bool {
        let mut matched = Matched::default();
        let mut out = false;
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for end in ends {
            (out, matched) = self.visit(&path[..end], &matched);
        }
        out
    }

    /// Returns true if a path is left out, and the flags for its entries, given the flags of its
    /// folder.
    pub fn visit(&self, path: &str, folder: &Matched) -> (bool, Matched) {
        let mut out = false;
        let mut matched = Vec::with_capacity(self.patterns.len());
        for (number, pattern) in self.patterns.iter().enumerate() {
            let above = folder.0.get(number).copied().unwrap_or(false);
            let matches = above || pattern.matches(path);
            if matches {
                out = !pattern.exception;
            }
            matched.push(matches);
        }
        (out, Matched(matched))
    }

    /// True if an exception may match below a folder that is left out.
    pub fn may_keep_below(&self, folder: &str) -> bool {
        let inside = format!("{folder}/");
        self.patterns.iter().filter(|pattern| pattern.exception).any(|pattern| {
            let beginning = &*pattern.beginning;
            beginning.starts_with(&inside)
                || inside.starts_with(beginning) && !pattern.glob.is_literal()
        })
    }
}

impl IgnorePattern {
    fn matches(&self, path: &str) -> bool {
        path.starts_with(&self.beginning) && self.glob.matches(path)
    }
}

/// Normalizes a pattern: without `./`, `//`, `x/../`, and a slash at either end.
fn cleaned(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if text.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_leave_out_what_docker_leaves_out() {
        for (patterns, path, out) in [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir", false),
            ("dir/**/", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**/file", "dir/dir/file", true),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/*.txt", "dir/dir/file.txt", true),
            ("**/**/*.txt2", "dir/dir/file.txt", false),
            ("a**", "a", true),
            ("a**", "abc", true),
            ("a**/*", "a/b", true),
            ("**file", "profile", true),
            ("**/file", "profile", false),
            ("a[b-d]e", "abe", true),
            ("a\\*b", "a*b", true),
            ("abc.def", "abcdef", false),
            ("abc.def", "abcZdef", false),
            ("abc?def", "abcZdef", true),
            ("**/foo/bar", "in/foo/bar/baz", true),
            ("docs", "docs/a/b", true),
            ("docs\n!docs/README.md", "docs/README.md", false),
            ("docs\n!docs/README.md", "docs/other", true),
            ("docs/*\n!docs/keep", "docs/keep/deep/file", false),
            ("!docs/README.md\ndocs", "docs/README.md", true),
            ("*\n!src", "src/a/b", false),
            ("*\n!src\nsrc/*.o", "src/a.o", true),
            ("*\n!a/b", "a", true),
            ("# no\n#x\n x ", "x", true),
            ("  # is one\n", "# is one", true),
            ("/a", "a", true),
            ("a/", "a", true),
            ("./a//b/../c", "a/c", true),
            ("!  a\n", "a", false),
            ("a\r\nb\r\n", "b", true),
            ("*.md", "x/a.md", false),
            ("*/temp*", "somedir/temporary.txt", true),
            ("*/*/temp*", "somedir/subdir/temporary.txt", true),
            ("temp?", "tempa", true),
        ] {
            let read = Patterns::parse(patterns).unwrap();
            assert_eq!(read.leaves_out(path), out, "{patterns:?} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_shown_with_its_place() {
        let problem = Patterns::parse("a\n  [x\n").unwrap_err();
        assert_eq!((problem.offset, &*problem.message), (Some(4), "\"[x\" is not a pattern"));
        assert!(Patterns::parse("!\n").unwrap_err().message.contains("no pattern"));
        assert!(Patterns::new(["a\\"]).is_err());
    }

    #[test]
    fn folders_are_entered_only_where_something_may_stay() {
        let may = |patterns: &str, folder: &str| {
            Patterns::parse(patterns).unwrap().may_keep_below(folder)
        };
        assert!(may("*\n!a/b", "a") && may("*\n!**/x", "a/b") && may("*\n!a/*/c", "a/b"));
        assert!(!may("*\n!a/b", "c") && !may("*", "a") && !may("*\n!a/b", "a/b/c"));
    }

    proptest! {
        #[test]
        fn a_file_in_a_folder_that_stays_out_stays_out(
            patterns in prop::collection::vec("[ab*?/]{1,5}", 1..4),
            path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
        ) {
            let read = Patterns::new(patterns.iter().map(String::as_str)).unwrap();
            if let Some((folder, _)) = path.rsplit_once('/') {
                prop_assert!(!read.leaves_out(folder) || read.leaves_out(&path));
            }
        }

        #[test]
        fn what_is_kept_below_a_folder_is_found(
            patterns in prop::collection::vec("!?[ab*/]{1,5}", 1..5),
            path in "[ab]{1,2}(/[ab]{1,2}){1,3}",
        ) {
            prop_assume!(patterns.iter().all(|pattern| pattern != "!"));
            let read = Patterns::new(patterns.iter().map(String::as_str)).unwrap();
            for (end, _) in path.match_indices('/') {
                if read.leaves_out(&path[..end]) && !read.leaves_out(&path) {
                    prop_assert!(read.may_keep_below(&path[..end]));
                }
            }
        }
    }
}
