//! A client that writes until the server fails, and then looks what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use tonic::Status;

use super::client::Client;
use super::random;
use super::story::{Answer, Known, Request, Story, basic};

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

    /// The newest story most of the time, an older one, or a new one.
    fn choose(&mut self) -> usize {
        let count = self.stories.len();
        match random(16) {
            0 | 1 => {}
            2 | 3 if count > 0 => return random(count as u64) as usize,
            _ if count > 0 => return count - 1,
            _ => {}
        }
        self.stories.push(Story::new(format!("{}-{count}", self.name)));
        count
    }
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
