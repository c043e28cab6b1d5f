//! Fan-out of the change feed: one task reads durable commits into a bounded window that all followers share.
//!
//! A follower at the end reads the window; one further behind reads the log. A commit carries the visibility of each of its
//! articles as a cell that all changes of the article share, so that a commit which hides an article hides them all.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::FeedStatus;
use crate::domain::access::{Reach, Visibility};
use crate::domain::article::ArticleId;
use crate::domain::change::{Commit, Event};
use crate::domain::time::{Seq, Stamp};
use crate::store::{Changes, Store, StoreError};

/// Commits and bytes that the window holds at most.
const COMMITS: usize = 4_096;
const BYTES: usize = 8 << 20;
/// About what a commit and a change of it take beside their texts.
const COMMIT_BYTES: usize = 160;
const CHANGE_BYTES: usize = 320;
/// Commits that are read at once.
const AT_ONCE: usize = 512;
/// How long to leave a store alone that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// How far an article may be seen now; `None` for one that is gone.
#[derive(Debug)]
pub(super) struct Mark(RwLock<Option<Visibility>>);

impl Mark {
    fn new(visibility: Option<Visibility>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(visibility)))
    }

    /// Whether a caller with this reach may see the article.
    pub(super) fn is_within(&self, reach: Reach) -> bool {
        self.0.read().is_some_and(|visibility| reach.covers(visibility))
    }
}

/// A commit as it is sent to followers.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) stamp: Stamp,
    pub(super) principal: String,
    pub(super) changes: Vec<(Event, Arc<Mark>)>,
}

impl Told {
    fn new(commit: Commit, mut mark: impl FnMut(&ArticleId) -> Arc<Mark>) -> Self {
        let changes = commit.events.into_iter().map(|event| {
            let mark = mark(&event.article);
            (event, mark)
        });
        Self {
            stamp: commit.stamp,
            principal: commit.principal,
            changes: changes.collect(),
        }
    }

    fn bytes(&self) -> usize {
        let texts = |event: &Event| {
            let scopes = std::iter::once(&event.scope).chain(&event.previous);
            scopes
                .map(|scope| scope.section.len() + scope.publisher.len())
                .sum::<usize>()
        };
        let changes = self.changes.iter();
        COMMIT_BYTES
            + self.principal.len()
            + changes
                .map(|(event, _)| CHANGE_BYTES + texts(event))
                .sum::<usize>()
    }
}

/// How far the window reaches.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    /// The newest commit in it.
    pub(super) seq: Seq,
    /// Why it reaches no further, for as long as that is so.
    pub(super) failed: Option<StoreError>,
    /// Whether the feed has ended because the server stops.
    pub(super) stopping: bool,
}

/// What the window has of a commit.
pub(super) enum Found {
    /// The commit.
    Here(Arc<Told>),
    /// It is not in the window any more.
    Before,
    /// It is to come.
    Ahead,
}

#[derive(Debug, Default)]
struct Window {
    commits: VecDeque<Arc<Told>>,
    /// The newest commit that was in it.
    end: Seq,
    bytes: usize,
    /// The articles of the changes in it, with how many there are of each.
    articles: HashMap<ArticleId, (Arc<Mark>, usize)>,
}

impl Window {
    fn get(&self, seq: Seq) -> Found {
        if seq > self.end {
            return Found::Ahead;
        }
        let first = self.commits.front().map(|commit| commit.stamp.seq);
        let place = first.and_then(|first| usize::try_from(seq.checked_sub(first)?).ok());
        match place.and_then(|place| self.commits.get(place)) {
            Some(commit) => Found::Here(commit.clone()),
            None => Found::Before,
        }
    }

    /// Forgets everything up to a commit.
    fn skip_to(&mut self, seq: Seq) {
        *self = Self {
            end: seq,
            ..Self::default()
        };
    }

    /// Marks an article as it is now, if it is in the window.
    fn mark(&self, article: &ArticleId, visibility: Option<Visibility>) {
        if let Some((mark, _)) = self.articles.get(article) {
            *mark.0.write() = visibility;
        }
    }

    fn push(&mut self, commit: Commit, visible: &HashMap<ArticleId, Option<Visibility>>) {
        let told = Told::new(commit, |article| {
            let (mark, changes) = self
                .articles
                .entry(article.clone())
                .or_insert_with(|| (Mark::new(visible.get(article).copied().flatten()), 0));
            *changes += 1;
            mark.clone()
        });
        self.end = told.stamp.seq;
        self.bytes += told.bytes();
        self.commits.push_back(Arc::new(told));
        while self.commits.len() > COMMITS || self.bytes > BYTES {
            let Some(oldest) = self.commits.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            for (event, _) in &oldest.changes {
                if let Some((_, changes)) = self.articles.get_mut(&event.article) {
                    *changes -= 1;
                    if *changes == 0 {
                        self.articles.remove(&event.article);
                    }
                }
            }
        }
    }
}

