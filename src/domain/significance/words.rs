//! The words that a typo never touches: spelt numbers and negations, in Arabic, English and French.
//!
//! The lists are closed and short. A word too many costs a look at a translation; one too few costs an error in it. So
//! words that only may negate are here too.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::domain::date::parse::fold::fold;

static NEGATIONS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    folded(
        "لا لم لن ليس ليست ليسا ليستا ليسوا لسن لست لستم لسنا ما غير دون بدون عدم بلا ألا إلا كلا لات \
         no not never none nor neither nobody nothing nowhere without cannot hardly except unless \
         ne n pas point jamais rien aucun aucune ni non sans nul nulle guere sauf",
    )
});

static NUMBERS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    folded(
        "صفر واحد واحدة أحد إحدى اثنان اثنين اثنتان اثنتين اثنا اثني اثنتا اثنتي ثلاث ثلاثة أربع أربعة خمس خمسة ست ستة \
         سبع سبعة ثمان ثماني ثمانية تسع تسعة عشر عشرة عشرون عشرين ثلاثون ثلاثين أربعون أربعين خمسون خمسين ستون ستين سبعون سبعين \
         ثمانون ثمانين تسعون تسعين مئة مائة مئتان مئتين مائتان مائتين مئات مئوية ألف ألفان ألفين آلاف ألوف مليون مليونان مليونين \
         ملايين مليار ملياران مليارين مليارات بليون تريليون تريليونات أول أولى ثان ثاني ثانية ثالث ثالثة رابع رابعة خامس خامسة \
         سادس سادسة سابع سابعة ثامن ثامنة تاسع تاسعة عاشر عاشرة نصف ثلث ثلثان ثلثين ربع خمسمئة ضعف ضعفين عشرات \
         zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen \
         eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million \
         millions billion billions trillion trillions first second third fourth fifth sixth seventh eighth ninth tenth once \
         twice half quarter third double triple dozen dozens pair \
         un une deux trois quatre cinq sept huit neuf dix onze douze treize quatorze quinze seize vingt vingts trente \
         quarante cinquante soixante septante huitante nonante cent cents mille milliard milliards billion trillion premier \
         premiere deuxieme troisieme quatrieme cinquieme sixieme septieme huitieme neuvieme dixieme demi demie moitie tiers \
         quart double triple dizaine dizaines douzaine centaine centaines millier milliers",
    )
});

fn folded(words: &str) -> HashSet<String> {
    words.split_whitespace().map(fold).collect()
}

/// Whether a folded word negates, with what Arabic and French write together with it.
pub(super) fn is_negation(word: &str) -> bool {
    let conjoined = word.strip_prefix(['و', 'ف', 'ا']).unwrap_or(word);
    let parts = || word.split('\'');
    word.ends_with("n't")
        || NEGATIONS.contains(conjoined)
        || NEGATIONS.contains(word)
        || parts().any(|part| NEGATIONS.contains(part))
}

/// Whether a folded word is a number, with what Arabic writes together with it.
pub(super) fn is_number_word(word: &str) -> bool {
    let mut rest = word;
    for clitics in [&["و", "ف"][..], &["ب", "ل", "ك"], &["ال", "ل"]] {
        if NUMBERS.contains(rest) {
            return true;
        }
        rest = clitics
            .iter()
            .find_map(|clitic| rest.strip_prefix(clitic))
            .unwrap_or(rest);
    }
    NUMBERS.contains(rest) || rest.split('\'').any(|part| NUMBERS.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_in_every_spelling_and_with_what_is_written_together() {
        for word in [
            "لا",
            "ولَم",
            "فلن",
            "ليســت",
            "ألم",
            "Not",
            "DON'T",
            "can’t",
            "n’est",
            "Jamais",
        ] {
            assert!(is_negation(&fold(word)), "{word}");
        }
        for word in ["سلام", "note", "nation", "بما", "وزير"] {
            assert!(!is_negation(&fold(word)), "{word}");
        }
        for word in [
            "ثلاثة",
            "وخمسون",
            "بالمئة",
            "والمليون",
            "Billion",
            "première",
            "d'un",
        ] {
            assert!(is_number_word(&fold(word)), "{word}");
        }
        for word in ["وزير", "tension", "المدينة", "onerous"] {
            assert!(!is_number_word(&fold(word)), "{word}");
        }
    }
}
