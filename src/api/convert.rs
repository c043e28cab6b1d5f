//! Requests to domain values. Every conversion collects all wrong fields before it fails.

use std::collections::HashSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use prost_types::Timestamp as PbTimestamp;
use tonic::Status;

use super::error;
use crate::domain::article::{
    Alias, ArticleId, DraftContent, MAX_FIELD, MAX_LIST, MAX_SEGMENTS, MAX_URL, Metadata, PublicationStatus,
    Significance,
};
use crate::domain::date::{ArticleDate, Precision, offset_out_of_range};
use crate::domain::draft::{ArticleDraft, ArticlePatch};
use crate::domain::etag::ExpectedEtag;
use crate::domain::ids::{SegmentId, TranslationId};
use crate::domain::language::Language;
use crate::domain::provenance::{Agent, AgentKind, Provenance};
use crate::domain::query::{Axis, Order, Query, Range};
use crate::domain::segment::{DraftSegment, Mark, MarkedText, Role, Span, TextHash, check_text};
use crate::domain::time::{Stamp, Timestamp};
use crate::domain::translation::{QualityScore, State};
use crate::domain::url::CanonicalUrl;
use crate::domain::{Invalid, Violation};
use crate::pb;
use crate::service::snapshot::View;
use crate::service::{Error, Result};

/// Wrong fields, gathered while a request is converted.
#[derive(Default)]
pub(super) struct Fields(Vec<Violation>);

impl Fields {
    /// The value, or the reason why the field is wrong.
    pub(super) fn check<T>(
        &mut self,
        field: impl Into<String>,
        value: std::result::Result<T, Invalid>,
    ) -> Option<T> {
        value
            .map_err(|invalid| self.0.push(Violation::new(field, invalid.0)))
            .ok()
    }

