//! One follower of the change feed: its position, and its next message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::fanout::{ChangeFanout, Follower, Found, Tail, Told};
use super::{Start, WatchOptions, lost};
use crate::domain::access::Reach;
use crate::domain::article::ArticleId;
use crate::domain::change::{Event, Scope};
use crate::domain::feed::{Filter, Lost, Next, Place};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::service::byte_budget::HeldBytes;
use crate::service::{Error, Result, StreamBudgets};
use crate::store::{ArticleState, Changes, LogHold, StoreError};

/// Commits that are read at once.
const COMMITS: usize = 64;
/// Articles of a snapshot that are read at once, at most.
const ARTICLES: usize = 32;
/// How long a commit or article that was read ahead may wait to be sent. Older ones are read again: an article may be hidden by
/// now.
const FRESH: Duration = Duration::from_secs(1);

/// A message to a follower.
#[derive(Debug)]
pub enum Message {
    /// A change.
    Change(Box<Change>),
    /// An article of the snapshot, with its translations.
    Item(Arc<ArticleState>),
    /// The snapshot is complete; the number of its articles.
    SnapshotEnd(u64),
    /// Nothing more to tell up to here.
    Checkpoint(Checkpoint),
}

/// A change of a commit.
#[derive(Debug)]
pub struct Change {
    /// The commit.
    pub stamp: Stamp,
    /// The authenticated principal that made it; empty for callers without credentials and for the server itself.
    pub principal: String,
    /// What happened.
    pub event: Event,
    /// Which of the commit's changes it is, from 0 on.
    pub ordinal: u32,
    /// Whether the follower may not see the article: it gets the id and the kind of the change only.
    pub hidden: bool,
}

/// How far a follower is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The newest commit that was looked at; 0 inside a snapshot, where none was.
    pub seq: Seq,
    /// Its time, where it is known.
    pub time: Option<Timestamp>,
}

/// The part of a snapshot that is to come.
struct Scan {
    /// The newest commit when it began: the log follows from there.
    since: Seq,
    /// The last article that was looked at.
    after: Option<ArticleId>,
    ahead: VecDeque<Arc<ArticleState>>,
    /// The bytes of those and of the last one that was sent.
    held: Option<HeldBytes>,
    /// Articles that are read next at once: more while there is room for them.
    articles: usize,
    told: u64,
}

/// A follower of the changes.
pub struct Watch {
    hub: Arc<ChangeFanout>,
    streams: Arc<StreamBudgets>,
    tail: watch::Receiver<Tail>,
    filter: Filter,
    caller: String,
    reach: Reach,
    interval: Duration,
    scan: Option<Scan>,
    /// The next change of the log to send.
    next: Next,
    /// The time of the last commit that was looked at.
    time: Option<Timestamp>,
    /// Commits that were read ahead, first the one with the next change.
    ahead: VecDeque<Arc<Told>>,
    /// When `ahead`, or that of the snapshot, was read.
    read: Instant,
    /// The time of the last message; `None` for a follower that has no token yet.
    said: Option<Instant>,
    /// Keeps what follows a snapshot, until that is caught up with.
    pin: Option<LogHold>,
    /// Tells the hub how far this is.
    follower: Follower,
}

