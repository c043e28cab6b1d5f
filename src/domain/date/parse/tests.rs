//! Dates in the forms that publishers write, and texts that are none.

use proptest::prelude::*;

use super::*;

fn utc() -> TimeZone {
    TimeZone::UTC
}

/// The instant and offset of a text as RFC 3339, with a letter for the precision and `?` for an assumed zone.
fn read_as(text: &str, zone: &TimeZone) -> String {
    match parse(text, zone) {
        Ok(date) => {
            assert_eq!(date.original, text.trim());
            let precision = match date.precision {
                Precision::Day => "D",
                Precision::Minute => "M",
                Precision::Second => "S",
            };
            let assumed = if date.zone_assumed { "?" } else { "" };
            let instant = date.instant.unwrap();
            format!("{instant} {:+} {precision}{assumed}", date.utc_offset_minutes)
        }
        Err(reason) => reason.0,
    }
}

fn refusal(text: &str) -> String {
    let reason = parse(text, &utc()).unwrap_err().0;
    assert!(reason.contains("is not a date: "), "{reason}");
    reason.split_once("is not a date: ").unwrap().1.to_owned()
}

#[test]
fn iso_dates_of_every_precision() {
    for (text, expected) in [
        ("2022-05-10", "2022-05-10T00:00:00Z +0 D?"),
        ("2022-05-10Z", "2022-05-10T00:00:00Z +0 D"),
        ("2022-05-10T22:45Z", "2022-05-10T22:45:00Z +0 M"),
        ("2022-05-10t22:45:01z", "2022-05-10T22:45:01Z +0 S"),
        ("2022-05-10 22:45:01", "2022-05-10T22:45:01Z +0 S?"),
        ("2022-05-10T22:45:01.5+01:00", "2022-05-10T21:45:01.5Z +60 S"),
        (
            "2022-05-10T22:45:01,1234567-0930",
            "2022-05-11T08:15:01.123456Z -570 S",
        ),
        ("2022-05-10T22:45−03", "2022-05-11T01:45:00Z -180 M"),
        ("2022-05-10 22:45:01 +0000 UTC", "2022-05-10T22:45:01Z +0 S"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z +0 S"),
        ("Tue, 10 May 2022 22:45:01 +0100", "2022-05-10T21:45:01Z +60 S"),
    ] {
        assert_eq!(read_as(text, &utc()), expected, "{text}");
    }
    assert_eq!(
        parse("9999-12-31T23:59:59.999999Z", &utc()).unwrap().instant,
        Some(Timestamp::MAX)
    );
}

#[test]
fn numbers_are_day_first_unless_the_year_leads() {
    for text in [
        "10/05/2022",
        "10/5/2022",
        "10-05-2022",
        "10.05.2022",
        "2022/05/10",
        "10 / 05 / 2022",
        "١٠/٠٥/٢٠٢٢",
    ] {
        assert_eq!(read_as(text, &utc()), "2022-05-10T00:00:00Z +0 D?", "{text}");
    }
    assert_eq!(
        read_as("22:45 - 10/05/2022", &utc()),
        "2022-05-10T22:45:00Z +0 M?"
    );
}

#[test]
fn the_dates_of_a_real_page() {
    assert_eq!(
        read_as("10 مايو 2022 22:45 GMT", &utc()),
        "2022-05-10T22:45:00Z +0 M"
    );
    assert_eq!(
        read_as("11 مايو 2022 7:02 GMT", &utc()),
        "2022-05-11T07:02:00Z +0 M"
    );
}

#[test]
fn months_of_every_tradition() {
    let traditions = [
        "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
        "كانون_الثاني شباط آذار نيسان أيار حزيران تموز آب أيلول تشرين_الأول تشرين_الثاني كانون_الأول",
        "جانفي فيفري مارس أفريل ماي جوان جويلية أوت سبتمبر أكتوبر نوفمبر ديسمبر",
        "يناير فبراير مارس إبريل ماي يونيو يوليوز غشت شتنبر أكتوبر نونبر دجنبر",
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sept. Oct Nov Dec",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
        "كانون_الثاني/يناير شباط/فبراير آذار/مارس نيسان/أبريل أيار/مايو حزيران/يونيو تموز/يوليو آب/أغسطس \
         أيلول/سبتمبر تشرين_الأول/أكتوبر تشرين_الثاني/نوفمبر كانون_الأول/ديسمبر",
    ];
    for tradition in traditions {
        let names: Vec<_> = tradition.split_whitespace().collect();
        assert_eq!(names.len(), 12);
        for (month, name) in (1..).zip(names) {
            let text = format!("3 {} 2021", name.replace('_', " "));
            assert_eq!(
                read_as(&text, &utc()),
                format!("2021-{month:02}-03T00:00:00Z +0 D?"),
                "{text}"
            );
        }
    }
}

#[test]
fn words_around_the_numbers() {
    for text in [
        "الثلاثاء 10 مايو 2022 الساعة 22:45 بتوقيت غرينتش",
        "الثُّلاثاء، ١٠ أيَّار/مايو ۲۰۲۲ - 10:45 مساءً (غرينتش)",
        "10 مايو 2022 م 10:45 م GMT",
        "\u{200F}10 مايو 2022\u{200E} 22:45 GMT",
        "Tuesday, May 10, 2022 at 10:45 PM UTC",
        "May 10th, 2022 | 10:45 p.m. GMT",
        "mardi 10 mai 2022 à 22h45 GMT",
        "Le 10 mai 2022 à 22 h 45 GMT",
        "2022-05-10 at 23:45 (GMT+1)",
        "Tue May 10 22:45 UTC 2022",
    ] {
        let expected = if text.contains("+1") {
            "2022-05-10T22:45:00Z +60 M"
        } else {
            "2022-05-10T22:45:00Z +0 M"
        };
        assert_eq!(read_as(text, &utc()), expected, "{text}");
    }
    assert_eq!(read_as("1er août 2022", &utc()), "2022-08-01T00:00:00Z +0 D?");
}

#[test]
fn noon_and_midnight_on_a_twelve_hour_clock() {
    for (text, time) in [
        ("12:30 ص", "00:30"),
        ("12:30 م", "12:30"),
        ("1:05 صباحا", "01:05"),
        ("1:05 مساء", "13:05"),
        ("00:30 ص", "00:30"),
        ("22:45 مساء", "22:45"),
    ] {
        let text = format!("10/05/2022 {text}");
        assert_eq!(
            read_as(&text, &utc()),
            format!("2022-05-10T{time}:00Z +0 M?"),
            "{text}"
        );
    }
}

#[test]
fn a_default_zone_gives_the_offset_of_that_day() {
    let paris = zone("Europe/Paris").unwrap();
    assert_eq!(read_as("10/01/2022", &paris), "2022-01-09T23:00:00Z +60 D?");
    assert_eq!(
        read_as("10/05/2022 08:00", &paris),
        "2022-05-10T06:00:00Z +120 M?"
    );
    assert_eq!(
        read_as("10/05/2022 08:00 GMT", &paris),
        "2022-05-10T08:00:00Z +0 M"
    );
    assert_eq!(
        read_as("2022-03-27 02:30", &paris),
        "2022-03-27T01:30:00Z +60 M?",
        "skipped by the clock"
    );
    assert_eq!(
        read_as("2022-10-30 02:30", &paris),
        "2022-10-30T00:30:00Z +120 M?",
        "shown twice"
    );
    // Before standard time Paris was 9 min 21 s ahead.
    assert_eq!(read_as("10/01/1900", &paris), "1900-01-09T23:51:00Z +9 D?");
    let fixed = zone("-03:30").unwrap();
    assert_eq!(
        read_as("10/05/2022 08:00", &fixed),
        "2022-05-10T11:30:00Z -210 M?"
    );
    for name in ["", "Mars/Base", "+1:", "+25:00", "-99"] {
        assert!(zone(name).is_err(), "{name}");
    }
}

#[test]
fn a_day_keeps_its_calendar_date_where_midnight_is_skipped() {
    let beirut = zone("Asia/Beirut").unwrap();
    let date = parse("27/03/2022", &beirut).unwrap();
    assert_eq!(date.civil_day(), Some(jiff::civil::date(2022, 3, 27)));
}

#[test]
fn what_is_impossible_is_refused_with_its_reason() {
    for (text, reason) in [
        ("31/02/2022", "2022-02 has no day 31"),
        ("29 février 2021", "2021-02 has no day 29"),
        ("0/05/2022", "2022-05 has no day 0"),
        ("05/25/2022", "month 25 is outside 1 to 12"),
        ("0000-01-01", "year 0 is outside 1 to 9999"),
        ("2022-05-10T25:00Z", "hour 25 is outside 0 to 23"),
        ("2022-05-10T24:00Z", "hour 24 is outside 0 to 23"),
        ("2022-05-10T22:60Z", "minute 60 is outside 0 to 59"),
        ("2016-12-31T23:59:60Z", "second 60 is outside 0 to 59"),
        (
            "2022-05-10T22:45+19:00",
            "an offset of 1140 minutes is outside -18:00 to +18:00",
        ),
        (
            "0001-01-01T00:00+01:00",
            "the instant is outside the years 1 to 9999",
        ),
        ("10/05/2022 13:00 ص", "hour 13 is not before noon"),
        ("10/05/2022 00:10 م", "hour 0 is not after noon"),
    ] {
        assert_eq!(refusal(text), reason, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_refused_as_a_whole() {
    for (text, clause) in [
        ("2017-01-25T143600", "\"143600\" is neither"),
        ("2022-05-22T22", "more than one day"),
        ("May 2022 10T10:45", "\"t\" is not understood"),
        ("10/05/22", "the year \"22\" does not have four digits"),
        ("10 مايو", "no year"),
        ("مايو 2022", "no day"),
        ("10 2022", "no month"),
        ("10/05", "between two numbers"),
        ("10-11 مايو 2022", "between two numbers"),
        ("10/05/2022 22.45", "more than one day"),
        ("May 2022 10.30", "between two numbers"),
        ("10 أيلول/أكتوبر 2022", "second month"),
        ("9 شوال 1443", "\"شوال\" is not understood"),
        (
            "10 مايو 2022 22:45 بتوقيت القاهرة",
            "\"القاهره\" is not understood",
        ),
        ("10 May 2022 22:45 CET", "\"cet\" is not understood"),
        ("2022-05-10T22:45Z+01:00", "two offsets"),
        ("2022-05-10T22:45+01:00[Europe/Paris]", "'[' has no place"),
        ("10 mai 2022 à 22h", "\"22h\" has no minutes"),
        ("مساء 10 مايو 2022", "does not follow a time"),
        ("2022-05-10T22:5", "minute \"5\" does not have two digits"),
        ("1652222700", "\"1652222700\" is neither"),
        ("yesterday", "not understood"),
        ("2022-05-10T22:45+1", "between two numbers"),
    ] {
        let reason = refusal(text);
        assert!(reason.contains(clause), "{text}: {reason}");
    }
    assert!(parse("", &utc()).is_err());
    assert!(parse("2022-05-10\u{0}", &utc()).unwrap_err().0.contains("U+0000"));
    assert!(
        parse(&"1".repeat(257), &utc())
            .unwrap_err()
            .0
            .contains("257 bytes")
    );
}

#[test]
fn an_unreadable_text_is_kept_as_far_as_it_may_be() {
    assert_eq!(parse_or_keep(" \n", &utc()), None);
    let (date, reason) = parse_or_keep(" 2017-01-25T143600 ", &utc()).unwrap();
    assert_eq!(
        (date.instant, date.original.as_str()),
        (None, "2017-01-25T143600")
    );
    assert!(reason.is_some());
    let (date, _) = parse_or_keep(&format!("a\u{0}{}", "م".repeat(300)), &utc()).unwrap();
    assert!(date.original.starts_with("a\u{FFFD}م"));
    assert!(date.checked().is_ok());
}

/// Writes a decimal number in the digits that start at `zero`.
fn digits(number: &str, zero: char) -> String {
    let digit = |c: char| {
        c.to_digit(10)
            .and_then(|d| char::from_u32(u32::from(zero) + d))
            .unwrap_or(c)
    };
    number.chars().map(digit).collect()
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}") {
        let _ = parse_or_keep(&text, &utc());
    }

    #[test]
    fn no_run_of_date_parts_panics_and_what_is_read_is_valid(
        parts in proptest::collection::vec(
            prop::sample::select(vec![
                "2022", "10", "5", "05", "99", "0", "T", "Z", ":", "/", "-", "+", ".", ",", " ", "مايو", "May", "م", "ص",
                "h", "GMT", "22:45", "كانون", "الثاني", "٣", "a.m.", "",
            ]),
            0..12,
        ),
        name in prop::sample::select(vec!["UTC", "Asia/Beirut", "Africa/Casablanca", "America/St_Johns"]),
    ) {
        if let Some((date, _)) = parse_or_keep(&parts.concat(), &zone(name).unwrap()) {
            prop_assert!(date.checked().is_ok());
        }
    }

    #[test]
    fn what_was_written_as_rfc_3339_is_the_same_instant(
        micros in Timestamp::MIN.as_micros() / 2..Timestamp::MAX.as_micros() / 2,
        offset in -18 * 60..=18 * 60_i32,
    ) {
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap();
        let local = jiff::tz::Offset::from_seconds(offset * 60).unwrap().to_datetime(instant);
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs());
        let text = format!("{local:.6}{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        let date = parse(&text, &utc()).unwrap();
        prop_assert_eq!(date.instant.unwrap().as_micros(), micros);
        prop_assert_eq!(i32::from(date.utc_offset_minutes), offset);
        prop_assert_eq!(date.civil_day(), Some(local.date()));
    }

    #[test]
    fn digits_of_three_scripts_agree(
        (year, month, day) in (1..=9999_i16, 1..=12_i8, 1..=28_i8),
        (hour, minute) in (0..24, 0..60),
    ) {
        let texts = [
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} GMT"),
            format!("{day}/{month}/{year:04} {hour}:{minute:02} غرينتش"),
        ];
        let expected = parse(&texts[0], &utc()).unwrap();
        for zero in ['0', '٠', '۰'] {
            for text in &texts {
                let date = parse(&digits(text, zero), &utc()).unwrap();
                prop_assert_eq!(date.instant, expected.instant);
                prop_assert_eq!(date.precision, Precision::Minute);
            }
        }
    }

    #[test]
    fn a_day_in_any_zone_is_that_day(
        (year, month, day) in (1800..2200_i16, 1..=12_i8, 1..=28_i8),
        name in prop::sample::select(vec![
            "UTC", "Africa/Cairo", "Asia/Beirut", "America/Sao_Paulo", "Pacific/Apia", "Europe/Paris", "Asia/Tehran", "Africa/Monrovia",
        ]),
    ) {
        let date = parse(&format!("{day}/{month}/{year}"), &zone(name).unwrap()).unwrap();
        prop_assert_eq!(date.civil_day(), Some(jiff::civil::date(year, month, day)));
    }
}
