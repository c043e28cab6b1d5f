//! The rights that each method needs, in one table. A method that is not in it is refused to every caller. Health and
//! reflection need no rights: neither is a secret.
//!
//! A right that is granted by language is needed in some language here; the request says which one, and the service checks
//! it. Of several rights any one is enough.

use crate::domain::access::Right::{self, Admin, Editorial, Ingest, Publish, Read, Review, Translate};

const ARTICLES: &str = "articlestore.v1.ArticleService";
const TRANSLATIONS: &str = "articlestore.v1.TranslationService";
const JOBS: &str = "articlestore.v1.TranslationJobService";
const CHANGES: &str = "articlestore.v1.ChangeService";
const ADMIN: &str = "articlestore.v1.AdminService";

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
    // Feeds retract, and editors decide.
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

/// The rights any of which will do; none for a method that may not be called.
pub(super) fn of(service: &str, method: &str) -> &'static [Right] {
    let found = RIGHTS
        .iter()
        .find(|(of, name, _)| *name == method && *of == service);
    found.map_or(&[], |(.., rights)| rights)
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
}
