//! Segments: the paragraphs of an article, the unit that translations are bound to.
//!
//! The source hash decides whether two texts are the same for a translator; every freshness answer rests on it, so its
//! definition carries a version and may only change together with that version.

use sha2::{Digest, Sha256};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::Invalid;
use super::ids::SegmentId;

/// What a body segment is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Running text.
    #[default]
    Paragraph,
    /// A heading inside the body.
    Subhead,
    /// A quotation set apart.
    Quote,
    /// An item of a list.
    ListItem,
    /// The caption of a picture, video or chart.
    Caption,
    /// A note by the editors.
    Note,
}

/// What a span marks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// Strong text.
    Bold,
    /// Emphasised text.
    Italic,
    /// A link to this address.
    Link(String),
    /// Code, not to be translated.
    Code,
    /// Any other inline element.
    Other,
}

/// An inline mark over `start..end`, counted in Unicode code points of the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first code point.
    pub start: u32,
    /// The code point after the last.
    pub end: u32,
    /// What it marks.
    pub mark: Mark,
}

/// A text with its inline marks, in canonical form: spans sorted, without duplicates, inside the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct MarkedText {
    text: String,
    spans: Vec<Span>,
}

impl MarkedText {
    /// Checks the text and the spans and brings the spans into canonical order.
    pub fn new(text: String, mut spans: Vec<Span>) -> Result<Self, Invalid> {
        check_text(&text)?;
        if !spans.is_empty() {
            let length = text.chars().count();
            for span in &spans {
                if span.start >= span.end || span.end as usize > length {
                    return Err(Invalid::new(format!(
                        "span {}..{} is empty or outside the text of {length} code points",
                        span.start, span.end
                    )));
                }
            }
            spans.sort();
            spans.dedup();
        }
        Ok(Self { text, spans })
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The spans, sorted by start, end and mark.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Whether there is nothing but white space.
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// Refuses characters that no text of an article may hold: control characters other than tab and line breaks.
/// Bidirectional controls and tatweel are text and stay.
pub fn check_text(text: &str) -> Result<(), Invalid> {
    // Every control character is one byte below 0x20, 0x7F, or 0xC2 followed by 0x80..=0x9F in UTF-8.
    let suspicious = |b: &u8| (*b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || *b == 0x7F || *b == 0xC2;
    if !text.as_bytes().iter().any(suspicious) {
        return Ok(());
    }
    match text
        .chars()
        .enumerate()
        .find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
    {
        Some((at, c)) => Err(Invalid::new(format!(
            "control character U+{:04X} at code point {at} is not allowed",
            u32::from(c)
        ))),
        None => Ok(()),
    }
}

/// A segment of an article's content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Its id, stable over revisions.
    pub id: SegmentId,
    /// What it is; `Paragraph` for the title and the lead.
    pub role: Role,
    /// The text with its marks.
    pub content: MarkedText,
    /// Whether it is to be translated.
    pub translate: bool,
}

/// A segment as a caller sends it: the id may still have to be assigned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DraftSegment {
    /// The id that the caller gave, if any.
    pub id: Option<SegmentId>,
    /// What it is.
    pub role: Role,
    /// The text with its marks.
    pub content: MarkedText,
    /// Whether it is to be translated.
    pub translate: bool,
}

impl DraftSegment {
    /// A translatable paragraph without marks.
    pub fn paragraph(text: String) -> Result<Self, Invalid> {
        Ok(Self {
            id: None,
            role: Role::Paragraph,
            content: MarkedText::new(text, Vec::new())?,
            translate: true,
        })
    }

    /// The segment under an assigned id.
    pub fn with_id(self, id: SegmentId) -> Segment {
        Segment {
            id,
            role: self.role,
            content: self.content,
            translate: self.translate,
        }
    }
}

/// The hash that a translation is bound to: the first 128 bits of SHA-256 over the version of this definition, the
/// role, the text in NFC with every run of white space as one space and none at the ends, and the spans in canonical
/// order. Half of SHA-256 keeps slots small; finding two texts with one hash still takes 2⁶⁴ steps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextHash(pub [u8; 16]);

impl std::fmt::Debug for TextHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The version of the hash definition; part of every hash.
const HASH_VERSION: u8 = 1;

impl TextHash {
    /// The first 128 bits of a finished SHA-256.
    pub fn finish(hasher: Sha256) -> Self {
        let digest: [u8; 32] = hasher.finalize().into();
        let mut first = [0; 16];
        first.copy_from_slice(digest.split_at(16).0);
        Self(first)
    }

