//! How an attempt ended: the record that the supervisor writes and the daemon reads.
//!
//! Owns the record's types and bytes, which are the same in the `owner` file and in the `Ended` message.
//! Never judges: whether an end is a success is the daemon's word.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::limits::{LEAKED_NAMED, WHAT_MAX};
use crate::wire::{StopWhy, Token};

/// Longest name of a process, in bytes: the kernel's 15, each shown as a replacement character at worst.
const NAME_MAX: usize = 45;

/// The whole truth about one attempt's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitRecord {
    /// The attempt this is about.
    pub token: Token,
    /// The raw wait status of the main process (`wait(2)`); `None` when it never ran.
    pub wait_status: Option<i32>,
    /// Why the main process could not be started.
    pub spawn_error: Option<SpawnError>,
    /// Why it ended.
    pub why: EndWhy,
    /// What is known about the rest of the tree.
    pub tree: TreeState,
    /// Running time by the monotonic clock (suspends do not count), in milliseconds.
    pub run_ms: u64,
    /// Wall clock at the start and the end, milliseconds since 1970.
    pub started_wall_ms: u64,
    /// See `started_wall_ms`.
    pub ended_wall_ms: u64,
    /// What the main process and its waited-for children used.
    pub usage: Usage,
    /// Bytes the task wrote, dropped ones included.
    pub log_bytes: u64,
    /// Bytes of those that the log does not hold.
    pub dropped_bytes: u64,
    /// Processes that were still there when the main process had ended and the leak time was over.
    pub leaked: Leaked,
}

/// Why an attempt ended. The wait status beside it is the true one in every case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndWhy {
    /// By itself (or by a signal that was not ours), or it never started.
    Exited,
    /// The running-time deadline passed.
    TimedOut {
        /// The deadline, in milliseconds of running time.
        after_ms: u64,
    },
    /// It wrote nothing for too long.
    IdleTimedOut {
        /// The idle limit, in milliseconds.
        after_ms: u64,
    },
    /// A stop was accepted before the end was seen.
    Stopped(StopWhy),
    /// The kernel killed it for want of memory.
    OutOfMemory(OomEvidence),
    /// Its tree used more memory than it may (sampled).
    MemoryLimit {
        /// What was found, in bytes.
        used: u64,
    },
    /// Its tree had more processes than it may (sampled).
    PidsLimit {
        /// What was found.
        count: u64,
    },
    /// Its log could not be kept and the task was asked to stop for it.
    LogFull,
    /// A reason that a later release knows.
    Other(u8),
}

/// What proves that the kernel's memory killer ended the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomEvidence {
    /// `oom_kill` in the `memory.events` of its cgroup, with the count.
    CgroupEvents(u64),
    /// The system-wide `oom_kill` counter of `/proc/vmstat` grew while it ran and it died by SIGKILL that
    /// nobody here sent.
    SystemCounter(u64),
}

/// The processes of the task besides the main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeState {
    /// Verified: no process of the task is left.
    Empty,
    /// The record was written at the main process's end; leftovers were still being ended. Found in a file
    /// whose lock is free, it means: kill the remains, then believe the wait status.
    Pending,
    /// Leftovers live on because the task asked for that.
    Kept,
}

/// What a process used (`getrusage(2)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time in user mode, microseconds.
    pub user_us: u64,
    /// Time in the kernel, microseconds.
    pub system_us: u64,
    /// Largest resident set of one process, KiB.
    pub max_rss_kib: u64,
}

/// The leftovers of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaked {
    /// How many there were.
    pub count: u32,
    /// The first of them, at most [`LEAKED_NAMED`].
    pub named: Vec<LeakedProcess>,
}

/// One leftover process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeakedProcess {
    /// Its process id.
    pub pid: u32,
    /// Its name as the kernel shows it (at most 15 bytes).
    pub comm: String,
}

/// Where a start failed. The CLI's exit code follows from it: see [`SpawnError::exit_code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnStage {
    /// Entering the working directory.
    Cwd,
    /// Opening the file given as stdin.
    Stdin,
    /// Making or entering the task's cgroup.
    Cgroup,
    /// Making the private temporary directory.
    Tmpdir,
    /// Opening the log.
    Log,
    /// Setting a resource limit, priority or affinity.
    Limit,
    /// Opening the pseudo-terminal.
    Pty,
    /// Making the process itself.
    Fork,
    /// Executing the program.
    Exec,
    /// A stage that a later release knows.
    Other(u8),
}

/// Why the main process could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnError {
    /// The system's error number.
    pub errno: i32,
    /// The step that failed.
    pub stage: SpawnStage,
    /// What it was about: the program, the directory, the file.
    pub what: String,
}

impl SpawnError {
    /// The exit code shells give for this: 127 for a program that is not there, 126 for one that cannot be
    /// executed, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.stage, self.errno) {
            (SpawnStage::Exec, libc::ENOENT | libc::ENOTDIR) => 127,
            (SpawnStage::Exec, _) => 126,
            _ => 1,
        }
    }
}

