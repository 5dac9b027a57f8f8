//! New tasks: what `run`, `--from` and programs submit.
//!
//! What it is for: every option of `run` as a field, so that the command line, NDJSON files and programs say the same
//! thing in the same words. What it owns: the shapes and the checks that need nothing but the entry itself.
//! What it never does: check against the machine, the queue or other tasks (the daemon does).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller::CallerContext;
use crate::duration::Span;
use crate::error::{ApiError, ErrorCode};
use crate::ids::TaskId;
use crate::size::Size;
use crate::task::Task;
use crate::text::OsText;
use crate::time::Timestamp;
use crate::wire_shapes::{self, is_default};

/// One task to be. Keys are the names of the options of `run`, with `_` or `-`; absent keys mean the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewTask {
    /// The program and its arguments. Exactly one of `command` and `shell` is given.
    #[serde(skip_serializing_if = "is_default")]
    pub command: Vec<OsText>,
    /// A line for the shell.
    #[serde(skip_serializing_if = "is_default")]
    pub shell: Option<OsText>,
    /// A name; an id prefix or a unique name is accepted wherever an id is.
    #[serde(skip_serializing_if = "is_default")]
    pub name: Option<String>,
    /// The directory to run in; the caller's when absent. A relative one is below the caller's.
    #[serde(skip_serializing_if = "is_default")]
    pub cwd: Option<OsText>,
    /// Variables that override the caller's environment.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "wire_shapes::env")]
    pub env: Vec<(OsText, OsText)>,
    /// Names of variables to keep although they identify the parent.
    #[serde(
        skip_serializing_if = "is_default",
        alias = "keep-env",
        deserialize_with = "wire_shapes::one_or_many"
    )]
    pub keep_env: Vec<String>,
    /// The group it is judged together with.
    #[serde(skip_serializing_if = "is_default")]
    pub group: Option<String>,
    /// Labels.
    #[serde(
        skip_serializing_if = "is_default",
        alias = "label",
        deserialize_with = "wire_shapes::labels"
    )]
    pub labels: BTreeMap<String, String>,
    /// The lane to queue in; `commands` or `services` when absent.
    #[serde(skip_serializing_if = "is_default")]
    pub lane: Option<String>,
    /// Higher ones start first.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i32,
    /// How long it may run; the default when absent, no limit when 0.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: Option<Span>,
    /// How long it may print nothing; no limit when absent or 0.
    #[serde(skip_serializing_if = "is_default", alias = "idle-timeout")]
    pub idle_timeout: Option<Span>,
    /// The grace after SIGTERM; the default when absent.
    #[serde(skip_serializing_if = "is_default", alias = "kill-after")]
    pub kill_after: Option<Span>,
    /// How many attempts may follow a failed one.
    #[serde(skip_serializing_if = "is_default")]
    pub retries: u32,
    /// How long to wait before the first retry; doubles.
    #[serde(skip_serializing_if = "is_default")]
    pub backoff: Option<Span>,
    /// The exit codes worth a retry; any failure when empty.
    #[serde(
        skip_serializing_if = "is_default",
        alias = "retry-on",
        deserialize_with = "wire_shapes::codes"
    )]
    pub retry_on: Vec<i32>,
    /// The tasks that must end first: ids, or names of earlier entries of the same batch.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "wire_shapes::after")]
    pub after: Vec<After>,
    /// Not before this much time has passed.
    #[serde(skip_serializing_if = "is_default")]
    pub delay: Option<Span>,
    /// Run it on a terminal of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub pty: bool,
    /// Its standard input.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "wire_shapes::stdin")]
    pub stdin: Stdin,
    /// How much of its output to keep; the default when absent.
    #[serde(skip_serializing_if = "is_default", alias = "max-log")]
    pub max_log: Option<Size>,
    /// How much memory it may use.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: Option<Size>,
    /// How many processors it may use.
    #[serde(skip_serializing_if = "is_default")]
    pub cpus: Option<f64>,
    /// How many processes it may have.
    #[serde(skip_serializing_if = "is_default")]
    pub pids: Option<u32>,
    /// How nice it is, -20 to 19.
    #[serde(skip_serializing_if = "is_default")]
    pub nice: Option<i32>,
    /// A regular expression: the line of its output that says it is ready.
    #[serde(skip_serializing_if = "is_default")]
    pub ready: Option<String>,
    /// The TCP port on loopback that it listens on once it is ready.
    #[serde(skip_serializing_if = "is_default", alias = "ready-port")]
    pub ready_port: Option<u16>,
    /// It runs until it is stopped.
    #[serde(skip_serializing_if = "is_default")]
    pub service: bool,
    /// Globs of files it leaves behind.
    #[serde(
        skip_serializing_if = "is_default",
        alias = "artifact",
        deserialize_with = "wire_shapes::one_or_many"
    )]
    pub artifacts: Vec<String>,
    /// Keep its temporary directory.
    #[serde(skip_serializing_if = "is_default", alias = "keep-tmp")]
    pub keep_tmp: bool,
    /// Leave processes alive that outlive its main process.
    #[serde(skip_serializing_if = "is_default", alias = "keep-leaked")]
    pub keep_leaked: bool,
    /// The same key answers with the same task for as long as that is kept.
    #[serde(skip_serializing_if = "is_default", alias = "idempotency-key")]
    pub idempotency_key: Option<String>,
    /// Running it twice does no harm, so it may be started again after a crash of the machine.
    #[serde(skip_serializing_if = "is_default")]
    pub idempotent: bool,
    /// The variables that are set where the caller has not; chosen by the daemon when absent.
    #[serde(skip_serializing_if = "is_default", alias = "env-profile")]
    pub env_profile: Option<EnvProfile>,
    /// The notice policy: `all-done`, `each`, `failures` or `none`.
    #[serde(skip_serializing_if = "is_default")]
    pub notify: Option<String>,
    /// The turn of the caller's conversation it is launched in, in a word of the caller's: "all done" is said of the tasks
    /// of a turn together, where they have no group.
    #[serde(skip_serializing_if = "is_default")]
    pub turn: Option<String>,
    /// A regular expression: lines of its output that make a notice.
    #[serde(skip_serializing_if = "is_default", alias = "notify-on")]
    pub notify_on: Option<String>,
    /// What to do when it waits for input.
    #[serde(skip_serializing_if = "is_default", alias = "on-waiting")]
    pub on_waiting: Option<OnWaiting>,
    /// It belongs to the caller's root session rather than to the calling task, and outlives that.
    #[serde(skip_serializing_if = "is_default")]
    pub detach: bool,
    /// Launch it although a warning would refuse it.
    #[serde(skip_serializing_if = "is_default")]
    pub force: bool,
    /// Start it beyond the limit of its lane; people only.
    #[serde(skip_serializing_if = "is_default", alias = "over-limit")]
    pub over_limit: bool,
}

