//! Long answers about jobs come in pages that any client can read.

use super::*;

#[tokio::test]
async fn a_query_is_walked_by_tokens() {
    let server = Server::memory().await;
    for number in 0..7 {
        let section = if number % 2 == 0 { "world" } else { "sports" };
        let article = pb::Article {
            section: section.into(),
            ..article(&format!("a{number}"), &TEXTS)
        };
        create(&server, article).await;
    }
    let query = pb::ListArticlesRequest {
        section: "world".into(),
        ..Default::default()
    };
    let asked = pb::RequestTranslationsRequest {
        selection: Some(pb::request_translations_request::Selection::Query(query.clone())),
        ..request(&[])
    };
    let answer = server
        .jobs()
        .request_translations(asked.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.jobs.len(), 4);
    assert_eq!(answer.next_page_token, "");
    let wrong = pb::RequestTranslationsRequest {
        selection: Some(pb::request_translations_request::Selection::Query(
            pb::ListArticlesRequest {
                page_size: 3,
                ..query
            },
        )),
        ..asked.clone()
    };
    blames(
        server.jobs().request_translations(wrong).await,
        &["query.page_size"],
    );
    let foreign = pb::RequestTranslationsRequest {
        page_token: "AAAA".into(),
        ..asked
    };
    fails(
        server.jobs().request_translations(foreign).await,
        Code::InvalidArgument,
        "BAD_TOKEN",
    );
    server.stop().await;
}

/// Languages without a meaning of their own.
fn tags(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("fr-x-{number:06}")).collect()
}

#[tokio::test]
async fn a_call_is_about_as_many_jobs_as_an_answer_holds() {
    let server = Server::memory().await;
    for number in 0..45 {
        let id = format!("{number:0>128}");
        create(&server, article(&id, &TEXTS)).await;
    }
    let query = pb::ListArticlesRequest::default();
    let mut asked = pb::RequestTranslationsRequest {
        languages: tags(50),
        kinds: (1..=5).map(|kind| kind * 10).collect(),
        selection: Some(pb::request_translations_request::Selection::Query(query)),
        ..request(&[])
    };
    let mut answers = Vec::new();
    loop {
        let answer = server.jobs().request_translations(asked.clone()).await;
        let answer = answer.unwrap().into_inner();
        answers.push(answer.jobs.len());
        if answer.next_page_token.is_empty() {
            break;
        }
        asked.page_token = answer.next_page_token;
    }
    assert_eq!(answers, [6_000, 5_250]);
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_jobs_ends_at_what_clients_can_read() {
    let server = Server::memory().await;
    let texts: Vec<_> = (0..10_000).map(|number| number.to_string()).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    create(&server, article("a", &texts)).await;
    let asked = pb::RequestTranslationsRequest {
        languages: tags(8),
        kinds: vec![JobKind::Mt.into(), JobKind::Llm.into(), JobKind::Human.into()],
        ..request(&["a"])
    };
    assert_eq!(open(&server, asked).await.len(), 24);
    for article_id in ["", "a"] {
        let mut request = pb::ListJobsRequest {
            article_id: article_id.into(),
            page_size: 500,
            ..Default::default()
        };
        let (mut ids, mut pages) = (std::collections::BTreeSet::new(), Vec::new());
        loop {
            let page = server
                .jobs()
                .list_jobs(request.clone())
                .await
                .unwrap()
                .into_inner();
            pages.push(page.jobs.len());
            ids.extend(page.jobs.into_iter().map(|job| job.job_id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(ids.len(), 24);
        assert_eq!(pages, [20, 4]);
    }
    server.stop().await;
}
