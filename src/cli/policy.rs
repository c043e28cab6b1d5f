//! `policy`: rules that open jobs automatically.

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;

use super::choices::{self, JobKind};
use super::client::without_content;
use super::common_args::CommonArgs;
use super::output::Limit;
use super::{Failure, format, jobs};
use crate::pb;

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Create a policy, or replace it as a whole.
    Put(Put),
    /// List the policies.
    List(List),
    /// Remove a policy. Jobs that it has opened stay.
    Delete(Delete),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A policy opens jobs when an article that it selects arrives, becomes visible or changes, and when its translation goes \
stale or missing. Articles that are there already are not looked at until they change: `jobs request` asks for them.

Examples:
  article-store policy put spanish --from en --into es --kind mt
  article-store policy put front-page --section politics --into fr,en --kind human --priority 1
  article-store policy put spanish --from en --into es --kind mt --paused")]
pub(crate) struct Put {
    /// The policy's id: 1 to 64 characters of `A-Z a-z 0-9 . _ ~ -`.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// Only articles in these languages.
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    from: Vec<String>,
    /// The languages to translate into. An article's own language is passed over.
    #[arg(long, required = true, value_name = "TAG,…", value_delimiter = ',')]
    into: Vec<String>,
    /// The kinds of work.
    #[arg(
        long,
        required = true,
        value_enum,
        value_name = "KIND,…",
        value_delimiter = ','
    )]
    kind: Vec<JobKind>,
    /// Only articles of this section; may be repeated.
    #[arg(long)]
    section: Vec<String>,
    /// Only articles of this publisher; may be repeated.
    #[arg(long)]
    publisher: Vec<String>,
    /// How urgent its jobs are, from 1 (at once) to 4 (when there is time).
    #[arg(long, value_name = "1-4", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=4))]
    priority: u32,
    /// How often each of its jobs may be tried.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    max_attempts: u32,
    /// Pause the policy: it opens no jobs.
    #[arg(long)]
    paused: bool,
    /// The etag that the policy must have.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    common: CommonArgs,
    /// The zone to show times in: an IANA name or an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = format::zone)]
    zone: TimeZone,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The policy's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// The etag that the policy must have.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Count a policy that is not there as removed.
    #[arg(long)]
    allow_missing: bool,
}

impl Policy {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Put(put) => put.run().await,
            Self::List(list) => list.run().await,
            Self::Delete(delete) => delete.run().await,
        }
    }
}

impl Put {
    async fn run(self) -> Result<(), Failure> {
        let request = pb::PutTranslationPolicyRequest {
            policy: Some(pb::TranslationPolicy {
                policy_id: self.id,
                source_languages: self.from,
                sections: self.section,
                publishers: self.publisher,
                target_languages: self.into,
                kinds: choices::numbers(&self.kind),
                priority: self.priority,
                max_attempts: self.max_attempts,
                paused: self.paused,
                ..pb::TranslationPolicy::default()
            }),
            etag: self.etag,
        };
        let mut client = self.common.server.jobs().await?;
        let answer = client.put_translation_policy(request).await?.into_inner();
        let policy = answer.policy.ok_or_else(without_content)?;
        self.common.output.line(&policy, || {
            format!(
                "{}: {}, etag {}",
                policy.policy_id,
                articles(&policy),
                policy.etag
            )
        })
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let mut client = self.common.server.jobs().await?;
        let header = ["ID", "STATE", "PRIORITY", "TRIES", "CHANGED", "ETAG", "ARTICLES"];
        let row = |policy: &pb::TranslationPolicy| {
            [
                policy.policy_id.clone(),
                if policy.paused { "paused" } else { "active" }.to_owned(),
                policy.priority.to_string(),
                policy.max_attempts.to_string(),
                format::timestamp_in(policy.update_time.as_ref(), &self.zone),
                policy.etag.clone(),
                articles(policy),
            ]
        };
        let list = self
            .common
            .output
            .list(Limit::NONE, header, row, async |page_token, page_size| {
                let request = pb::ListTranslationPoliciesRequest {
                    page_size,
                    page_token,
                };
                let page = client.list_translation_policies(request).await?.into_inner();
                Ok((page.policies, page.next_page_token))
            });
        list.await
    }
}

impl Delete {
    async fn run(self) -> Result<(), Failure> {
        let text = format!("deleted {}", self.id);
        let request = pb::DeleteTranslationPolicyRequest {
            policy_id: self.id,
            etag: self.etag,
            allow_missing: self.allow_missing,
        };
        let mut client = self.common.server.jobs().await?;
        let answer = client.delete_translation_policy(request).await?.into_inner();
        self.common.output.line(&answer, || text)
    }
}

/// Which articles a policy has translated into what: `en to es by mt; section politics`.
fn articles(policy: &pb::TranslationPolicy) -> String {
    let from = match policy.source_languages.as_slice() {
        [] => "any language".to_owned(),
        languages => languages.join(", "),
    };
    let kinds: Vec<_> = policy.kinds().map(jobs::kind).collect();
    let mut text = format!(
        "{from} to {} by {}",
        policy.target_languages.join(", "),
        kinds.join(", ")
    );
    for (word, values) in [("section", &policy.sections), ("publisher", &policy.publishers)] {
        if !values.is_empty() {
            text.push_str(&format!("; {word} {}", values.join(" or ")));
        }
    }
    text
}
