//! Plain English in the doc comments and messages of `src`: few pronouns, no doc comments that begin
//! with a question word, no message of the form "x is no y".
//!
//! A block of doc comments counts as one text, in which a code span is one word and a link is its
//! text. Files of tests do not count. Limits are shares of the whole crate: a pronoun where it is the
//! plainest word is no fault, and a comment that is hard to read may have none.

use std::fmt::Write;
use std::path::Path;

use super::{files, named};

/// Upper limit of doc comments that begin with a question word, in percent.
const QUESTIONS: f64 = 5.0;

/// Upper limit of pronouns among the words of doc comments, in percent.
const PRONOUNS: f64 = 6.0;

/// Number of offenders to name in the message of a failure.
const NAMED: usize = 25;

const QUESTION_WORDS: [&str; 11] =
    ["What", "Whether", "How", "Where", "Whose", "Whom", "Who", "Which", "Why", "When", "That"];

const PRONOUN_WORDS: [&str; 14] = [
    "it", "its", "that", "which", "what", "whose", "whom", "this", "one", "those", "them", "they",
    "who", "these",
];

/// Consecutive lines of doc comments, as one text.
struct Block {
    place: String,
    text: String,
}

impl Block {
    /// Returns the words in lower case.
    fn words(&self) -> Vec<String> {
        let is_part = |letter: char| letter.is_ascii_alphabetic() || letter == '\'';
        let words = self.text.split(|letter| !is_part(letter));
        words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect()
    }

    fn begins_with_a_question(&self) -> bool {
        let text = self.text.trim_start();
        let text = text
            .strip_prefix("By what")
            .or_else(|| text.strip_prefix("By which"))
            .map_or(QUESTION_WORDS.iter().find_map(|word| text.strip_prefix(word)), Some);
        text.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
    }

    fn pronouns(&self) -> usize {
        self.words().iter().filter(|word| PRONOUN_WORDS.contains(&word.as_str())).count()
    }
}

/// Replaces code by a single word, and links by their texts.
fn prose(text: &str) -> String {
    let outside = |text: &str, fence: &str, instead: &str| {
        let parts: Vec<&str> = text.split(fence).collect();
        let paired = parts.len() - usize::from(parts.len().is_multiple_of(2));
        let mut prose = String::new();
        for (number, part) in parts.iter().enumerate() {
            let is_code = number % 2 == 1 && number < paired;
            prose.push_str(if is_code { instead } else { part });
        }
        prose
    };
    let text = outside(&outside(text, "```", " "), "`", "X");
    let mut prose = String::new();
    let mut rest = text.as_str();
    while let Some((before, link)) = rest.split_once('[') {
        let Some((shown, behind)) = link.split_once(']') else { break };
        prose.push_str(before);
        prose.push_str(shown);
        let target = [('(', ')'), ('[', ']')].into_iter().find_map(|(opening, closing)| {
            Some(behind.strip_prefix(opening)?.split_once(closing)?.1)
        });
        rest = target.unwrap_or(behind);
    }
    prose + rest
}

/// Returns the doc comments of a file that have words.
fn blocks(path: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().chain([""]).enumerate() {
        let line = line.trim_start();
        if let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) {
            let (_, text) = open.get_or_insert((number + 1, String::new()));
            text.push_str(doc);
            text.push(' ');
        } else if let Some((first, text)) = open.take() {
            blocks.push(Block { place: format!("src/{path}:{first}"), text: prose(&text) });
        }
    }
    blocks.retain(|block| !block.words().is_empty());
    blocks
}

/// True for a line with "x is no y" in a string.
fn denies_by_no(line: &str) -> bool {
    let string = line.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
    let Some((string, _)) = string.filter(|_| !line.trim_start().starts_with("//")) else {
        return false;
    };
    [" is no ", " are no "].into_iter().any(|verb| {
        string.match_indices(verb).any(|(at, _)| {
            let (before, behind) = (&string[..at], &string[at + verb.len()..]);
            let names_a_thing = behind.starts_with(|next: char| next == '{' || next.is_lowercase());
            let is_usual = ["longer", "more", "such"].iter().any(|word| behind.starts_with(word));
            names_a_thing && !is_usual && !before.to_lowercase().ends_with("there")
        })
    })
}

