//! The keys of versions: bodies in the order of writing, and where those that are no longer the newest were written.

use super::{Seq, key};
use crate::domain::article::ArticleId;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::version::{Series, VersionKey};

/// Everything after the prefix letter of a key in [`superseded`] up to the number of the version.
fn series_part(article: &ArticleId, series: &Series) -> Vec<u8> {
    let (code, language, translation) = match series {
        Series::Metadata => (0, None, None),
        Series::Content => (1, None, None),
        Series::Selection(language) => (2, Some(language), None),
        Series::Translation(language, id) => (3, Some(language), Some(id.0)),
    };
    let mut part = article.as_str().as_bytes().to_vec();
    part.extend([0, code]);
    if let Some(language) = language {
        part.extend_from_slice(language.as_str().as_bytes());
        part.push(0);
    }
    part.extend(translation.into_iter().flat_map(u32::to_be_bytes));
    part
}

/// Reads what [`series_part`] and the number wrote, and answers what follows.
fn version_key(bytes: &[u8]) -> Option<(VersionKey, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let article = super::id_of(bytes.get(..end)?)?;
    let (code, mut rest) = bytes.get(end + 1..)?.split_first()?;
    let mut language = || -> Option<Language> {
        let (language, behind) = super::split_at_zero(rest)?;
        rest = behind;
        Some(language)
    };
    let series = match code {
        0 => Series::Metadata,
        1 => Series::Content,
        2 => Series::Selection(language()?),
        3 => {
            let language = language()?;
            let (id, behind) = rest.split_first_chunk()?;
            rest = behind;
            Series::Translation(language, TranslationId(u32::from_be_bytes(*id)))
        }
        _ => return None,
    };
    let (number, rest) = rest.split_first_chunk()?;
    let version = VersionKey {
        article,
        series,
        number: u32::from_be_bytes(*number),
    };
    Some((version, rest))
}

/// The body of a version that was written by this commit.
pub(in crate::store::kv) fn body(seq: Seq, version: &VersionKey) -> Vec<u8> {
    let series = series_part(&version.article, &version.series);
    key(
        b'v',
        &[&seq.to_be_bytes(), &series, &version.number.to_be_bytes()],
    )
}

/// The commit and the name of a body's version.
pub(in crate::store::kv) fn body_of(key: &[u8]) -> Option<(Seq, VersionKey)> {
    let (seq, rest) = key.strip_prefix(b"v")?.split_first_chunk()?;
    let (version, rest) = version_key(rest)?;
    rest.is_empty().then(|| (Seq::from_be_bytes(*seq), version))
}

/// A key behind those of all bodies that were written up to a commit.
pub(in crate::store::kv) fn bodies_up_to(seq: Seq) -> Vec<u8> {
    key(b'v', &[&seq.saturating_add(1).to_be_bytes()])
}

/// All versions of an article that are no longer the newest of their series.
pub(in crate::store::kv) fn superseded_of(article: &ArticleId) -> Vec<u8> {
    key(b'o', &[article.as_str().as_bytes(), &[0]])
}

/// A version that is no longer the newest of its series: a key that the one commit that wrote it completes.
pub(in crate::store::kv) fn superseded(version: &VersionKey) -> Vec<u8> {
    let series = series_part(&version.article, &version.series);
    key(b'o', &[&series, &version.number.to_be_bytes()])
}

/// The same with the commit.
pub(in crate::store::kv) fn superseded_at(version: &VersionKey, seq: Seq) -> Vec<u8> {
    [superseded(version).as_slice(), &seq.to_be_bytes()].concat()
}

/// The commit and the name of a version that is no longer the newest.
pub(in crate::store::kv) fn superseded_version(key: &[u8]) -> Option<(Seq, VersionKey)> {
    let (version, seq) = version_key(key.strip_prefix(b"o")?)?;
    Some((Seq::from_be_bytes(seq.try_into().ok()?), version))
}

/// A version as a person can read it.
pub(super) fn readable(key: &[u8]) -> Option<String> {
    match key.first() {
        Some(b'v') => body_of(key).map(|(_, version)| version.to_string()),
        _ => superseded_version(key).map(|(seq, version)| format!("place {seq} of {version}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version() -> impl Strategy<Value = VersionKey> {
        let languages = prop_oneof![Just("fr"), Just("fr-CA"), Just("de")];
        let language = languages.prop_map(|tag| Language::parse(tag).unwrap());
        let series = (0..4, language, any::<u32>()).prop_map(|(kind, language, id)| match kind {
            0 => Series::Metadata,
            1 => Series::Content,
            2 => Series::Selection(language),
            _ => Series::Translation(language, TranslationId(id)),
        });
        ("[A-Za-z0-9._~-]{1,12}", series, any::<u32>()).prop_map(|(id, series, number)| VersionKey {
            article: ArticleId::parse(&id).unwrap(),
            series,
            number,
        })
    }

    proptest! {
        #[test]
        fn bodies_are_in_the_order_of_writing(a in (any::<u64>(), version()), b in (any::<u64>(), version())) {
            let (x, y) = (body(a.0, &a.1), body(b.0, &b.1));
            if a.0 != b.0 {
                prop_assert_eq!(x.cmp(&y), a.0.cmp(&b.0));
            }
            prop_assert_eq!(x <= bodies_up_to(b.0) || b.0 == u64::MAX, a.0 <= b.0 || b.0 == u64::MAX);
            prop_assert_eq!(body_of(&x), Some(a));
        }

        #[test]
        fn superseded_versions_are_by_article_series_and_number(a in version(), b in version(), seq in any::<u64>()) {
            let (x, y) = (superseded_at(&a, seq), superseded_at(&b, seq));
            prop_assert_eq!(superseded_version(&x), Some((seq, a.clone())));
            prop_assert_eq!(x.starts_with(&superseded(&a)), true);
            prop_assert_eq!(x.starts_with(&superseded_of(&b.article)), a.article == b.article);
            if (&a.article, &a.series) == (&b.article, &b.series) {
                prop_assert_eq!(x.cmp(&y), a.number.cmp(&b.number));
            }
        }
    }
}