/// What a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work<'a> {
    /// A program and its arguments; never empty.
    Command(&'a [OsText]),
    /// A line for the shell.
    Shell(&'a OsText),
}

impl NewTask {
    /// What it runs; refused unless exactly one of `command` and `shell` is given.
    pub fn work(&self) -> Result<Work<'_>, ApiError> {
        let usage = |message| ApiError::new(ErrorCode::Usage, message);
        match (&self.command[..], &self.shell) {
            ([], None) => {
                Err(usage("launch a task without a command").hint("meanwhile run -- make test"))
            }
            ([], Some(line)) if line.as_bytes().trim_ascii().is_empty() => {
                Err(usage("launch a task with an empty shell line")
                    .hint("meanwhile run --shell 'make test | tee log'"))
            }
            ([], Some(line)) => Ok(Work::Shell(line)),
            ([program, ..], None) if program.is_empty() => {
                Err(usage("launch a task with an empty program name")
                    .hint("meanwhile run -- make test"))
            }
            (command, None) => Ok(Work::Command(command)),
            (_, Some(_)) => Err(usage("launch a task with both a command and a shell line")
                .hint("give either a command after `--`, or `--shell LINE`")),
        }
    }
}

/// Where standard input comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// Empty (/dev/null).
    #[default]
    None,
    /// A file (or FIFO) that is opened when the task starts.
    File(OsText),
    /// Bytes uploaded before; the token is the answer to the upload.
    Spooled(String),
}

