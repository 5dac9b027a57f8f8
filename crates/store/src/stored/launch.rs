//! What a task was asked to be, in its written form: one JSON object per task, written once.
//!
//! The parts that are searched for (session, lane, name, ...) are columns too or only; what is here
//! is read whole or not at all. Fields that have their usual value are left out.

use std::time::Duration;

use meanwhile_core::TaskId;
use meanwhile_core::spec::{
    Command, Condition, Dependency, EnvProfile, EnvSpec, EnvVar, Placement, ProcessContext,
    Readiness, ResourceLimits, RetryPolicy, Stdin, TaskSpec, Timing,
};
use serde::{Deserialize, Serialize};

use super::bytes::{Bytes, unwrap, wrap};
use super::{is_default, ns};

/// The version this release writes. A reader knows all up to it.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LaunchRecord {
    v: u32,
    spec: SpecRecord,
    #[serde(default, skip_serializing_if = "is_default")]
    ancestors: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    over_limit: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    by_person: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecRecord {
    #[serde(default, skip_serializing_if = "is_default")]
    name: Option<String>,
    command: CommandRecord,
    cwd: Bytes,
    #[serde(default, skip_serializing_if = "is_default")]
    labels: Vec<(String, String)>,
    env: EnvRecord,
    process: ProcessRecord,
    #[serde(default, skip_serializing_if = "is_default")]
    stdin: StdinRecord,
    #[serde(default, skip_serializing_if = "is_default")]
    pty: Option<(u16, u16)>,
    #[serde(default, skip_serializing_if = "is_default")]
    limits: LimitsRecord,
    #[serde(default, skip_serializing_if = "is_default")]
    timing: TimingRecord,
    #[serde(default, skip_serializing_if = "is_default")]
    retry: RetryRecord,
    #[serde(default, skip_serializing_if = "is_default")]
    after: Vec<DependencyRecord>,
    #[serde(default, skip_serializing_if = "is_default")]
    delay_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    ready: Option<ReadinessRecord>,
    #[serde(default, skip_serializing_if = "is_default")]
    service: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    artifacts: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    keep_tmp: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    keep_leaked: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    idempotent: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    extra: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CommandRecord {
    Argv(Vec<Bytes>),
    Shell(Bytes),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvRecord {
    #[serde(default, skip_serializing_if = "is_default")]
    captured: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    set: Vec<(Bytes, Bytes)>,
    #[serde(default, skip_serializing_if = "is_default")]
    keep: Vec<Bytes>,
    profile: ProfileRecord,
    from: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProfileRecord {
    Agent,
    Ci,
    Inherit,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessRecord {
    umask: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    rlimits: Vec<(u32, u64, u64)>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StdinRecord {
    #[default]
    Null,
    File(Bytes),
    Spooled,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitsRecord {
    #[serde(skip_serializing_if = "is_default")]
    max_log: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    cpus: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pids: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    nice: Option<i32>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TimingRecord {
    #[serde(skip_serializing_if = "is_default")]
    timeout_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    idle_timeout_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    grace_ns: u64,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RetryRecord {
    #[serde(skip_serializing_if = "is_default")]
    retries: u32,
    #[serde(skip_serializing_if = "is_default")]
    backoff_ns: u64,
    #[serde(skip_serializing_if = "is_default")]
    on_codes: Vec<i32>,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DependencyRecord {
    task: String,
    condition: ConditionRecord,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ConditionRecord {
    Ok,
    Any,
    Fail,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadinessRecord {
    Pattern(String),
    Port(u16),
}

/// The part of a placement that has no column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) ancestors: Vec<TaskId>,
    pub(crate) over_limit: bool,
    pub(crate) by_person: bool,
}

/// Writes what a task was asked to be. `session`, `group`, `lane` and `priority` are columns.
pub(crate) fn to_json(spec: &TaskSpec, placement: &Placement) -> String {
    let Placement { session: _, group: _, lane: _, priority: _, ancestors, over_limit, by_person } =
        placement;
    super::to_json(&LaunchRecord {
        v: VERSION,
        spec: SpecRecord::from(spec),
        ancestors: ancestors.iter().map(TaskId::to_string).collect(),
        over_limit: *over_limit,
        by_person: *by_person,
    })
}

/// Reads it back.
pub(crate) fn from_json(json: &str) -> Result<(TaskSpec, Origin), String> {
    let LaunchRecord { v, spec, ancestors, over_limit, by_person } = super::from_json(json)?;
    if v != VERSION {
        return Err(format!("a launch has version {v}, known is {VERSION}"));
    }
    let ancestors = ancestors.iter().map(|a| id(a)).collect::<Result<_, _>>()?;
    Ok((spec.into_core()?, Origin { ancestors, over_limit, by_person }))
}

fn id(text: &str) -> Result<TaskId, String> {
    text.parse().map_err(|e| format!("{text:?} is no task: {e}"))
}

impl From<&TaskSpec> for SpecRecord {
    fn from(spec: &TaskSpec) -> Self {
        let TaskSpec {
            name,
            command,
            cwd,
            labels,
            env,
            process,
            stdin,
            pty,
            limits,
            timing,
            retry,
            after,
            delay,
            ready,
            service,
            artifacts,
            keep_tmp,
            keep_leaked,
            idempotent,
            idempotency_key,
            extra,
        } = spec;
        Self {
            name: name.clone(),
            command: command.into(),
            cwd: Bytes(cwd.clone()),
            labels: labels.clone(),
            env: env.into(),
            process: process.into(),
            stdin: stdin.into(),
            pty: *pty,
            limits: limits.into(),
            timing: timing.into(),
            retry: retry.into(),
            after: after.iter().map(DependencyRecord::from).collect(),
            delay_ns: delay.map(ns),
            ready: ready.as_ref().map(ReadinessRecord::from),
            service: *service,
            artifacts: artifacts.clone(),
            keep_tmp: *keep_tmp,
            keep_leaked: *keep_leaked,
            idempotent: *idempotent,
            idempotency_key: idempotency_key.clone(),
            extra: extra.clone(),
        }
    }
}

impl SpecRecord {
    fn into_core(self) -> Result<TaskSpec, String> {
        let Self {
            name,
            command,
            cwd,
            labels,
            env,
            process,
            stdin,
            pty,
            limits,
            timing,
            retry,
            after,
            delay_ns,
            ready,
            service,
            artifacts,
            keep_tmp,
            keep_leaked,
            idempotent,
            idempotency_key,
            extra,
        } = self;
        Ok(TaskSpec {
            name,
            command: command.into(),
            cwd: cwd.0,
            labels,
            env: env.into(),
            process: process.into(),
            stdin: stdin.into(),
            pty,
            limits: limits.into(),
            timing: timing.into(),
            retry: retry.into(),
            after: after.into_iter().map(DependencyRecord::into_core).collect::<Result<_, _>>()?,
            delay: delay_ns.map(Duration::from_nanos),
            ready: ready.map(Readiness::from),
            service,
            artifacts,
            keep_tmp,
            keep_leaked,
            idempotent,
            idempotency_key,
            extra,
        })
    }
}

impl From<&Command> for CommandRecord {
    fn from(command: &Command) -> Self {
        match command {
            Command::Argv(args) => Self::Argv(wrap(args)),
            Command::Shell(line) => Self::Shell(Bytes(line.clone())),
        }
    }
}

impl From<CommandRecord> for Command {
    fn from(record: CommandRecord) -> Self {
        match record {
            CommandRecord::Argv(args) => Self::Argv(unwrap(args)),
            CommandRecord::Shell(line) => Self::Shell(line.0),
        }
    }
}

impl From<&EnvSpec> for EnvRecord {
    fn from(env: &EnvSpec) -> Self {
        let EnvSpec { captured, set, keep, profile, from } = env;
        let wrapped = |(name, value): &EnvVar| (Bytes(name.clone()), Bytes(value.clone()));
        Self {
            captured: captured.clone(),
            set: set.iter().map(wrapped).collect(),
            keep: wrap(keep),
            profile: match profile {
                EnvProfile::Agent => ProfileRecord::Agent,
                EnvProfile::Ci => ProfileRecord::Ci,
                EnvProfile::Inherit => ProfileRecord::Inherit,
            },
            from: from.clone(),
        }
    }
}

impl From<EnvRecord> for EnvSpec {
    fn from(record: EnvRecord) -> Self {
        let EnvRecord { captured, set, keep, profile, from } = record;
        Self {
            captured,
            set: set.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
            keep: unwrap(keep),
            profile: match profile {
                ProfileRecord::Agent => EnvProfile::Agent,
                ProfileRecord::Ci => EnvProfile::Ci,
                ProfileRecord::Inherit => EnvProfile::Inherit,
            },
            from,
        }
    }
}

impl From<&ProcessContext> for ProcessRecord {
    fn from(process: &ProcessContext) -> Self {
        let ProcessContext { umask, rlimits } = process;
        Self { umask: *umask, rlimits: rlimits.clone() }
    }
}

impl From<ProcessRecord> for ProcessContext {
    fn from(record: ProcessRecord) -> Self {
        let ProcessRecord { umask, rlimits } = record;
        Self { umask, rlimits }
    }
}

impl From<&Stdin> for StdinRecord {
    fn from(stdin: &Stdin) -> Self {
        match stdin {
            Stdin::Null => Self::Null,
            Stdin::File(path) => Self::File(Bytes(path.clone())),
            Stdin::Spooled => Self::Spooled,
        }
    }
}

impl From<StdinRecord> for Stdin {
    fn from(record: StdinRecord) -> Self {
        match record {
            StdinRecord::Null => Self::Null,
            StdinRecord::File(path) => Self::File(path.0),
            StdinRecord::Spooled => Self::Spooled,
        }
    }
}

impl From<&ResourceLimits> for LimitsRecord {
    fn from(limits: &ResourceLimits) -> Self {
        let ResourceLimits { max_log, memory, cpus, pids, nice } = *limits;
        Self { max_log, memory, cpus, pids, nice }
    }
}

impl From<LimitsRecord> for ResourceLimits {
    fn from(record: LimitsRecord) -> Self {
        let LimitsRecord { max_log, memory, cpus, pids, nice } = record;
        Self { max_log, memory, cpus, pids, nice }
    }
}

impl From<&Timing> for TimingRecord {
    fn from(timing: &Timing) -> Self {
        let Timing { timeout, idle_timeout, grace } = *timing;
        Self {
            timeout_ns: timeout.map(ns),
            idle_timeout_ns: idle_timeout.map(ns),
            grace_ns: ns(grace),
        }
    }
}

impl From<TimingRecord> for Timing {
    fn from(record: TimingRecord) -> Self {
        let TimingRecord { timeout_ns, idle_timeout_ns, grace_ns } = record;
        Self {
            timeout: timeout_ns.map(Duration::from_nanos),
            idle_timeout: idle_timeout_ns.map(Duration::from_nanos),
            grace: Duration::from_nanos(grace_ns),
        }
    }
}

impl From<&RetryPolicy> for RetryRecord {
    fn from(retry: &RetryPolicy) -> Self {
        let RetryPolicy { retries, backoff, on_codes } = retry;
        Self { retries: *retries, backoff_ns: ns(*backoff), on_codes: on_codes.clone() }
    }
}

impl From<RetryRecord> for RetryPolicy {
    fn from(record: RetryRecord) -> Self {
        let RetryRecord { retries, backoff_ns, on_codes } = record;
        Self { retries, backoff: Duration::from_nanos(backoff_ns), on_codes }
    }
}

impl From<&Dependency> for DependencyRecord {
    fn from(dependency: &Dependency) -> Self {
        let Dependency { task, condition } = dependency;
        Self {
            task: task.to_string(),
            condition: match condition {
                Condition::Ok => ConditionRecord::Ok,
                Condition::Any => ConditionRecord::Any,
                Condition::Fail => ConditionRecord::Fail,
            },
        }
    }
}

impl DependencyRecord {
    fn into_core(self) -> Result<Dependency, String> {
        let Self { task, condition } = self;
        Ok(Dependency {
            task: id(&task)?,
            condition: match condition {
                ConditionRecord::Ok => Condition::Ok,
                ConditionRecord::Any => Condition::Any,
                ConditionRecord::Fail => Condition::Fail,
            },
        })
    }
}

impl From<&Readiness> for ReadinessRecord {
    fn from(ready: &Readiness) -> Self {
        match ready {
            Readiness::Pattern(pattern) => Self::Pattern(pattern.clone()),
            Readiness::Port(port) => Self::Port(*port),
        }
    }
}

impl From<ReadinessRecord> for Readiness {
    fn from(record: ReadinessRecord) -> Self {
        match record {
            ReadinessRecord::Pattern(pattern) => Self::Pattern(pattern),
            ReadinessRecord::Port(port) => Self::Port(port),
        }
    }
}
