//! Finding an old version without an index: every version points back to a logarithmic number of earlier ones.
//!
//! Version `n` knows `n-1` and then `n-1` with its lowest set bits cleared one by one, so that any version, or the one
//! that was current at a time, is found in O(log² n) hops, and the newest state stays small however long its past is.

use super::time::{Stamp, Timestamp};

/// The place of an immutable body in the store: the `part`-th body of the commit `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyRef {
    /// The commit that wrote it.
    pub seq: u64,
    /// Which of the commit's bodies it is.
    pub part: u16,
}

/// A version and where it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionRef {
    /// 1, 2, 3…
    pub number: u32,
    /// The commit that wrote it.
    pub stamp: Stamp,
    /// Which of the commit's bodies it is.
    pub part: u16,
}

impl VersionRef {
    /// Where the body is.
    pub fn body(&self) -> BodyRef {
        BodyRef {
            seq: self.stamp.seq,
            part: self.part,
        }
    }
}

/// Which version is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The version with this number.
    Number(u32),
    /// The version that was the newest at this time.
    Time(Timestamp),
}

/// The newest version and the way to the earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The newest version.
    pub newest: VersionRef,
    /// Earlier ones, newest first, as the newest version knows them.
    pub earlier: Vec<VersionRef>,
}

/// What a history says about a wanted version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This is the version.
    Found(VersionRef),
    /// Read this version's own history and ask it.
    Hop(VersionRef),
    /// There is no such version.
    None,
}

impl History {
    /// The history of a first version, which is about to be written as the commit's `part`-th body.
    pub fn first(part: u16) -> Self {
        Self {
            newest: VersionRef {
                number: 1,
                stamp: Stamp::PENDING,
                part,
            },
            earlier: Vec::new(),
        }
    }

    /// The history after the next version, which is about to be written as the commit's `part`-th body.
    #[must_use]
    pub fn next(&self, part: u16) -> Self {
        let last = self.newest.number;
        let mut earlier = vec![self.newest];
        let mut wanted = last & last.wrapping_sub(1);
        for version in &self.earlier {
            if version.number == wanted && wanted > 0 {
                earlier.push(*version);
                wanted &= wanted - 1;
            }
        }
        Self {
            newest: VersionRef {
                number: last + 1,
                stamp: Stamp::PENDING,
                part,
            },
            earlier,
        }
    }

    /// Where to look for a version.
    pub fn find(&self, at: At) -> Step {
        let reaches = |version: &VersionRef| match at {
            At::Number(number) => version.number >= number,
            At::Time(time) => version.stamp.time > time,
        };
        match at {
            At::Number(number) if self.newest.number == number => return Step::Found(self.newest),
            At::Number(_) if !reaches(&self.newest) => return Step::None,
            At::Time(_) if !reaches(&self.newest) => return Step::Found(self.newest),
            _ => {}
        }
        // The oldest known version that is still not before the wanted one.
        match self.earlier.iter().rev().find(|version| reaches(version)) {
            Some(version) if at == At::Number(version.number) => Step::Found(*version),
            Some(version) => Step::Hop(*version),
            None => match (at, self.earlier.first()) {
                (At::Time(_), Some(previous)) => Step::Found(*previous),
                _ => Step::None,
            },
        }
    }

    /// Puts the stamp of the commit that writes the newest version where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.newest.stamp.resolve(stamp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(micros: u32) -> Timestamp {
        Timestamp::from_micros(i64::from(micros)).unwrap()
    }

    /// Versions 1..=n at times 10, 20, 30…, as the store would keep them.
    fn histories(n: u32) -> Vec<History> {
        let mut all: Vec<History> = Vec::new();
        for number in 1..=n {
            let mut history = all.last().map_or_else(|| History::first(0), |last| last.next(0));
            history.resolve(Stamp {
                seq: u64::from(number),
                time: time(number * 10),
            });
            all.push(history);
        }
        all
    }

    /// Follows the steps, counting the bodies read.
    fn walk(all: &[History], from: usize, at: At) -> (Option<u32>, usize) {
        let mut history = &all[from - 1];
        for hops in 0.. {
            match history.find(at) {
                Step::Found(version) => return (Some(version.number), hops),
                Step::None => return (None, hops),
                Step::Hop(version) => history = &all[version.number as usize - 1],
            }
        }
        unreachable!()
    }

    proptest! {
        #[test]
        fn every_version_and_time_is_found_in_few_hops(n in 1u32..3000, wanted in 0u32..3100) {
            let all = histories(n);
            let newest = n as usize;
            let bits = 32 - n.leading_zeros() as usize;
            let (found, hops) = walk(&all, newest, At::Number(wanted));
            prop_assert_eq!(found, (1..=n).contains(&wanted).then_some(wanted));
            prop_assert!(hops <= bits * bits / 2 + 1, "{} hops for {} of {}", hops, wanted, n);
            let (found, hops) = walk(&all, newest, At::Time(time(wanted * 10 + 5)));
            prop_assert_eq!(found, (wanted > 0).then_some(wanted.min(n)));
            prop_assert!(hops <= bits * bits / 2 + 1);
        }
    }

    #[test]
    fn a_history_stays_small() {
        assert!(histories(5000).iter().all(|history| history.earlier.len() <= 13));
    }
}
