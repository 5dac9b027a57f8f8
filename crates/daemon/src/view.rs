//! What the outside is told about a task: the store's record and the scheduler's view of it as the
//! task object of the wire.
//!
//! Owns the conversion, field by field: a new field of a record breaks the build here. Reads the
//! length of a running task's log and nothing else. Never decides anything.

mod cause;
mod waiting;

use std::collections::BTreeMap;

use meanwhile_api::task::{
    self as api, Attempt, Held, Leaked, LeakedProcess, Limit, Limits, LogInfo, Ready, Task,
};
use meanwhile_api::{OsText, TaskId as WireId, Timestamp};
use meanwhile_core::event::Exit;
use meanwhile_core::machine::TaskView;
use meanwhile_core::spec::{Command, ResourceLimits};
use meanwhile_core::{Outcome, State, TaskId, Wall};
use meanwhile_host::home::Home;
use meanwhile_store::{AttemptRecord, TaskRecord};
use meanwhile_supervisor::log::{LogView, Stream};

pub use cause::{cause, signal_name};
pub use waiting::{lane_object, lane_setting, waiting_for};

/// How many children of a task are named in it; the rest is found by `list`.
const CHILDREN_SHOWN: usize = 1_000;

/// How this machine holds tasks to their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsHeld {
    /// Memory of the tree.
    pub memory: Held,
    /// Number of processes.
    pub pids: Held,
}

/// Makes task objects.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'a> {
    /// Where the logs are.
    pub home: &'a Home,
    /// How limits are held here.
    pub held: LimitsHeld,
    /// The present, for running times.
    pub now: Wall,
}

impl Viewer<'_> {
    /// The task object. `live` is how the scheduler sees it: none when it has ended, or when no daemon
    /// was asked.
    #[must_use]
    pub fn task(&self, record: &TaskRecord, live: Option<&TaskView>) -> Task {
        let TaskRecord {
            id,
            spec,
            placement,
            created_at,
            state,
            order: _,
            not_before: _,
            stop: _,
            seat_kept: _,
            retries_used: _,
            lost_retries: _,
            children,
            attempts,
        } = record;
        let current = record.current();
        let active = state.is_active();
        let queued_view = live.filter(|_| *state == State::Queued);
        let waiting_view = live.filter(|_| matches!(state, State::Queued | State::Starting));
        Task {
            id: wire_id(*id),
            kind: api::TaskKind::Command,
            name: spec.name.clone(),
            session: placement.session.to_string(),
            group: placement.group.as_ref().map(ToString::to_string),
            labels: spec.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
            lane: placement.lane.to_string(),
            priority: placement.priority,
            state: wire_state(*state),
            cause: current.cause.as_ref().map(cause),
            exit_code: exit_code(current.exit),
            signal: signal(current.exit),
            created_at: time(*created_at),
            started_at: current.started_at.map(time),
            ended_at: current.ended_at.map(time),
            duration_ms: self.duration_ms(current),
            attempt: current.number,
            attempts: attempts.iter().map(|attempt| self.attempt(*id, attempt)).collect(),
            command: command(&spec.command),
            cwd: OsText::from(spec.cwd.as_slice()),
            queue_position: queued_view.and_then(|view| view.queue_position),
            log: attempts.iter().rev().find_map(|attempt| self.log(*id, attempt)),
            progress: None,
            result: None,
            outcome: state.outcome().map(wire_outcome),
            usage: None,
            questions: None,
            ready: current
                .ready
                .as_ref()
                .map(|ready| Ready { at: time(ready.at), how: ready.how.clone() }),
            waiting: None,
            stuck: None,
            deadline: self.deadline(record),
            waiting_for: waiting_view.and_then(|view| view.why.as_ref()).map(waiting_for),
            role: None,
            driver: None,
            model: None,
            autonomy: None,
            enforced_by: None,
            activity: None,
            parent: placement.ancestors.first().copied().map(wire_id),
            children: children.iter().take(CHILDREN_SHOWN).copied().map(wire_id).collect(),
            env_from: Some(spec.env.from.clone()).filter(|from| !from.is_empty()),
            pid: current.pid.filter(|_| active),
            supervisor_pid: current.supervisor_pid.filter(|_| active),
            leaked: leaked(current, spec.keep_leaked),
            limits: self.limits(&spec.limits),
        }
    }

    /// When its timeout ends it. Of a task that is just being started it is known as closely as the
    /// start takes, so that the answer to a launch can say it.
    fn deadline(&self, record: &TaskRecord) -> Option<Timestamp> {
        let current = record.current();
        match record.state {
            State::Running | State::InputRequired => current.deadline.map(time),
            State::Starting => current.timeout(&record.spec).map(|left| time(self.now.after(left))),
            State::Queued
            | State::Completed
            | State::Failed
            | State::Cancelled
            | State::Interrupted => None,
        }
    }

    fn attempt(&self, id: TaskId, record: &AttemptRecord) -> Attempt {
        let AttemptRecord {
            number,
            state,
            queued_at: _,
            cause: why,
            exit,
            token: _,
            pid: _,
            supervisor_pid: _,
            started_at,
            ended_at,
            deadline: _,
            extended: _,
            ready: _,
            crashes: _,
            run: _,
        } = record;
        Attempt {
            number: *number,
            state: wire_state(*state),
            cause: why.as_ref().map(cause),
            driver: None,
            model: None,
            session: None,
            started_at: started_at.map(time),
            ended_at: ended_at.map(time),
            exit_code: exit_code(*exit),
            signal: signal(*exit),
            duration_ms: self.duration_ms(record),
            log: self.log(id, record),
        }
    }

    fn duration_ms(&self, attempt: &AttemptRecord) -> Option<u64> {
        let started = attempt.started_at?;
        let ran_for = match (&attempt.run, attempt.ended_at) {
            (Some(run), _) => run.ran_for,
            (None, Some(ended)) => ended.since(started),
            (None, None) if attempt.state.is_active() => self.now.since(started),
            (None, None) => return None,
        };
        Some(u64::try_from(ran_for.as_millis()).unwrap_or(u64::MAX))
    }

    /// The log of an attempt that was given to a supervisor; while it runs, its files say how long.
    fn log(&self, id: TaskId, attempt: &AttemptRecord) -> Option<LogInfo> {
        attempt.token?;
        let path = self.home.paths.attempt(id, attempt.number).join(Stream::Output.head_name());
        let (bytes, dropped_bytes) = match &attempt.run {
            Some(run) => (run.log_bytes, run.dropped_bytes),
            None => self.log_length(id, attempt.number).unwrap_or((0, 0)),
        };
        Some(LogInfo { path: OsText::from(path), bytes, dropped_bytes })
    }

    fn log_length(&self, id: TaskId, attempt: u32) -> Option<(u64, u64)> {
        let directory = self.home.existing_attempt(id, attempt)?;
        let view = LogView::open(&directory, Stream::Output).ok()?;
        Some((view.total_bytes(), view.dropped_bytes()))
    }

    fn limits(&self, limits: &ResourceLimits) -> Option<Limits> {
        let ResourceLimits { max_log: _, memory, cpus, pids, nice } = limits;
        let wire = Limits {
            memory: memory.map(|value| Limit { value, held: self.held.memory }),
            // Affinity: the kernel runs it nowhere else.
            cpus: cpus.map(|value| Limit { value: f64::from(value), held: Held::Enforced }),
            pids: pids.map(|value| Limit {
                value: u32::try_from(value).unwrap_or(u32::MAX),
                held: self.held.pids,
            }),
            nice: *nice,
        };
        (wire != Limits::default()).then_some(wire)
    }
}

