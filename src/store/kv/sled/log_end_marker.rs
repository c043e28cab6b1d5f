//! Log end marker: notes where sled's log ended when the database was closed.
//!
//! sled takes damage of its log behind the last snapshot for a torn write and truncates the log there, which would lose
//! acknowledged writes silently. So closing notes the end, and opening refuses a log that ends before it. Positions only
//! grow, so after a crash the note of an earlier end is still valid. An unreadable note is ignored: the database may be
//! sound.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::store::kv::sled::fault::{Fault, Outcome};

/// The note of a database.
pub(super) struct End {
    path: PathBuf,
}

impl End {
    pub(super) fn of(db_directory: &Path) -> Self {
        Self {
            path: db_directory.join("end"),
        }
    }

    /// Notes that everything up to `position` of sled's log is on the disk.
    pub(super) fn note(&self, position: u64) -> io::Result<()> {
        let draft = self.path.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(encode(position).as_bytes())?;
        file.sync_all()?;
        // Without a sync of the directory a power loss may leave the earlier note.
        fs::rename(draft, &self.path)
    }

    /// The position that was noted; 0 without a note.
    pub(super) fn noted(&self) -> io::Result<u64> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            text => text?,
        };
        Ok(decode(&text).unwrap_or_else(|| {
            tracing::warn!(file = %self.path.display(), "the note of where the log ends is damaged, and is not looked at");
            0
        }))
    }

    /// Compares the note with where sled found the end of its log.
    pub(super) fn check(&self, noted: u64, found: u64) -> Outcome<()> {
        if found < noted {
            return Err(Fault::Damaged(format!(
                "{} is damaged behind position {found} of {noted}, and what was written there is lost (delete {} to go on \
                 without it)",
                self.path.with_file_name("db").display(),
                self.path.display()
            )));
        }
        Ok(())
    }
}

fn encode(position: u64) -> String {
    let digits = position.to_string();
    format!("{digits} {:08x}\n", crc32c::crc32c(digits.as_bytes()))
}

fn decode(text: &[u8]) -> Option<u64> {
    let position = std::str::from_utf8(text).ok()?.split(' ').next()?.parse().ok()?;
    (encode(position).as_bytes() == text).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(end: &End, found: u64) -> Option<String> {
        let check = end.check(end.noted().unwrap(), found);
        check.err().map(|fault| fault.to_string())
    }

    #[test]
    fn a_log_that_ends_before_the_note_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let end = End::of(directory.path());
        assert_eq!(damage(&end, 0), None, "there is no note yet");
        end.note(1_000).unwrap();
        assert_eq!([damage(&end, 1_000), damage(&end, 1_001)], [None, None]);
        let log = directory.path().join("db");
        let expected = format!("{} is damaged behind position 999 of 1000", log.display());
        assert!(damage(&end, 999).unwrap().starts_with(&expected));
    }

    #[test]
    fn a_damaged_note_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let end = End::of(directory.path());
        end.note(1_000).unwrap();
        let sound = fs::read(&end.path).unwrap();
        assert_eq!(decode(&sound), Some(1_000));
        for at in 0..sound.len() {
            let mut rotten = sound.clone();
            rotten[at] ^= 1;
            assert_eq!(decode(&rotten), None, "{:?}", rotten.escape_ascii().to_string());
            assert_eq!(decode(&sound[..at]), None);
        }
        fs::write(&end.path, "9999").unwrap();
        assert_eq!(damage(&end, 0), None);
    }
}
