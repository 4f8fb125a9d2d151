//! Texts as others read them.

use std::path::Path;

/// A text as one word of a POSIX shell: in single quotes (POSIX.1-2017, Shell Command Language, 2.2.2).
pub(crate) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text as one word of a shell for people to read: in quotes only where these are needed.
pub(crate) fn shell_argument(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+@:,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    shell_word(text)
}

/// A path as one word of a shell for people to read.
pub(crate) fn path_argument(path: &Path) -> String {
    shell_argument(&path.display().to_string())
}

/// Command that gives a file or folder the name with `.old` behind it.
pub(crate) fn move_away(path: &Path) -> String {
    format!("mv {} {}", path_argument(path), shell_argument(&format!("{}.old", path.display())))
}

/// A text as HTML shows it, and within quoted attributes.
pub(crate) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "builder")]
    #[test]
    fn words_of_a_shell_are_quoted_where_they_need_it() {
        for (path, word) in [("/a/b-1.2", "/a/b-1.2"), ("/a b/c'd", r"'/a b/c'\''d'"), ("", "''")] {
            assert_eq!(shell_argument(path), word);
        }
    }

    #[test]
    fn a_path_with_blanks_can_be_moved_away() {
        assert_eq!(move_away(Path::new("/a b")), "mv '/a b' '/a b.old'");
    }

    #[test]
    fn texts_keep_their_meaning() {
        assert_eq!(shell_word("it's $(a)"), r"'it'\''s $(a)'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(html("<a b=\"c\">'&"), "&lt;a b=&quot;c&quot;&gt;&#39;&amp;");
    }
}
