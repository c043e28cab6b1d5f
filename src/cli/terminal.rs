//! Escapes text for a terminal: no control sequences, and right-to-left text in isolates.
//!
//! - Control characters become U+FFFD. Bidirectional embeddings, overrides and isolates of the text are left out: an
//!   unbalanced one would reorder what stands around it. The marks (LRM, RLM, ALM) stay.
//! - Text with right-to-left letters is put into an isolate of its own, a line at a time, so that columns and labels
//!   keep their order around it.
//! - Widths count each character by itself, as terminals do: the ligature of lam and alef takes two columns.
//!
//! Only for people: JSON never passes through here.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

const LEFT_TO_RIGHT_ISOLATE: char = '\u{2066}';
const RIGHT_TO_LEFT_ISOLATE: char = '\u{2067}';
const POP_ISOLATE: char = '\u{2069}';

/// Columns between those of a table.
const GAP: usize = 2;

/// A text on one line: safe, with white space for line breaks, in an isolate where it needs one.
pub(crate) fn line(text: &str) -> String {
    let text = one_line(text);
    isolate(&text, is_right_to_left(&text))
}

/// A text on lines of at most `width` columns: safe, broken at white space, each line in an isolate where it needs one.
/// A word that is longer than a line stands on a line of its own.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let text = safe(text);
    let right_to_left = is_right_to_left(&text);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                lines.push(isolate(&line, right_to_left));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(isolate(&line, right_to_left));
    }
    lines
}

/// The part of a diff that a text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// In both.
    Same,
    /// In the old one only.
    Old,
    /// In the new one only.
    New,
}

impl Part {
    /// The text around it: colours on a terminal, marks elsewhere.
    fn frame(self, coloured: bool) -> (&'static str, &'static str) {
        match (self, coloured) {
            (Self::Same, _) => ("", ""),
            (Self::Old, true) => ("\u{1b}[31;9m", "\u{1b}[0m"),
            (Self::New, true) => ("\u{1b}[32;1m", "\u{1b}[0m"),
            (Self::Old, false) => ("[-", "-]"),
            (Self::New, false) => ("{+", "+}"),
        }
    }
}

/// A text of parts on lines, like [`wrap`]; the direction is that of the whole text. Marks are not counted as columns.
pub(crate) fn wrap_parts(parts: &[(Part, String)], width: usize, coloured: bool) -> Vec<String> {
    let parts: Vec<_> = parts.iter().map(|(part, text)| (*part, safe(text))).collect();
    let all: String = parts.iter().map(|(_, text)| text.as_str()).collect();
    let right_to_left = is_right_to_left(&all);
    let chars: Vec<(Part, char)> = parts
        .iter()
        .flat_map(|(part, text)| text.chars().map(|c| (*part, c)))
        .collect();
    let mut lines: Vec<Vec<(Part, char)>> = vec![Vec::new()];
    let mut taken = 0;
    for word in chars.split_inclusive(|(_, c)| c.is_whitespace()) {
        let letters = word.iter().filter(|(_, c)| !c.is_whitespace());
        let columns: usize = letters.map(|(_, c)| c.width().unwrap_or_default()).sum();
        if taken > 0 && taken + columns > width {
            lines.push(Vec::new());
            taken = 0;
        }
        if columns > 0 || taken > 0 {
            taken += columns + 1;
            if let Some(line) = lines.last_mut() {
                line.extend(
                    word.iter()
                        .map(|(part, c)| (*part, if c.is_whitespace() { ' ' } else { *c })),
                );
            }
        }
    }
    lines
        .iter()
        .map(|line| isolate(&framed(line, coloured), right_to_left))
        .collect()
}

