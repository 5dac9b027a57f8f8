//! The program that tasks of the workload run: it keeps a journal, prints bytes that can be foretold,
//! and ends as told.
//!
//! Owns its command line, its output and the journal's lines. It is this program itself, so that the
//! checker computes from the same lines what must be found. A line of the journal is one `write` to a
//! file opened with O_APPEND: the order of the lines is the truth.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exit(u8),
    /// By a signal that it sends to itself.
    Term,
    /// Not before somebody ends it.
    Never,
}

/// What one task is to do.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Its name in the journal.
    pub number: u64,
    /// What its bytes are made from.
    pub seed: u64,
    /// How many bytes it prints.
    pub bytes: usize,
    /// In how many parts, with a nap after each.
    pub parts: u32,
    /// How long a nap is.
    pub nap: Duration,
    /// How it ends.
    pub end: End,
}

impl Work {
    /// Ends at once and prints little.
    #[must_use]
    pub const fn short(number: u64) -> Self {
        let nap = Duration::from_millis(1);
        Self { number, seed: number + 1, bytes: 256, parts: 1, nap, end: End::Exit(0) }
    }

    /// Prints, and stays until it is ended.
    #[must_use]
    pub const fn endless(number: u64) -> Self {
        Self { end: End::Never, ..Self::short(number) }
    }

    /// Everything it prints.
    #[must_use]
    pub fn output(&self) -> Vec<u8> {
        bytes(self.seed, self.bytes)
    }

    /// The command line, program first. `mark` makes it recognisable among all processes.
    #[must_use]
    pub fn command(&self, journal: &Path, mark: &str) -> Vec<String> {
        let own = std::env::current_exe().expect("a running program has a path");
        let own = own.display().to_string();
        // Built again while a row runs: the new file is as good.
        let own = own.strip_suffix(" (deleted)").unwrap_or(&own);
        let end = match self.end {
            End::Exit(code) => code.to_string(),
            End::Term => "term".to_owned(),
            End::Never => "never".to_owned(),
        };
        vec![
            own.to_owned(),
            "work".to_owned(),
            journal.display().to_string(),
            self.number.to_string(),
            self.seed.to_string(),
            self.bytes.to_string(),
            self.parts.to_string(),
            self.nap.as_millis().to_string(),
            end,
            mark.to_owned(),
        ]
    }

    fn parse(arguments: &[String]) -> Option<(std::path::PathBuf, Self)> {
        let [journal, number, seed, bytes, parts, nap, end, _mark] = arguments else { return None };
        let end = match end.as_str() {
            "term" => End::Term,
            "never" => End::Never,
            code => End::Exit(code.parse().ok()?),
        };
        let work = Self {
            number: number.parse().ok()?,
            seed: seed.parse().ok()?,
            bytes: bytes.parse().ok()?,
            parts: parts.parse().ok()?,
            nap: Duration::from_millis(nap.parse().ok()?),
            end,
        };
        Some((journal.into(), work))
    }
}

/// The bytes that a seed gives. All values occur; nothing in between is dropped by sanitising, since
/// they are compared raw.
#[must_use]
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut made = Vec::with_capacity(length + 8);
    while made.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        made.extend_from_slice(&(mixed ^ (mixed >> 27)).to_le_bytes());
    }
    made.truncate(length);
    made
}

/// The task itself: `work JOURNAL NUMBER SEED BYTES PARTS NAP_MS END MARK`. Answers its exit code.
pub fn main(arguments: &[String]) -> u8 {
    let (journal, work) = Work::parse(arguments).expect("the checker wrote these arguments");
    let attempt = std::env::var("MEANWHILE_ATTEMPT").unwrap_or_else(|_| "0".to_owned());
    let number = work.number;
    note(&journal, &format!("begin {number} {attempt} {}\n", std::process::id()));
    let output = work.output();
    let size = output.len().div_ceil(work.parts.max(1) as usize).max(1);
    let mut chunks = output.chunks(size);
    for _ in 0..work.parts {
        let part = chunks.next().unwrap_or_default();
        std::io::stdout().write_all(part).expect("standard output takes what is written");
        std::io::stdout().flush().expect("standard output takes what is written");
        // sleep: the time between two parts is what the faults fall into
        std::thread::sleep(work.nap);
    }
    match work.end {
        End::Exit(code) => {
            note(&journal, &format!("end {number} {attempt}\n"));
            code
        }
        End::Term => {
            note(&journal, &format!("end {number} {attempt}\n"));
            kill_process(getpid(), Signal::TERM).expect("a process may signal itself");
            unreachable!("SIGTERM ends a process that does not catch it")
        }
        End::Never => loop {
            std::thread::park();
        },
    }
}

fn note(journal: &Path, line: &str) {
    let file = OpenOptions::new().append(true).create(true).open(journal);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the journal takes a line");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_everything() {
        let work = Work { end: End::Term, parts: 3, ..Work::short(7) };
        let line = work.command(Path::new("/journal"), "mark");
        let (journal, again) = Work::parse(&line[2..]).expect("it can be read again");
        assert_eq!(journal, Path::new("/journal"));
        assert_eq!(again.output(), work.output());
        assert_eq!((again.end, again.parts), (work.end, 3));
        assert_eq!(bytes(3, 1000)[..10], bytes(3, 10));
        assert_ne!(bytes(3, 100), bytes(4, 100));
    }
}
