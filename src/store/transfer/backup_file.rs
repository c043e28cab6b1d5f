//! The backup file: a text of JSON lines, a header, the entities, and a manifest with their counts and the SHA-256 of all
//! lines before it. It is compressed with zstd in frames of some megabytes that stand alone, so that reading can begin at
//! any frame, and `zstd -dc` shows it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{BackupError, Manifest};
use crate::domain::time::{Stamp, Timestamp};
use crate::store::model::codec::Malformed;
use crate::store::model::entity::{Decoded, Entity};
use crate::store::model::records::{self, backup_line::Line};

/// The kind of file in the header.
const KIND: &str = "article-store backup";
/// The format of the lines; grows when older versions could not read them.
///
/// - 1: versions do not name their articles.
/// - 2: they do, and what each revision replaced has a line of its own.
const FORMAT: u32 = 2;
/// Bytes of lines in a frame.
const FRAME_BYTES: usize = 4 << 20;
/// The compression level: several times faster than a disk.
const LEVEL: i32 = 3;
/// The magic number of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Bytes of lines that are parsed at once.
const CHUNK_BYTES: usize = 4 << 20;
/// The longest line that is read. The longest entities are a slot of 100,000 segments and an article's body.
const MAX_LINE_BYTES: usize = 1 << 30;

/// Writes a backup: entities in, bytes of the file out.
pub struct BackupWriter {
    /// Lines of the next frame.
    lines: Vec<u8>,
    /// Complete frames.
    frames: Vec<u8>,
    hasher: Sha256,
    counts: BTreeMap<String, u64>,
}

impl BackupWriter {
    /// Begins a backup of the store with this epoch.
    pub fn new(epoch: [u8; 16], now: Timestamp) -> io::Result<Self> {
        let mut writer = Self {
            lines: Vec::with_capacity(FRAME_BYTES + FRAME_BYTES / 4),
            frames: Vec::new(),
            hasher: Sha256::new(),
            counts: BTreeMap::new(),
        };
        writer.line(Line::Header(records::BackupHeader {
            kind: KIND.to_owned(),
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: epoch.to_vec(),
            created: now.as_micros(),
        }))?;
        Ok(writer)
    }

    /// Adds an entity.
    pub fn entity(&mut self, entity: Entity) -> io::Result<()> {
        *self.counts.entry(entity.kind().to_owned()).or_default() += 1;
        self.line(Line::Entity(entity.0))
    }

    /// Takes the frames that were completed since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.frames)
    }

    /// Ends the backup: its entities show the store after this commit. Returns the last bytes and the manifest.
    pub fn end(mut self, last: Stamp) -> io::Result<(Vec<u8>, Manifest)> {
        self.hasher.update(&self.lines);
        let sha256 = hex(&std::mem::take(&mut self.hasher).finalize());
        self.append(Line::Manifest(records::BackupManifest {
            seq: last.seq,
            time: last.time.as_micros(),
            counts: self
                .counts
                .iter()
                .map(|(kind, count)| (kind.clone(), count.to_string()))
                .collect(),
            sha256,
        }))?;
        self.frame()?;
        let manifest = Manifest {
            seq: last.seq,
            time: last.time,
            counts: self.counts,
        };
        Ok((self.frames, manifest))
    }

    fn line(&mut self, line: Line) -> io::Result<()> {
        self.append(line)?;
        if self.lines.len() >= FRAME_BYTES {
            self.hasher.update(&self.lines);
            self.frame()?;
        }
        Ok(())
    }

    fn append(&mut self, line: Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, &records::BackupLine { line: Some(line) })?;
        self.lines.push(b'\n');
        Ok(())
    }

    fn frame(&mut self) -> io::Result<()> {
        self.frames.extend(zstd::bulk::compress(&self.lines, LEVEL)?);
        self.lines.clear();
        Ok(())
    }
}

/// A verified backup: header, checksum and manifest agree.
#[derive(Debug)]
pub struct BackupFile {
    path: PathBuf,
    /// The epoch of the source.
    pub epoch: [u8; 16],
    /// The manifest.
    pub manifest: Manifest,
    /// Lines of entities.
    pub entities: u64,
}