/// The characters of a line with the frames of their parts. White space at the ends of a part stays outside.
fn framed(line: &[(Part, char)], coloured: bool) -> String {
    let mut text = String::new();
    for run in line.chunk_by(|(a, _), (b, _)| a == b) {
        let part = run.first().map_or(Part::Same, |(part, _)| *part);
        let run: String = run.iter().map(|(_, c)| c).collect();
        let inside = run.trim();
        let (open, close) = if inside.is_empty() {
            ("", "")
        } else {
            part.frame(coloured)
        };
        let (before, after) = match run.find(inside) {
            Some(at) if !inside.is_empty() => (run.get(..at), run.get(at + inside.len()..)),
            _ => (Some(run.as_str()), None),
        };
        let pieces = [
            before.unwrap_or_default(),
            open,
            inside,
            close,
            after.unwrap_or_default(),
        ];
        text.extend(pieces);
    }
    text.truncate(text.trim_end_matches(' ').len());
    text
}

/// Rows in columns. The widths hold from one [`Table::take`] to the next and only grow, so that long lists can be
/// printed page by page.
pub(crate) struct Table {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut table = Self {
            widths: Vec::new(),
            rows: Vec::new(),
        };
        table.row(header.iter().copied());
        table
    }

    /// Adds a row; the cells may hold any text.
    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<_> = cells.into_iter().map(|cell| one_line(cell.as_ref())).collect();
        self.widths.resize(self.widths.len().max(cells.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = columns(cell).max(*width);
        }
        self.rows.push(cells);
    }

    /// The rows since the last time. The last column is cut where the terminal ends.
    pub(crate) fn take(&mut self, terminal: Option<usize>) -> String {
        let mut text = String::new();
        for row in std::mem::take(&mut self.rows) {
            let mut at = 0;
            let last = row.len().saturating_sub(1);
            for ((index, cell), width) in row.iter().enumerate().zip(&self.widths) {
                let cell = match terminal {
                    Some(terminal) if index == last => cut(cell, terminal.saturating_sub(at)),
                    _ => cell.clone(),
                };
                text.push_str(&isolate(&cell, is_right_to_left(&cell)));
                if index < last {
                    let padding = width.saturating_sub(columns(&cell)) + GAP;
                    let _ = write!(text, "{:padding$}", "");
                }
                at += width + GAP;
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

/// The columns that a safe text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or_default()).sum()
}

/// The width of the terminal that standard output is; `None` if it is none.
pub(crate) fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

fn one_line(text: &str) -> String {
    let safe = safe(text);
    safe.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text with `\n` for every line break, without control and bidirectional formatting characters.
fn safe(text: &str) -> String {
    let mut chars = text.chars().peekable();
    let mut safe = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => safe.push('\n'),
            '\t' => safe.push(' '),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            c => safe.push(c),
        }
    }
    safe
}

/// Cuts a text to a width, with an ellipsis where something is missing.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut room = width.saturating_sub(1);
    for c in text.chars() {
        let columns = c.width().unwrap_or_default();
        if columns > room {
            break;
        }
        room -= columns;
        cut.push(c);
    }
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

fn isolate(line: &str, right_to_left: bool) -> String {
    let open = match right_to_left {
        true if !line.is_empty() => RIGHT_TO_LEFT_ISOLATE,
        false if line.chars().any(is_right_to_left_letter) => LEFT_TO_RIGHT_ISOLATE,
        _ => return line.to_owned(),
    };
    format!("{open}{line}{POP_ISOLATE}")
}

/// Whether the first letter of a text is one of a right-to-left script (rules P2 and P3 of UAX #9).
fn is_right_to_left(text: &str) -> bool {
    text.chars()
        .find(|c| c.is_alphabetic())
        .is_some_and(is_right_to_left_letter)
}

/// Whether a letter stands in one of the blocks that Unicode keeps for right-to-left scripts.
fn is_right_to_left_letter(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFE}'
        | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
        && c.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_commands_a_terminal_is_left() {
        let hostile = "a\u{1b}[2Jb\u{7}c\u{9b}31md\u{7f}e\0f\u{202e}g\u{2069}h\u{85}i\r\nj\tk";
        assert_eq!(line(hostile), "a�[2Jb�c�31md�e�fgh i j k");
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let isolated = line(&all);
        assert!(!isolated.chars().any(char::is_control));
        let inside = isolated.trim_matches([LEFT_TO_RIGHT_ISOLATE, POP_ISOLATE]);
        assert!(
            !inside
                .chars()
                .any(|c| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'))
        );
    }

    #[test]
    fn right_to_left_text_stands_in_an_isolate_and_other_text_does_not() {
        assert_eq!(line("كورونا 19"), "\u{2067}كورونا 19\u{2069}");
        assert_eq!(line("\"كورونا\" (COVID)"), "\u{2067}\"كورونا\" (COVID)\u{2069}");
        assert_eq!(line("COVID كورونا"), "\u{2066}COVID كورونا\u{2069}");
        assert_eq!(line("שלום"), "\u{2067}שלום\u{2069}");
        assert_eq!(line("Grüße, 2022 – 你好"), "Grüße, 2022 – 你好");
        assert_eq!(line("12 ٣"), "12 ٣");
        assert_eq!(line(""), "");
    }

    #[test]
    fn lines_keep_the_direction_of_their_paragraph() {
        let lines = wrap("قال إن COVID 19 انتهى", 10);
        assert_eq!(
            lines,
            [
                "\u{2067}قال إن\u{2069}",
                "\u{2067}COVID 19\u{2069}",
                "\u{2067}انتهى\u{2069}"
            ]
        );
        assert_eq!(
            wrap("one two  three\n\nfour", 7),
            ["one two", "three", "", "four"]
        );
        assert_eq!(wrap("incomprehensible a", 5), ["incomprehensible", "a"]);
    }

    #[test]
    fn changed_parts_are_marked_in_a_pipe_and_coloured_on_a_terminal() {
        let parts = |parts: &[(Part, &str)]| {
            parts
                .iter()
                .map(|(part, text)| (*part, (*text).to_owned()))
                .collect::<Vec<_>>()
        };
        let latin = parts(&[
            (Part::Same, "The rate "),
            (Part::Old, "rose\u{1b}[2J"),
            (Part::New, "fell"),
            (Part::Same, " today\n"),
        ]);
        assert_eq!(
            wrap_parts(&latin, 80, false),
            ["The rate [-rose�[2J-]{+fell+} today"]
        );
        assert_eq!(
            wrap_parts(&latin, 80, true),
            ["The rate \u{1b}[31;9mrose�[2J\u{1b}[0m\u{1b}[32;1mfell\u{1b}[0m today"]
        );
        let arabic = parts(&[
            (Part::Same, "قال "),
            (Part::Old, "وزير الخارجية"),
            (Part::New, "رئيس الوزراء"),
            (Part::Same, " اليوم"),
        ]);
        assert_eq!(
            wrap_parts(&arabic, 80, false),
            ["\u{2067}قال [-وزير الخارجية-]{+رئيس الوزراء+} اليوم\u{2069}"]
        );
        // A part that is broken is marked on both lines.
        assert_eq!(
            wrap_parts(&arabic, 10, false),
            [
                "\u{2067}قال [-وزير-]\u{2069}",
                "\u{2067}[-الخارجية-]{+رئيس+}\u{2069}",
                "\u{2067}{+الوزراء+}\u{2069}",
                "\u{2067}اليوم\u{2069}"
            ]
        );
    }

    #[test]
    fn widths_are_those_of_a_terminal() {
        assert_eq!(columns("لا"), 2);
        assert_eq!(columns("كُتُب"), 3);
        assert_eq!(columns("你好"), 4);
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("你好吗", 4), "你…");
        assert_eq!(cut("ab cd", 4), "ab…");
        assert_eq!(cut("abc", 0), "…");
    }

    #[test]
    fn tables_line_up_cut_the_last_column_and_keep_their_widths() {
        let mut table = Table::new(&["ID", "TITLE"]);
        table.row(["a1", "كتاب"]);
        table.row(["article-2", "A long title\u{1b}"]);
        assert_eq!(
            table.take(Some(20)),
            "ID         TITLE\na1         \u{2067}كتاب\u{2069}\narticle-2  A long t…\n"
        );
        table.row(["a3", ""]);
        table.row(["a4", "b"]);
        assert_eq!(table.take(None), "a3\na4         b\n");
    }
}
