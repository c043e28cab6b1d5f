//! A live blog: one article whose paragraphs all change with every revision. The last revisions should cost at most half as
//! much again as the first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use article_store::domain::draft::ArticlePatch;
use article_store::domain::segment::DraftSegment;
use article_store::service::Call;

use crate::place::Place;
use crate::texts::{Texts, id};

/// Revisions of a median.
const PART: usize = 100;
/// Medians that are printed on the way.
const PRINTED: usize = 10;

pub(crate) async fn live_blog(texts: &Arc<Texts>, revisions: usize, paragraphs: usize) {
    let place = Place::new();
    let service = place.service();
    let (call, article) = (Call::default(), id(0));
    let draft = texts.article(0, paragraphs);
    let body = draft.content.body.clone();
    service.create_article(&call, draft).await.unwrap();
    let mut parts = Vec::new();
    for part in 0..revisions / PART {
        let mut times = Vec::with_capacity(PART);
        for revision in part * PART..(part + 1) * PART {
            let changed = |segment: &DraftSegment| {
                let text = format!(
                    "{:02}:{:02} {}",
                    revision / 60,
                    revision % 60,
                    segment.content.text()
                );
                DraftSegment::paragraph(text).unwrap()
            };
            let patch = ArticlePatch {
                body: Some(body.iter().map(changed).collect()),
                ..ArticlePatch::default()
            };
            let begin = Instant::now();
            let update = service.update_article(&call, &article, &patch, None, None, None);
            update.await.unwrap();
            times.push(begin.elapsed());
        }
        parts.push(median(times));
        if parts.len() % (revisions / PART).div_ceil(PRINTED) == 0 {
            let median = parts.last().unwrap();
            println!(
                "live-blog: revision {}: median {median:.1?} a revision",
                (part + 1) * PART
            );
        }
    }
    let ends = parts.first().zip(parts.last());
    let ratio = ends.map_or(1.0, |(first, last)| last.as_secs_f64() / first.as_secs_f64());
    println!(
        "live-blog: the last {PART} of {revisions} revisions of {paragraphs} paragraphs take {ratio:.2} times as long as the first"
    );
    println!("live-blog: {}", place.sizes().await);
    place.end().await;
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
