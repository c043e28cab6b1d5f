//! `watch`: follows the change feed, one line a change.

use std::future::pending;
use std::time::Duration;

use clap::Args;
use futures::FutureExt;
use jiff::tz::TimeZone;
use tokio::signal::ctrl_c;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::client::{ServerArgs, explain};
use super::common_args::CommonArgs;
use super::duration::duration;
use super::format::{self, timestamp_in};
use super::output::{Output, Printer};
use super::{Failure, terminal, warn};
use crate::pb;
use crate::pb::watch_changes_response::Message;

/// The first and the longest pause before a reconnect; each failure doubles it.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

#[derive(Debug, Args)]
#[command(after_help = "\
Without an option it begins with what happens next. When the connection breaks it goes on where it was, so that nothing is \
missed. It ends when its output is closed or on ctrl-c, and says then how to go on.

With --output json every line is a WatchChangesResponse: `change`, `snapshotItem`, `snapshotEnd` or `checkpoint`, and \
`resumeToken`, with which another watch goes on behind that line.

Examples:
  article-store watch
  article-store watch --into fr --kind translation-attached,translation-freshness-changed
  article-store watch --from-start --output json >> changes.jsonl
  article-store watch --resume \"$(tail -n 1 changes.jsonl | jq -r .resumeToken)\" --output json >> changes.jsonl
  article-store watch --snapshot --language ar --section economy --output json")]
pub(crate) struct Watch {
    #[command(flatten)]
    common: CommonArgs,
    /// Begin with the oldest change that is kept.
    #[arg(long, conflicts_with_all = ["snapshot", "resume"])]
    from_start: bool,
    /// Begin with all articles as they are, then what changed since.
    #[arg(long, conflicts_with = "resume")]
    snapshot: bool,
    /// Resume after the line that had this token, or from the page of a list.
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
    /// Only changes of these kinds, such as article-revised or job-done.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    kind: Vec<pb::ChangeKind>,
    /// Only changes of articles in these source languages.
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    language: Vec<String>,
    /// Only changes of translations and jobs into these languages, and of articles.
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    into: Vec<String>,
    /// Only changes of articles of this section; it can be given more than once.
    #[arg(long)]
    section: Vec<String>,
    /// The interval of checkpoints while nothing happens, 1s to 5m.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    checkpoint: Duration,
    /// The IANA time zone in which times are shown.
    #[arg(long, default_value = "UTC", value_parser = format::zone)]
    zone: TimeZone,
}

/// Reads the name of a kind of change.
fn kind(name: &str) -> Result<pb::ChangeKind, String> {
    let wanted = name.replace('-', "_").to_uppercase();
    let kind = pb::ChangeKind::from_str_name(&format!("CHANGE_KIND_{wanted}"));
    kind.filter(|kind| *kind != pb::ChangeKind::Unspecified)
        .ok_or_else(|| {
            let kinds = (1..1_000).filter_map(|number| pb::ChangeKind::try_from(number).ok());
            let names: Vec<_> = kinds.map(|kind| kind_name(kind).replace(' ', "-")).collect();
            format!("it is none of {}", names.join(", "))
        })
}

fn kind_name(kind: pb::ChangeKind) -> String {
    format::word(kind.as_str_name(), "CHANGE_KIND_")
}

/// The end of a stream.
enum End {
    /// The connection broke, or the server stopped: reconnect.
    Broken(String),
    /// A failure that a retry does not change.
    Final(Failure),
    /// The server refuses the resume token: there is no position to continue from.
    Lost(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        // A status without a reason comes from the connection.
        let is_broken = match details.error_info() {
            Some(info) => info.reason == "STORE_UNAVAILABLE",
            None => status.code() != Code::Unimplemented,
        };
        let reason = details.error_info().map(|info| info.reason.as_str());
        if let Some("TOKEN_OF_ANOTHER_STORE" | "CHANGES_TRIMMED" | "BAD_TOKEN") = reason {
            let text = explain(&status)
                + "\nbegin again with --snapshot: all articles as they are, then what changes";
            Self::Lost(Failure::Failed(text))
        } else if is_broken {
            let said = explain(&status);
            Self::Broken(said.lines().next().unwrap_or_default().to_owned())
        } else {
            Self::Final(status.into())
        }
    }
}