impl Watch {
    pub(super) async fn begin(
        hub: Arc<ChangeFanout>,
        streams: Arc<StreamBudgets>,
        options: WatchOptions,
    ) -> Result<Self> {
        let mut tail = hub.tail();
        // Whatever is hidden by now must be seen as hidden.
        let durable = hub.store.durable().borrow().seq;
        let reached = tail.wait_for(|tail| tail.seq >= durable || tail.failed.is_some() || tail.stopping);
        check(&*reached.await.map_err(|_| StoreError::Closed)?)?;

        let store = hub.store.clone();
        let (epoch, is_new) = (store.epoch(), !matches!(options.start, Start::After(_)));
        let place = match options.start {
            Start::Now => Place::Commit(durable),
            Start::Oldest => Place::Commit(store.changes(0, 0).await?.floor),
            Start::Snapshot => Place::Snapshot(durable, None),
            Start::After(token) if token.epoch == epoch => token.place,
            Start::After(token) => {
                return Err(Error::ForeignToken {
                    seq: token.place.seq(),
                    head: durable,
                });
            }
        };
        // Before the look at the floor, so that it stays there.
        let pin = matches!(place, Place::Snapshot(..)).then(|| store.hold(place.seq()));
        let next = place.next();
        let before = next.passed();
        let Changes { floor, head, commits } = store.changes(before.saturating_sub(1), 1).await?;
        place
            .check(floor, head)
            .map_err(|why| lost(why, epoch, place.seq(), floor, head))?;
        let passed = commits.first().filter(|commit| commit.stamp.seq == before);
        let scan = match place {
            Place::Snapshot(since, after) => Some(Scan {
                since,
                after,
                ahead: VecDeque::new(),
                held: None,
                articles: 1,
                told: 0,
            }),
            Place::Commit(_) | Place::Change(..) => None,
        };
        let now = Instant::now();
        Ok(Self {
            follower: hub.follower(next.passed()),
            hub,
            streams,
            tail,
            filter: options.filter,
            caller: options.caller,
            reach: options.reach,
            interval: options.checkpoint_interval,
            scan,
            next,
            time: passed.map(|commit| commit.stamp.time),
            ahead: VecDeque::new(),
            read: now,
            said: (!is_new).then_some(now),
            pin,
        })
    }

    /// What to follow, as it was asked for.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The store that is followed.
    pub fn epoch(&self) -> [u8; 16] {
        self.hub.store.epoch()
    }

    /// Waits for the next message, and the place behind it. A follower without a token first gets a checkpoint.
    pub async fn next(&mut self) -> Result<(Message, Place)> {
        loop {
            check(&self.tail.borrow_and_update())?;
            let is_due = self.said.is_none_or(|said| said.elapsed() >= self.interval);
            let message = if is_due {
                Some(self.checkpoint())
            } else if self.scan.is_some() {
                self.scanned().await?
            } else {
                self.logged().await?
            };
            if let Some(message) = message {
                self.said = Some(Instant::now());
                return Ok(message);
            }
        }
    }

    fn checkpoint(&self) -> (Message, Place) {
        match &self.scan {
            Some(scan) => {
                let place = Place::Snapshot(scan.since, scan.after.clone());
                (Message::Checkpoint(Checkpoint::default()), place)
            }
            None => {
                let checkpoint = Checkpoint {
                    seq: self.next.passed(),
                    time: self.time,
                };
                (Message::Checkpoint(checkpoint), self.next.place())
            }
        }
    }

    /// Looks at the next article of the snapshot.
    async fn scanned(&mut self) -> Result<Option<(Message, Place)>> {
        let is_read = |scan: &Scan| !scan.ahead.is_empty() && self.read.elapsed() < FRESH;
        if !self.scan.as_ref().is_some_and(is_read) && !self.read_ahead().await? {
            return Ok(None);
        }
        let Some(scan) = &mut self.scan else {
            return Ok(None);
        };
        let Some(state) = scan.ahead.pop_front() else {
            let (place, told) = (Place::Commit(scan.since), scan.told);
            self.scan = None;
            return Ok(Some((Message::SnapshotEnd(told), place)));
        };
        let current = &state.head.current;
        scan.after = Some(state.head.id.clone());
        let is_told = self.reach.covers(current.visibility)
            && self.filter.wants_article(&Scope::from(&current.metadata));
        if !is_told {
            return Ok(None);
        }
        scan.told += 1;
        let place = Place::Snapshot(scan.since, scan.after.clone());
        Ok(Some((Message::Item(state), place)))
    }