    /// The hash of a source segment.
    pub fn of_source(role: Role, content: &MarkedText) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([HASH_VERSION, role_code(role)]);
        hash_text(&mut hasher, content.text());
        hash_spans(&mut hasher, content.spans());
        Self::finish(hasher)
    }

    /// The hash of a target text; it tells one exact text from another, so white space and form count.
    pub fn of_target(content: &MarkedText) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([HASH_VERSION, u8::MAX]);
        hasher.update(content.text().as_bytes());
        hash_spans(&mut hasher, content.spans());
        Self::finish(hasher)
    }
}

impl Segment {
    /// The hash that translations of this segment are bound to.
    pub fn source_hash(&self) -> TextHash {
        TextHash::of_source(self.role, &self.content)
    }
}

/// Stable codes: they are part of the hash.
fn role_code(role: Role) -> u8 {
    match role {
        Role::Paragraph => 1,
        Role::Subhead => 2,
        Role::Quote => 3,
        Role::ListItem => 4,
        Role::Caption => 5,
        Role::Note => 6,
    }
}

/// Feeds NFC text with single spaces, word by word, without building the normalised string where it is NFC already.
fn hash_text(hasher: &mut Sha256, text: &str) {
    let normalised: String;
    let nfc = if is_nfc_quick(text.chars()) == IsNormalized::Yes {
        text
    } else {
        normalised = text.nfc().collect();
        &normalised
    };
    for (index, word) in nfc.split_whitespace().enumerate() {
        if index > 0 {
            hasher.update(b" ");
        }
        hasher.update(word.as_bytes());
    }
}

fn hash_spans(hasher: &mut Sha256, spans: &[Span]) {
    for span in spans {
        let (code, href) = match &span.mark {
            Mark::Bold => (1, ""),
            Mark::Italic => (2, ""),
            Mark::Link(href) => (3, href.as_str()),
            Mark::Code => (4, ""),
            Mark::Other => (5, ""),
        };
        // 0x00 cannot occur in a text, so a span can never be mistaken for one.
        hasher.update([0, code]);
        hasher.update(span.start.to_be_bytes());
        hasher.update(span.end.to_be_bytes());
        hasher.update((href.len() as u64).to_be_bytes());
        hasher.update(href.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> TextHash {
        TextHash::of_source(Role::Paragraph, &MarkedText::new(text.into(), vec![]).unwrap())
    }

    #[test]
    fn white_space_and_normal_form_do_not_count() {
        assert_eq!(hash("one  two\nthree "), hash("one two three"));
        assert_eq!(hash("e\u{301}te\u{301}"), hash("été"));
    }

    #[test]
    fn letters_roles_marks_bidi_controls_and_tatweel_count() {
        let base = hash("سلام عليكم");
        assert_ne!(base, hash("سلا\u{640}م عليكم"));
        assert_ne!(base, hash("\u{200F}سلام عليكم"));
        assert_ne!(base, hash("سلام عليكن"));
        let text = MarkedText::new("سلام عليكم".into(), vec![]).unwrap();
        assert_ne!(base, TextHash::of_source(Role::Quote, &text));
        let bold = MarkedText::new(
            "سلام عليكم".into(),
            vec![Span {
                start: 0,
                end: 4,
                mark: Mark::Bold,
            }],
        )
        .unwrap();
        assert_ne!(base, TextHash::of_source(Role::Paragraph, &bold));
    }

    #[test]
    fn the_hash_of_a_known_text_never_changes() {
        assert_eq!(
            format!("{:?}", hash("article store")),
            "8c5a8e252ad46ae8fc6643d88ab348bc"
        );
    }

    #[test]
    fn spans_are_sorted_deduplicated_and_inside_the_text() {
        let span = |start, end, mark| Span { start, end, mark };
        let text = MarkedText::new(
            "أهلاً".into(),
            vec![
                span(2, 5, Mark::Bold),
                span(0, 1, Mark::Code),
                span(2, 5, Mark::Bold),
            ],
        )
        .unwrap();
        assert_eq!(text.spans(), [span(0, 1, Mark::Code), span(2, 5, Mark::Bold)]);
        for (start, end) in [(0, 6), (3, 3), (4, 2)] {
            assert!(
                MarkedText::new("أهلاً".into(), vec![span(start, end, Mark::Bold)]).is_err(),
                "{start}..{end}"
            );
        }
    }

    #[test]
    fn control_characters_are_named_and_refused() {
        assert!(check_text("a\tb\r\nc é €").is_ok());
        assert!(
            check_text("a\u{0}b")
                .unwrap_err()
                .0
                .contains("U+0000 at code point 1")
        );
        assert!(check_text("é\u{85}").unwrap_err().0.contains("U+0085"));
        assert!(check_text("\u{1b}[31m").is_err());
    }
}
