//! The methods of the server by path: a closed set, for labels and limits. Unknown ones are one method, `other`, so that
//! callers cannot make labels.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;

use super::rights;
use crate::domain::access::Right;
use crate::pb;

/// How a method counts against the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Health and reflection: never refused.
    Exempt,
    /// Ends by itself after its work.
    Short,
    /// May last as long as its caller likes: streams, and claims, which wait for jobs.
    Long,
}

/// A method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// The service with its package, such as `articlestore.v1.ArticleService`.
    pub service: String,
    /// The name in the service, such as `GetArticle`.
    pub name: String,
    /// Both without the package, such as `ArticleService/GetArticle`: what metrics and logs call it.
    pub label: String,
    /// How it counts against the limits.
    pub kind: Kind,
    /// The rights any of which a caller needs; none if it may not be called, or is exempt.
    pub rights: &'static [Right],
    /// Whether only operators may call it: such calls have places of their own.
    pub is_admin: bool,
    /// Whether its request is a stream of messages.
    pub streams_requests: bool,
}

/// The service of health, which needs no credentials.
pub(super) const HEALTH: &str = "grpc.health.v1.Health";
/// Claims are no streams, but wait for up to a minute.
const LONG_POLL: &str = "ClaimJobs";

static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let ours = methods(pb::DESCRIPTORS, |is_stream, name| {
        if is_stream || name == LONG_POLL {
            Kind::Long
        } else {
            Kind::Short
        }
    });
    let standard = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let standard = standard
        .into_iter()
        .flat_map(|descriptors| methods(descriptors, |_, _| Kind::Exempt));
    ours.chain(standard).collect()
});

static OTHER: LazyLock<Method> = LazyLock::new(|| Method {
    service: "other".into(),
    name: "other".into(),
    label: "other".into(),
    kind: Kind::Short,
    rights: &[],
    is_admin: false,
    streams_requests: false,
});

/// The method of a path such as `/articlestore.v1.ArticleService/GetArticle`.
pub fn at(path: &str) -> &'static Method {
    METHODS.get(path).unwrap_or(&OTHER)
}

/// All methods, with their paths.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Method)> {
    METHODS.iter().map(|(path, method)| (path.as_str(), method))
}

/// The methods of descriptors that were compiled in, which cannot fail to be read.
fn methods(descriptors: &[u8], kind: impl Fn(bool, &str) -> Kind) -> impl Iterator<Item = (String, Method)> {
    let files = FileDescriptorSet::decode(descriptors).unwrap_or_default().file;
    files.into_iter().flat_map(move |file| {
        let package = file.package().to_owned();
        let mut found = Vec::new();
        for service in &file.service {
            for method in &service.method {
                let is_stream = method.client_streaming() || method.server_streaming();
                let (name, label) = (method.name(), format!("{}/{}", service.name(), method.name()));
                let service = format!("{package}.{}", service.name());
                let rights = rights::of(&service, name);
                let path = format!("/{service}/{name}");
                let method = Method {
                    name: name.to_owned(),
                    label,
                    kind: kind(is_stream, name),
                    rights,
                    is_admin: rights == [Right::Admin],
                    streams_requests: method.client_streaming(),
                    service,
                };
                found.push((path, method));
            }
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_known_and_counts_as_it_should() {
        let kind = |path: &str| (at(path).label.as_str(), at(path).kind);
        let ours = |method: &str| kind(&format!("/articlestore.v1.{method}"));
        let get = "ArticleService/GetArticle";
        assert_eq!(ours(get), (get, Kind::Short));
        for long in [
            "ChangeService/WatchChanges",
            "TranslationJobService/ClaimJobs",
            "ArticleService/ImportArticles",
            "ArticleService/ExportArticles",
            "AdminService/BackupStore",
        ] {
            assert_eq!(ours(long), (long, Kind::Long));
        }
        let admin = all().filter(|(_, method)| method.is_admin);
        let mut admin: Vec<_> = admin.map(|(_, method)| method.name.as_str()).collect();
        admin.sort_unstable();
        let expected = [
            "BackupStore",
            "CheckStore",
            "CompactStore",
            "DeleteTranslationPolicy",
            "GetStatus",
            "PurgeArticle",
            "PutTranslationPolicy",
        ];
        assert_eq!(admin, expected);
        assert!(at("/articlestore.v1.ArticleService/ImportArticles").streams_requests);
        for exempt in [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(at(exempt).kind, Kind::Exempt, "{exempt}");
        }
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
            assert_eq!(*at(path), *OTHER, "{path}");
        }
        assert!(OTHER.rights.is_empty());
        let services: std::collections::BTreeSet<_> = all().map(|(_, method)| &method.service).collect();
        assert_eq!(services.len(), 5 + 3, "{services:?}");
    }
}