    /// Reads the next articles of the snapshot. Where the budget has no room for them they are let go, and the first one is
    /// read again when there is room for it. `false`: there was none until the next checkpoint is due.
    async fn read_ahead(&mut self) -> Result<bool> {
        let due = self.said.unwrap_or_else(Instant::now) + self.interval;
        let Some(scan) = &mut self.scan else {
            return Ok(false);
        };
        scan.ahead.clear();
        scan.held = None;
        let (store, budget, after) = (&self.hub.store, &self.streams.exports, scan.after.as_ref());
        let mut articles = store.scan(after, scan.articles).await?;
        let bytes = articles.iter().map(|state| state.bytes()).sum();
        scan.held = budget.try_take(&self.caller, bytes);
        scan.articles = (2 * scan.articles).min(ARTICLES);
        if scan.held.is_none() {
            scan.articles = 1;
            let first = articles.first().map_or(0, |state| state.bytes());
            drop(articles);
            let ends = self.tail.wait_for(|tail| tail.failed.is_some() || tail.stopping);
            tokio::select! {
                held = budget.take(&self.caller, first) => scan.held = held,
                _ = timeout_at(due, ends) => return Ok(false),
            }
            articles = store.scan(after, 1).await?;
        }
        scan.ahead = articles.into();
        self.read = Instant::now();
        Ok(true)
    }

    /// Looks at the next commit of the log, or waits for it.
    async fn logged(&mut self) -> Result<Option<(Message, Place)>> {
        let Some(told) = self.commit().await? else {
            self.pin = None;
            self.wait().await;
            return Ok(None);
        };
        let changes = told.changes.len();
        let rest = (0..).zip(&told.changes).skip(self.next.ordinal as usize);
        for (ordinal, (event, mark)) in rest {
            let hidden = !mark.is_within(self.reach);
            let is_told = if hidden {
                self.filter.matches_hidden(event)
            } else {
                self.filter.matches(event)
            };
            if is_told {
                let next = self.next.behind(ordinal, changes);
                self.go_to(next, &told);
                let change = Change {
                    stamp: told.stamp,
                    principal: told.principal.clone(),
                    event: event.clone(),
                    ordinal,
                    hidden,
                };
                return Ok(Some((Message::Change(Box::new(change)), next.place())));
            }
        }
        self.go_to(Next::after(told.stamp.seq), &told);
        Ok(None)
    }

    fn go_to(&mut self, next: Next, told: &Told) {
        if next.seq > told.stamp.seq {
            self.ahead.pop_front();
            self.time = Some(told.stamp.time);
        }
        self.follower.pass(next.passed());
        self.next = next;
    }

    /// The commit with the next change; `None` if there is none yet.
    async fn commit(&mut self) -> Result<Option<Arc<Told>>> {
        let is_next = |told: &&Arc<Told>| told.stamp.seq == self.next.seq;
        if self.read.elapsed() < FRESH
            && let Some(told) = self.ahead.front().filter(is_next)
        {
            return Ok(Some(told.clone()));
        }
        self.ahead = match self.hub.get(self.next.seq) {
            Found::Ahead => return Ok(None),
            Found::Here(told) => [told].into(),
            Found::Before => {
                let after = self.next.passed();
                let (floor, commits) = self.hub.read(after, COMMITS).await?;
                if after < floor {
                    return Err(lost(Lost::Trimmed, self.epoch(), after, floor, floor));
                }
                commits
            }
        };
        self.read = Instant::now();
        Ok(self.ahead.front().cloned())
    }

    /// Waits until there is more, or it is time to say that there is nothing.
    async fn wait(&mut self) {
        let due = self.said.unwrap_or_else(Instant::now) + self.interval;
        let seq = self.next.seq;
        let more = self
            .tail
            .wait_for(|tail| tail.seq >= seq || tail.failed.is_some() || tail.stopping);
        // An error is seen by whoever looks next; when the time is over, it is that of a checkpoint.
        drop(timeout_at(due, more).await);
    }
}

/// Whether there is anything to follow.
fn check(tail: &Tail) -> Result<()> {
    if tail.stopping {
        let reason = "the server is stopping; go on with the last token".to_owned();
        return Err(StoreError::Unavailable { reason }.into());
    }
    match &tail.failed {
        Some(error) => Err(error.clone().into()),
        None => Ok(()),
    }
}