impl Watch {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut follower = Follower {
            zone: self.zone.clone(),
            request: self.request()?,
            printer: Printer::new(),
            output: self.common.output.output,
            pause: PAUSES.0,
            is_broken: false,
        };
        let followed = tokio::select! {
            followed = follower.follow(&self.common.server) => followed,
            // Where no signal can be received, none ends it.
            Ok(()) = ctrl_c() => Ok(()),
        };
        follower.printer.flush()?;
        match followed {
            Err(Failure::Unread) => Err(Failure::Unread),
            followed => {
                let token = &follower.request.resume_token;
                if !token.is_empty() {
                    warn(&format!("go on with --resume {token}"));
                }
                followed
            }
        }
    }

    fn request(&self) -> Result<pb::WatchChangesRequest, Failure> {
        let interval = prost_types::Duration::try_from(self.checkpoint)
            .map_err(|_| Failure::Usage("--checkpoint is between 1s and 5m".into()))?;
        let start = match (self.from_start, self.snapshot) {
            (true, _) => pb::WatchStart::Oldest,
            (_, true) => pb::WatchStart::Snapshot,
            _ => pb::WatchStart::Now,
        };
        Ok(pb::WatchChangesRequest {
            resume_token: self.resume.clone().unwrap_or_default(),
            start: start.into(),
            kinds: self.kind.iter().map(|kind| i32::from(*kind)).collect(),
            source_languages: self.language.clone(),
            target_languages: self.into.clone(),
            sections: self.section.clone(),
            checkpoint_interval: Some(interval),
        })
    }
}

/// Follows the feed, with reconnects.
struct Follower {
    zone: TimeZone,
    /// With the token of the message that was printed last.
    request: pb::WatchChangesRequest,
    printer: Printer,
    output: Output,
    /// How long to wait before the next attempt.
    pause: Duration,
    /// Whether the break was reported.
    is_broken: bool,
}

