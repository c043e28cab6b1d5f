//! The words of dates as tables. Entries are written as people write them and compared after [`fold`], so that one
//! entry stands for every spelling of its hamza, accents and letter case.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fold::fold;

/// What a word of a date says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A month, 1 to 12.
    Month(i8),
    /// Before noon.
    Am,
    /// After noon.
    Pm,
    /// Offset zero.
    Utc,
    /// Hours before minutes, as in `22h45`.
    HourMark,
    /// Nothing that a date needs: weekdays, prepositions, ordinal endings.
    Filler,
}

/// The meaning of a folded word, or of two words with one space between them.
pub(super) fn meaning(folded: &str) -> Option<Meaning> {
    static WORDS: LazyLock<HashMap<String, Meaning>> = LazyLock::new(|| {
        let months = (1..)
            .zip(MONTHS)
            .map(|(month, names)| (Meaning::Month(month), names));
        months
            .chain(OTHERS)
            .flat_map(|(meaning, names)| names.split_whitespace().map(move |name| (fold(name), meaning)))
            .map(|(name, meaning)| (name.replace('_', " "), meaning))
            .collect()
    });
    WORDS.get(folded).copied()
}

/// Month names by month; `_` stands for a space. In order: the Arabic names from Latin ones (Egypt, the Gulf, Sudan), the
/// Levantine ones, those of Tunisia, Algeria, Morocco and Mauritania where they differ, English, French.
const MONTHS: [&str; 12] = [
    "يناير كانون_الثاني كانون_ثاني جانفي january jan janvier janv",
    "فبراير شباط فيفري february feb février févr fév",
    "مارس آذار march mar mars",
    "أبريل إبريل نيسان أفريل april apr avril avr",
    "مايو أيار ماي مايس may mai",
    "يونيو يونية حزيران جوان june jun juin",
    "يوليو يولية تموز جويلية يوليوز july jul juillet juil",
    "أغسطس آب أوت غشت august aug août",
    "سبتمبر أيلول شتنبر september sept sep septembre",
    "أكتوبر تشرين_الأول تشرين_أول october oct octobre",
    "نوفمبر تشرين_الثاني تشرين_ثاني نونبر november nov novembre",
    "ديسمبر كانون_الأول كانون_أول دجنبر december dec décembre déc",
];

const OTHERS: [(Meaning, &str); 8] = [
    (Meaning::Am, "ص صباحا am a.m"),
    (Meaning::Pm, "م مساء pm p.m"),
    (Meaning::Utc, "z gmt utc غرينتش غرينيتش جرينتش جرينيتش"),
    (Meaning::HourMark, "h"),
    (
        Meaning::Filler,
        "الاثنين الإثنين الثلاثاء الأربعاء الخميس الجمعة السبت الأحد",
    ),
    (
        Meaning::Filler,
        "monday mon tuesday tue tues wednesday wed thursday thu thur thurs friday fri saturday sat sunday sun \
         lundi lun mardi mercredi mer jeudi jeu vendredi ven samedi sam dimanche dim",
    ),
    (
        Meaning::Filler,
        "في يوم بتاريخ الساعة على عند بتوقيت توقيت at on the of le à",
    ),
    (Meaning::Filler, "st nd rd th er"),
];
