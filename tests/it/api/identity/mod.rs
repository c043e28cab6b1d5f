//! Who may call, and what: tokens of a file, JWTs, and calls without credentials, asked of a real server.

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;

use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use article_store::pb::change_service_client::ChangeServiceClient;
use article_store::pb::translation_job_service_client::TranslationJobServiceClient;
use article_store::pb::translation_service_client::TranslationServiceClient;
use article_store::server::CallLimits;
use article_store::server::auth::{Config, Rate};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::harness::{Server, Setup};

mod calls;
mod exposure;
mod jwt;
mod languages;
mod people;
mod rates;
mod shares;
mod streams;

/// A server that knows these callers, each by the token `NAME-token`.
struct Desk {
    server: Server,
    directory: TempDir,
}

/// A line of a file of tokens.
fn line(name: &str, scopes: &[&str], kinds: &[&str]) -> Value {
    json!({
        "name": name,
        "sha256": sha256(&token_of(name)),
        "scopes": scopes,
        "agent_kinds": kinds,
    })
}

fn token_of(name: &str) -> String {
    format!("{name}-token")
}

fn sha256(token: &str) -> String {
    Sha256::digest(token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

impl Desk {
    async fn with(lines: &[Value]) -> Self {
        Self::of(lines, |config| config).await
    }

    async fn of(lines: &[Value], other: impl FnOnce(Config) -> Config) -> Self {
        Self::limited(lines, other, CallLimits::default()).await
    }

    async fn limited(lines: &[Value], other: impl FnOnce(Config) -> Config, calls: CallLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("tokens"), text(lines)).unwrap();
        let config = Config {
            tokens_file: Some(directory.path().join("tokens")),
            ..Config::default()
        };
        let server = Setup::sled().auth(other(config)).calls(calls).start().await;
        Self { server, directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    /// Puts another file of tokens in the place of the present one.
    fn replace(&self, text: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.file()).unwrap();
    }

    fn articles(&self, name: &str) -> ArticleServiceClient<Authorized> {
        ArticleServiceClient::new(self.with_token(&token_of(name)))
    }

    fn translations(&self, name: &str) -> TranslationServiceClient<Authorized> {
        TranslationServiceClient::new(self.with_token(&token_of(name)))
    }

    fn jobs(&self, name: &str) -> TranslationJobServiceClient<Authorized> {
        TranslationJobServiceClient::new(self.with_token(&token_of(name)))
    }

    fn changes(&self, name: &str) -> ChangeServiceClient<Authorized> {
        ChangeServiceClient::new(self.with_token(&token_of(name)))
    }

    fn with_token(&self, token: &str) -> Authorized {
        let header = format!("Bearer {token}").parse().unwrap();
        InterceptedService::new(self.server.channel(), Bearer(header))
    }

    async fn create(&self, name: &str, article: pb::Article) -> pb::Article {
        let request = pb::CreateArticleRequest {
            article: Some(article),
            ..Default::default()
        };
        let answer = self.articles(name).create_article(request).await.unwrap();
        answer.into_inner().article.unwrap()
    }
}

/// The refusals by token: `nora` may list articles once a second, and the token of `old` has expired.
pub(super) async fn refused_to_list(token: Option<&str>) -> Status {
    let mut old = line("old", &["read"], &[]);
    old["expires"] = "2020-01-01T00:00:00Z".into();
    let desk = Desk::of(&[old, line("nora", &["read"], &[])], |config| Config {
        rate: Some(Rate {
            per_second: NonZeroU32::MIN,
            burst: None,
        }),
        ..config
    })
    .await;
    for _ in 0..100 {
        let list = pb::ListArticlesRequest::default();
        let listed = match token {
            Some(token) => {
                let mut client = ArticleServiceClient::new(desk.with_token(token));
                client.list_articles(list).await
            }
            None => desk.server.articles().list_articles(list).await,
        };
        if let Err(status) = listed {
            return status;
        }
    }
    panic!("100 calls within a second were more than one a second");
}

/// What a machine is refused with that says it is a person.
pub(super) async fn refused_as_a_person() -> Status {
    let desk = Desk::with(&[line("worker", &["translate:*"], &["mt"])]).await;
    let request = pb::AttachTranslationRequest {
        agent: Some(pb::Agent {
            kind: pb::AgentKind::Human.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = desk.translations("worker").attach_translation(request).await;
    refused.unwrap_err()
}

type Authorized = InterceptedService<Channel, Bearer>;

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}
