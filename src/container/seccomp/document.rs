//! The tables as `docs/isolation.md` shows them, and the test that holds document and code together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::capabilities::GRANTED;
use super::table::{self, DeniedAnswer, PolicyRow, When};

fn capabilities() -> String {
    let mut text = "| capability | what for |\n| --- | --- |\n".to_owned();
    for (capability, reason) in GRANTED {
        writeln!(text, "| `{capability}` | {reason} |").unwrap();
    }
    text
}

fn condition(when: When) -> String {
    match when {
        When::Always => String::new(),
        When::AnyBit { argument, bits } => format!("argument {argument} has bit {bits:#x}"),
        When::Equals { argument, mask: u32::MAX, value } => {
            format!("argument {argument} is {value:#x}")
        }
        When::Equals { argument, mask, value } => {
            format!("argument {argument}, masked with {mask:#o}, is {value:#o}")
        }
    }
}

/// Makes a line for each reason, answer and condition, with all of its calls.
fn calls(rows: &[PolicyRow]) -> String {
    let mut places = BTreeMap::new();
    let mut lines: Vec<(Vec<String>, &PolicyRow)> = Vec::new();
    for row in rows {
        let key = (row.reason, row.answer as u8, condition(row.when));
        let place = *places.entry(key).or_insert_with(|| {
            lines.push((Vec::new(), row));
            lines.len() - 1
        });
        // The name of a call without a number here says so.
        let only = if row.native.is_none() { " (32-bit)" } else { "" };
        lines[place].0.push(format!("`{}`{only}", row.name));
    }
    let mut text = "| calls | if | answer | why |\n| --- | --- | --- | --- |\n".to_owned();
    for (names, row) in lines {
        let answer = match row.answer {
            DeniedAnswer::Refuse => "not permitted",
            DeniedAnswer::Unknown => "unknown",
            DeniedAnswer::Pretend => "pretended",
            DeniedAnswer::Record => "recorded",
        };
        let (names, when) = (names.join(", "), condition(row.when));
        writeln!(text, "| {names} | {when} | {answer} | {} |", row.reason).unwrap();
    }
    text
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_document_shows_the_tables() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/isolation.md");
    let document = fs_err::read_to_string(&path).unwrap();
    let mut expected = document.clone();
    for (name, table) in [
        ("capabilities", capabilities()),
        ("refused", calls(&table::refused())),
        ("pretended", calls(&table::pretended())),
        ("recorded", calls(&table::recorded())),
    ] {
        let marker = format!("<!-- {name} -->\n");
        let begin = expected.find(&marker).unwrap() + marker.len();
        let end = begin + expected[begin..].find("<!-- end -->").unwrap();
        expected.replace_range(begin..end, &table);
    }
    if document != expected {
        let written = tempfile::Builder::new().suffix(".md").tempfile().unwrap();
        fs_err::write(written.path(), expected).unwrap();
        let (_, written) = written.keep().unwrap();
        panic!("the tables changed; run: cp {} {}", written.display(), path.display());
    }
}