impl ExitRecord {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        let Self {
            token,
            wait_status,
            spawn_error,
            why,
            tree,
            run_ms,
            started_wall_ms,
            ended_wall_ms,
            usage,
            log_bytes,
            dropped_bytes,
            leaked,
        } = self;
        out.raw(&token.0);
        out.option(wait_status.as_ref(), |out, status| {
            out.i32(*status);
        });
        out.option(spawn_error.as_ref(), |out, error| error.encode(out));
        why.encode(out);
        out.u8(match tree {
            TreeState::Empty => 0,
            TreeState::Pending => 1,
            TreeState::Kept => 2,
        });
        out.u64(*run_ms).u64(*started_wall_ms).u64(*ended_wall_ms);
        let Usage { user_us, system_us, max_rss_kib } = usage;
        out.u64(*user_us).u64(*system_us).u64(*max_rss_kib);
        out.u64(*log_bytes).u64(*dropped_bytes);
        let Leaked { count, named } = leaked;
        out.u32(*count);
        out.list(&named[..named.len().min(LEAKED_NAMED)], |out, process| {
            out.u32(process.pid).bytes(start(&process.comm, NAME_MAX).as_bytes());
        });
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            token: Token(input.array("token")?),
            wait_status: input.option("wait status", |d| d.i32("wait status"))?,
            spawn_error: input.option("spawn error", SpawnError::decode)?,
            why: EndWhy::decode(input)?,
            tree: match input.u8("tree")? {
                0 => TreeState::Empty,
                2 => TreeState::Kept,
                // What is not known to be empty is treated as not empty.
                _ => TreeState::Pending,
            },
            run_ms: input.u64("running time")?,
            started_wall_ms: input.u64("started")?,
            ended_wall_ms: input.u64("ended")?,
            usage: Usage {
                user_us: input.u64("user time")?,
                system_us: input.u64("system time")?,
                max_rss_kib: input.u64("resident set")?,
            },
            log_bytes: input.u64("log bytes")?,
            dropped_bytes: input.u64("dropped bytes")?,
            leaked: Leaked {
                count: input.u32("leaked")?,
                named: input.list("leaked", |d| {
                    Ok(LeakedProcess { pid: d.u32("leaked pid")?, comm: d.text("leaked name")? })
                })?,
            },
        })
    }
}

/// As much of a text as fits, in whole characters: half of one would be read as another.
fn start(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl SpawnError {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        let what = start(&self.what, WHAT_MAX).as_bytes();
        out.i32(self.errno).u8(self.stage.number()).bytes(what);
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            errno: input.i32("errno")?,
            stage: SpawnStage::from_number(input.u8("stage")?),
            what: input.text("what")?,
        })
    }
}

impl SpawnStage {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Cwd => 1,
            Self::Stdin => 2,
            Self::Cgroup => 3,
            Self::Tmpdir => 4,
            Self::Log => 5,
            Self::Limit => 6,
            Self::Pty => 7,
            Self::Fork => 8,
            Self::Exec => 9,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Cwd,
            2 => Self::Stdin,
            3 => Self::Cgroup,
            4 => Self::Tmpdir,
            5 => Self::Log,
            6 => Self::Limit,
            7 => Self::Pty,
            8 => Self::Fork,
            9 => Self::Exec,
            other => Self::Other(other),
        }
    }
}

impl EndWhy {
    /// A tag and a number, both always there, so that an unknown tag can be passed over.
    fn encode(&self, out: &mut Encoder) {
        let (tag, number) = match self {
            Self::Exited => (0, 0),
            Self::TimedOut { after_ms } => (1, *after_ms),
            Self::IdleTimedOut { after_ms } => (2, *after_ms),
            Self::Stopped(why) => (3, u64::from(why.number())),
            Self::OutOfMemory(OomEvidence::CgroupEvents(count)) => (4, *count),
            Self::OutOfMemory(OomEvidence::SystemCounter(count)) => (5, *count),
            Self::MemoryLimit { used } => (6, *used),
            Self::PidsLimit { count } => (7, *count),
            Self::LogFull => (8, 0),
            Self::Other(tag) => (*tag, 0),
        };
        out.u8(tag).u64(number);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let tag = input.u8("why")?;
        let number = input.u64("why")?;
        Ok(match tag {
            0 => Self::Exited,
            1 => Self::TimedOut { after_ms: number },
            2 => Self::IdleTimedOut { after_ms: number },
            3 => Self::Stopped(StopWhy::from_number(u8::try_from(number).unwrap_or(u8::MAX))),
            4 => Self::OutOfMemory(OomEvidence::CgroupEvents(number)),
            5 => Self::OutOfMemory(OomEvidence::SystemCounter(number)),
            6 => Self::MemoryLimit { used: number },
            7 => Self::PidsLimit { count: number },
            8 => Self::LogFull,
            other => Self::Other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let error = |what: String| SpawnError { errno: 2, stage: SpawnStage::Exec, what };
        let mut out = Encoder::new();
        error("/".to_owned() + &"ü".repeat(WHAT_MAX)).encode(&mut out);
        let bytes = out.finish();
        let read = SpawnError::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!(read, error("/".to_owned() + &"ü".repeat((WHAT_MAX - 1) / 2)));
    }
}
