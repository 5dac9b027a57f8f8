//! The start spec: everything a supervisor must know to run one attempt.
//!
//! Owns its fields and bytes. Values arrive resolved: nothing here is looked up in an environment.

use crate::codec::{DecodeError, Decoder, Encoder};

use super::messages::{TaskId, Token};

/// One attempt to run.
#[derive(Clone, PartialEq, Eq)]
pub struct StartSpec {
    /// The attempt's secret name; the owner file's header holds the same.
    pub token: Token,
    /// Of which task.
    pub task: TaskId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<Vec<u8>>,
    /// The working directory, absolute.
    pub cwd: Vec<u8>,
    /// The whole environment, `K=V`.
    pub env: Vec<Vec<u8>>,
    /// The client's umask.
    pub umask: u32,
    /// The client's resource limits. One that may not be raised so far is set as high as it may be.
    pub rlimits: Vec<Rlimit>,
    /// What the task reads.
    pub stdin: Stdin,
    /// A pseudo-terminal as stdin, stdout, stderr and controlling terminal (`stdin` is then not used).
    pub pty: Option<PtySize>,
    /// The running-time deadline, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The longest silence, in milliseconds.
    pub idle_timeout_ms: Option<u64>,
    /// Between SIGTERM and SIGKILL when the supervisor itself stops the task, in milliseconds.
    pub grace_ms: u64,
    /// The log's cap in bytes.
    pub log_cap: u64,
    /// Keep stdout (`stdout.log`) and stderr (`output.log`) apart: agent tasks, whose stdout is a protocol.
    pub split_streams: bool,
    /// The cgroup directory to make and enter, absolute, its parent existing.
    pub cgroup: Option<Vec<u8>>,
    /// The most memory the tree may use, in bytes.
    pub memory_max: Option<u64>,
    /// The most processes the tree may have.
    pub pids_max: Option<u64>,
    /// How many processors it may use.
    pub cpus: Option<u32>,
    /// Its niceness.
    pub nice: Option<i32>,
    /// A private directory to make (0700) before the start and to remove after the end.
    pub tmpdir: Option<Vec<u8>>,
    /// Leave `tmpdir` where it is.
    pub keep_tmp: bool,
    /// Leave leftover processes alive.
    pub keep_leaked: bool,
    /// Keep stdin open and write what `Input` brings (needs `Stdin::Null`, whose place the pipe takes).
    pub hold_stdin: bool,
}

/// What the task reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// A file that the child opens at its start (a FIFO waits for its writer there).
    Path(Vec<u8>),
    /// A spooled copy of the client's stdin.
    Spool(Vec<u8>),
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PtySize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// One resource limit, by the numbers of `setrlimit(2)`; `u64::MAX` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// Which one (`RLIMIT_*`).
    pub resource: u32,
    /// The limit in force.
    pub soft: u64,
    /// How far it may be raised.
    pub hard: u64,
}

/// The environment holds secrets: it is counted here, never shown.
impl std::fmt::Debug for StartSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartSpec")
            .field("token", &self.token)
            .field("task", &self.task)
            .field("attempt", &self.attempt)
            .field("arguments", &self.argv.len())
            .field("variables", &self.env.len())
            .finish_non_exhaustive()
    }
}

impl StartSpec {
    /// A spec with the defaults: no limits, no deadlines, stdin from `/dev/null`.
    #[must_use]
    pub fn new(token: Token, task: TaskId, attempt: u32, argv: Vec<Vec<u8>>, cwd: Vec<u8>) -> Self {
        Self {
            token,
            task,
            attempt,
            argv,
            cwd,
            env: Vec::new(),
            umask: 0o077,
            rlimits: Vec::new(),
            stdin: Stdin::Null,
            pty: None,
            timeout_ms: None,
            idle_timeout_ms: None,
            grace_ms: 10_000,
            log_cap: crate::limits::LOG_CAP,
            split_streams: false,
            cgroup: None,
            memory_max: None,
            pids_max: None,
            cpus: None,
            nice: None,
            tmpdir: None,
            keep_tmp: false,
            keep_leaked: false,
            hold_stdin: false,
        }
    }

