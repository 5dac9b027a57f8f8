//! The parts our own executable plays as a task: it says when it ends, it writes a lot, or it moves what another writes.
//!
//! Owns these three programs. They are tasks of every contestant alike, so that a difference in the figures is not one
//! of the tasks. Never used outside a benchmark.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use super::machine::monotonic_ns;
use crate::Outcome;

/// The hidden command of `cargo xtask` that starts a part.
pub(crate) const COMMAND: &str = "bench-actor";

/// Bytes of the largest pipe an unprivileged user may have.
const PIPE: usize = 1 << 20;

pub(crate) fn main(arguments: &[String]) -> Outcome {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["stamp", file, delay_ms] => stamp(file, number(delay_ms)?),
        ["write", file, chunk, total] => write(file, number(chunk)?, number(total)?),
        ["move", file] => move_into(file),
        _ => Err("bench-actor is started by `cargo xtask bench`".to_owned()),
    }
}

fn number(word: &str) -> Outcome<u64> {
    word.parse().map_err(|error| format!("`{word}` is no number: {error}"))
}

/// Waits a little, so that everybody who waits for it does; its last act is to write the time.
fn stamp(path: &str, delay_ms: u64) -> Outcome {
    let file = File::create(path).map_err(|error| format!("cannot make {path}: {error}"))?;
    // sleep: time itself is the subject
    std::thread::sleep(Duration::from_millis(delay_ms));
    file.write_all_at(&monotonic_ns().to_le_bytes(), 0)
        .map_err(|error| format!("cannot write {path}: {error}"))
}

/// Writes so many bytes to standard output in writes of one size, and when it began into a file.
fn write(path: &str, chunk: u64, total: u64) -> Outcome {
    let cannot = |error: std::io::Error| format!("cannot write: {error}");
    let own = std::io::stdout().as_fd().try_clone_to_owned().map_err(cannot)?;
    let mut out = File::from(own);
    let size = usize::try_from(chunk).map_err(|_| "the chunk does not fit memory".to_owned())?;
    let mut line = vec![b'x'; size];
    if let Some(last) = line.last_mut() {
        *last = b'\n';
    }
    let start = monotonic_ns();
    for _ in 0..total / chunk {
        out.write_all(&line).map_err(cannot)?;
    }
    std::fs::write(path, start.to_le_bytes()).map_err(cannot)
}

/// Moves standard input, a pipe of the largest usual size, into a file inside the kernel: the least that anybody does
/// who stands between a program and its file.
fn move_into(path: &str) -> Outcome {
    let cannot = |error: std::io::Error| format!("cannot move to {path}: {error}");
    let file = File::create(path).map_err(cannot)?;
    let own = std::io::stdin();
    rustix::pipe::fcntl_setpipe_size(&own, PIPE).map_err(|error| cannot(error.into()))?;
    let mut at = 0;
    loop {
        let flags = rustix::pipe::SpliceFlags::MOVE;
        match rustix::pipe::splice(&own, None, &file, Some(&mut at), PIPE, flags) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(cannot(error.into())),
        }
    }
}

/// What an actor wrote: nanoseconds of the monotonic clock.
pub(super) fn read_time(path: &std::path::Path) -> Outcome<u64> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let bytes = bytes.try_into().map_err(|_| format!("{}: no time in it", path.display()))?;
    Ok(u64::from_le_bytes(bytes))
}