impl BackupFile {
    /// Reads a whole backup and compares it with its manifest.
    pub fn verify(path: &Path) -> Result<Self, BackupError> {
        let file = || path.display().to_string();
        let mut lines = Lines::open(path)?;
        let mut hasher = Sha256::new();
        let foreign = |detail: &str| BackupError::Foreign {
            file: file(),
            detail: detail.to_owned(),
        };
        let first = match lines.next() {
            Some(first) => first?,
            None => return Err(foreign("it is empty")),
        };
        let header = match parse(&first) {
            Ok(Line::Header(header)) if header.kind == KIND => header,
            _ => return Err(foreign("it does not begin with the header of one")),
        };
        if header.format > FORMAT {
            return Err(BackupError::Newer {
                file: file(),
                found: header.format,
                supported: FORMAT,
            });
        }
        let mut last = first;
        let mut count: u64 = 1;
        for line in lines {
            hasher.update(&last);
            last = line?;
            count += 1;
        }
        let Ok(Line::Manifest(manifest)) = parse(&last) else {
            return Err(BackupError::CutOff {
                file: file(),
                lines: count,
            });
        };
        let altered = |detail: &str| BackupError::Altered {
            file: file(),
            detail: detail.to_owned(),
        };
        if hex(&hasher.finalize()) != manifest.sha256 {
            return Err(altered(
                "its lines do not have the checksum that its manifest names",
            ));
        }
        let entities = count - 2;
        let counts = manifest.counts.into_iter();
        let counts: Result<BTreeMap<_, _>, _> = counts
            .map(|(kind, count)| count.parse::<u64>().map(|count| (kind, count)))
            .collect();
        let counts = counts.map_err(|_| altered("a count of its manifest is no number"))?;
        if counts.values().sum::<u64>() != entities {
            return Err(altered("it does not have as many lines as its manifest says"));
        }
        Ok(Self {
            path: path.to_owned(),
            epoch: header
                .epoch
                .try_into()
                .map_err(|_| altered("line 1: its epoch is not 16 bytes"))?,
            manifest: Manifest {
                seq: manifest.seq,
                time: Timestamp::from_micros(manifest.time)
                    .map_err(|_| altered("the time of its manifest cannot be"))?,
                counts,
            },
            entities,
        })
    }

    /// The file's name.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Its lines in order, some megabytes at a time.
    pub(super) fn chunks(
        &self,
    ) -> Result<impl Iterator<Item = Result<Chunk, BackupError>> + use<>, BackupError> {
        let file = self.name();
        let mut lines = (1_u64..).zip(Lines::open(&self.path)?);
        Ok(std::iter::from_fn(move || {
            let (mut chunk, mut bytes) = (Vec::new(), 0);
            while bytes < CHUNK_BYTES {
                match lines.next() {
                    Some((number, Ok(line))) => {
                        bytes += line.len();
                        chunk.push((number, line));
                    }
                    Some((_, Err(error))) => return Some(Err(error)),
                    None => break,
                }
            }
            (!chunk.is_empty()).then(|| {
                Ok(Chunk {
                    file: file.clone(),
                    lines: chunk,
                })
            })
        }))
    }
}

/// A chunk of lines of a backup, with their numbers.
pub(super) struct Chunk {
    file: String,
    lines: Vec<(u64, Vec<u8>)>,
}

impl Chunk {
    /// Parses the entities. CPU-bound.
    pub(super) fn entities(self) -> Result<Vec<Decoded>, BackupError> {
        let mut entities = Vec::with_capacity(self.lines.len());
        for (number, line) in &self.lines {
            let decoded = decode(line).map_err(|detail| BackupError::Altered {
                file: self.file.clone(),
                detail: format!("line {number}: {detail}"),
            });
            entities.extend(decoded?);
        }
        Ok(entities)
    }
}

/// The entities of a line; a line of an older format may be several entities.
fn decode(line: &[u8]) -> Result<Vec<Decoded>, String> {
    let Line::Entity(entity) = parse(line)? else {
        return Ok(Vec::new());
    };
    let decode = |entities: Vec<Entity>| entities.iter().map(Entity::decode).collect();
    let decoded = Entity(entity).upgraded().and_then(decode);
    decoded.map_err(|Malformed(detail)| detail)
}

fn parse(line: &[u8]) -> Result<Line, String> {
    let line: records::BackupLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    line.line.ok_or_else(|| "it is empty".to_owned())
}

/// The lines of a file, with their ends.
struct Lines {
    file: String,
    read: u64,
    reader: BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, BackupError> {
        let failed = |error: io::Error| BackupError::Io {
            file: path.display().to_string(),
            detail: error.to_string(),
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut magic = Vec::new();
        (&mut file)
            .take(ZSTD_MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .map_err(failed)?;
        if magic != ZSTD_MAGIC {
            return Err(BackupError::Foreign {
                file: path.display().to_string(),
                detail: match magic.is_empty() {
                    true => "it is empty".to_owned(),
                    false => "it is not compressed with zstd".to_owned(),
                },
            });
        }
        file.rewind().map_err(failed)?;
        let decoder = zstd::stream::read::Decoder::new(file).map_err(failed)?;
        Ok(Self {
            file: path.display().to_string(),
            read: 0,
            reader: BufReader::with_capacity(1 << 16, decoder),
        })
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                return Ok(line);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            line.extend_from_slice(available.get(..taken).unwrap_or(available));
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(line);
            }
            if line.len() > MAX_LINE_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a line is longer than {MAX_LINE_BYTES} bytes"),
                ));
            }
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Vec<u8>, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(line) if line.is_empty() => None,
            Ok(line) => {
                self.read += 1;
                Some(Ok(line))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(Err(BackupError::CutOff {
                file: self.file.clone(),
                lines: self.read,
            })),
            Err(error) => Some(Err(BackupError::Altered {
                file: self.file.clone(),
                detail: format!("after line {}: {error}", self.read),
            })),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
