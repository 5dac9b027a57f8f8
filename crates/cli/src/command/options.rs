//! The options of a new task.
//!
//! What it is for: `run` takes them as options, `--from` as keys; both become a [`NewTask`]. What it owns: each option
//! with its help text. What it never does: send them.

use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueHint};
use meanwhile_api::submit::{After, EnvProfile, NewTask, OnWaiting, Stdin};
use meanwhile_api::{OsText, Size, Span};

use crate::command::arguments::{self as check, Variable};

/// The parts of the help text.
const HEADING_ENVIRONMENT: &str = "Environment";
const HEADING_QUEUE: &str = "Queue";
const HEADING_TIME_AND_RETRIES: &str = "Time and retries";
const HEADING_SERVICES: &str = "Services";
const HEADING_LIMITS: &str = "Limits";
const HEADING_MARKS_AND_NOTICES: &str = "Marks and notices";
const HEADING_WHAT_IT_LEAVES_BEHIND: &str = "What it leaves behind";

/// What describes the task, beside what it runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskOptions {
    /// Name it; the name works wherever an id does while it is unique
    #[arg(long, value_name = "NAME", value_parser = check::name)]
    name: Option<String>,

    /// Run in this directory rather than the current one
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = OsStringValueParser::new().try_map(check::bytes))]
    cwd: Option<OsString>,

    /// Set a variable, over the environment it inherits (repeatable)
    #[arg(long, help_heading = HEADING_ENVIRONMENT, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(check::variable))]
    env: Vec<Variable>,

    /// Keep a variable that would be removed because it identifies the parent (repeatable)
    #[arg(long, help_heading = HEADING_ENVIRONMENT, value_name = "NAME", value_parser = check::name)]
    keep_env: Vec<String>,

    /// Variables that keep programs from asking: no pagers and prompts, also CI=true, or none
    #[arg(long, help_heading = HEADING_ENVIRONMENT, value_name = "PROFILE", value_parser = ["agent", "ci", "inherit"])]
    env_profile: Option<String>,

    /// Judge it together with the others of this group
    #[arg(long, help_heading = HEADING_MARKS_AND_NOTICES, value_name = "GROUP", value_parser = check::name)]
    group: Option<String>,

    /// Mark it (repeatable)
    #[arg(long, help_heading = HEADING_MARKS_AND_NOTICES, value_name = "KEY=VALUE", value_parser = check::label)]
    label: Vec<(String, String)>,

    /// Queue in this lane [default: `commands`, or `services` for a service]
    #[arg(long, help_heading = HEADING_QUEUE, value_name = "LANE", value_parser = check::name)]
    lane: Option<String>,

    /// Start before tasks of a lower priority
    #[arg(long, help_heading = HEADING_QUEUE, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,

    /// End it after this long; 0: never [default: `timeouts.command`]
    #[arg(long, help_heading = HEADING_TIME_AND_RETRIES, value_name = "D", value_parser = check::span)]
    timeout: Option<Span>,

    /// End it when it prints nothing for this long
    #[arg(long, help_heading = HEADING_TIME_AND_RETRIES, value_name = "D", value_parser = check::span)]
    idle_timeout: Option<Span>,

    /// Give it this long between SIGTERM and SIGKILL [default: 10s]
    #[arg(long, help_heading = HEADING_TIME_AND_RETRIES, value_name = "D", value_parser = check::span)]
    kill_after: Option<Span>,

    /// Try again so many times after a failure
    #[arg(long, help_heading = HEADING_TIME_AND_RETRIES, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    retries: u32,

    /// Wait this long before the first retry; doubles [default: 1s]
    #[arg(long, help_heading = HEADING_TIME_AND_RETRIES, value_name = "D", value_parser = check::span)]
    backoff: Option<Span>,

    /// Try again after these exit codes only, separated by commas
    #[arg(long, help_heading = HEADING_TIME_AND_RETRIES, value_name = "CODES", value_delimiter = ',', value_parser = check::code)]
    retry_on: Vec<i32>,

    /// Start after another task: COND is `ok` (default), `any` or `fail` (repeatable)
    #[arg(long, help_heading = HEADING_QUEUE, value_name = "ID[:COND]", value_parser = check::after)]
    after: Vec<After>,

    /// Start no sooner than this from now
    #[arg(long, help_heading = HEADING_QUEUE, value_name = "D", value_parser = check::span)]
    delay: Option<Span>,

    /// Run it on a terminal of its own
    #[arg(long)]
    pty: bool,

    /// Keep so much of its output, the beginning and the end [default: `log.cap`, 64MiB]
    #[arg(long, help_heading = HEADING_LIMITS, value_name = "SIZE", value_parser = check::size)]
    max_log: Option<Size>,

    /// Let it use no more memory than this
    #[arg(long, help_heading = HEADING_LIMITS, value_name = "SIZE", value_parser = check::size)]
    memory: Option<Size>,

    /// Let it use no more processors than this
    #[arg(long, help_heading = HEADING_LIMITS, value_name = "N", value_parser = check::cpus, allow_negative_numbers = true)]
    cpus: Option<f64>,

    /// Let it have no more processes than this
    #[arg(long, help_heading = HEADING_LIMITS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pids: Option<u32>,

    /// Run it at this niceness, -20 to 19
    #[arg(long, help_heading = HEADING_LIMITS, value_name = "N", value_parser = clap::value_parser!(i32).range(-20..=19), allow_negative_numbers = true)]
    nice: Option<i32>,

    /// It is ready once a line of its output matches; makes it a service
    #[arg(long, help_heading = HEADING_SERVICES, value_name = "REGEX", value_parser = check::regex)]
    ready: Option<String>,

    /// It is ready once it listens on this TCP port; makes it a service
    #[arg(long, help_heading = HEADING_SERVICES, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    ready_port: Option<u16>,

    /// It runs until it is stopped: no timeout, lane `services`
    #[arg(long, help_heading = HEADING_SERVICES)]
    service: bool,

    /// Files it leaves behind, relative to its directory (repeatable)
    #[arg(long, help_heading = HEADING_WHAT_IT_LEAVES_BEHIND, value_name = "GLOB", value_parser = check::glob)]
    artifact: Vec<String>,

    /// Keep its temporary directory
    #[arg(long, help_heading = HEADING_WHAT_IT_LEAVES_BEHIND)]
    keep_tmp: bool,

    /// Leave processes alive that outlive its main process
    #[arg(long, help_heading = HEADING_WHAT_IT_LEAVES_BEHIND)]
    keep_leaked: bool,

    /// Answer with the task that was launched with the same key, if there is one
    #[arg(long, help_heading = HEADING_MARKS_AND_NOTICES, value_name = "KEY", value_parser = check::name)]
    idempotency_key: Option<String>,

    /// Running it twice does no harm: start it again when it was interrupted
    #[arg(long, help_heading = HEADING_TIME_AND_RETRIES)]
    idempotent: bool,

    /// When to tell the session of its end
    #[arg(long, help_heading = HEADING_MARKS_AND_NOTICES, value_name = "POLICY", value_parser = ["all-done", "each", "failures", "none"])]
    notify: Option<String>,

    /// Tell the session of lines of its output that match
    #[arg(long, help_heading = HEADING_MARKS_AND_NOTICES, value_name = "REGEX", value_parser = check::regex)]
    notify_on: Option<String>,

    /// What to do when it waits for input
    #[arg(long, help_heading = HEADING_MARKS_AND_NOTICES, value_name = "ACTION", value_parser = ["notify", "kill", "retry"])]
    on_waiting: Option<String>,

    /// Inside a task: let it outlive that task
    #[arg(long, help_heading = HEADING_QUEUE)]
    detach: bool,

    /// Launch it although a warning would refuse it
    #[arg(long, help_heading = HEADING_QUEUE)]
    force: bool,

    /// Start it beyond the limit of its lane (people only)
    #[arg(long, help_heading = HEADING_QUEUE)]
    over_limit: bool,
}