    /// A wrong field.
    pub(super) fn wrong(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation::new(field, description));
    }

    /// The value of a conversion of its own, whose wrong fields join these.
    pub(super) fn join<T>(&mut self, converted: Result<T>) -> Result<Option<T>> {
        match converted {
            Ok(value) => Ok(Some(value)),
            Err(Error::Invalid(violations)) => {
                let known: HashSet<_> = self.0.iter().cloned().collect();
                let new = violations
                    .into_iter()
                    .filter(|violation| !known.contains(violation));
                self.0.extend(new);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The converted value, if every field of it was right.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::Invalid(self.0)),
        }
    }

    /// The same as a status.
    pub(super) fn status<T>(self, value: Option<T>) -> std::result::Result<T, Status> {
        self.finish(value).map_err(error::status)
    }

    pub(super) fn article_id(&mut self, field: &str, id: &str) -> Option<ArticleId> {
        self.check(field, ArticleId::parse(id))
    }

    pub(super) fn language(&mut self, field: &str, tag: &str) -> Option<Language> {
        self.check(field, Language::parse(tag))
    }

    /// An etag that may be empty, which means any.
    pub(super) fn etag(&mut self, field: &str, etag: &str) -> Option<ExpectedEtag> {
        (!etag.is_empty())
            .then(|| self.check(field, ExpectedEtag::parse(etag)))
            .flatten()
    }

    /// A translation id that may be empty.
    pub(super) fn translation_id(&mut self, field: &str, id: &str) -> Option<TranslationId> {
        (!id.is_empty())
            .then(|| self.check(field, TranslationId::parse(id)))
            .flatten()
    }

    pub(super) fn time(&mut self, field: &str, time: &PbTimestamp) -> Option<Timestamp> {
        self.check(field, Timestamp::from_seconds(time.seconds, time.nanos))
    }

    /// How many items a page may have: 0 means 50, and more than 500 means 500.
    pub(super) fn page_size(&mut self, size: i32) -> usize {
        match usize::try_from(size) {
            Ok(0) => 50,
            Ok(size) => size.min(500),
            Err(_) => {
                self.wrong("page_size", format!("{size} is negative"));
                0
            }
        }
    }

    pub(super) fn view(&mut self, view: i32, default: View) -> View {
        match self.choice("view", view, pb::ArticleView::try_from) {
            Some(pb::ArticleView::Basic) => View::Basic,
            Some(pb::ArticleView::Full) => View::Full,
            Some(pb::ArticleView::Unspecified) | None => default,
        }
    }

    /// A value of an enum; a number that the enum does not have is wrong.
    pub(super) fn choice<T, E>(
        &mut self,
        field: impl Into<String>,
        number: i32,
        from: impl FnOnce(i32) -> std::result::Result<T, E>,
    ) -> Option<T> {
        self.check(
            field,
            from(number).map_err(|_| Invalid::new(format!("{number} is not a value of this enum"))),
        )
    }

    /// A text of metadata: at most a kilobyte, no control characters.
    fn text(&mut self, field: impl Into<String>, text: String) -> String {
        let field = field.into();
        if text.len() > MAX_FIELD {
            self.wrong(field, format!("{} bytes are more than {MAX_FIELD}", text.len()));
        } else {
            self.check(field, check_text(&text));
        }
        text
    }

    fn texts(&mut self, field: &str, texts: Vec<String>) -> Vec<String> {
        if texts.len() > MAX_LIST {
            self.wrong(field, format!("{} entries are more than {MAX_LIST}", texts.len()));
            return Vec::new();
        }
        let mut checked = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            if text.is_empty() {
                self.wrong(format!("{field}[{index}]"), "is empty");
            }
            checked.push(self.text(format!("{field}[{index}]"), text));
        }
        checked
    }

    fn date(&mut self, field: &str, date: Option<pb::ArticleDate>) -> Option<ArticleDate> {
        let date = date?;
        let instant = date
            .instant
            .as_ref()
            .and_then(|instant| self.time(&format!("{field}.instant"), instant));
        let precision = self.choice(
            format!("{field}.precision"),
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

    fn marked_text(&mut self, field: &str, text: String, spans: Vec<pb::Span>) -> Option<MarkedText> {
        let checked = self.check(format!("{field}.text"), check_text(&text));
        let count = spans.len();
        let converted: Vec<_> = spans
            .into_iter()
            .enumerate()
            .filter_map(|(index, span)| self.span(&format!("{field}.spans[{index}]"), span))
            .collect();
        checked?;
        (converted.len() == count)
            .then(|| self.check(format!("{field}.spans"), MarkedText::new(text, converted)))
            .flatten()
    }

    fn span(&mut self, field: &str, span: pb::Span) -> Option<Span> {
        let mark = match self.choice(format!("{field}.mark"), span.mark, pb::SpanMark::try_from)? {
            pb::SpanMark::Bold => Mark::Bold,
            pb::SpanMark::Italic => Mark::Italic,
            pb::SpanMark::Link if span.href.len() <= MAX_URL && !span.href.is_empty() => {
                Mark::Link(span.href)
            }
            pb::SpanMark::Link => {
                self.wrong(
                    format!("{field}.href"),
                    format!("a link needs an address of at most {MAX_URL} bytes"),
                );
                return None;
            }
            pb::SpanMark::Code => Mark::Code,
            pb::SpanMark::Other => Mark::Other,
            pb::SpanMark::Unspecified => {
                self.wrong(format!("{field}.mark"), "is required");
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
    fn heading(&mut self, field: &str, segment: Option<pb::Segment>) -> Option<DraftSegment> {
        let segment = segment.unwrap_or_default();
        let role = pb::SegmentRole::try_from(segment.role);
        if !matches!(
            role,
            Ok(pb::SegmentRole::Unspecified | pb::SegmentRole::Paragraph)
        ) {
            self.wrong(format!("{field}.role"), "only body segments have a role");
        }
        let mut draft = self.segment(field, segment)?;
        if draft.content.is_blank() {
            draft.content = MarkedText::default();
        }
        Some(draft)
    }

    fn segment(&mut self, field: &str, segment: pb::Segment) -> Option<DraftSegment> {
        let id = match segment.segment_id.as_str() {
            "" => Some(None),
            id => self
                .check(format!("{field}.segment_id"), SegmentId::parse(id))
                .map(Some),
        };
        let role = self.choice(format!("{field}.role"), segment.role, pb::SegmentRole::try_from);
        let content = self.marked_text(field, segment.text, segment.spans);
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

    fn body(&mut self, segments: Vec<pb::Segment>) -> Vec<DraftSegment> {
        if segments.len() > MAX_SEGMENTS {
            self.wrong(
                "article.body",
                format!("{} segments are more than {MAX_SEGMENTS}", segments.len()),
            );
            return Vec::new();
        }
        let mut body = Vec::with_capacity(segments.len());
        for (index, segment) in segments.into_iter().enumerate() {
            let field = format!("article.body[{index}]");
            let Some(segment) = self.segment(&field, segment) else {
                continue;
            };
            if segment.content.is_blank() {
                self.wrong(format!("{field}.text"), "is empty");
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
            self.text("article.labels", key.clone());
            self.text(format!("article.labels[{key:.40}]"), value.clone());
        }
    }
}

/// The article of a request.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::invalid(field, "is required"))
}

/// Refuses an article or translation that is larger than the server accepts.
pub(super) fn check_size(
    what: &'static str,
    message: &impl prost::Message,
    limit_bytes: usize,
) -> Result<()> {
    let size_bytes = message.encoded_len();
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

/// A whole article.
pub(super) fn article(article: pb::Article) -> Result<ArticleDraft> {
    let mut fields = Fields::default();
    let id = (!article.article_id.is_empty())
        .then(|| fields.article_id("article.article_id", &article.article_id))
        .flatten();
    let language = fields.language("article.language", &article.language);
    let title = fields.heading("article.title", article.title);
    let lead = fields.heading("article.lead", article.lead);
    let body = fields.body(article.body);
    fields.labels(&article.labels);
    let canonical_url = fields.url("article.canonical_url", &article.canonical_url);
    let mut text = |field: &str, value| fields.text(format!("article.{field}"), value);
    let section = text("section", article.section);
    let publisher = text("publisher", article.publisher);
    let guid = text("guid", article.guid);
    let located = text("located", article.located);
    let dateline = text("dateline", article.dateline);
    let info_sources = fields.texts("article.info_sources", article.info_sources);
    let authors = fields.texts("article.authors", article.authors);
    let keywords = fields.texts("article.keywords", article.keywords);
    let published = fields.date("article.published", article.published);
    let updated = fields.date("article.updated", article.updated);
    let draft = language
        .zip(title)
        .zip(lead)
        .map(|((language, title), lead)| ArticleDraft {
            id,
            metadata: Metadata {
                language,
                section,
                publisher,
                canonical_url,
                guid,
                located,
                dateline,
                info_sources,
                authors,
                keywords,
                labels: article.labels,
                published,
                updated,
                publication_status: PublicationStatus::Usable,
                embargo_time: None,
            },
            content: DraftContent { title, lead, body },
        });
    fields.finish(draft)
}

/// The fields that an update mask can name.
const MASK_FIELDS: [&str; 16] = [
    "language",
    "title",
    "lead",
    "body",
    "section",
    "publisher",
    "canonical_url",
    "guid",
    "located",
    "dateline",
    "info_sources",
    "authors",
    "keywords",
    "labels",
    "published",
    "updated",
];

/// The fields that a mask names; an empty mask names those that are set.
fn mask(
    article: &pb::Article,
    mask: Option<&prost_types::FieldMask>,
    fields: &mut Fields,
) -> Vec<&'static str> {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.iter().any(|path| path == "*") {
        if paths.len() > 1 {
            fields.wrong("update_mask", "\"*\" stands alone");
        }
        if article.body.is_empty() {
            fields.wrong("article.body", "is required with the mask \"*\"");
        }
        return MASK_FIELDS.to_vec();
    }
    let mut named = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        match MASK_FIELDS.iter().find(|field| *field == path) {
            Some(field) => named.push(*field),
            None => fields.wrong(
                format!("update_mask.paths[{index}]"),
                format!("{path:?} is not one of *, {}", MASK_FIELDS.join(", ")),
            ),
        }
    }
    if !paths.is_empty() {
        return named;
    }
    let is_set = |field: &&str| match *field {
        "language" => !article.language.is_empty(),
        "title" => article.title.is_some(),
        "lead" => article.lead.is_some(),
        "body" => !article.body.is_empty(),
        "section" => !article.section.is_empty(),
        "publisher" => !article.publisher.is_empty(),
        "canonical_url" => !article.canonical_url.is_empty(),
        "guid" => !article.guid.is_empty(),
        "located" => !article.located.is_empty(),
        "dateline" => !article.dateline.is_empty(),
        "info_sources" => !article.info_sources.is_empty(),
        "authors" => !article.authors.is_empty(),
        "keywords" => !article.keywords.is_empty(),
        "labels" => !article.labels.is_empty(),
        "published" => article.published.is_some(),
        _ => article.updated.is_some(),
    };
    MASK_FIELDS.into_iter().filter(is_set).collect()
}

/// New values for the fields of an article that a mask names.
pub(super) fn patch(
    article: pb::Article,
    update_mask: Option<&prost_types::FieldMask>,
) -> Result<ArticlePatch> {
    let mut fields = Fields::default();
    let mask = mask(&article, update_mask, &mut fields);
    let mut patch = ArticlePatch::default();
    let has = |field| mask.contains(&field);
    if has("language") {
        patch.language = fields.language("article.language", &article.language);
    }
    if has("title") {
        patch.title = fields.heading("article.title", article.title);
    }
    if has("lead") {
        patch.lead = fields.heading("article.lead", article.lead);
    }
    patch.body = has("body").then(|| fields.body(article.body));
    let mut text = |field, value| has(field).then(|| fields.text(format!("article.{field}"), value));
    patch.section = text("section", article.section);
    patch.publisher = text("publisher", article.publisher);
    patch.guid = text("guid", article.guid);
    patch.located = text("located", article.located);
    patch.dateline = text("dateline", article.dateline);
    patch.canonical_url =
        has("canonical_url").then(|| fields.url("article.canonical_url", &article.canonical_url));
    let mut texts = |field, values| has(field).then(|| fields.texts(&format!("article.{field}"), values));
    patch.info_sources = texts("info_sources", article.info_sources);
    patch.authors = texts("authors", article.authors);
    patch.keywords = texts("keywords", article.keywords);
    if has("labels") {
        fields.labels(&article.labels);
        patch.labels = Some(article.labels);
    }
    patch.published = has("published").then(|| fields.date("article.published", article.published));
    patch.updated = has("updated").then(|| fields.date("article.updated", article.updated));
    fields.finish(Some(patch))
}

/// What `UpdateArticle` asks for.
pub(super) struct Update {
    pub(super) id: ArticleId,
    pub(super) patch: ArticlePatch,
    /// What to create if there is no such article.
    pub(super) missing: Option<ArticleDraft>,
}

/// The article, mask and `allow_missing` of an update.
pub(super) fn update(
    request: pb::UpdateArticleRequest,
    limit_bytes: usize,
    fields: &mut Fields,
) -> Result<Option<Update>> {
    let Some(article) = fields.join(required("article", request.article))? else {
        return Ok(None);
    };
    let id = fields.article_id("article.article_id", &article.article_id);
    check_size("an article", &article, limit_bytes)?;
    let missing = request
        .allow_missing
        .then(|| fields.join(self::article(article.clone())))
        .transpose()?;
    let patch = fields.join(patch(article, request.update_mask.as_ref()))?;
    Ok(id.zip(patch).map(|(id, patch)| Update {
        id,
        patch,
        missing: missing.flatten(),
    }))
}

/// The significance that a caller gave, if any.
pub(super) fn significance(fields: &mut Fields, number: i32) -> Option<Significance> {
    match fields.choice("significance", number, pb::Significance::try_from)? {
        pb::Significance::Unspecified => None,
        pb::Significance::Typo => Some(Significance::Typo),
        pb::Significance::Minor => Some(Significance::Minor),
        pb::Significance::Major => Some(Significance::Major),
        pb::Significance::Correction => Some(Significance::Correction),
        pb::Significance::Retraction => Some(Significance::Retraction),
    }
}

/// What a lookup names.
pub(super) fn alias(alias: Option<pb::lookup_article_request::Alias>) -> Result<Alias> {
    use pb::lookup_article_request::Alias as Pb;
    let mut fields = Fields::default();
    let alias = match alias {
        Some(Pb::CanonicalUrl(url)) => fields
            .check("canonical_url", CanonicalUrl::parse(&url))
            .map(Alias::Url),
        Some(Pb::Guid(pb::Guid { publisher: _, guid })) if guid.is_empty() => {
            fields.wrong("guid.guid", "is required");
            None
        }
        Some(Pb::Guid(pb::Guid { publisher, guid })) => Some(Alias::Guid {
            publisher: fields.text("guid.publisher", publisher),
            guid: fields.text("guid.guid", guid),
        }),
        None => {
            fields.wrong("alias", "canonical_url or guid is required");
            None
        }
    };
    fields.finish(alias)
}

/// A list by date. `now` is where the future begins.
pub(super) fn query(request: &pb::ListArticlesRequest, now: Timestamp, fields: &mut Fields) -> Option<Query> {
    let axis = fields.choice("axis", request.axis, pb::DateAxis::try_from);
    let order = fields.choice("order", request.order, pb::ListOrder::try_from);
    let bounds = range(request.range.as_ref(), fields);
    let dating = fields.choice("dating", request.dating, pb::Dating::try_from);
    let language = (!request.language.is_empty())
        .then(|| fields.language("language", &request.language))
        .flatten();
    let range = match (dating?, bounds?) {
        (pb::Dating::Unspecified, bounds) => bounds,
        (pb::Dating::Undated, Range::All) => Range::Undated,
        (pb::Dating::Future, Range::All) => Range::Instants {
            start: now,
            end: Timestamp::MAX,
        },
        (_, _) => {
            fields.wrong("dating", "UNDATED and FUTURE do not go together with a range");
            return None;
        }
    };
    let filter = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(Query {
        axis: match axis? {
            pb::DateAxis::Unspecified | pb::DateAxis::Published => Axis::Published,
            pb::DateAxis::Updated => Axis::Updated,
            pb::DateAxis::Ingested => Axis::Ingested,
            pb::DateAxis::Revised => Axis::Revised,
        },
        range,
        order: match order? {
            pb::ListOrder::Unspecified | pb::ListOrder::NewestFirst => Order::NewestFirst,
            pb::ListOrder::OldestFirst => Order::OldestFirst,
        },
        language,
        section: filter(&request.section),
        publisher: filter(&request.publisher),
        show_deleted: request.show_deleted,
    })
}

fn range(range: Option<&pb::list_articles_request::Range>, fields: &mut Fields) -> Option<Range> {
    use pb::list_articles_request::Range as Pb;
    match range {
        None => Some(Range::All),
        Some(Pb::TimeRange(pb::TimeRange { start_time, end_time })) => {
            let start = start_time
                .as_ref()
                .map(|time| fields.time("time_range.start_time", time));
            let end = end_time
                .as_ref()
                .map(|time| fields.time("time_range.end_time", time));
            let range = Range::instants(flatten(start)?, flatten(end)?);
            fields.check("time_range", range)
        }
        Some(Pb::CivilRange(pb::CivilRange {
            start_date,
            end_date,
            zone,
        })) => {
            let first = day("civil_range.start_date", start_date, fields);
            let last = day("civil_range.end_date", end_date, fields);
            let zone = match zone.as_str() {
                "" => Some(TimeZone::UTC),
                name => fields.check(
                    "civil_range.zone",
                    TimeZone::get(name).map_err(|_| {
                        Invalid::new(format!(
                            "{name:.64?} is not an IANA time zone such as \"Africa/Casablanca\""
                        ))
                    }),
                ),
            };
            let range = Range::days(first?, last?, &zone?);
            fields.check("civil_range", range)
        }
    }
}

/// Turns "absent, wrong or right" into "wrong, or absent or right".
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the value is usable"
)]
fn flatten<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

/// A calendar day; the empty text is none.
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the value is usable"
)]
fn day(field: &str, text: &str, fields: &mut Fields) -> Option<Option<Date>> {
    if text.is_empty() {
        return Some(None);
    }
    let strict = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let day = text.parse::<Date>().ok().filter(|day| strict && day.year() >= 1);
    fields
        .check(
            field,
            day.ok_or_else(|| Invalid::new(format!("{text:.40?} is not a day such as \"2022-05-10\""))),
        )
        .map(Some)
}

