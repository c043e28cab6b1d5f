//! Requests to domain values. Every conversion collects all wrong fields before it fails.

/// The translation that a request names.
macro_rules! translation_name {
    ($request:expr, $fields:expr) => {
        $crate::api::convert::name(
            &$request.article_id,
            &$request.language,
            &$request.translation_id,
            $fields,
        )
    };
}

mod article;
mod changes;
mod coverage;
mod job;
mod quality;
mod query;
mod reading;
mod translation;
mod workflow;

use std::collections::HashSet;
use std::fmt::Display;

use prost_types::Timestamp as PbTimestamp;

use crate::api::Limits;
use crate::domain::article::{ArticleId, MAX_FIELD, MAX_LIST, MAX_SEGMENTS, MAX_URL};
use crate::domain::date::{ArticleDate, Precision, offset_out_of_range};
use crate::domain::etag::ExpectedEtag;
use crate::domain::ids::{SegmentId, TranslationId};
use crate::domain::language::Language;
use crate::domain::segment::{DraftSegment, Mark, MarkedText, Role, Span, check_text};
use crate::domain::time::Timestamp;
use crate::domain::url::CanonicalUrl;
use crate::domain::{Invalid, Violation};
use crate::pb;
use crate::service::view::View;
use crate::service::{Error, Result};

#[cfg(any(test, fuzzing))]
pub(super) use article::MASK_FIELDS;
pub(super) use article::{Update, alias, article, significance, status_change, update};
pub(super) use changes::{change_filter, checkpoint_interval, watch_start};
pub(super) use coverage::coverage;
pub(super) use job::{
    article_ids, claim, failure_message, job_request, no_page, policy, retry_after, work, work_provenance,
};
pub(super) use quality::evidence;
use quality::quality_issues;
pub(super) use query::query;
pub(super) use reading::reading;
pub(super) use translation::{agent, attached_state, effort, external_uri, quality_scores, target_texts};
pub(super) use translation_name;
pub(super) use workflow::{acknowledgement, name, rejection, review, selection, withdrawal};

/// Wrong fields, gathered while a request is converted, and what the caller may not ask for.
#[derive(Default)]
pub(in crate::api) struct Fields {
    wrong: Vec<Violation>,
    denied: Option<Error>,
}

impl Fields {
    /// The value, or the reason why the field is wrong.
    pub(in crate::api) fn check<T>(
        &mut self,
        field: impl Display,
        value: std::result::Result<T, Invalid>,
    ) -> Option<T> {
        value
            .map_err(|invalid| self.wrong.push(Violation::new(field.to_string(), invalid.0)))
            .ok()
    }

    /// The value, if the caller may ask for it. That it may not goes before all that is wrong.
    fn permitted<T>(&mut self, value: Result<T>) -> Option<T> {
        value.map_err(|denied| self.denied = Some(denied)).ok()
    }

    /// A wrong field.
    pub(in crate::api) fn wrong(&mut self, field: impl Display, description: impl Into<String>) {
        self.wrong.push(Violation::new(field.to_string(), description));
    }

    /// Whether a list has few enough entries.
    pub(in crate::api) fn limited(&mut self, field: impl Display, count: usize, limit: usize) -> bool {
        if count > limit {
            self.wrong(field, format!("{count} entries are more than {limit}"));
        }
        count <= limit
    }

