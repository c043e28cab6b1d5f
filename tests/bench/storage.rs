//! The storage bench: the service over a store on disk at size, in this process, every write durable.
//!
//! `cargo bench --bench storage [-- SECTION [NUMBER…]…]`; all sections by default, each with the numbers below:
//! `overwrites [WRITES=2000000] [ARTICLES=50000]`, `million [ARTICLES=1000000]`, `absent [ARTICLES=100000]`, `claims [JOBS=10000]`,
//! `embargoes [ARTICLES=1000]`, `live-blog [REVISIONS=10000] [PARAGRAPHS=500]`, `backup` of the store of `million`, or of 100,000 articles without it. The stores are made
//! in `ARTICLE_STORE_TEST_BENCH_DIR`, else in the build's directory, and removed. A million articles take some 10 GB on the
//! way. Memory is that of this process: sections that are run together share it. Machines are noisy.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and prints its figures"
)]

mod claims;
mod embargoes;
mod live_blog;
mod place;
mod texts;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use article_store::clock::{Clock, SystemClock};
use article_store::domain::access::{Principal, Scopes, Shown};
use article_store::domain::coverage::Period;
use article_store::domain::query::{Axis, Order, Presence, Query, Range, TranslationFilter};
use article_store::domain::reading::Reading;
use article_store::domain::time::Timestamp;
use article_store::server::{runtime, store_factory};
use article_store::service::coverage::CoverageQuery;
use article_store::service::view::Moment;
use article_store::service::view::View;
use article_store::service::{Call, Service};
use article_store::store::transfer::back_up;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use place::{OPTIONS, Place, Times, each, memory, mib};
use texts::{Random, Texts, french, id, instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls at a time.
const TASKS: usize = 64;
/// Paragraphs of an article of some 3 KB.
const WHOLE: usize = 6;
/// Paragraphs of a small one.
const SMALL: usize = 1;
/// Articles of a page.
const PAGE: usize = 50;
/// Articles that lack a translation, or have a stale one.
const FEW: usize = 3;
/// How often a server looks for embargoes that have ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Parts of the overwrites that are measured one by one; a multiple of 4 and of 10.
const PARTS: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let numbers = |name: &str| -> Option<Vec<usize>> {
        let named = arguments.iter().position(|argument| argument == name);
        if named.is_none() && !arguments.is_empty() {
            return None;
        }
        let after = arguments.iter().skip(named.map_or(0, |place| place + 1));
        Some(after.map_while(|argument| argument.parse().ok()).collect())
    };
    let or = |numbers: &[usize], place: usize, default| numbers.get(place).copied().unwrap_or(default);
    let texts = Arc::new(Texts::new());
    runtime().unwrap().block_on(async {
        if let Some(numbers) = numbers("overwrites") {
            overwrites(&texts, or(&numbers, 0, 2_000_000), or(&numbers, 1, 50_000)).await;
        }
        if let Some(numbers) = numbers("absent") {
            absent(&texts, or(&numbers, 0, 100_000)).await;
        }
        if let Some(numbers) = numbers("claims") {
            claims::claims(&texts, or(&numbers, 0, 10_000)).await;
        }
        if let Some(numbers) = numbers("embargoes") {
            embargoes::lift(&texts, or(&numbers, 0, 1_000)).await;
        }
        if let Some(numbers) = numbers("live-blog") {
            live_blog::live_blog(&texts, or(&numbers, 0, 10_000), or(&numbers, 1, 500)).await;
        }
        let filled = match numbers("million") {
            Some(numbers) => Some(million(&texts, or(&numbers, 0, 1_000_000)).await),
            None => None,
        };
        match (numbers("backup"), filled) {
            (Some(_), Some((place, articles))) => backup(place, &texts, articles).await,
            (Some(_), None) => {
                let place = Place::new();
                import(&place.service(), &texts, 0..100_000, WHOLE).await;
                backup(place, &texts, 100_000).await;
            }
            (None, Some((place, _))) => place.end().await,
            (None, None) => {}
        }
    });
}

async fn import(
    service: &Service,
    texts: &Arc<Texts>,
    articles: std::ops::Range<usize>,
    paragraphs: usize,
) -> Times {
    let (service, texts) = (service.clone(), texts.clone());
    each(TASKS, articles, move |number| {
        let (service, texts) = (service.clone(), texts.clone());
        async move {
            let draft = texts.article(number, paragraphs);
            service
                .import_article(&Call::default(), &draft, None)
                .await
                .unwrap();
        }
    })
    .await
}

/// Gives an article another section and other keywords, so that each number is another change.
async fn change(service: Service, texts: Arc<Texts>, number: usize, articles: usize) {
    let patch = texts.metadata(number / articles);
    service
        .update_article(
            &Call::default(),
            // Prime, so that neighbours are not neighbours in the store.
            &id(number * 7_919 % articles),
            &patch,
            None,
            None,
            None,
        )
        .await
        .unwrap();
}