/// The texts of a translation.
pub(super) fn target_texts(
    text: pb::TargetText,
    fields: &mut Fields,
) -> Option<crate::domain::attach::TargetTexts> {
    use crate::domain::attach::{BodyTexts, TargetTexts};
    let heading = |fields: &mut Fields, name: &str, segment: Option<pb::TargetSegment>| {
        let segment = segment?;
        if !segment.segment_id.is_empty() && segment.segment_id != name {
            fields.wrong(
                format!("text.{name}.segment_id"),
                format!("must be {name:?} or empty"),
            );
        }
        target_text(&format!("text.{name}"), segment, fields)
    };
    let title = heading(fields, "title", text.title);
    let lead = heading(fields, "lead", text.lead);
    if text.body.len() > MAX_SEGMENTS {
        fields.wrong(
            "text.body",
            format!("{} segments are more than {MAX_SEGMENTS}", text.body.len()),
        );
        return None;
    }
    let with_id = text
        .body
        .iter()
        .filter(|segment| !segment.segment_id.is_empty())
        .count();
    if with_id != 0 && with_id != text.body.len() {
        let count = text.body.len();
        fields.wrong(
            "text.body",
            format!("{with_id} of {count} segments have an id; give it to all or to none"),
        );
        return None;
    }
    let mut texts = Vec::with_capacity(text.body.len());
    for (index, mut segment) in text.body.into_iter().enumerate() {
        let field = format!("text.body[{index}]");
        let id = std::mem::take(&mut segment.segment_id);
        if let Some(text) = target_text(&field, segment, fields) {
            texts.push((index, id, text));
        }
    }
    let body = if with_id == 0 {
        BodyTexts::InOrder(texts.into_iter().map(|(_, _, text)| text).collect())
    } else {
        let mut by_id = Vec::with_capacity(texts.len());
        for (index, id, text) in texts {
            if let Some(id) = fields.check(format!("text.body[{index}].segment_id"), SegmentId::parse(&id)) {
                by_id.push((id, text));
            }
        }
        BodyTexts::ById(by_id)
    };
    Some(TargetTexts { title, lead, body })
}

