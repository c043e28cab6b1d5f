//! Deadlines of calls: the caller's (`grpc-timeout`), and the server's for calls that are neither streams nor claims. Work
//! stops with its call. A write under way is not undone: its caller cannot know the outcome, and repeats it with its
//! request id.
//!
//! tonic itself would answer `CANCELLED`, and only when the caller's own timer has ended the call.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::api::status::{self, Whose};

/// The answer is sent this long before the caller's own timer ends; a tenth of a short time.
const EARLY: Duration = Duration::from_millis(5);

/// The deadline of a call, and its reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) end: Instant,
    whole: Duration,
    whose: Whose,
}

impl Limit {
    /// The shorter time: the one that the headers of a call give, or the server's.
    pub(super) fn of(now: Instant, headers: &HeaderMap, servers: Option<Duration>) -> Option<Self> {
        Self::shorter(now, grpc_timeout(headers), servers)
    }

    fn shorter(now: Instant, callers: Option<Duration>, servers: Option<Duration>) -> Option<Self> {
        let (whole, whose) = match (callers, servers) {
            (Some(callers), Some(servers)) if servers < callers => (servers, Whose::Server),
            (Some(callers), _) => (callers, Whose::Caller),
            (None, Some(servers)) => (servers, Whose::Server),
            (None, None) => return None,
        };
        let early = match whose {
            Whose::Caller => EARLY.min(whole / 10),
            Whose::Server | Whose::ReceiveTimeout => Duration::ZERO,
        };
        // A time that the clock does not reach is none.
        let end = now.checked_add(whole - early)?;
        Some(Self { end, whole, whose })
    }

    /// Returns when the time is over.
    pub(super) async fn over(self) -> Status {
        sleep_until(self.end).await;
        self.status()
    }

    pub(super) fn status(&self) -> Status {
        status::deadline_exceeded(self.whole, self.whose)
    }
}

/// The timeout of a caller; `None` if there is none that is valid.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    /// The protocol allows eight digits.
    const DIGITS: usize = 8;
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > DIGITS || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn timeout(text: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_static(text));
        grpc_timeout(&headers)
    }

    #[test]
    fn the_header_is_read_as_the_protocol_says() {
        let read = ["2H", "3M", "4S", "5m", "6u", "7n", "99999999H"].map(|text| timeout(text).unwrap());
        let seconds = Duration::from_secs;
        assert_eq!(read[..3], [seconds(7_200), seconds(180), seconds(4)]);
        let (millis, micros) = (Duration::from_millis(5), Duration::from_micros(6));
        assert_eq!(read[3..6], [millis, micros, Duration::from_nanos(7)]);
        assert_eq!(read[6], seconds(99_999_999 * 3_600));
        for text in [
            "",
            "S",
            "5",
            "5s",
            "-5S",
            "+5S",
            "5.0S",
            "123456789S",
            "5 S",
            "S5",
        ] {
            assert_eq!(timeout(text), None, "{text:?}");
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn the_shorter_time_counts_and_a_callers_ends_early() {
        let now = Instant::now();
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let limit = |callers, servers| {
            Limit::shorter(now, callers, servers).map(|limit| (limit.end - now, limit.whole, limit.whose))
        };
        assert_eq!(limit(None, None), None);
        let caller = Some((second - EARLY, second, Whose::Caller));
        assert_eq!(limit(Some(second), None), caller);
        assert_eq!(limit(Some(second), Some(minute)), caller);
        assert_eq!(limit(Some(second), Some(second)), caller);
        let server = Some((second, second, Whose::Server));
        assert_eq!(limit(Some(minute), Some(second)), server);
        assert_eq!(limit(None, Some(second)), server);
        let short = Duration::from_millis(10);
        assert_eq!(
            limit(Some(short), None),
            Some((short * 9 / 10, short, Whose::Caller))
        );
    }
}
