//! Articles: metadata, heads, aliases and tombstones.

use super::*;

fn date_record(date: &ArticleDate) -> rec::ArticleDate {
    rec::ArticleDate {
        instant: date.instant.map(Timestamp::as_micros),
        original: date.original.clone(),
        utc_offset_minutes: i32::from(date.utc_offset_minutes),
        precision: precision_code(date.precision),
        zone_assumed: date.zone_assumed,
    }
}

fn date(record: rec::ArticleDate) -> Result<ArticleDate> {
    Ok(ArticleDate {
        instant: record.instant.map(time).transpose()?,
        original: record.original,
        utc_offset_minutes: offset(record.utc_offset_minutes)?,
        precision: precision(record.precision)?,
        zone_assumed: record.zone_assumed,
    })
}

fn metadata_record(metadata: &Metadata) -> rec::Metadata {
    rec::Metadata {
        language: metadata.language.as_str().to_owned(),
        section: metadata.section.clone(),
        publisher: metadata.publisher.clone(),
        canonical_url: metadata
            .canonical_url
            .as_ref()
            .map(|url| url.as_str().to_owned())
            .unwrap_or_default(),
        guid: metadata.guid.clone(),
        located: metadata.located.clone(),
        dateline: metadata.dateline.clone(),
        info_sources: metadata.info_sources.clone(),
        authors: metadata.authors.clone(),
        keywords: metadata.keywords.clone(),
        labels: metadata.labels.clone(),
        published: metadata.published.as_ref().map(date_record),
        updated: metadata.updated.as_ref().map(date_record),
        publication_status: status_code(metadata.publication_status),
        embargo_time: metadata.embargo_time.map(Timestamp::as_micros),
        status_reason: metadata.status_reason.clone(),
    }
}

fn metadata(record: rec::Metadata) -> Result<Metadata> {
    let url = record.canonical_url;
    Ok(Metadata {
        language: Language::from_canonical(&record.language),
        section: record.section,
        publisher: record.publisher,
        canonical_url: (!url.is_empty()).then(|| CanonicalUrl::from_canonical(url)),
        guid: record.guid,
        located: record.located,
        dateline: record.dateline,
        info_sources: record.info_sources,
        authors: record.authors,
        keywords: record.keywords,
        labels: record.labels,
        published: record.published.map(date).transpose()?,
        updated: record.updated.map(date).transpose()?,
        publication_status: status(record.publication_status)?,
        status_reason: record.status_reason,
        embargo_time: record.embargo_time.map(time).transpose()?,
    })
}

pub(super) fn article_version_record(version: &ArticleVersion) -> rec::ArticleVersion {
    rec::ArticleVersion {
        etag: etag_record(version.etag),
        metadata: Some(metadata_record(&version.metadata)),
        revision: Some(version_record(version.revision)),
        created: stamp_record(version.created),
        is_deleted: version.deleted.is_some(),
        deleted: version.deleted.and_then(stamp_record),
        actor: actor_record(&version.actor),
        history: newest_record(Version {
            number: version.number,
            stamp: version.stamp,
        }),
        visibility: visibility_code(version.visibility),
    }
}

pub(super) fn article_version(record: rec::ArticleVersion, own: Stamp) -> Result<ArticleVersion> {
    let newest = newest(record.history, own)?;
    Ok(ArticleVersion {
        stamp: newest.stamp,
        etag: etag(record.etag)?,
        metadata: metadata(some(record.metadata, "metadata")?)?,
        revision: version(some(record.revision, "revision")?, own)?,
        created: stamp(record.created, own)?,
        deleted: record
            .is_deleted
            .then(|| stamp(record.deleted, own))
            .transpose()?,
        visibility: visibility(record.visibility)?,
        actor: actor(record.actor),
        number: newest.number,
    })
}

fn alias_record(alias: &Alias) -> rec::Alias {
    match alias {
        Alias::Url(url) => rec::Alias {
            url: url.as_str().to_owned(),
            ..Default::default()
        },
        Alias::Guid { publisher, guid } => rec::Alias {
            publisher: publisher.clone(),
            guid: guid.clone(),
            ..Default::default()
        },
    }
}

fn alias(record: rec::Alias) -> Alias {
    if record.url.is_empty() {
        Alias::Guid {
            publisher: record.publisher,
            guid: record.guid,
        }
    } else {
        Alias::Url(CanonicalUrl::from_canonical(record.url))
    }
}

pub(in crate::store) fn encode_head(head: &Head) -> Vec<u8> {
    let entry = |entry: &ManifestEntry| rec::ManifestEntry {
        number: segment_number(&entry.id),
        hash: entry.hash.0.to_vec(),
        translate: entry.translate,
    };
    rec::Head {
        id: head.id.as_str().to_owned(),
        current: Some(article_version_record(&head.current)),
        title: Some(segment_record(&head.title)),
        lead: Some(segment_record(&head.lead)),
        manifest: head.manifest.0.iter().map(entry).collect(),
        next_segment: head.next_segment,
        aliases: head.aliases.iter().map(alias_record).collect(),
        revisions: newest_record(head.current.revision),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_head(payload: &[u8], own: Stamp) -> Result<Head> {
    let record: rec::Head = message(payload)?;
    let entry = |entry: rec::ManifestEntry| {
        Ok(ManifestEntry {
            id: segment_id(entry.number),
            hash: hash(&entry.hash)?,
            translate: entry.translate,
        })
    };
    Ok(Head {
        id: article_id(&record.id)?,
        current: article_version(some(record.current, "version")?, own)?,
        title: segment(record.title)?,
        lead: segment(record.lead)?,
        manifest: Manifest(record.manifest.into_iter().map(entry).collect::<Result<_>>()?),
        next_segment: record.next_segment,
        aliases: record.aliases.into_iter().map(alias).collect(),
    })
}

pub(in crate::store) fn encode_tombstone(tombstone: &Tombstone) -> Vec<u8> {
    rec::Tombstone {
        article: tombstone.article.as_str().to_owned(),
        reason: tombstone.reason.clone(),
        actor: actor_record(&tombstone.actor),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_tombstone(payload: &[u8], own: Stamp) -> Result<Tombstone> {
    let record: rec::Tombstone = message(payload)?;
    Ok(Tombstone {
        article: article_id(&record.article)?,
        stamp: own,
        reason: record.reason,
        actor: actor(record.actor),
    })
}

pub(in crate::store) fn encode_alias_holder(held: &Alias, holder: &ArticleId) -> Vec<u8> {
    rec::AliasHolder {
        alias: Some(alias_record(held)),
        article: holder.as_str().to_owned(),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_alias_holder(payload: &[u8]) -> Result<(Alias, ArticleId)> {
    let record: rec::AliasHolder = message(payload)?;
    Ok((alias(some(record.alias, "alias")?), article_id(&record.article)?))
}
