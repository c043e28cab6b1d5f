//! Lengths of time as people write them: `30d`, `15s`, `1h 30m`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Reads a length of time. A day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a length of time such as 15s, 12h or 30d");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
    Duration::try_from(duration.map_err(|_| wrong())?).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn lengths_of_time_are_read_as_written() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("15s"), Ok(15.0));
        assert_eq!(seconds("500ms"), Ok(0.5));
        assert_eq!(seconds("1h 30m"), Ok(5_400.0));
        assert_eq!(seconds("30d"), Ok(30.0 * 86_400.0));
        for wrong in ["", "15", "-1s", "x", "1 month", "1y"] {
            assert!(seconds(wrong).is_err(), "{wrong:?}");
        }
    }
}
