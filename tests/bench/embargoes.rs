//! Many embargoes that end at the same time.

use super::*;

/// Lifts embargoes that end at one instant, as a server does.
pub(super) async fn lift(texts: &Arc<Texts>, articles: usize) {
    let place = Place::new();
    let service = place.service();
    // So late that all are stored by then.
    let patience = 5_000_000 + articles as i64 * 10_000;
    let end = SystemClock.now().saturating_add_micros(patience);
    {
        let (service, texts) = (service.clone(), texts.clone());
        each(TASKS, 0..articles, move |number| {
            let (service, texts) = (service.clone(), texts.clone());
            async move {
                let mut draft = texts.article(number, WHOLE);
                draft.metadata.embargo_time = Some(end);
                service
                    .import_article(&Call::default(), &draft, None)
                    .await
                    .unwrap();
            }
        })
        .await;
    }
    assert!(SystemClock.now() < end, "all are stored before the end");
    let stored = service.store().status().await.unwrap().seq;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut failed = std::collections::HashSet::new();
    // A commit lifts one.
    while service.store().status().await.unwrap().seq < stored + articles as u64 {
        looks.tick().await;
        while service.lift_embargoes(&mut failed).await.unwrap() {}
    }
    let late = SystemClock.now().as_micros() - end.as_micros();
    println!(
        "embargoes: {articles} that ended together were all lifted {} ms later",
        late / 1_000
    );
    place.end().await;
}