/// The longest `subState` of XLIFF that anybody needs.
const MAX_SUB_STATE: usize = 64;

fn target_text(
    field: &str,
    segment: pb::TargetSegment,
    fields: &mut Fields,
) -> Option<crate::domain::attach::TargetText> {
    let sub_state = segment.sub_state;
    let well_formed = sub_state
        .split_once(':')
        .is_some_and(|(prefix, value)| !prefix.is_empty() && !value.is_empty());
    if !sub_state.is_empty() && (!well_formed || sub_state.len() > MAX_SUB_STATE) {
        let description = format!("{sub_state:.80?} is not prefix:value of at most {MAX_SUB_STATE} bytes");
        fields.wrong(format!("{field}.sub_state"), description);
    } else {
        fields.check(format!("{field}.sub_state"), check_text(&sub_state));
    }
    let content = fields.marked_text(field, segment.text, segment.spans)?;
    Some(crate::domain::attach::TargetText { content, sub_state })
}

/// An absolute URI that the store only keeps.
pub(super) fn external_uri(uri: String, fields: &mut Fields) -> Option<String> {
    let checked = match url::Url::parse(&uri) {
        _ if uri.len() > MAX_URL => Err(Invalid::new(format!(
            "{} bytes are more than {MAX_URL}",
            uri.len()
        ))),
        Ok(_) => check_text(&uri),
        Err(_) => Err(Invalid::new(format!("{uri:.100?} is not an absolute URI"))),
    };
    fields.check("external_uri", checked).map(|()| uri)
}

