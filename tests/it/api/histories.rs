//! Random small histories over the wire, against a plain model: an article is a list of paragraphs, and a translation
//! remembers the text that each of its paragraphs was made from.

use std::collections::BTreeMap;

use article_store::pb;
use pb::Freshness;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{agent, article, attach, by_id, create, get, rewrite, translation};
use crate::harness::Server;

/// Paragraphs that are not similar to each other, by number, so that only equality decides which is which.
const PARAGRAPHS: [&str; 6] = [
    "أعلنت وزارة الخارجية الأمريكية أن الوزير لن يحضر",
    "zwölf Boxkämpfer jagen Viktor quer über den Deich",
    "0123456789 0987654321",
    "Le cœur déçu mais l'âme plutôt naïve",
    "Съешь ещё этих мягких французских булок",
    "いろはにほへとちりぬるを",
];

#[derive(Debug, Clone)]
enum Step {
    /// Gives the article these paragraphs, each at most once.
    Rewrite(Vec<usize>),
    /// Attaches a translation of all paragraphs, in a language, made from the head or an earlier revision.
    Attach { language: usize, back: u32 },
    /// Attaches one paragraph.
    Part { language: usize, place: usize },
    /// Restarts the server.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let numbers: Vec<usize> = (0..PARAGRAPHS.len()).collect();
    let some = proptest::sample::subsequence(numbers, 1..=PARAGRAPHS.len());
    prop_oneof![
        5 => some.prop_shuffle().prop_map(Step::Rewrite),
        3 => (0..2_usize, 0..3_u32).prop_map(|(language, back)| Step::Attach { language, back }),
        2 => (0..2_usize, 0..6_usize).prop_map(|(language, place)| Step::Part { language, place }),
        1 => Just(Step::Restart),
    ]
}

const LANGUAGES: [&str; 2] = ["en", "fr"];

/// Per language: which paragraphs have a target, in order, with the text of the target.
type Targets = Vec<(usize, String)>;

#[derive(Default)]
struct Model {
    revisions: Vec<Vec<usize>>,
    translations: BTreeMap<usize, Targets>,
    writes: usize,
}

impl Model {
    fn head(&self) -> &[usize] {
        self.revisions.last().unwrap()
    }

    /// The worst that is true of a translation, by comparing texts: equal paragraphs are one paragraph, because each
    /// occurs at most once and none is similar to another.
    fn freshness(&self, targets: &Targets) -> Freshness {
        let made_from: Vec<_> = targets.iter().map(|(paragraph, _)| *paragraph).collect();
        let head = self.head();
        let in_both: Vec<_> = made_from.iter().filter(|p| head.contains(p)).collect();
        let in_source_order: Vec<_> = head.iter().filter(|p| made_from.contains(p)).collect();
        if head.iter().any(|p| !made_from.contains(p)) {
            Freshness::Incomplete
        } else if in_both.len() < made_from.len() {
            Freshness::Orphaned
        } else if in_both != in_source_order {
            Freshness::Moved
        } else {
            Freshness::Current
        }
    }
}