    /// The spec's bytes, as `Start` and its memfd carry them.
    pub(crate) fn encode(&self, out: &mut Encoder) {
        let Self {
            token,
            task,
            attempt,
            argv,
            cwd,
            env,
            umask,
            rlimits,
            stdin,
            pty,
            timeout_ms,
            idle_timeout_ms,
            grace_ms,
            log_cap,
            split_streams,
            cgroup,
            memory_max,
            pids_max,
            cpus,
            nice,
            tmpdir,
            keep_tmp,
            keep_leaked,
            hold_stdin,
        } = self;
        let number = |out: &mut Encoder, value: &u64| {
            out.u64(*value);
        };
        let path = |out: &mut Encoder, value: &Vec<u8>| {
            out.bytes(value);
        };
        out.raw(&token.0).raw(&task.0).u32(*attempt);
        out.list(argv, path).bytes(cwd).list(env, path).u32(*umask);
        out.list(rlimits, |out, Rlimit { resource, soft, hard }| {
            out.u32(*resource).u64(*soft).u64(*hard);
        });
        match stdin {
            Stdin::Null => out.u8(0).bytes(&[]),
            Stdin::Path(path) => out.u8(1).bytes(path),
            Stdin::Spool(path) => out.u8(2).bytes(path),
        };
        out.option(pty.as_ref(), |out, PtySize { cols, rows }| {
            out.u16(*cols).u16(*rows);
        });
        out.option(timeout_ms.as_ref(), number).option(idle_timeout_ms.as_ref(), number);
        out.u64(*grace_ms).u64(*log_cap).flag(*split_streams);
        out.option(cgroup.as_ref(), path);
        out.option(memory_max.as_ref(), number).option(pids_max.as_ref(), number);
        out.option(cpus.as_ref(), |out, cpus| {
            out.u32(*cpus);
        });
        out.option(nice.as_ref(), |out, nice| {
            out.i32(*nice);
        });
        out.option(tmpdir.as_ref(), path);
        out.flag(*keep_tmp).flag(*keep_leaked).flag(*hold_stdin);
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            token: Token(input.array("token")?),
            task: TaskId(input.array("task")?),
            attempt: input.u32("attempt")?,
            argv: input.list("argv", |d| d.vec("argument"))?,
            cwd: input.vec("cwd")?,
            env: input.list("env", |d| d.vec("variable"))?,
            umask: input.u32("umask")?,
            rlimits: input.list("rlimits", |d| {
                Ok(Rlimit {
                    resource: d.u32("resource")?,
                    soft: d.u64("soft limit")?,
                    hard: d.u64("hard limit")?,
                })
            })?,
            stdin: {
                let tag = input.u8("stdin")?;
                let path = input.vec("stdin path")?;
                match tag {
                    0 => Stdin::Null,
                    1 => Stdin::Path(path),
                    2 => Stdin::Spool(path),
                    _ => return Err(DecodeError::Invalid { field: "stdin" }),
                }
            },
            pty: input
                .option("pty", |d| Ok(PtySize { cols: d.u16("columns")?, rows: d.u16("rows")? }))?,
            timeout_ms: input.option("timeout", |d| d.u64("timeout"))?,
            idle_timeout_ms: input.option("idle timeout", |d| d.u64("idle timeout"))?,
            grace_ms: input.u64("grace")?,
            log_cap: input.u64("log cap")?,
            split_streams: input.flag("split streams")?,
            cgroup: input.option("cgroup", |d| d.vec("cgroup"))?,
            memory_max: input.option("memory", |d| d.u64("memory"))?,
            pids_max: input.option("pids", |d| d.u64("pids"))?,
            cpus: input.option("cpus", |d| d.u32("cpus"))?,
            nice: input.option("nice", |d| d.i32("nice"))?,
            tmpdir: input.option("tmpdir", |d| d.vec("tmpdir"))?,
            keep_tmp: input.flag("keep tmp")?,
            keep_leaked: input.flag("keep leaked")?,
            hold_stdin: input.flag("hold stdin")?,
        })
    }
}