impl TaskOptions {
    /// The task they describe; what it runs and its standard input are added by the caller.
    pub(crate) fn into_task(self) -> NewTask {
        NewTask {
            command: Vec::new(),
            shell: None,
            stdin: Stdin::None,
            name: self.name,
            cwd: self.cwd.map(OsText::from),
            env: self.env.into_iter().map(Into::into).collect(),
            keep_env: self.keep_env,
            group: self.group,
            labels: self.label.into_iter().collect(),
            lane: self.lane,
            priority: self.priority,
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            kill_after: self.kill_after,
            retries: self.retries,
            backoff: self.backoff,
            retry_on: self.retry_on,
            after: self.after,
            delay: self.delay,
            pty: self.pty,
            max_log: self.max_log,
            memory: self.memory,
            cpus: self.cpus,
            pids: self.pids,
            nice: self.nice,
            ready: self.ready,
            ready_port: self.ready_port,
            service: self.service,
            artifacts: self.artifact,
            keep_tmp: self.keep_tmp,
            keep_leaked: self.keep_leaked,
            idempotency_key: self.idempotency_key,
            idempotent: self.idempotent,
            env_profile: self.env_profile.as_deref().map(profile),
            notify: self.notify,
            turn: None,
            notify_on: self.notify_on,
            on_waiting: self.on_waiting.as_deref().map(on_waiting),
            detach: self.detach,
            force: self.force,
            over_limit: self.over_limit,
        }
    }
}

/// The words are those that clap let through.
fn profile(word: &str) -> EnvProfile {
    match word {
        "ci" => EnvProfile::Ci,
        "inherit" => EnvProfile::Inherit,
        _ => EnvProfile::Agent,
    }
}

fn on_waiting(word: &str) -> OnWaiting {
    match word {
        "kill" => OnWaiting::Kill,
        "retry" => OnWaiting::Retry,
        _ => OnWaiting::Notify,
    }
}
