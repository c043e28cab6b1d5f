//! A live blog: one article whose paragraphs all change with every revision. It should end as fast as it began.

use std::sync::Arc;
use std::time::{Duration, Instant};

use article_store::domain::draft::ArticlePatch;
use article_store::domain::segment::DraftSegment;
use article_store::service::Call;

use crate::place::Place;
use crate::texts::{Texts, id};

/// Revisions whose times make a mean.
const PART: usize = 100;
/// Parts that are told on the way.
const TOLD: usize = 10;

pub(crate) async fn live_blog(texts: &Arc<Texts>, revisions: usize, paragraphs: usize) {
    let place = Place::new();
    let service = place.service();
    let (call, article) = (Call::default(), id(0));
    let draft = texts.article(0, paragraphs);
    let body = draft.content.body.clone();
    service.create_article(&call, draft).await.unwrap();
    let mut parts = Vec::new();
    for part in 0..revisions / PART {
        let mut taken = Duration::ZERO;
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
            taken += begin.elapsed();
        }
        parts.push(taken / u32::try_from(PART).unwrap());
        if parts.len() % (revisions / PART).div_ceil(TOLD) == 0 {
            let mean = parts.last().unwrap();
            println!("live-blog: revision {}: {mean:.1?} a revision", (part + 1) * PART);
        }
    }
    let ends = parts.first().zip(parts.last());
    let ratio = ends.map_or(1.0, |(first, last)| last.as_secs_f64() / first.as_secs_f64());
    println!(
        "live-blog: the last {PART} of {revisions} revisions take {ratio:.2} times as long as the first"
    );
    println!("live-blog: {}", place.sizes().await);
    place.end().await;
}
