//! Runs the translation program: a segment on its input, the translation on its output, errors from its standard
//! error.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::time::timeout;

/// More than any translation of a segment has, in bytes.
const MAX_OUTPUT: u64 = 4 << 20;
/// The end of standard error that is kept, in bytes.
const KEPT_ERROR: usize = 4 << 10;
/// The longest message, in bytes. With its prefix it must fit into the 1,024 of a failed job.
const MAX_MESSAGE: usize = 512;
/// Exit codes of a shell that cannot run the program at all.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// A command line of the shell, run once for every segment.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) command: String,
    /// How long it may take for a segment.
    pub(super) limit: Duration,
}

/// The reason for a missing translation. Messages are one line without control characters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The program cannot be run at all: other texts would fail too.
    Program(String),
    /// The program failed with this text.
    Text(String),
}

impl Program {
    /// Translates a text. Dropping the future ends the program and all that it has started.
    pub(super) async fn run(&self, text: &str, variables: &[(&str, String)]) -> Result<String, Trouble> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: signals from the terminal do not reach it, and it can be ended as a whole.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| cannot_run(&error))?;
        let mut group = Group::of(child.id());
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Trouble::Program("the program has no pipes".into()));
        };
        let talk = async {
            let feed = async {
                feed(stdin, text).await;
                Ok(())
            };
            let ((), output, error) = tokio::try_join!(feed, output(stdout), last_line(stderr))?;
            let status = child.wait().await.map_err(|error| cannot_run(&error))?;
            Ok((status, output, error))
        };
        let (status, output, error) = timeout(self.limit, talk).await.map_err(|_| {
            Trouble::Text(format!("the program took longer than {} s", self.limit.as_secs()))
        })??;
        group.ended();
        judge(status, output, &error)
    }
}