/// The window and its reader.
pub(in crate::service) struct ChangeFanout {
    pub(super) store: Arc<dyn Store>,
    window: Mutex<Window>,
    tail: watch::Sender<Tail>,
    followers: Followers,
}

/// The positions of all followers.
#[derive(Debug, Default)]
struct Followers {
    places: Mutex<BTreeMap<u64, Arc<AtomicU64>>>,
    next: AtomicU64,
}

/// How far one of them is. It is forgotten when it ends.
pub(super) struct Follower {
    hub: Arc<ChangeFanout>,
    number: u64,
    passed: Arc<AtomicU64>,
}

impl Follower {
    /// Notes the newest commit that it is past.
    pub(super) fn pass(&self, seq: Seq) {
        self.passed.store(seq, Ordering::Relaxed);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.followers.places.lock().remove(&self.number);
    }
}

impl ChangeFanout {
    pub(in crate::service) fn new(store: Arc<dyn Store>) -> Self {
        let seq = store.durable().borrow().seq;
        let mut window = Window::default();
        window.skip_to(seq);
        let tail = Tail {
            seq,
            ..Tail::default()
        };
        Self {
            store,
            window: Mutex::new(window),
            tail: watch::Sender::new(tail),
            followers: Followers::default(),
        }
    }

    /// Registers a follower.
    pub(super) fn follower(self: &Arc<Self>, passed: Seq) -> Follower {
        let number = self.followers.next.fetch_add(1, Ordering::Relaxed);
        let passed = Arc::new(AtomicU64::new(passed));
        self.followers.places.lock().insert(number, passed.clone());
        Follower {
            hub: self.clone(),
            number,
            passed,
        }
    }

    /// How far the feed and its followers are.
    pub(in crate::service) fn status(&self) -> FeedStatus {
        let durable = self.store.durable().borrow().seq;
        let places = self.followers.places.lock();
        let slowest = places.values().map(|passed| passed.load(Ordering::Relaxed)).min();
        FeedStatus {
            lag: durable.saturating_sub(self.tail.borrow().seq),
            followers: places.len(),
            slowest_lag: slowest.map_or(0, |passed| durable.saturating_sub(passed)),
        }
    }

    /// Follows how far the window reaches.
    pub(super) fn tail(&self) -> watch::Receiver<Tail> {
        self.tail.subscribe()
    }

    pub(super) fn get(&self, seq: Seq) -> Found {
        self.window.lock().get(seq)
    }

    /// Ends all followers, and those that begin later.
    pub(in crate::service) fn stop(&self) {
        self.tail.send_modify(|tail| tail.stopping = true);
    }