/// The same articles are written again and again.
async fn overwrites(texts: &Arc<Texts>, writes: usize, articles: usize) {
    let place = Place::new();
    let service = place.service();
    let times = import(&service, texts, 0..articles, SMALL).await;
    println!("overwrites: {articles} small articles, {:.0}/s", times.rate());
    println!("overwrites: before {}", place.sizes().await);
    let mut seconds = Vec::new();
    let part = writes / PARTS;
    for done in 0..PARTS {
        let (service, texts) = (service.clone(), texts.clone());
        let times = each(TASKS, done * part..(done + 1) * part, move |number| {
            change(service.clone(), texts.clone(), number, articles)
        })
        .await;
        seconds.push(times.elapsed());
        if (done + 1) % (PARTS / 4) == 0 {
            let written = (done + 1) * part;
            println!("overwrites: {written} writes, {times}; {}", place.sizes().await);
        }
    }
    let tenth = PARTS / 10;
    let rate = |seconds: &[f64]| (part * seconds.len()) as f64 / seconds.iter().sum::<f64>();
    println!(
        "overwrites: first tenth {:.0}/s, last tenth {:.0}/s, all {:.0}/s",
        rate(&seconds[..tenth]),
        rate(&seconds[PARTS - tenth..]),
        rate(&seconds)
    );
    let begin = Instant::now();
    place.store().compact().await.unwrap();
    println!(
        "overwrites: compacted in {:.1} s: {}",
        begin.elapsed().as_secs_f64(),
        place.sizes().await
    );
    place.end().await;
}

/// An archive, read when it is small and when it is large.
async fn million(texts: &Arc<Texts>, articles: usize) -> (Place, usize) {
    let mut place = Place::new();
    let few = articles.min(10_000);
    let times = import(&place.service(), texts, 0..few, WHOLE).await;
    println!(
        "million: {few} articles imported, {times}; {}",
        place.sizes().await
    );
    reads(&place.service(), few).await;
    let part = (articles - few).div_ceil(4).max(1);
    for start in (few..articles).step_by(part) {
        let end = articles.min(start + part);
        let times = import(&place.service(), texts, start..end, WHOLE).await;
        println!(
            "million: {end} articles imported, {times}; {}",
            place.sizes().await
        );
    }
    reads(&place.service(), articles).await;
    println!("million: after the reads {}", place.sizes().await);
    place.close().await;
    println!("million: closed, resident {:.0} MiB", memory());
    place.forget();
    println!(
        "million: opened from disk, with the log to read since it was last opened, in {:.2} s",
        place.open().as_secs_f64()
    );
    place.close().await;
    println!(
        "million: opened from memory in {:.2} s",
        place.open().as_secs_f64()
    );
    (place, articles)
}

async fn reads(service: &Service, articles: usize) {
    for tasks in [TASKS, 1] {
        let count = if tasks == 1 { 10_000 } else { 100_000 };
        // The first half as many warm what can be warm.
        gets(service, articles, tasks, 0..count / 2).await;
        let times = gets(service, articles, tasks, count..2 * count).await;
        println!("get of {articles}, {tasks} tasks: {times}");
    }
    for tasks in [TASKS, 1] {
        let count = if tasks == 1 { 1_000 } else { 4_000 };
        pages(service, tasks, 0..count / 2).await;
        let times = pages(service, tasks, count..2 * count).await;
        println!("page of {PAGE} of {articles} from a random day on, {tasks} tasks: {times}");
    }
}

async fn gets(service: &Service, articles: usize, tasks: usize, calls: std::ops::Range<usize>) -> Times {
    let service = service.clone();
    each(tasks, calls, move |number| {
        let service = service.clone();
        async move {
            let id = id(Random::new(number as u64).below(articles as u64) as usize);
            service
                .get_article(
                    &id,
                    View::Full,
                    Moment::Now,
                    Shown::default(),
                    &Reading::default(),
                )
                .await
                .unwrap();
        }
    })
    .await
}

async fn pages(service: &Service, tasks: usize, calls: std::ops::Range<usize>) -> Times {
    let service = service.clone();
    each(tasks, calls, move |number| {
        let service = service.clone();
        async move {
            let start = instant(&mut Random::new(number as u64));
            let query = Query {
                range: Range::Instants {
                    start,
                    end: Timestamp::MAX,
                },
                order: Order::OldestFirst,
                ..all()
            };
            service
                .list_articles(&query, None, PAGE, View::Basic)
                .await
                .unwrap();
        }
    })
    .await
}

fn all() -> Query {
    Query {
        axis: Axis::Published,
        range: Range::All,
        order: Order::NewestFirst,
        language: None,
        section: None,
        publisher: None,
        shown: Shown::default(),
        translation: None,
    }
}

/// A call by a principal that may attach.
fn anybody() -> Call {
    Call {
        caller: Arc::new(Principal::anonymous(Scopes::open())),
        request: None,
    }
}