impl Follower {
    async fn follow(&mut self, server: &ServerArgs) -> Result<(), Failure> {
        // A failure of the first connection is final.
        let mut client = Some(server.changes().await?);
        loop {
            let ended = match client.take() {
                Some(mut client) => match client.watch_changes(self.request.clone()).await {
                    Ok(messages) => self.print_all(messages.into_inner()).await,
                    Err(status) => status.into(),
                },
                None => match server.changes().await {
                    Ok(connected) => {
                        client = Some(connected);
                        continue;
                    }
                    Err(Failure::Failed(why)) => {
                        End::Broken(why.lines().next().unwrap_or_default().to_owned())
                    }
                    Err(failure) => End::Final(failure),
                },
            };
            match ended {
                End::Final(failure) => return Err(failure),
                End::Lost(failure) => {
                    self.request.resume_token.clear();
                    return Err(failure);
                }
                End::Broken(why) => {
                    self.printer.flush()?;
                    if !std::mem::replace(&mut self.is_broken, true) {
                        warn(&format!("the stream broke off: {why}; trying to go on"));
                    }
                    // A pause.
                    drop(timeout(self.pause, pending::<()>()).await);
                    self.pause = (self.pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Prints messages until the stream ends.
    async fn print_all(&mut self, mut messages: Streaming<pb::WatchChangesResponse>) -> End {
        loop {
            // Flushed when no further message is ready.
            let next = match messages.message().now_or_never() {
                Some(next) => next,
                None => match self.printer.flush() {
                    Ok(()) => messages.message().await,
                    Err(failure) => return failure.into(),
                },
            };
            match next {
                Ok(Some(message)) => {
                    if let Err(failure) = self.print(message) {
                        return failure.into();
                    }
                }
                Ok(None) => return End::Broken("the server ended it".into()),
                Err(status) => return status.into(),
            }
        }
    }

    fn print(&mut self, message: pb::WatchChangesResponse) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_broken) {
            warn("following again");
        }
        self.pause = PAUSES.0;
        match self.output {
            Output::Json => self.printer.message(&message)?,
            Output::Table => {
                for line in lines(message.message.as_ref(), &self.zone) {
                    self.printer.line(&line)?;
                }
            }
        }
        self.request.resume_token = message.resume_token;
        Ok(())
    }
}

/// A message for people.
fn lines(message: Option<&Message>, zone: &TimeZone) -> Vec<String> {
    match message {
        Some(Message::Change(change)) => vec![change_line(change, zone)],
        Some(Message::SnapshotItem(item)) => vec![item_line(item)],
        Some(Message::SnapshotEnd(end)) => vec![format!(
            "-- {} articles; what follows changed since",
            end.articles
        )],
        Some(Message::Checkpoint(_)) | None => Vec::new(),
    }
}

/// `2022-05-10 22:45:00     42 translation attached  a1  fr/t1  from ar economy`.
fn change_line(change: &pb::Change, zone: &TimeZone) -> String {
    let translation = match (change.language.as_str(), change.translation_id.as_str()) {
        ("", _) => String::new(),
        (language, "") => language.to_owned(),
        (language, id) => format!("{language}/{id}"),
    };
    let freshness = match change.to_freshness() {
        pb::Freshness::Unspecified => String::new(),
        to => format!(
            "{} -> {}",
            format::freshness(change.from_freshness()),
            format::freshness(to)
        ),
    };
    let revision = match change.revision {
        0 => String::new(),
        revision => format!("rev {revision}"),
    };
    let hidden = if change.hidden { "(hidden)" } else { "" };
    let scope = match (&change.previous_scope, &change.scope) {
        (Some(before), Some(after)) => format!("{} -> {}", scope(before), scope(after)),
        (_, after) => after.as_ref().map(scope).unwrap_or_default(),
    };
    let details = [
        &translation,
        &change.job_id,
        &revision,
        &freshness,
        &scope,
        hidden,
    ];
    let details: Vec<_> = details
        .into_iter()
        .filter(|detail| !detail.is_empty())
        .map(terminal::line)
        .collect();
    format!(
        "{} {:>8} {:<29} {}  {}",
        timestamp_in(change.commit_time.as_ref(), zone),
        change.seq,
        kind_name(change.kind()),
        change.article_id,
        details.join("  ")
    )
    .trim_end()
    .to_owned()
}

fn item_line(item: &pb::SnapshotItem) -> String {
    let translations = item
        .translations
        .iter()
        .filter(|of| of.disposition() == pb::Disposition::Active);
    let translations: Vec<_> = translations
        .map(|of| format!("{}:{}", of.language, format::freshness(of.freshness())))
        .collect();
    let deleted = if item.deleted { "(deleted)" } else { "" };
    let scope = item.scope.as_ref().map(scope).unwrap_or_default();
    let details = [scope.as_str(), &translations.join(" "), deleted];
    let details: Vec<_> = details
        .into_iter()
        .filter(|detail| !detail.is_empty())
        .map(terminal::line)
        .collect();
    let line = format!(
        "{}  rev {}  {}",
        item.article_id,
        item.revision,
        details.join("  ")
    );
    line.trim_end().to_owned()
}

/// The source language and the section.
fn scope(scope: &pb::ChangeScope) -> String {
    let words = [scope.source_language.as_str(), &scope.section];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_by_their_names() {
        assert_eq!(kind("article-revised"), Ok(pb::ChangeKind::ArticleRevised));
        assert_eq!(kind("JOB_DONE"), Ok(pb::ChangeKind::JobDone));
        let error = kind("unspecified").unwrap_err();
        assert!(error.contains("article-created, article-revised,") && error.ends_with("job-superseded"));
    }

    #[test]
    fn a_change_is_a_line() {
        let scope = |section: &str| {
            Some(pb::ChangeScope {
                source_language: "ar".into(),
                section: section.into(),
                publisher: String::new(),
            })
        };
        let change = pb::Change {
            seq: 42,
            commit_time: Some(prost_types::Timestamp {
                seconds: 1_652_222_700,
                nanos: 0,
            }),
            kind: pb::ChangeKind::TranslationAttached.into(),
            article_id: "a1".into(),
            language: "fr".into(),
            translation_id: "t1".into(),
            revision: 3,
            scope: scope("economy\u{1b}"),
            previous_scope: scope("sport"),
            ..pb::Change::default()
        };
        assert_eq!(
            change_line(&change, &TimeZone::UTC),
            "2022-05-10 22:45:00       42 translation attached          a1  fr/t1  rev 3  ar sport -> ar economy\u{fffd}"
        );
        let hidden = pb::Change {
            seq: 43,
            kind: pb::ChangeKind::ArticlePurged.into(),
            article_id: "a1".into(),
            hidden: true,
            ..pb::Change::default()
        };
        assert!(
            change_line(&hidden, &TimeZone::UTC).ends_with("43 article purged                a1  (hidden)")
        );
    }
}