/// An id on the wire.
#[must_use]
pub fn wire_id(id: TaskId) -> WireId {
    WireId(id.to_string())
}

/// A moment on the wire.
#[must_use]
pub fn time(at: Wall) -> Timestamp {
    Timestamp::from_unix_ms(at.0)
}

/// A state on the wire.
#[must_use]
pub const fn wire_state(state: State) -> api::State {
    match state {
        State::Queued => api::State::Queued,
        State::Starting => api::State::Starting,
        State::Running => api::State::Running,
        State::InputRequired => api::State::InputRequired,
        State::Completed => api::State::Completed,
        State::Failed => api::State::Failed,
        State::Cancelled => api::State::Cancelled,
        State::Interrupted => api::State::Interrupted,
    }
}

/// A state from the wire.
#[must_use]
pub const fn core_state(state: api::State) -> State {
    match state {
        api::State::Queued => State::Queued,
        api::State::Starting => State::Starting,
        api::State::Running => State::Running,
        api::State::InputRequired => State::InputRequired,
        api::State::Completed => State::Completed,
        api::State::Failed => State::Failed,
        api::State::Cancelled => State::Cancelled,
        api::State::Interrupted => State::Interrupted,
    }
}

const fn wire_outcome(outcome: Outcome) -> api::Outcome {
    match outcome {
        Outcome::Success => api::Outcome::Success,
        Outcome::Partial => api::Outcome::Partial,
        Outcome::Failure => api::Outcome::Failure,
    }
}

const fn exit_code(exit: Option<Exit>) -> Option<i32> {
    match exit {
        Some(Exit::Code(code)) => Some(code),
        Some(Exit::Signal(_)) | None => None,
    }
}

fn signal(exit: Option<Exit>) -> Option<String> {
    match exit {
        Some(Exit::Signal(number)) => Some(signal_name(number)),
        Some(Exit::Code(_)) | None => None,
    }
}

fn command(command: &Command) -> Vec<OsText> {
    match command {
        Command::Argv(words) => words.iter().map(|word| OsText::from(word.as_slice())).collect(),
        Command::Shell(line) => {
            vec![OsText::from("/bin/sh"), OsText::from("-c"), OsText::from(line.as_slice())]
        }
    }
}

fn leaked(attempt: &AttemptRecord, kept: bool) -> Option<Leaked> {
    let run = attempt.run.as_ref().filter(|run| run.leaked > 0)?;
    let processes = run.leaked_names.iter().filter_map(|name| leaked_process(name)).collect();
    Some(Leaked { count: run.leaked, processes, kept })
}

/// A leftover is recorded as `NAME (PID)`.
fn leaked_process(recorded: &str) -> Option<LeakedProcess> {
    let (name, rest) = recorded.rsplit_once(" (")?;
    let pid = rest.strip_suffix(')')?.parse().ok()?;
    Some(LeakedProcess { pid, command: OsText::from(name) })
}

#[cfg(test)]
pub(crate) mod tests;