/// The state of a text that is attached.
pub(super) fn attached_state(number: i32, fields: &mut Fields) -> Option<State> {
    Some(
        match fields.choice("state", number, pb::TranslationState::try_from)? {
            pb::TranslationState::Initial => State::Initial,
            pb::TranslationState::Unspecified | pb::TranslationState::Translated => State::Translated,
            pb::TranslationState::Reviewed => State::Reviewed,
            pb::TranslationState::Final => State::Final,
        },
    )
}

/// Who wrote a text.
pub(super) fn agent(agent: Option<pb::Agent>, fields: &mut Fields) -> Option<Agent> {
    let Some(agent) = agent else {
        fields.wrong("agent", "is required: who or what wrote the text");
        return None;
    };
    let kind = match fields.choice("agent.kind", agent.kind, pb::AgentKind::try_from) {
        Some(pb::AgentKind::Human) => Some(AgentKind::Human),
        Some(pb::AgentKind::Mt) => Some(AgentKind::Mt),
        Some(pb::AgentKind::Llm) => Some(AgentKind::Llm),
        Some(pb::AgentKind::Tm) => Some(AgentKind::Tm),
        Some(pb::AgentKind::Import) => Some(AgentKind::Import),
        Some(pb::AgentKind::Rule) => Some(AgentKind::Rule),
        Some(pb::AgentKind::Unspecified) => {
            fields.wrong("agent.kind", "is required: HUMAN, MT, LLM, TM, IMPORT or RULE");
            None
        }
        None => None,
    };
    let kind = kind.unwrap_or(AgentKind::Import);
    let mut text = |field, value| fields.text(format!("agent.{field}"), value);
    Some(Agent {
        kind,
        person: text("person", agent.person),
        organization: text("organization", agent.organization),
        tool: text("tool", agent.tool),
        engine: text("engine", agent.engine),
        model: text("model", agent.model),
        model_version: text("model_version", agent.model_version),
        rev_person: text("rev_person", agent.rev_person),
        rev_organization: text("rev_organization", agent.rev_organization),
        rev_tool: text("rev_tool", agent.rev_tool),
        prompt_id: text("prompt_id", agent.prompt_id),
        glossary_id: text("glossary_id", agent.glossary_id),
        memory_id: text("memory_id", agent.memory_id),
    })
}