/// A process group that is killed on drop, unless its leader has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Self(leader.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended a moment ago.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Writes a text as a line. A program may exit without reading all of it: its output and exit code are the result.
async fn feed(mut stdin: ChildStdin, text: &str) {
    for part in [text, "\n"] {
        if stdin.write_all(part.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn output(stdout: impl AsyncRead + Unpin) -> Result<Vec<u8>, Trouble> {
    let mut output = Vec::new();
    stdout
        .take(MAX_OUTPUT + 1)
        .read_to_end(&mut output)
        .await
        .map_err(|error| cannot_run(&error))?;
    if output.len() as u64 > MAX_OUTPUT {
        return Err(Trouble::Text(format!(
            "the program wrote more than {MAX_OUTPUT} bytes"
        )));
    }
    Ok(output)
}

/// The last line that is not blank; earlier ones are not kept.
async fn last_line(mut stderr: impl AsyncRead + Unpin) -> Result<String, Trouble> {
    let mut kept = Vec::new();
    while stderr
        .read_buf(&mut kept)
        .await
        .map_err(|error| cannot_run(&error))?
        > 0
    {
        kept.drain(..kept.len().saturating_sub(KEPT_ERROR));
    }
    let text = String::from_utf8_lossy(&kept);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    Ok(clean(line.unwrap_or_default()))
}

/// A text on one line, without control characters, and not too long.
fn clean(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut clean = text.split_whitespace().collect::<Vec<_>>().join(" ");
    clean.truncate(clean.floor_char_boundary(MAX_MESSAGE));
    clean
}

fn judge(status: ExitStatus, output: Vec<u8>, error: &str) -> Result<String, Trouble> {
    if !status.success() {
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        let message = match error {
            "" => format!("the program failed: {end}, without a word"),
            error => format!("the program failed: {end}: {error}"),
        };
        return Err(match status.code() {
            Some(NOT_EXECUTABLE | NOT_FOUND) => Trouble::Program(message),
            _ => Trouble::Text(message),
        });
    }
    let text = String::from_utf8(output)
        .map_err(|_| Trouble::Text("the program wrote something that is not UTF-8".into()))?;
    match text.replace("\r\n", "\n").trim() {
        "" => {
            let said = if error.is_empty() {
                String::new()
            } else {
                format!(": {error}")
            };
            Err(Trouble::Text(format!("the program wrote nothing{said}")))
        }
        text => Ok(text.to_owned()),
    }
}

fn cannot_run(error: &io::Error) -> Trouble {
    Trouble::Program(format!("the program cannot be run: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn run(command: &str, text: &str) -> Result<String, Trouble> {
        let program = Program {
            command: command.into(),
            limit: Duration::from_secs(60),
        };
        program.run(text, &[("TARGET_LANGUAGE", "es".into())]).await
    }

    fn failed(message: &str) -> Result<String, Trouble> {
        Err(Trouble::Text(format!("the program {message}")))
    }

    #[tokio::test]
    async fn a_text_goes_in_as_a_line_and_what_comes_out_is_trimmed() {
        assert_eq!(run("cat", "one\ntwo").await, Ok("one\ntwo".into()));
        assert_eq!(run("tr a-z A-Z; echo", "čaj").await, Ok("čAJ".into()));
        assert_eq!(run("wc -l | tr -d ' '", "one").await, Ok("1".into()));
        assert_eq!(run("printf 'a\\r\\nb \\n'", "").await, Ok("a\nb".into()));
        assert_eq!(run("echo $TARGET_LANGUAGE", "").await, Ok("es".into()));
        // It need not read at all, however long the text is.
        assert_eq!(run("echo yes", &"x".repeat(1 << 20)).await, Ok("yes".into()));
        let long = "é".repeat(1 << 20);
        assert_eq!(run("cat", &long).await, Ok(long));
    }

    #[tokio::test]
    async fn failures_say_what_the_program_said_last() {
        assert_eq!(
            run("printf 'first\\nno \\033[2Jmodel\\t\\n\\n' >&2; exit 3", "x").await,
            failed("failed: exit code 3: no [2Jmodel")
        );
        assert_eq!(
            run("exit 1", "x").await,
            failed("failed: exit code 1, without a word")
        );
        assert_eq!(
            run("kill -9 $$", "x").await,
            failed("failed: ended by signal 9, without a word")
        );
        assert_eq!(run("echo; echo", "x").await, failed("wrote nothing"));
        assert_eq!(run("echo asleep >&2", "x").await, failed("wrote nothing: asleep"));
        assert_eq!(
            run("printf '\\377'", "x").await,
            failed("wrote something that is not UTF-8")
        );
        assert_eq!(
            run("cat /dev/zero", "x").await,
            failed("wrote more than 4194304 bytes")
        );
        let Err(Trouble::Text(long)) = run("head -c 100000 /dev/zero | tr '\\0' é >&2; exit 1", "x").await
        else {
            panic!("it has failed");
        };
        assert!(long.len() < 600, "{}", long.len());
        assert!(matches!(
            run("no-such-program", "x").await,
            Err(Trouble::Program(_))
        ));
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_has_failed() {
        let program = Program {
            command: "tail -f /dev/null".into(),
            limit: Duration::from_millis(1),
        };
        assert_eq!(program.run("x", &[]).await, failed("took longer than 0 s"));
    }

    #[tokio::test]
    async fn a_program_that_is_not_waited_for_ends_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let command = format!(
            "sh -c 'echo $$ >> {0}; tail -f /dev/null | cat' & echo $$ >> {0}; wait",
            pids.display()
        );
        let limit = Duration::from_secs(300);
        let program = Program { command, limit };
        let started = async {
            loop {
                let pids = std::fs::read_to_string(&pids).unwrap_or_default();
                if pids.lines().count() == 2 && pids.ends_with('\n') {
                    return pids;
                }
                tokio::task::yield_now().await;
            }
        };
        let pids = tokio::select! {
            ended = program.run("x", &[]) => panic!("{ended:?}"),
            pids = started => pids,
        };
        let waiting = Instant::now();
        // A killed process is there until its parent has looked at it.
        let is_running = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        while pids.lines().any(is_running) {
            assert!(waiting.elapsed() < Duration::from_secs(60), "{pids}");
            tokio::task::yield_now().await;
        }
    }
}