/// Looks for the few articles that lack a translation, and for the few whose translation is stale, and counts all.
async fn absent(texts: &Arc<Texts>, articles: usize) {
    let place = Place::new();
    let service = place.service();
    import(&service, texts, 0..articles, SMALL).await;
    // The few lie at the beginning, in the middle and nearly at the end of the ids, and anywhere among the dates.
    let lacking: [usize; FEW] = [0, articles / 2, articles - 2];
    let attached = {
        let (service, texts) = (service.clone(), texts.clone());
        each(TASKS, 0..articles, move |number| {
            let (service, texts) = (service.clone(), texts.clone());
            async move {
                if !lacking.contains(&number) {
                    let attachment = texts.french(number, SMALL);
                    service.attach_translation(&anybody(), &attachment).await.unwrap();
                }
            }
        })
        .await
    };
    println!("absent: attached, {attached}; {}", place.sizes().await);
    for number in 1..=FEW {
        service
            .update_article(
                &Call::default(),
                &id(number * 7),
                &texts.lead(number),
                None,
                None,
                None,
            )
            .await
            .unwrap();
    }
    for (name, presence) in [("ABSENT", Presence::Absent), ("STALE", Presence::Stale)] {
        let query = Query {
            translation: Some(TranslationFilter {
                language: french(),
                presence,
                min_state: None,
                origin_class: None,
            }),
            ..all()
        };
        let (mut first, mut times) = (Vec::new(), Times::new());
        for _ in 0..10 {
            let begin = Instant::now();
            let (mut after, mut found) = (None, 0);
            loop {
                let page = times
                    .take(service.list_articles(&query, after.as_ref(), PAGE, View::Basic))
                    .await
                    .unwrap();
                if after.is_none() {
                    first.push(begin.elapsed().as_secs_f64() * 1e3);
                }
                found += page.articles.len();
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, FEW, "{name} of {articles}");
        }
        println!(
            "absent: {name} fr, {FEW} of {articles}: {} pages in {:.2} s a walk, a page {times}; first page {:.2} ms at first, then {:.2} ms",
            times.count() / 10,
            times.elapsed() / 10.0,
            first[0],
            first[1..].iter().copied().fold(f64::INFINITY, f64::min)
        );
    }
    let query = CoverageQuery {
        articles: all(),
        languages: vec![french()],
        period: Period::Month,
        zone: TimeZone::UTC,
    };
    let (mut times, mut after, mut counted) = (Times::new(), None, 0);
    loop {
        let (coverage, next) = times
            .take(service.get_coverage(&query, after.as_ref()))
            .await
            .unwrap();
        counted += coverage.tallies.values().map(|tally| tally.articles).sum::<u64>();
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(counted, articles as u64);
    println!(
        "absent: coverage of {articles} by month: {:.2} s, a call {times}",
        times.elapsed()
    );
    place.end().await;
}

/// A backup under concurrent writes, and its restore.
async fn backup(place: Place, texts: &Arc<Texts>, articles: usize) {
    let (service, store) = (place.service(), place.store());
    let mut number = 0;
    let mut write = || {
        number += 1;
        change(service.clone(), texts.clone(), number, articles)
    };
    let (mut before, mut during) = (Times::new(), Times::new());
    while before.elapsed() < 5.0 {
        before.take(write()).await;
    }
    println!("backup: a writer before {before}");
    let status = store.status().await.unwrap();
    let file = place.beside("backup");
    let mut out = BufWriter::new(File::create(&file).unwrap());
    let begin = Instant::now();
    let (to, mut bytes) = mpsc::channel(4);
    let dump = tokio::spawn(async move { back_up(&*store, SystemClock.now(), to).await });
    let to_file = tokio::spawn(async move {
        while let Some(chunk) = bytes.recv().await {
            out.write_all(&chunk).unwrap();
        }
        out.flush().unwrap();
    });
    while !dump.is_finished() {
        during.take(write()).await;
    }
    dump.await.unwrap().unwrap();
    to_file.await.unwrap();
    File::open(&file).unwrap().sync_all().unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "backup: {articles} articles, {:.0} MiB live in {seconds:.1} s, {:.0} MiB/s, a file of {:.0} MiB, resident {:.0} MiB",
        mib(status.sizes.unwrap_or_default().live_bytes),
        mib(status.sizes.unwrap_or_default().live_bytes) / seconds,
        mib(file.metadata().unwrap().len()),
        memory()
    );
    println!("backup: a writer meanwhile {during}");
    let begin = Instant::now();
    let mut doing = "";
    let progress = move |now: &'static str, _, _| {
        if now != doing {
            println!("backup: {now} from {:.1} s on", begin.elapsed().as_secs_f64());
            doing = now;
        }
    };
    let restored = store_factory::restore(
        &file,
        &place.beside("restored"),
        OPTIONS,
        false,
        Arc::new(SystemClock),
        Box::new(progress),
    )
    .await
    .unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "backup: restored in {seconds:.1} s, {:.0} MiB/s: disk {:.0} MiB, live {:.0} MiB, resident {:.0} MiB",
        mib(restored.status.sizes.unwrap_or_default().live_bytes) / seconds,
        mib(restored.status.sizes.unwrap_or_default().disk_bytes),
        mib(restored.status.sizes.unwrap_or_default().live_bytes),
        memory()
    );
    place.end().await;
}
