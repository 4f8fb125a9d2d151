//! Patterns of files: `*`, `?`, `[a-z]`, `\x` and `**`.
//!
//! Two dialects share this code. COPY uses Go's `filepath.Match`, in which no wildcard matches a
//! slash. `.dockerignore`, `--exclude` and sources with `--parents` also have `**`, which matches
//! any number of folders, including none.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    tokens: Vec<Token>,
}

/// The pattern's syntax is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadGlob;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Letter(char),
    /// `?`
    Any,
    /// `*`
    Many,
    /// `[…]`, with a flag for negation.
    Class(Vec<(char, char)>, bool),
    /// `**/`: any folders.
    Folders,
    /// `**` at the end, or where letters follow it: anything.
    Anything,
}

impl Glob {
    /// A pattern in which `**` is the same as `*`.
    pub(super) fn flat(text: &str) -> Result<Self, BadGlob> {
        Self::parse(text, false)
    }

    /// A pattern in which `**` matches folders.
    pub(super) fn deep(text: &str) -> Result<Self, BadGlob> {
        Self::parse(text, true)
    }

    fn parse(text: &str, deep: bool) -> Result<Self, BadGlob> {
        let mut tokens = Vec::new();
        let letters: Vec<char> = text.chars().collect();
        let mut at = 0;
        while let Some(&letter) = letters.get(at) {
            at += 1;
            match letter {
                '*' if deep && letters.get(at) == Some(&'*') => {
                    at += 1;
                    let folders = letters.get(at) == Some(&'/');
                    at += usize::from(folders);
                    tokens.push(match letters.get(at) {
                        None => Token::Anything,
                        Some(_) if folders => Token::Folders,
                        // At the beginning, before letters alone, it is the end of a name too.
                        Some(_) if tokens.is_empty() && is_plain(&letters[at..]) => Token::Anything,
                        Some(_) => Token::Folders,
                    });
                }
                '*' => tokens.push(Token::Many),
                '?' => tokens.push(Token::Any),
                '[' => tokens.push(class(&letters, &mut at)?),
                '\\' => {
                    tokens.push(Token::Letter(*letters.get(at).ok_or(BadGlob)?));
                    at += 1;
                }
                other => tokens.push(Token::Letter(other)),
            }
        }
        Ok(Self { tokens })
    }

    /// True if the pattern has no wildcards.
    pub(super) fn is_literal(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, Token::Letter(_)))
    }

    /// Returns the name that a literal pattern matches.
    pub(super) fn literal(&self) -> Option<String> {
        let letter = |token: &Token| match token {
            Token::Letter(letter) => Some(*letter),
            _ => None,
        };
        self.tokens.iter().map(letter).collect()
    }

    /// True if it matches a path as a whole.
    pub(super) fn matches(&self, path: &str) -> bool {
        let end = self.tokens.len();
        // All states at once instead of backtracking, whose time a pattern such as `*a*a*a*a*b`
        // makes exponential.
        let mut open = vec![false; end + 1];
        // In the middle of the folders of a `**/`.
        let mut inside = vec![false; end + 1];
        open[0] = true;
        self.skip(&mut open);
        for letter in path.chars() {
            let mut next = vec![false; end + 1];
            let mut next_inside = vec![false; end + 1];
            for (at, token) in self.tokens.iter().enumerate() {
                let folder = *token == Token::Folders && (open[at] || inside[at]);
                next_inside[at] |= folder;
                next[at + 1] |= folder && letter == '/';
                if !open[at] {
                    continue;
                }
                match token {
                    Token::Letter(wanted) => next[at + 1] |= *wanted == letter,
                    Token::Any => next[at + 1] |= letter != '/',
                    Token::Many => next[at] |= letter != '/',
                    Token::Anything => next[at] = true,
                    Token::Class(ranges, negated) => {
                        let within =
                            ranges.iter().any(|(low, high)| (low..=high).contains(&&letter));
                        next[at + 1] |= within != *negated && letter != '/';
                    }
                    Token::Folders => {}
                }
            }
            self.skip(&mut next);
            if !next.contains(&true) && !next_inside.contains(&true) {
                return false;
            }
            (open, inside) = (next, next_inside);
        }
        open[end]
    }

    /// Adds the following states where a part may match nothing.
    fn skip(&self, open: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            open[at + 1] |=
                open[at] && matches!(token, Token::Many | Token::Folders | Token::Anything);
        }
    }
}

fn is_plain(letters: &[char]) -> bool {
    !letters.iter().any(|letter| matches!(letter, '*' | '?' | '[' | ']' | '\\'))
}

/// The rest of a class, whose bracket was read.
fn class(letters: &[char], at: &mut usize) -> Result<Token, BadGlob> {
    let negated = letters.get(*at) == Some(&'^');
    *at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        // A bracket right at the beginning is an error in Go's `filepath.Match`, unlike in shells.
        if letters.get(*at) == Some(&']') && !ranges.is_empty() {
            *at += 1;
            return Ok(Token::Class(ranges, negated));
        }
        let low = class_letter(letters, at)?;
        let mut high = low;
        if letters.get(*at) == Some(&'-') {
            *at += 1;
            high = class_letter(letters, at)?;
        }
        ranges.push((low, high));
    }
}

fn class_letter(letters: &[char], at: &mut usize) -> Result<char, BadGlob> {
    let letter = *letters.get(*at).ok_or(BadGlob)?;
    *at += 1;
    match letter {
        '-' | ']' => Err(BadGlob),
        '\\' => {
            *at += 1;
            letters.get(*at - 1).copied().ok_or(BadGlob)
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flat_patterns_are_go_s() {
        for (pattern, path, result) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "-", true),
            ("[\\-x]", "a", false),
            ("*x", "xxx", true),
            ("a**", "ab", true),
            ("a/**/b", "a/x/b", true),
            ("a/**/b", "a/x/y/b", false),
        ] {
            assert_eq!(Glob::flat(pattern).unwrap().matches(path), result, "{pattern} {path}");
        }
        for bad in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\"] {
            assert_eq!(Glob::flat(bad), Err(BadGlob), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_name_matches_itself_alone(name in "[a-c*?\\[\\\\]{0,6}", other in "[a-c*]{0,6}") {
            let quoted: String = name.chars().flat_map(|letter| ['\\', letter]).collect();
            let glob = Glob::deep(&quoted).unwrap();
            prop_assert!(glob.matches(&name) && glob.is_literal());
            prop_assert_eq!(glob.literal(), Some(name.clone()));
            prop_assert_eq!(glob.matches(&other), other == name);
        }

        #[test]
        fn any_pattern_matches_or_is_refused(pattern in "[ab*?/\\[\\]^-]{0,12}", path in "[ab/]{0,12}") {
            let matches = Glob::deep(&pattern).map(|glob| glob.matches(&path));
            prop_assert!(matches.is_ok() || pattern.contains(['[', '\\']));
        }

        #[test]
        fn without_folders_stars_in_a_row_are_one(pattern in "[ab*?/]{0,8}", path in "[ab/]{0,8}") {
            let mut single = pattern.clone();
            while single.contains("**") {
                single = single.replace("**", "*");
            }
            let flat = Glob::flat(&pattern).unwrap();
            prop_assert_eq!(flat.matches(&path), Glob::deep(&single).unwrap().matches(&path));
        }
    }
}