/// Variables set where the caller has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvProfile {
    /// No pagers, no prompts, no colours.
    Agent,
    /// As `agent`, and `CI=true`.
    Ci,
    /// Nothing.
    Inherit,
}

/// What to do when a task waits for input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnWaiting {
    /// Tell the session.
    Notify,
    /// End it.
    Kill,
    /// End it and try again.
    Retry,
}

/// How the other task must end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Completed.
    #[default]
    Ok,
    /// In any way.
    Any,
    /// Failed.
    Fail,
}

/// A dependency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct After {
    /// The other task: id, prefix, name, or the name of an earlier entry of the same batch.
    pub id: TaskId,
    /// How it must end.
    #[serde(default)]
    pub condition: Condition,
}

/// What is wrong with a text that should be a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterError(String);

impl fmt::Display for AfterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a dependency (examples: ID, ID:ok, ID:any, ID:fail)", self.0)
    }
}

impl std::error::Error for AfterError {}

impl FromStr for After {
    type Err = AfterError;

    /// Reads `ID[:COND]`.
    fn from_str(text: &str) -> Result<After, AfterError> {
        let (id, condition) = match text.split_once(':') {
            None => (text, Condition::Ok),
            Some((id, "ok")) => (id, Condition::Ok),
            Some((id, "any")) => (id, Condition::Any),
            Some((id, "fail")) => (id, Condition::Fail),
            Some(_) => return Err(AfterError(text.to_owned())),
        };
        if id.is_empty() {
            return Err(AfterError(text.to_owned()));
        }
        Ok(After { id: TaskId::from(id), condition })
    }
}

/// `POST /v1/tasks`: all of them in one transaction, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The tasks, in order.
    // Of more than `BATCH_TASKS_MAX` only that many and one more are read.
    #[serde(deserialize_with = "wire_shapes::batch")]
    pub tasks: Vec<NewTask>,
    /// What they inherit.
    pub caller: CallerContext,
    /// Whose environment and directory of those.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inherit: Inherit,
    /// How much to answer.
    #[serde(default)]
    pub detail: Detail,
}

/// Whose environment and directory new tasks inherit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Inherit {
    /// The caller's: a command line is where its user is.
    #[default]
    Caller,
    /// Those that the hooks of the caller's session have recorded, else those of the agent process that the caller was
    /// started by, else the caller's: an agent's servers are often started with three variables and in another
    /// directory. `env_from` of the task says which it was.
    Session,
}

/// How much to answer about each accepted task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// Only `accepted`: right for a batch of thousands.
    Ids,
    /// `tasks` too.
    #[default]
    Tasks,
}

/// The tasks that were accepted, in input order. They are on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubmitReply {
    /// One entry per task.
    pub accepted: Vec<Accepted>,
    /// The tasks in full, when asked for.
    #[serde(default)]
    pub tasks: Vec<Task>,
    /// What the caller should know although nothing was refused, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One accepted task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// Its id.
    pub id: TaskId,
    /// The idempotency key was known: this is the old task and nothing was launched.
    #[serde(default, skip_serializing_if = "is_default")]
    pub existing: bool,
    /// When its timeout will end it, where that is known already.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deadline: Option<Timestamp>,
}

/// `POST /v1/stdin` answers with where the bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StdinReply {
    /// For [`Stdin::Spooled`]; forgotten when no submission uses it within an hour.
    pub token: String,
    /// How many bytes arrived.
    pub bytes: u64,
}
