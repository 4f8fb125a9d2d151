//! Tables on stdout: a header, aligned columns, the last one broken at words where a window is too narrow.

use super::span::width;

/// Blanks between columns.
const GAP: usize = 2;
/// Least width of the last column, in which words are broken off.
const LEAST: usize = 16;

/// A table: a header and rows with as many cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    rows: Vec<Vec<String>>,
    /// Columns of numbers, which end below one another.
    numbers: &'static [usize],
}

impl Columns {
    /// Creates a table with a header.
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|cell| (*cell).to_owned()).collect()], numbers: &[] }
    }

    /// Aligns columns at the right; the last column is always aligned at the left.
    #[must_use]
    pub fn numbers(mut self, columns: &'static [usize]) -> Self {
        self.numbers = columns;
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| cell.replace(['\n', '\t'], " ")).collect());
    }

    /// Text of the table in a window with so many columns; `None` for lines of any length.
    pub fn text(&self, window: Option<usize>) -> String {
        let count = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..count)
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max())
            .map(Option::unwrap_or_default)
            .collect();
        let before: usize = widths.iter().rev().skip(1).map(|width| width + GAP).sum();
        let room = window.map(|window| window.saturating_sub(before).max(LEAST));
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let cells = row.iter().zip(&widths).take(count.saturating_sub(1));
            for (at, (cell, wide)) in cells.enumerate() {
                let padding = " ".repeat(wide - width(cell));
                let (before, after) =
                    if self.numbers.contains(&at) { (&*padding, "") } else { ("", &*padding) };
                line.extend([before, cell, after, &" ".repeat(GAP)]);
            }
            let last = row.last().map(String::as_str).unwrap_or_default();
            for (number, part) in broken(last, room).into_iter().enumerate() {
                if number > 0 {
                    line = " ".repeat(before);
                }
                line.push_str(&part);
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        text
    }
}

/// A text in lines of at most so many columns, broken at words; a longer word has a line of its own.
fn broken(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() && width(line) + 1 + width(word) > room {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Columns of the window that stdout is; `None` if stdout is not a terminal.
pub fn stdout_width() -> Option<usize> {
    let (columns, _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(columns.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_is_broken_at_words() {
        let mut table = Columns::new(&["NAME", "REQUIRES"]);
        table.row(["a".to_owned(), "one two three four five".to_owned()]);
        table.row(["日本".to_owned(), String::new()]);
        assert_eq!(table.text(None), "NAME  REQUIRES\na     one two three four five\n日本\n");
        let narrow = "NAME  REQUIRES\na     one two three\n      four five\n日本\n";
        assert_eq!(table.text(Some(22)), narrow);
        let mut table = Columns::new(&["NAME", "SIZE", "USE"]).numbers(&[1]);
        table.row(["a".to_owned(), "10 MB".to_owned(), "now".to_owned()]);
        table.row(["b".to_owned(), "1 B".to_owned(), "never".to_owned()]);
        assert_eq!(table.text(None), "NAME   SIZE  USE\na     10 MB  now\nb       1 B  never\n");
    }

    #[test]
    fn the_last_column_has_some_room_however_narrow_the_window_is() {
        let mut table = Columns::new(&["NAME", "REQUIRES"]);
        table.row(["a".to_owned(), "one two three four five".to_owned()]);
        let narrow = "NAME  REQUIRES\na     one two three\n      four five\n";
        assert_eq!(table.text(Some(3)), narrow);
    }
}