    /// The value of a conversion of its own, whose wrong fields join these.
    pub(in crate::api) fn join<T>(&mut self, converted: Result<T>) -> Result<Option<T>> {
        match converted {
            Ok(value) => Ok(Some(value)),
            Err(Error::Invalid(violations)) => {
                let known: HashSet<_> = self.wrong.iter().cloned().collect();
                let new = violations
                    .into_iter()
                    .filter(|violation| !known.contains(violation));
                self.wrong.extend(new);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The converted value, if every field of it was right.
    pub(in crate::api) fn finish<T>(self, value: Option<T>) -> Result<T> {
        match (self.denied, value) {
            (Some(denied), _) => Err(denied),
            (None, Some(value)) if self.wrong.is_empty() => Ok(value),
            (None, _) => Err(Error::Invalid(self.wrong)),
        }
    }

    pub(in crate::api) fn article_id(&mut self, field: impl Display, id: &str) -> Option<ArticleId> {
        self.check(field, ArticleId::parse(id))
    }

    pub(in crate::api) fn language(&mut self, field: impl Display, tag: &str) -> Option<Language> {
        self.check(field, Language::parse(tag))
    }

    /// An etag that may be empty, which means any.
    pub(in crate::api) fn etag(&mut self, field: &str, etag: &str) -> Option<ExpectedEtag> {
        (!etag.is_empty())
            .then(|| self.check(field, ExpectedEtag::parse(etag)))
            .flatten()
    }

    /// A translation id that may be empty.
    pub(in crate::api) fn translation_id(&mut self, field: &str, id: &str) -> Option<TranslationId> {
        (!id.is_empty())
            .then(|| self.check(field, TranslationId::parse(id)))
            .flatten()
    }

    pub(in crate::api) fn time(&mut self, field: impl Display, time: &PbTimestamp) -> Option<Timestamp> {
        self.check(field, Timestamp::from_seconds(time.seconds, time.nanos))
    }

    /// The end of an article's embargo; absent means none.
    fn embargo(&mut self, time: Option<&PbTimestamp>) -> Option<Timestamp> {
        self.time("article.embargo_time", time?)
    }

    /// How many items a page may have: 0 means 50, and more than 500 means 500.
    pub(in crate::api) fn page_size(&mut self, size: i32) -> usize {
        match usize::try_from(size) {
            Ok(0) => 50,
            Ok(size) => size.min(500),
            Err(_) => {
                self.wrong("page_size", format!("{size} is negative"));
                0
            }
        }
    }

    pub(in crate::api) fn view(&mut self, view: i32, default: View) -> View {
        match self.choice("view", view, pb::ArticleView::try_from) {
            Some(pb::ArticleView::Basic) => View::Basic,
            Some(pb::ArticleView::Full) => View::Full,
            Some(pb::ArticleView::Unspecified) | None => default,
        }
    }

    /// A value of an enum; a number that the enum does not have is wrong.
    pub(in crate::api) fn choice<T, E>(
        &mut self,
        field: impl Display,
        number: i32,
        from: impl FnOnce(i32) -> std::result::Result<T, E>,
    ) -> Option<T> {
        self.check(
            field,
            from(number).map_err(|_| Invalid::new(format!("{number} is not a value of this enum"))),
        )
    }

    /// A text of metadata: at most a kilobyte, no control characters.
    fn text(&mut self, field: impl Display, text: String) -> String {
        self.bounded(field, &text);
        text
    }

    fn bounded(&mut self, field: impl Display, text: &str) {
        if text.len() > MAX_FIELD {
            self.wrong(&field, format!("{} bytes are more than {MAX_FIELD}", text.len()));
        } else {
            self.check(&field, check_text(text));
        }
    }

    /// The same, not blank.
    pub(in crate::api) fn required_text(&mut self, field: &str, text: String) -> Option<String> {
        if text.trim().is_empty() {
            self.wrong(field, "is required");
            return None;
        }
        Some(self.text(field, text))
    }

    fn texts(&mut self, field: &str, texts: Vec<String>) -> Vec<String> {
        if texts.len() > MAX_LIST {
            self.wrong(field, format!("{} entries are more than {MAX_LIST}", texts.len()));
            return Vec::new();
        }
        let mut checked = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            if text.is_empty() {
                self.wrong(format_args!("{field}[{index}]"), "is empty");
            }
            checked.push(self.text(format_args!("{field}[{index}]"), text));
        }
        checked
    }

    fn date(&mut self, field: &str, date: Option<pb::ArticleDate>) -> Option<ArticleDate> {
        let date = date?;
        let instant = date
            .instant
            .as_ref()
            .and_then(|instant| self.time(format_args!("{field}.instant"), instant));
        let precision = self.choice(
            format_args!("{field}.precision"),
            date.precision,
            pb::DatePrecision::try_from,
        );
        let minutes = date.utc_offset_minutes;
        let offset = i16::try_from(minutes).map_err(|_| offset_out_of_range(minutes.into()));
        let offset = self.check(field, offset);
        if date.instant.is_some() && instant.is_none() {
            return None;
        }
        let precision = match precision? {
            pb::DatePrecision::Day => Precision::Day,
            pb::DatePrecision::Minute => Precision::Minute,
            pb::DatePrecision::Second | pb::DatePrecision::Unspecified => Precision::Second,
        };
        let date = ArticleDate {
            instant,
            original: date.original,
            utc_offset_minutes: offset?,
            precision,
            zone_assumed: date.zone_assumed,
        };
        self.check(field, date.checked())
    }

    fn marked_text(&mut self, field: impl Display, text: String, spans: Vec<pb::Span>) -> Option<MarkedText> {
        let checked = self.check(format_args!("{field}.text"), check_text(&text));
        let count = spans.len();
        let converted: Vec<_> = spans
            .into_iter()
            .enumerate()
            .filter_map(|(index, span)| self.span(format_args!("{field}.spans[{index}]"), span))
            .collect();
        checked?;
        (converted.len() == count)
            .then(|| self.check(format_args!("{field}.spans"), MarkedText::new(text, converted)))
            .flatten()
    }

    fn span(&mut self, field: impl Display, span: pb::Span) -> Option<Span> {
        let mark = match self.choice(format_args!("{field}.mark"), span.mark, pb::SpanMark::try_from)? {
            pb::SpanMark::Bold => Mark::Bold,
            pb::SpanMark::Italic => Mark::Italic,
            pb::SpanMark::Link if span.href.len() <= MAX_URL && !span.href.is_empty() => {
                Mark::Link(span.href)
            }
            pb::SpanMark::Link => {
                self.wrong(
                    format_args!("{field}.href"),
                    format!("a link needs an address of at most {MAX_URL} bytes"),
                );
                return None;
            }
            pb::SpanMark::Code => Mark::Code,
            pb::SpanMark::Other => Mark::Other,
            pb::SpanMark::Unspecified => {
                self.wrong(format_args!("{field}.mark"), "is required");
                return None;
            }
        };
        Some(Span {
            start: span.start,
            end: span.end,
            mark,
        })
    }

    /// A title or a lead; absent means without text.
    fn heading(&mut self, field: impl Display, segment: Option<pb::Segment>) -> Option<DraftSegment> {
        let segment = segment.unwrap_or_default();
        let role = pb::SegmentRole::try_from(segment.role);
        if !matches!(
            role,
            Ok(pb::SegmentRole::Unspecified | pb::SegmentRole::Paragraph)
        ) {
            self.wrong(format_args!("{field}.role"), "only body segments have a role");
        }
        let mut draft = self.segment(&field, segment)?;
        if draft.content.is_blank() {
            draft.content = MarkedText::default();
        }
        Some(draft)
    }

    fn segment(&mut self, field: impl Display, segment: pb::Segment) -> Option<DraftSegment> {
        let id = match segment.segment_id.as_str() {
            "" => Some(None),
            id => self
                .check(format_args!("{field}.segment_id"), SegmentId::parse(id))
                .map(Some),
        };
        let role = self.choice(
            format_args!("{field}.role"),
            segment.role,
            pb::SegmentRole::try_from,
        );
        let content = self.marked_text(&field, segment.text, segment.spans);
        Some(DraftSegment {
            id: id?,
            role: match role? {
                pb::SegmentRole::Unspecified | pb::SegmentRole::Paragraph => Role::Paragraph,
                pb::SegmentRole::Subhead => Role::Subhead,
                pb::SegmentRole::Quote => Role::Quote,
                pb::SegmentRole::ListItem => Role::ListItem,
                pb::SegmentRole::Caption => Role::Caption,
                pb::SegmentRole::Note => Role::Note,
            },
            content: content?,
            translate: segment.translate.unwrap_or(true),
        })
    }

    fn body(&mut self, segments: Vec<pb::Segment>, limits: &Limits) -> Vec<DraftSegment> {
        if !self.limited("article.body", segments.len(), limits.segments) {
            return Vec::new();
        }
        let mut body = Vec::with_capacity(segments.len());
        for (index, segment) in segments.into_iter().enumerate() {
            let field = format_args!("article.body[{index}]");
            let Some(segment) = self.segment(field, segment) else {
                continue;
            };
            if segment.content.is_blank() {
                self.wrong(format_args!("{field}.text"), "is empty");
            }
            body.push(segment);
        }
        body
    }

    fn url(&mut self, field: &str, url: &str) -> Option<CanonicalUrl> {
        (!url.is_empty())
            .then(|| self.check(field, CanonicalUrl::parse(url)))
            .flatten()
    }

    fn labels(&mut self, labels: &std::collections::BTreeMap<String, String>) {
        if labels.len() > MAX_LIST {
            self.wrong(
                "article.labels",
                format!("{} entries are more than {MAX_LIST}", labels.len()),
            );
        }
        for (key, value) in labels {
            if key.is_empty() {
                self.wrong("article.labels", "a key is empty");
            }
            self.bounded("article.labels", key);
            self.bounded(format_args!("article.labels[{key:.40}]"), value);
        }
    }
}

/// The article of a request.
pub(in crate::api) fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::invalid(field, "is required"))
}

/// Refuses an article or translation that is larger than the server accepts.
pub(in crate::api) fn check_size(what: &'static str, size_bytes: usize, limits: &Limits) -> Result<()> {
    let limit_bytes = limits.article_bytes;
    if size_bytes > limit_bytes {
        Err(Error::TooLarge {
            what,
            size_bytes,
            limit_bytes,
        })
    } else {
        Ok(())
    }
}
