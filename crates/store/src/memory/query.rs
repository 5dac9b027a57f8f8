//! The questions, answered from memory by looking at everything.

use std::time::Duration;

use meanwhile_core::input::ReopenedTask;
use meanwhile_core::spec::Command;
use meanwhile_core::{LoadedTask, State, TaskId, TaskSpec};

use super::disk::Disk;
use crate::command_key::CommandKey;
use crate::contract::Retention;
use crate::limits;
use crate::record::{EventFilter, EventRecord, Filter, TaskRecord};

pub(super) fn unfinished(disk: &Disk) -> Vec<LoadedTask> {
    let ended = |id: TaskId| disk.task(id).map(|t| t.state).filter(|s| s.is_terminal());
    disk.tasks
        .values()
        .filter(|t| !t.state.is_terminal() || t.seat_kept)
        .map(|record| {
            let mut task = record.clone().into_loaded();
            let after = task.spec.after.iter();
            task.ended_dependencies =
                after.filter_map(|d| Some((d.task, ended(d.task)?))).collect();
            task
        })
        .collect()
}

pub(super) fn reopened(disk: &Disk, id: TaskId) -> Option<ReopenedTask> {
    let record = disk.task(id).filter(|t| t.state.is_terminal())?;
    Some(ReopenedTask {
        attempt: record.current().number,
        placement: record.placement.clone(),
        spec: record.spec.clone(),
        state: record.state,
    })
}

/// What the next queued tasks were asked to be.
pub(super) fn queued_after(disk: &Disk, id: TaskId, n: usize) -> Vec<(TaskId, Box<TaskSpec>)> {
    disk.tasks
        .values()
        .skip_while(|t| t.id != id)
        .skip(1)
        .filter(|t| t.state == State::Queued)
        .take(n)
        .map(|t| (t.id, Box::new(t.spec.clone())))
        .collect()
}

/// The newest that match.
pub(super) fn newest<'a>(
    disk: &'a Disk,
    filter: &'a Filter,
    limit: usize,
) -> impl Iterator<Item = &'a TaskRecord> {
    matching(disk, filter).take(limit.min(limits::LIST))
}

/// All that match, the newest first.
pub(super) fn matching<'a>(
    disk: &'a Disk,
    filter: &'a Filter,
) -> impl Iterator<Item = &'a TaskRecord> {
    disk.tasks.values().rev().filter(|t| matches(filter, t))
}

fn matches(filter: &Filter, task: &TaskRecord) -> bool {
    let Filter { states, lane, group, session, name, parent, labels, since } = filter;
    let placement = &task.placement;
    (states.is_empty() || states.contains(&task.state))
        && lane.as_ref().is_none_or(|lane| *lane == placement.lane)
        && group.as_ref().is_none_or(|group| Some(group) == placement.group.as_ref())
        && session.as_ref().is_none_or(|session| *session == placement.session)
        && name.as_ref().is_none_or(|name| Some(name) == task.spec.name.as_ref())
        && parent.as_ref().is_none_or(|parent| Some(parent) == placement.ancestors.first())
        && labels.iter().all(|label| task.spec.labels.contains(label))
        && since.is_none_or(|since| task.created_at >= since)
}

pub(super) fn events_since(
    disk: &Disk,
    seq: u64,
    limit: usize,
    filter: &EventFilter,
) -> Vec<EventRecord> {
    let EventFilter { task, session } = filter;
    let of_session = |e: &EventRecord| {
        session
            .as_ref()
            .is_none_or(|s| disk.task(e.task).is_some_and(|t| t.placement.session == *s))
    };
    disk.events
        .range(seq + 1..)
        .map(|(_, entry)| entry)
        .filter(|e| task.is_none_or(|task| task == e.task) && of_session(e))
        .take(limit.min(limits::LIST))
        .cloned()
        .collect()
}

pub(super) fn history(disk: &Disk, command: CommandKey, n: usize) -> Vec<Duration> {
    disk.tasks
        .values()
        .rev()
        .filter(|t| t.state == State::Completed && CommandKey::of(&t.spec.command) == command)
        .filter_map(|t| Some(t.current().run.as_ref()?.ran_for))
        .take(n)
        .collect()
}

pub(super) fn expired(disk: &Disk, retention: &Retention) -> Vec<TaskId> {
    let Retention { now, age, bytes, at_most } = *retention;
    let mut ended: Vec<_> =
        disk.tasks.iter().filter_map(|(num, t)| Some((t.current().ended_at?, *num, t))).collect();
    ended.sort_by_key(|(ended_at, num, _)| (*ended_at, *num));
    let waited_for = |id: TaskId| {
        disk.tasks
            .values()
            .any(|t| !t.state.is_terminal() && t.spec.after.iter().any(|d| d.task == id))
    };
    let mut total: u64 = ended.iter().map(|(.., t)| kept_bytes(t)).sum();
    let mut expired = Vec::new();
    for (ended_at, _, task) in ended {
        let too_old = age.is_some_and(|age| now.since(ended_at) > age);
        let too_much = bytes.is_some_and(|bytes| total > bytes);
        if expired.len() == at_most || (!too_old && !too_much) {
            break;
        }
        if !task.seat_kept && !waited_for(task.id) {
            total -= kept_bytes(task);
            expired.push(task.id);
        }
    }
    expired
}

fn kept_bytes(task: &TaskRecord) -> u64 {
    let runs = task.attempts.iter().filter_map(|a| a.run.as_ref());
    runs.map(|run| run.log_bytes.saturating_sub(run.dropped_bytes)).sum()
}

/// Bytes of a command.
pub(super) fn command_len(command: &Command) -> usize {
    match command {
        Command::Argv(args) => args.iter().map(Vec::len).sum(),
        Command::Shell(line) => line.len(),
    }
}
