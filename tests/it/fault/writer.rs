//! A client that writes until the server fails, and then looks what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use tonic::Status;

use super::client::Client;
use super::recording::History;
use super::story::{Answer, Known, Request, Story, basic};
use super::{random, within_limit};

/// A client that writes stories of its own.
pub(super) struct Writer {
    name: String,
    pub(super) stories: Vec<Story>,
    /// The stories that were written to since they were last settled.
    touched: BTreeSet<usize>,
    /// The last write with an id and its answer, as if that had been lost.
    answered: Option<(Request, Answer)>,
    pub(super) acknowledged: u64,
}

impl Writer {
    pub(super) fn new(number: usize) -> Self {
        Self {
            name: format!("w{number}"),
            stories: Vec::new(),
            touched: BTreeSet::new(),
            answered: None,
            acknowledged: 0,
        }
    }

    /// Compares what is stored with what was acknowledged: all of it, or what was touched and a sample of the rest.
    pub(super) async fn settle(mut self, mut client: Client, all: bool) -> (Self, Settled) {
        let mut to_read = std::mem::take(&mut self.touched);
        let count = self.stories.len() as u64;
        if all {
            to_read.extend(0..self.stories.len());
        } else if count > 0 {
            to_read.extend([random(count), random(count)].map(|index| index as usize));
        }
        let mut sum = Settled::default();
        for index in to_read {
            sum += self.stories[index].settle(&mut client).await;
        }
        if let Some((request, answer)) = &self.answered {
            assert_eq!(&client.send(request).await.unwrap(), answer, "{request:?}");
        }
        (self, sum)
    }

    /// Writes until it is stopped, or until a write fails, whose status it answers and whose fate it does not know.
    /// Says when a write was acknowledged.
    pub(super) async fn write(
        mut self,
        mut client: Client,
        mut acknowledged: impl FnMut(&Story),
        stopped: impl Fn() -> bool,
    ) -> (Self, Option<Status>) {
        while !stopped() {
            let index = self.choose();
            self.touched.insert(index);
            let story = &mut self.stories[index];
            let request = story.next();
            match client.send(&request).await {
                Ok(answer) => {
                    story.learn(&request, answer.clone());
                    self.acknowledged += 1;
                    if request.has_id() {
                        self.answered = Some((request, answer));
                    }
                    acknowledged(story);
                }
                Err(status) => {
                    story.in_flight = Some(request);
                    return (self, Some(status));
                }
            }
        }
        (self, None)
    }

    /// Adds a story about as long as the server takes, to be written next.
    pub(super) fn write_a_long_story(&mut self) {
        self.stories.push(Story::long(format!("{}-long", self.name)));
    }

    /// Takes all stories to be what they were found to be at an earlier time.
    pub(super) fn restore(&mut self, found: &BTreeMap<String, Known>) {
        for story in &mut self.stories {
            story.known = found.get(&story.name).cloned().unwrap_or_default();
        }
        self.touched.clear();
        self.answered = None;
    }

    /// A long story that is not begun; the newest one most of the time, unless it is long; an older one; or a new one.
    fn choose(&mut self) -> usize {
        let waits = |story: &Story| story.is_long() && story.known.state.revision == 0;
        if let Some(index) = self.stories.iter().position(waits) {
            return index;
        }
        let count = self.stories.len();
        match random(16) {
            0 | 1 => {}
            2 | 3 if count > 0 => return random(count as u64) as usize,
            _ if self.stories.last().is_some_and(|newest| !newest.is_long()) => return count - 1,
            _ => {}
        }
        self.stories.push(Story::new(format!("{}-{count}", self.name)));
        count
    }
}

/// Lets writers write until so much is acknowledged that all is done, or until a write of theirs fails; answers the status
/// that it failed with. All of it is taken into the history.
pub(super) async fn write_together(
    writers: Vec<Writer>,
    client: &Client,
    history: &History,
    done: impl Fn(u64) -> bool + Clone + Send + Sync + 'static,
) -> Vec<(Writer, Option<Status>)> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writing = writers.into_iter().map(|writer| {
        let (client, history, done) = (client.clone(), history.clone(), done.clone());
        let acknowledged = acknowledged.clone();
        tokio::spawn(async move {
            let say = |story: &_| {
                history.acknowledged(story);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            };
            let stopped = || done(acknowledged.load(Ordering::Relaxed));
            let (writer, failed) = writer.write(client, say, stopped).await;
            let in_flight = writer.stories.iter().filter(|story| story.in_flight.is_some());
            in_flight.for_each(|story| history.failed(story));
            (writer, failed)
        })
    });
    let written = within_limit(join_all(writing)).await;
    written.into_iter().map(Result::unwrap).collect()
}

/// The writers, none of which may have met a failure.
pub(super) fn none_failed(written: Vec<(Writer, Option<Status>)>) -> Vec<Writer> {
    let healthy = |(writer, failed): (Writer, Option<Status>)| {
        assert!(failed.is_none(), "{failed:?}");
        writer
    };
    written.into_iter().map(healthy).collect()
}

/// Has the writers find out what became of the writes that failed, and compare what they touched.
pub(super) async fn settle_together(
    writers: Vec<Writer>,
    client: &Client,
    history: &History,
) -> (Vec<Writer>, Settled) {
    let settling = writers.into_iter().map(|writer| {
        let (client, history) = (client.clone(), history.clone());
        tokio::spawn(async move {
            let in_doubt = |story: &Story| story.in_flight.is_some();
            let in_doubt: Vec<bool> = writer.stories.iter().map(in_doubt).collect();
            let (writer, settled) = writer.settle(client, false).await;
            let stories = writer.stories.iter().zip(in_doubt);
            stories
                .filter(|(_, in_doubt)| *in_doubt)
                .for_each(|(story, _)| history.acknowledged(story));
            (writer, settled)
        })
    });
    let (mut writers, mut sum) = (Vec::new(), Settled::default());
    for settled in within_limit(join_all(settling)).await {
        let (writer, settled) = settled.unwrap();
        writers.push(writer);
        sum += settled;
    }
    (writers, sum)
}

/// What became of the writes that were under way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Settled {
    pub(super) in_flight: u64,
    pub(super) survived: u64,
    pub(super) applied: u64,
}

impl AddAssign for Settled {
    fn add_assign(&mut self, other: Self) {
        self.in_flight += other.in_flight;
        self.survived += other.survived;
        self.applied += other.applied;
    }
}

impl Story {
    /// Compares with what is stored, and finds out what became of the write that was under way. One with an id is sent
    /// again, as its client would.
    async fn settle(&mut self, client: &mut Client) -> Settled {
        let found = client.read(self).await.unwrap();
        let Some(request) = self.in_flight.take() else {
            assert_eq!(found, self.known, "an acknowledged write is not there");
            return Settled::default();
        };
        let after = self.known.state.after(&request);
        let survived = found.state == after;
        if !survived {
            assert_eq!(found, self.known, "neither before nor after {request:?}");
        }
        self.known = found;
        let retried = request.has_id();
        if retried {
            let first = client.send(&request).await.unwrap();
            let second = client.send(&request).await.unwrap();
            assert_eq!(first, second);
            self.known = client.read(self).await.unwrap();
            assert_eq!(
                self.known.state, after,
                "a retried request is applied once: {request:?}"
            );
            if let Answer::Article(article) = first {
                assert_eq!(basic(*article), self.known.article);
            }
        }
        Settled {
            in_flight: 1,
            survived: survived.into(),
            applied: (survived || retried).into(),
        }
    }
}
