//! The rights that each method needs, in one table. A method that is not in it is refused to everybody.
//!
//! A right that is granted by language is needed in some language here; the request says which one, and the service checks
//! it. Of several rights any one is enough.

use crate::domain::access::Right::{self, Admin, Editorial, Ingest, Publish, Read, Review, Translate};

const ARTICLES: &str = "articlestore.v1.ArticleService";
const TRANSLATIONS: &str = "articlestore.v1.TranslationService";
const JOBS: &str = "articlestore.v1.TranslationJobService";
const CHANGES: &str = "articlestore.v1.ChangeService";
const ADMIN: &str = "articlestore.v1.AdminService";

/// Services that need no right: whether a server is healthy is no secret, nor is its schema.
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Service, method, and rights any of which will do.
const RIGHTS: [(&str, &str, &[Right]); 44] = [
    (ARTICLES, "GetArticle", &[Read]),
    (ARTICLES, "BatchGetArticles", &[Read]),
    (ARTICLES, "LookupArticle", &[Read]),
    (ARTICLES, "ListArticles", &[Read]),
    (ARTICLES, "ListRevisions", &[Read]),
    (ARTICLES, "DiffRevisions", &[Read]),
    (ARTICLES, "ExportArticles", &[Read]),
    (ARTICLES, "CreateArticle", &[Ingest]),
    (ARTICLES, "UpdateArticle", &[Ingest]),
    (ARTICLES, "DeleteArticle", &[Ingest]),
    (ARTICLES, "UndeleteArticle", &[Ingest]),
    (ARTICLES, "ImportArticles", &[Ingest]),
    // A feed that retracts, and an editor who decides.
    (ARTICLES, "SetPublicationStatus", &[Ingest, Editorial]),
    (ARTICLES, "PurgeArticle", &[Admin]),
    (TRANSLATIONS, "GetTranslation", &[Read]),
    (TRANSLATIONS, "ListTranslations", &[Read]),
    (TRANSLATIONS, "ListProvenance", &[Read]),
    (TRANSLATIONS, "MeasureTranslation", &[Read]),
    (TRANSLATIONS, "AttachTranslation", &[Translate]),
    (TRANSLATIONS, "AcknowledgeSource", &[Translate]),
    (TRANSLATIONS, "AddQualityScores", &[Translate, Review]),
    // To `FINAL` it takes the right to publish, to any other state that to review.
    (TRANSLATIONS, "ReviewTranslation", &[Review, Publish]),
    (TRANSLATIONS, "RejectTranslation", &[Review]),
    (TRANSLATIONS, "DetachTranslation", &[Review]),
    (TRANSLATIONS, "SelectTranslation", &[Publish]),
    (JOBS, "GetJob", &[Read]),
    (JOBS, "ListJobs", &[Read]),
    (JOBS, "ListTranslationPolicies", &[Read]),
    // Jobs for a review and for scores take the right to review, the others that to translate.
    (JOBS, "RequestTranslations", &[Translate, Review]),
    (JOBS, "ClaimJobs", &[Translate, Review]),
    (JOBS, "HeartbeatJob", &[Translate, Review]),
    (JOBS, "CompleteJob", &[Translate, Review]),
    (JOBS, "FailJob", &[Translate, Review]),
    (JOBS, "ReleaseJob", &[Translate, Review]),
    (JOBS, "CancelJob", &[Translate, Review]),
    (JOBS, "RetryJob", &[Translate, Review]),
    (JOBS, "PutTranslationPolicy", &[Admin]),
    (JOBS, "DeleteTranslationPolicy", &[Admin]),
    (CHANGES, "WatchChanges", &[Read]),
    (ADMIN, "GetCoverage", &[Read]),
    (ADMIN, "GetStatus", &[Admin]),
    (ADMIN, "CheckStore", &[Admin]),
    (ADMIN, "BackupStore", &[Admin]),
    (ADMIN, "CompactStore", &[Admin]),
];

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing, not even to be counted.
    Nothing,
    /// One of these rights.
    AnyOf(&'static [Right]),
    /// There is no such call.
    Unknown,
}

/// What the call of a path, `/service/method`, needs.
pub(super) fn need(path: &str, with_reflection: bool) -> Need {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return Need::Unknown;
    };
    if service == HEALTH || with_reflection && REFLECTION.contains(&service) {
        return Need::Nothing;
    }
    RIGHTS
        .iter()
        .find(|(of, name, _)| *name == method && *of == service)
        .map_or(Need::Unknown, |(_, _, rights)| Need::AnyOf(rights))
}

/// Whether the call of a path is for operators alone.
pub(super) fn is_for_operators(path: &str) -> bool {
    need(path, false) == Need::AnyOf(&[Admin])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;
    use prost_reflect::DescriptorPool;

    #[test]
    fn every_call_of_the_descriptors_has_its_rights_and_no_other_does() {
        let pool = DescriptorPool::decode(pb::DESCRIPTORS).unwrap();
        let methods = pool.services().flat_map(|service| {
            let of = service.full_name().to_owned();
            service
                .methods()
                .map(move |method| (of.clone(), method.name().to_owned()))
                .collect::<Vec<_>>()
        });
        let mut methods: Vec<_> = methods.collect();
        let mut listed: Vec<_> = RIGHTS
            .iter()
            .map(|(of, name, _)| ((*of).to_owned(), (*name).to_owned()))
            .collect();
        methods.sort();
        listed.sort();
        assert_eq!(listed, methods);
        assert!(RIGHTS.iter().all(|(.., rights)| !rights.is_empty()));
    }

    #[test]
    fn what_is_not_listed_is_unknown() {
        assert_eq!(
            need("/articlestore.v1.ArticleService/GetArticle", true),
            Need::AnyOf(&[Read])
        );
        for path in [
            "",
            "/",
            "GetArticle",
            "/articlestore.v1.ArticleService",
            "/articlestore.v1.ArticleService/",
            "/articlestore.v1.ArticleService/getArticle",
            "/articlestore.v1.ArticleService/GetArticle/",
            "//articlestore.v1.ArticleService/GetArticle",
            "/articlestore.v1.AdminService/GetArticle",
            "/grpc.health.v1.Healthy/Check",
        ] {
            assert_eq!(need(path, true), Need::Unknown, "{path}");
        }
        assert_eq!(need("/grpc.health.v1.Health/Check", false), Need::Nothing);
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert_eq!(need(reflection, true), Need::Nothing);
        assert_eq!(need(reflection, false), Need::Unknown);
    }
}