/// Files whose texts count: all but those of tests.
fn counted() -> Vec<(String, String)> {
    let files = files();
    let is_of_tests = |path: &str| {
        Path::new(path).components().any(|part| part.as_os_str() == "tests")
            || Path::new(path).file_name().is_some_and(|name| name == "tests.rs")
    };
    let counted = named(&files).filter(|(path, _)| !is_of_tests(path));
    counted.map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}

/// Fails if a share of all is above the limit, with the places of the worst offenders.
fn check(subject: &str, share: f64, limit: f64, mut offenders: Vec<(f64, &Block)>) {
    offenders.sort_by(|one, other| other.0.total_cmp(&one.0));
    let lines = offenders.iter().take(NAMED).map(|(_, block)| {
        let text: String = block.text.trim().chars().take(100).collect();
        format!("{}: {text}\n", block.place)
    });
    let lines: String = lines.collect();
    assert!(share <= limit, "{share:.2} % {subject}, more than {limit} %; begin with\n{lines}");
}

fn count(words: usize) -> f64 {
    f64::from(u32::try_from(words).unwrap())
}

fn percent(part: usize, all: usize) -> f64 {
    100.0 * count(part) / count(all.max(1))
}

#[test]
fn few_doc_comments_begin_with_a_question() {
    let blocks: Vec<Block> = counted().iter().flat_map(|(path, text)| blocks(path, text)).collect();
    let asking: Vec<(f64, &Block)> = blocks
        .iter()
        .filter(|block| block.begins_with_a_question())
        .map(|block| (1.0, block))
        .collect();
    let share = percent(asking.len(), blocks.len());
    check("of doc comments begin with What, How and the like", share, QUESTIONS, asking);
}

#[test]
fn few_words_of_doc_comments_are_pronouns() {
    let blocks: Vec<Block> = counted().iter().flat_map(|(path, text)| blocks(path, text)).collect();
    let words = blocks.iter().map(|block| block.words().len()).sum();
    let pronouns = blocks.iter().map(Block::pronouns).sum();
    let surplus =
        |block: &Block| count(block.pronouns()) - PRONOUNS / 100.0 * count(block.words().len());
    let rich = blocks.iter().map(|block| (surplus(block), block));
    let share = percent(pronouns, words);
    check("of the words in doc comments are pronouns", share, PRONOUNS, rich.collect());
}

#[test]
fn no_message_says_is_no() {
    let mut wrong = String::new();
    for (path, text) in counted() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| denies_by_no(line)) {
            writeln!(wrong, "src/{path}:{}: {}", number + 1, line.trim()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "say \"is not a …\" instead of \"is no …\":\n{wrong}");
}

#[test]
fn texts_are_measured_as_they_are_read() {
    let of = |text: &str| blocks("x.rs", text).pop().unwrap();
    let block = of("fn x() {}\n/// Whose `it` this [is](that) and [`Own`]:\n/// one's.\nfn y() {}");
    assert_eq!(block.place, "src/x.rs:2");
    assert_eq!(block.words(), ["whose", "x", "this", "is", "and", "x", "one's"]);
    assert_eq!((block.pronouns(), block.begins_with_a_question()), (2, true));
    assert!(!of("//! Whatever it is.").begins_with_a_question());
    assert!(of("/// By what it is known.").begins_with_a_question());
    assert_eq!(of("/// A list:\n/// ```text\n/// it it\n/// ```\n/// End.").words().len(), 3);
    assert!(blocks("x.rs", "///\n// it\n").is_empty());
    for (line, expected) in [
        (r#"#[error("{0} is no number")]"#, true),
        (r#"format!("{x} are no {y}")"#, true),
        (r#"format!("there is no file {y}")"#, false),
        (r#""it is no longer active", "is no more""#, false),
        (r#"// "it is no number""#, false),
        ("// it is no number", false),
    ] {
        assert_eq!(denies_by_no(line), expected, "{line}");
    }
}