/// What a write took.
pub(super) fn effort(effort: Option<pb::Effort>, provenance: Provenance, fields: &mut Fields) -> Provenance {
    let Some(effort) = effort else { return provenance };
    let is_currency = effort.currency.len() == 3 && effort.currency.bytes().all(|b| b.is_ascii_uppercase());
    if (effort.cost_micros > 0 || !effort.currency.is_empty()) && !is_currency {
        fields.wrong(
            "effort.currency",
            format!("{:.16?} is not an ISO 4217 code such as \"EUR\"", effort.currency),
        );
    }
    if effort.match_quality.is_some_and(|quality| quality > 100) {
        fields.wrong("effort.match_quality", "is more than 100 per cent");
    }
    Provenance {
        pivot: fields.text("effort.pivot", effort.pivot),
        characters: effort.characters,
        cost_micros: effort.cost_micros,
        currency: effort.currency,
        duration_ms: effort.duration_ms,
        match_quality: effort.match_quality,
        ..provenance
    }
}

/// The most scores of one write.
const MAX_SCORES: usize = 1_000;

/// Scores of the texts that are sent.
pub(super) fn quality_scores(scores: Vec<pb::QualityScore>, fields: &mut Fields) -> Vec<QualityScore> {
    if scores.len() > MAX_SCORES {
        fields.wrong(
            "quality_scores",
            format!("{} scores are more than {MAX_SCORES}", scores.len()),
        );
        return Vec::new();
    }
    let mut converted = Vec::with_capacity(scores.len());
    for (index, score) in scores.into_iter().enumerate() {
        let field = |name: &str| format!("quality_scores[{index}].{name}");
        if score.metric.is_empty() {
            fields.wrong(field("metric"), "is required");
        }
        if !(score.min.is_finite() && score.max.is_finite() && score.min < score.max) {
            fields.wrong(
                field("max"),
                format!("{} to {} is not a range of scores", score.min, score.max),
            );
        } else if !(score.min..=score.max).contains(&score.value) {
            fields.wrong(
                field("value"),
                format!("{} is not within {} to {}", score.value, score.min, score.max),
            );
        }
        let segment = match score.segment_id.as_str() {
            "" => None,
            id => fields.check(field("segment_id"), SegmentId::parse(id)),
        };
        converted.push(QualityScore {
            metric: fields.text(field("metric"), score.metric),
            metric_version: fields.text(field("metric_version"), score.metric_version),
            model: fields.text(field("model"), score.model),
            value: score.value,
            min: score.min,
            max: score.max,
            higher_is_better: score.higher_is_better,
            segment,
            target_hash: TextHash([0; 16]),
            source_hash: TextHash([0; 16]),
            reference_kind: fields.text(field("reference_kind"), score.reference_kind),
            scorer: fields.text(field("scorer"), score.scorer),
            stamp: Stamp::PENDING,
        });
    }
    converted
}
