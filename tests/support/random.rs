//! Numbers that look random and are the same for the same seed (SplitMix64), for tests and benches.

/// See the module's page.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below another; below 1 it is 0.
    pub(crate) fn below<N: TryInto<u64> + TryFrom<u64>>(&mut self, end: N) -> N {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let end = end.try_into().unwrap_or(u64::MAX).max(1);
        match N::try_from(mixed % end) {
            Ok(number) => number,
            Err(_) => unreachable!("it is below a number of this type"),
        }
    }
}