async fn apply(server: Server, model: &mut Model, step: Step) -> Server {
    match step {
        Step::Rewrite(paragraphs) => {
            let texts: Vec<_> = paragraphs.iter().map(|p| PARAGRAPHS[*p]).collect();
            let revised = rewrite(&server, "a", &texts).await;
            if paragraphs != model.head() {
                model.revisions.push(paragraphs);
            }
            assert_eq!(revised.revision as usize, model.revisions.len());
        }
        Step::Attach { language, back } => {
            let newest = u32::try_from(model.revisions.len()).unwrap();
            let revision = newest.saturating_sub(back).max(1);
            let source = model.revisions[revision as usize - 1].clone();
            model.writes += 1;
            let texts: Targets = source
                .iter()
                .map(|p| (*p, format!("target {} of {p}", model.writes)))
                .collect();
            let body = texts.iter().map(|(_, text)| super::target(text)).collect();
            let text = pb::TargetText {
                body,
                ..Default::default()
            };
            let request = pb::AttachTranslationRequest {
                content: Some(pb::attach_translation_request::Content::Text(text)),
                agent: agent(pb::AgentKind::Human, "Leïla"),
                ..by_id("a", LANGUAGES[language], revision, &[])
            };
            attach(&server, request).await;
            model.translations.insert(language, texts);
        }
        Step::Part { language, place } => {
            let source = model.head().to_vec();
            let place = place % source.len();
            let id = get(&server, "a").await.body[place].segment_id.clone();
            model.writes += 1;
            let text = format!("part {}", model.writes);
            let revision = u32::try_from(model.revisions.len()).unwrap();
            let mut request = by_id("a", LANGUAGES[language], revision, &[(&id, &text)]);
            request.agent = agent(pb::AgentKind::Human, "Leïla");
            attach(&server, request).await;
            let mut known: BTreeMap<usize, String> = model
                .translations
                .remove(&language)
                .unwrap_or_default()
                .into_iter()
                .collect();
            known.insert(source[place], text);
            let targets = source
                .iter()
                .filter_map(|p| Some((*p, known.get(p)?.clone())))
                .collect();
            model.translations.insert(language, targets);
        }
        Step::Restart => return server.restart().await,
    }
    server
}

async fn compare(server: &Server, model: &Model) {
    let article = get(server, "a").await;
    let texts: Vec<_> = article.body.iter().map(|s| s.text.as_str()).collect();
    let expected: Vec<_> = model.head().iter().map(|p| PARAGRAPHS[*p]).collect();
    assert_eq!(texts, expected);
    for (language, targets) in &model.translations {
        let read = translation(server, "a", LANGUAGES[*language], "").await;
        let texts: Vec<_> = read.body.iter().map(|s| s.text.as_str()).collect();
        let expected: Vec<_> = targets.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, expected);
        let summary = read.summary.unwrap();
        assert_eq!(
            summary.freshness(),
            model.freshness(targets),
            "{targets:?} of {:?}",
            model.head()
        );
        assert!(article.translations.iter().any(|t| t.language == summary.language
            && t.freshness == summary.freshness
            && t.etag == summary.etag));
        let current = model
            .head()
            .iter()
            .filter(|p| targets.iter().any(|(q, _)| q == *p))
            .count();
        assert_eq!(summary.current_segments as usize, current);
    }
    // Every revision is still there.
    for (number, paragraphs) in (1..).zip(&model.revisions) {
        let request = pb::GetArticleRequest {
            article_id: "a".into(),
            at: Some(pb::get_article_request::At::Revision(number)),
            ..Default::default()
        };
        let read = server
            .articles()
            .get_article(request)
            .await
            .unwrap()
            .into_inner()
            .article
            .unwrap();
        let texts: Vec<_> = read.body.iter().map(|s| s.text.as_str()).collect();
        let expected: Vec<_> = paragraphs.iter().map(|p| PARAGRAPHS[*p]).collect();
        assert_eq!(texts, expected, "revision {number}");
    }
}

#[test]
fn random_histories_agree_with_a_plain_model() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let histories = proptest::collection::vec(step(), 1..12);
    TestRunner::new(config)
        .run(&histories, |steps| {
            runtime.block_on(async {
                // An article without a headline, so that the body is all there is to compare.
                let mut server = Server::sled().await;
                let first = pb::Article {
                    title: None,
                    ..article("a", &[PARAGRAPHS[0]])
                };
                create(&server, first).await;
                let mut model = Model {
                    revisions: vec![vec![0]],
                    ..Model::default()
                };
                for step in steps {
                    server = apply(server, &mut model, step).await;
                    compare(&server, &model).await;
                }
                server.check().await;
            });
            Ok::<_, TestCaseError>(())
        })
        .unwrap();
}
