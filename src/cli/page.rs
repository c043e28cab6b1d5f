//! A page for people: labels, with wrapped text beside them.

use std::fmt::Write as _;

use super::terminal::{line, terminal_width, wrap};

/// Lines longer than this are hard to read, however wide the terminal is.
const LONGEST_LINE: usize = 100;
/// The columns of labels and segment ids.
pub(crate) const LABEL: usize = 12;

/// The width of a page for people.
pub(crate) fn page_width() -> usize {
    terminal_width().unwrap_or(LONGEST_LINE).min(LONGEST_LINE)
}

/// A page of labels with text beside them.
pub(crate) struct Page {
    pub(crate) text: String,
    width: usize,
}

impl Page {
    pub(crate) fn new() -> Self {
        Self {
            text: String::new(),
            width: page_width().saturating_sub(LABEL).max(20),
        }
    }

    pub(crate) fn headline(&mut self, title: Option<&str>) {
        for line in wrap(title.unwrap_or_default(), self.width + LABEL) {
            self.text.push_str(&line);
            self.text.push('\n');
        }
        self.blank();
    }

    /// A text with its label; nothing if there is no text.
    pub(crate) fn labelled(&mut self, label: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut label = line(label);
        for line in wrap(text, self.width) {
            let _ = writeln!(self.text, "{label:<width$}{line}", width = LABEL);
            label.clear();
        }
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }
}