    /// Reads what becomes durable for as long as the store is open.
    pub(super) async fn run(&self) {
        let mut durable = self.store.durable();
        let mut pause = interval(PAUSE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let head = durable.borrow_and_update().seq;
            while self.tail.borrow().seq < head {
                if let Err(error) = self.advance(head).await {
                    let is_closed = error == StoreError::Closed;
                    if self.tail.borrow().failed.is_none() {
                        tracing::warn!(%error, "the change log cannot be read; who follows it is told");
                    }
                    self.tail.send_modify(|tail| tail.failed = Some(error));
                    if is_closed {
                        return;
                    }
                    pause.tick().await;
                }
            }
            if durable.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads on, up to the durable head at most.
    async fn advance(&self, head: Seq) -> Result<(), StoreError> {
        let end = self.tail.borrow().seq;
        if self.tail.receiver_count() == 0 {
            // Whoever comes reads the log up to there.
            self.window.lock().skip_to(head);
            self.reach(head);
            return Ok(());
        }
        let Changes { commits, floor, .. } = self.store.changes(end, AT_ONCE).await?;
        let visible = visible(&*self.store, &commits).await?;
        let mut window = self.window.lock();
        if floor > end {
            window.skip_to(floor);
        }
        for (article, visibility) in &visible {
            window.mark(article, *visibility);
        }
        for commit in commits {
            window.push(commit, &visible);
        }
        let end = window.end;
        drop(window);
        self.reach(end);
        Ok(())
    }

    fn reach(&self, seq: Seq) {
        self.tail.send_modify(|tail| {
            tail.seq = seq;
            tail.failed = None;
        });
    }

    /// Commits after a number, with how far their articles may be seen now.
    pub(super) async fn read(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<(Seq, VecDeque<Arc<Told>>), StoreError> {
        let Changes { commits, floor, .. } = self.store.changes(after, limit).await?;
        let visible = visible(&*self.store, &commits).await?;
        let marks: HashMap<_, _> = visible
            .into_iter()
            .map(|(article, visibility)| (article, Mark::new(visibility)))
            .collect();
        let mark = |article: &ArticleId| marks.get(article).cloned().unwrap_or_else(|| Mark::new(None));
        let told = |commit| Arc::new(Told::new(commit, mark));
        Ok((floor, commits.into_iter().map(told).collect()))
    }
}

/// How far the articles of some commits may be seen now. A damaged one counts as gone: nothing is said about it, and the
/// others are told.
async fn visible(
    store: &dyn Store,
    commits: &[Commit],
) -> Result<HashMap<ArticleId, Option<Visibility>>, StoreError> {
    let events = commits.iter().flat_map(|commit| &commit.events);
    let ids: BTreeSet<_> = events.map(|event| event.article.clone()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let states = match store.articles(&ids).await {
        Err(StoreError::Corrupt { .. }) => {
            let mut states = Vec::with_capacity(ids.len());
            for id in &ids {
                match store.articles(std::slice::from_ref(id)).await {
                    Err(error @ StoreError::Corrupt { .. }) => {
                        tracing::error!(%error, "a change of a damaged article is told by its id");
                        states.push(None);
                    }
                    state => states.extend(state?),
                }
            }
            states
        }
        states => states?,
    };
    let visibility = states
        .into_iter()
        .map(|state| state.map(|state| state.head.current.visibility));
    Ok(ids.into_iter().zip(visibility).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::{Kind, Scope};
    use crate::domain::language::Language;
    use crate::domain::time::Timestamp;

    const PUBLIC: Option<Visibility> = Some(Visibility::Public);

    fn id(number: u64) -> ArticleId {
        ArticleId::parse(&format!("a{number}")).unwrap()
    }

    /// A commit about one article out of ten.
    fn commit(seq: Seq, section: &str) -> Commit {
        let event = Event {
            kind: Kind::ArticleRevised,
            article: id(seq % 10),
            revision: 1,
            language: None,
            etag: None,
            scope: Scope {
                language: Language::parse("ar").unwrap(),
                section: section.into(),
                publisher: String::new(),
            },
            previous: None,
        };
        let time = Timestamp::default();
        Commit {
            stamp: Stamp { seq, time },
            events: vec![event; 2],
            principal: String::new(),
        }
    }

    fn push(window: &mut Window, commits: std::ops::RangeInclusive<Seq>, section: &str) {
        let visible = (0..10).map(|number| (id(number), PUBLIC)).collect();
        commits.for_each(|seq| window.push(commit(seq, section), &visible));
    }

    fn seq(found: Found) -> Result<Seq, &'static str> {
        match found {
            Found::Here(told) => Ok(told.stamp.seq),
            Found::Before => Err("before"),
            Found::Ahead => Err("ahead"),
        }
    }

    #[test]
    fn the_window_holds_the_newest_commits_and_is_bounded() {
        let mut window = Window::default();
        window.skip_to(7);
        assert_eq!(seq(window.get(7)), Err("before"));
        assert_eq!(seq(window.get(8)), Err("ahead"));
        push(&mut window, 8..=10, "x");
        assert_eq!(seq(window.get(7)), Err("before"));
        for here in 8..=10 {
            assert_eq!(seq(window.get(here)), Ok(here));
        }
        assert_eq!(seq(window.get(11)), Err("ahead"));
        push(&mut window, 11..=10_000, "x");
        assert_eq!(window.commits.len(), COMMITS);
        assert_eq!(seq(window.get(10_000 - COMMITS as u64)), Err("before"));
        assert_eq!(
            seq(window.get(10_001 - COMMITS as u64)),
            Ok(10_001 - COMMITS as u64)
        );
        push(&mut window, 10_001..=10_100, &"x".repeat(1 << 20));
        assert!(window.bytes <= BYTES && window.commits.len() < 8);
        let changes: usize = window.articles.values().map(|(_, changes)| changes).sum();
        assert_eq!(
            changes,
            2 * window.commits.len(),
            "articles go with their changes"
        );
        assert_eq!(seq(window.get(10_100)), Ok(10_100));
    }

    #[test]
    fn an_article_is_marked_in_all_its_changes() {
        let mut window = Window::default();
        push(&mut window, 1..=25, "x");
        window.mark(&id(3), Some(Visibility::Withheld));
        window.mark(&id(4), None);
        window.mark(&ArticleId::parse("other").unwrap(), None);
        let seen = |seq| match window.get(seq) {
            Found::Here(told) => told.changes[1].1.is_within(Reach::default()),
            _ => panic!("commit {seq} is not there"),
        };
        let hidden: Vec<_> = (1..=25).filter(|seq| !seen(*seq)).collect();
        assert_eq!(hidden, [3, 4, 13, 14, 23, 24]);
        window.mark(&id(3), PUBLIC);
        assert!((1..=25).all(|seq| {
            matches!(window.get(seq), Found::Here(told)
                if told.changes[0].1.is_within(Reach::default()) == (seq % 10 != 4))
        }));
    }
}
