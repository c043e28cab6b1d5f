//! Articles, whole and in parts.

use prost::Message;

use super::{Fields, check_size, required};
use crate::api::Limits;
use crate::domain::article::{Alias, ArticleId, DraftContent, Metadata, PublicationStatus, Significance};
use crate::domain::draft::{ArticleDraft, ArticlePatch, StatusChange};
use crate::domain::url::CanonicalUrl;
use crate::pb;
use crate::service::Result;

/// A whole article.
pub(in crate::api) fn article(article: pb::Article, limits: &Limits) -> Result<ArticleDraft> {
    let mut fields = Fields::default();
    let id = (!article.article_id.is_empty())
        .then(|| fields.article_id("article.article_id", &article.article_id))
        .flatten();
    let language = fields.language("article.language", &article.language);
    let title = fields.heading("article.title", article.title);
    let lead = fields.heading("article.lead", article.lead);
    let body = fields.body(article.body, limits);
    fields.labels(&article.labels);
    let canonical_url = fields.url("article.canonical_url", &article.canonical_url);
    let mut text = |field: &str, value| fields.text(format_args!("article.{field}"), value);
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
    let embargo_time = fields.embargo(article.embargo_time.as_ref());
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
                status_reason: String::new(),
                embargo_time,
            },
            content: DraftContent { title, lead, body },
        });
    fields.finish(draft)
}

/// The fields that an update mask can name.
pub(in crate::api) const MASK_FIELDS: [&str; 17] = [
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
    "embargo_time",
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
        // All that the article says about itself; an embargo is lifted by its name only.
        let is_meant = |field: &&str| *field != "embargo_time" || article.embargo_time.is_some();
        return MASK_FIELDS.into_iter().filter(is_meant).collect();
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
        "updated" => article.updated.is_some(),
        _ => article.embargo_time.is_some(),
    };
    MASK_FIELDS.into_iter().filter(is_set).collect()
}

/// New values for the fields of an article that a mask names.
pub(in crate::api) fn patch(
    article: pb::Article,
    update_mask: Option<&prost_types::FieldMask>,
    limits: &Limits,
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
    patch.body = has("body").then(|| fields.body(article.body, limits));
    let mut text = |field, value| has(field).then(|| fields.text(format_args!("article.{field}"), value));
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
    patch.embargo_time = has("embargo_time").then(|| fields.embargo(article.embargo_time.as_ref()));
    fields.finish(Some(patch))
}

/// What `UpdateArticle` asks for.
pub(in crate::api) struct Update {
    pub(in crate::api) id: ArticleId,
    pub(in crate::api) patch: ArticlePatch,
    /// What to create if there is no such article.
    pub(in crate::api) missing: Option<ArticleDraft>,
}

/// The article, mask and `allow_missing` of an update.
pub(in crate::api) fn update(
    request: pb::UpdateArticleRequest,
    limits: &Limits,
    fields: &mut Fields,
) -> Result<Option<Update>> {
    let Some(article) = fields.join(required("article", request.article))? else {
        return Ok(None);
    };
    let id = fields.article_id("article.article_id", &article.article_id);
    check_size("an article", article.encoded_len(), limits)?;
    let update_mask = request.update_mask.as_ref();
    let (patch, missing) = if request.allow_missing {
        let mask = mask(&article, update_mask, fields);
        let draft = fields.join(self::article(article, limits))?;
        let of = |draft: &ArticleDraft| ArticlePatch::of(draft, |field| mask.contains(&field));
        (draft.as_ref().map(of), draft)
    } else {
        (fields.join(patch(article, update_mask, limits))?, None)
    };
    Ok(id.zip(patch).map(|(id, patch)| Update { id, patch, missing }))
}

/// The significance that a caller gave, if any.
pub(in crate::api) fn significance(fields: &mut Fields, number: i32) -> Option<Significance> {
    known_significance(fields.choice("significance", number, pb::Significance::try_from)?)
}

/// A significance of the API; unspecified is none.
pub(super) fn known_significance(significance: pb::Significance) -> Option<Significance> {
    match significance {
        pb::Significance::Unspecified => None,
        pb::Significance::Typo => Some(Significance::Typo),
        pb::Significance::Minor => Some(Significance::Minor),
        pb::Significance::Major => Some(Significance::Major),
        pb::Significance::Correction => Some(Significance::Correction),
        pb::Significance::Retraction => Some(Significance::Retraction),
    }
}

/// What is said about the publication of an article.
pub(in crate::api) fn status_change(
    request: pb::SetPublicationStatusRequest,
    fields: &mut Fields,
) -> Option<StatusChange> {
    let status = fields.choice(
        "publication_status",
        request.publication_status,
        pb::PublicationStatus::try_from,
    );
    let embargo = match (&request.embargo_time, request.lift_embargo) {
        (None, false) => Some(None),
        (None, true) => Some(Some(None)),
        (Some(time), false) => fields.time("embargo_time", time).map(|time| Some(Some(time))),
        (Some(_), true) => {
            fields.wrong("lift_embargo", "does not go together with embargo_time");
            None
        }
    };
    let reason = fields.text("reason", request.reason);
    let status = match status? {
        pb::PublicationStatus::Usable => PublicationStatus::Usable,
        pb::PublicationStatus::Withheld => PublicationStatus::Withheld,
        pb::PublicationStatus::Canceled => PublicationStatus::Canceled,
        pb::PublicationStatus::Unspecified => {
            fields.wrong("publication_status", "is required");
            return None;
        }
    };
    Some(StatusChange {
        status,
        embargo: embargo?,
        reason,
    })
}

/// What a lookup names.
pub(in crate::api) fn alias(alias: Option<pb::lookup_article_request::Alias>) -> Result<Alias> {
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
