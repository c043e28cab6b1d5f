//! The harness of the API tests: a real server, bare calls, errors, real data, and waiting without sleeping: what takes time
//! is awaited with [`LIMIT`].
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

mod bare_call;
mod failure;
mod server;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) use self::bare_call::{BareCall, frame};
pub(crate) use self::failure::{Failure, blames, fails, failure, refused};
pub(crate) use self::server::{Server, Setup};
pub(crate) use crate::random::Random;

/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The largest article that the servers of the tests take.
pub(crate) const ARTICLE_BYTES: usize = 2 << 20;

/// What is ready in time.
pub(crate) async fn within<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(LIMIT, work).await.expect("in time")
}

/// Waits until something holds.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    within(async {
        while !holds() {
            looks.tick().await;
        }
    })
    .await;
}

/// A file of the real data; `None` where tests without it are waived. It is in the folder that ARTICLE_STORE_TEST_DATA
/// names, or in `../shared/data`.
pub(crate) fn real_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ARTICLE_STORE_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    waived(
        "ARTICLE_STORE_TEST_SKIP_DATA",
        &format!("{} is absent", path.display()),
    );
    None
}

/// Fails a test that lacks something, unless the variable waives such tests: a run must not pass by testing less.
#[track_caller]
pub(crate) fn waived(variable: &str, lacking: &str) {
    let is_waived = std::env::var(variable).is_ok_and(|value| value == "1");
    assert!(
        is_waived,
        "{lacking}; {variable}=1 leaves out the tests that need it"
    );
}

/// The lines of a compressed file of the real data.
pub(crate) fn shared_lines(name: &str) -> Option<Vec<String>> {
    let path = real_data(name)?;
    let output = Command::new("xz")
        .arg("-dc")
        .arg(&path)
        .stderr(Stdio::inherit())
        .output()
        .expect("xz is installed");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// A text that does not become small by compression.
pub(crate) fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed + 1;
    let mut text = String::with_capacity(bytes + 8);
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.extend((4..10).map(|place| char::from(b'0' + (state >> (6 * place) & 63) as u8)));
    }
    text
}
