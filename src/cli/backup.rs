//! `backup`: everything in a file. The file is there when it is complete, durable and found to agree with its manifest,
//! or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use futures::stream::StreamExt;
use pb::backup_store_response::Part;

use super::output::{Output, OutputArgs};
use super::store_target::{SpaceArgs, Target, TargetArgs, bytes, count, many, progress};
use super::{Failure, json, warn};
use crate::pb;
use crate::store::transfer::BackupFile;

#[derive(Debug, Args)]
#[command(after_help = "\
The backup is everything as it was when it began; the server continues to serve. It is written to FILE.part, compared \
with its manifest and then renamed, so FILE is a whole backup or is not there. `zstd -dc FILE` shows its lines, \
`article-store restore` makes a store of it.

Examples:
  article-store backup articles.backup
  article-store backup --force /mnt/backups/nightly.backup
  article-store backup - | ssh vault 'cat > articles.backup'
  article-store backup articles.backup --store sled:/var/lib/article-store")]
pub(crate) struct Backup {
    /// The file to write; `-` is standard output.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Backup {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut out = if self.file.as_os_str() == "-" {
            Out::stdout()?
        } else {
            Out::File(PartFile::begin(&self.file, self.force)?)
        };
        let mut target = self.target.open(SpaceArgs::default()).await?;
        let received = receive(&mut target, &mut out).await;
        let manifest = target.close(received).await?;
        match out {
            Out::Stdout => {
                io::stdout()
                    .flush()
                    .map_err(|error| Failure::from_output(&error))?;
                warn(&match self.output.output {
                    Output::Json => json::line(&json::value(&manifest)?),
                    Output::Table => summary(&manifest),
                });
                Ok(())
            }
            Out::File(part) => {
                part.finish(&manifest, self.force)?;
                self.output.line(&manifest, || summary(&manifest))
            }
        }
    }
}

/// Writes the chunks of a backup. Returns the manifest at its end.
async fn receive(target: &mut Target, out: &mut Out) -> Result<pb::BackupManifest, Failure> {
    let mut parts = target.backup_store().await?;
    let bar = progress();
    let mut written = 0;
    let mut manifest = None;
    while let Some(part) = parts.next().await {
        match part?.part {
            Some(Part::Chunk(chunk)) => {
                out.write(&chunk)?;
                written += chunk.len() as u64;
                bar.set_message(format!("backing up: {}", bytes(written)));
                bar.tick();
            }
            Some(Part::Manifest(received)) => manifest = Some(received),
            None => {}
        }
    }
    bar.finish_and_clear();
    match manifest {
        Some(manifest) if manifest.size_bytes == written => Ok(manifest),
        _ => Err(Failure::failed(
            "the backup broke off before its end; nothing is kept of it",
        )),
    }
}

fn summary(manifest: &pb::BackupManifest) -> String {
    let lines = manifest.line_counts.values().sum();
    format!(
        "backed up commit {}: {}, {}",
        count(manifest.seq),
        many(lines, "record", "records"),
        bytes(manifest.size_bytes)
    )
}

/// The destination of a backup.
enum Out {
    Stdout,
    File(PartFile),
}

impl Out {
    fn stdout() -> Result<Self, Failure> {
        if io::stdout().is_terminal() {
            return Err(Failure::Usage(
                "a backup is not for a terminal; name a file, or pipe it on".into(),
            ));
        }
        Ok(Self::Stdout)
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        match self {
            // A part of a backup is of no use.
            Self::Stdout => io::stdout()
                .write_all(chunk)
                .map_err(|error| Failure::failed(format!("the backup cannot be written: {error}"))),
            Self::File(part) => part.write(chunk),
        }
    }
}

/// A file that is being written under another name; it is removed unless it is finished.
struct PartFile {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl PartFile {
    fn begin(path: &Path, force: bool) -> Result<Self, Failure> {
        check_free(path, force)?;
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let failed = |error: &io::Error| written(&part, error);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&part)
            .map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("another backup is being written to {}", part.display());
                return Err(Failure::failed(text));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        // It may be left of a backup that was broken off.
        file.set_len(0).map_err(|error| failed(&error))?;
        Ok(Self {
            path: path.to_owned(),
            part,
            file,
        })
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(chunk)
            .map_err(|error| written(&self.part, &error))
    }

    /// Makes the file durable, compares it with the manifest that came with it, and gives it its name.
    fn finish(self, manifest: &pb::BackupManifest, force: bool) -> Result<(), Failure> {
        let failed = |error: io::Error| written(&self.part, &error);
        self.file.sync_all().map_err(failed)?;
        let backup = BackupFile::verify(&self.part).map_err(|error| Failure::failed(error.to_string()))?;
        if (backup.manifest.seq, &backup.manifest.counts) != (manifest.seq, &manifest.line_counts) {
            let text = format!("{} is not the backup that was sent", self.part.display());
            return Err(Failure::failed(text));
        }
        check_free(&self.path, force)?;
        fs::rename(&self.part, &self.path).map_err(failed)?;
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // It has another name when it is finished.
        drop(fs::remove_file(&self.part));
    }
}

fn check_free(path: &Path, force: bool) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let text = format!("{} is a directory; name a file", path.display());
            Err(Failure::failed(text))
        }
        Ok(_) if !force => Err(Failure::failed(format!(
            "{} is there already; replace it with --force, or name another file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn written(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}
