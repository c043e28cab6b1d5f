//! Decimal digits of every script.

/// The zeros of Unicode's decimal digits (general category Nd, Unicode 17); the other nine follow each.
const ZEROS: [u32; 77] = [
    0x0030, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
    0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50,
    0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30,
    0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0,
    0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11DE0, 0x11F50, 0x16130,
    0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140,
    0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
];

/// The ASCII digit of the same value; `None` for what is no decimal digit.
pub(super) fn ascii(c: char) -> Option<char> {
    if c.is_ascii() {
        return c.is_ascii_digit().then_some(c);
    }
    let point = u32::from(c);
    let zero = ZEROS.get(ZEROS.partition_point(|zero| *zero <= point).checked_sub(1)?)?;
    char::from_digit(point - zero, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decimal_digit_has_its_value() {
        for (text, expected) in [
            ("0123456789", '0'),
            ("٠١٢٣٤٥٦٧٨٩", '0'),
            ("۰۱۲۳۴۵۶۷۸۹", '0'),
            ("५", '5'),
            ("９", '9'),
            ("𝟗", '9'),
        ] {
            let values: String = text.chars().map(|c| ascii(c).unwrap()).collect();
            assert!(
                "0123456789".contains(&values) && values.starts_with(expected),
                "{text}"
            );
        }
        // The library knows Unicode 16; the digits that came with 17 are the only ones that it may miss.
        let digit = regex::Regex::new(r"^\d$").unwrap();
        for c in '\0'..=char::MAX {
            let known = digit.is_match(c.encode_utf8(&mut [0; 4]));
            let is_new = ('\u{11DE0}'..='\u{11DE9}').contains(&c);
            assert_eq!(ascii(c).is_some(), known || is_new, "{:04X}", u32::from(c));
        }
    }
}
