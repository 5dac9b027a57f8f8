//! The core's refusals as errors for people and programs: a code, a message, what to do next.
//!
//! Owns the wording. Every refusal by a limit names the rule and the setting that changes it.

use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::Refusal;
use meanwhile_store::StoreError;

/// The error of a refusal.
pub fn error(refusal: &Refusal) -> ApiError {
    match refusal {
        Refusal::UnknownTask(id) => ApiError::new(ErrorCode::NoSuchTask, format!("no task {id}"))
            .hint("meanwhile list shows the kept ones"),
        Refusal::UnknownDependency { task: _, dependency } => {
            ApiError::new(ErrorCode::NoSuchTask, format!("no task {dependency} to run after"))
                .hint("meanwhile list shows the kept ones")
        }
        Refusal::Cycle(tasks) => {
            let path: Vec<_> = tasks.iter().map(ToString::to_string).collect();
            ApiError::new(
                ErrorCode::Cycle,
                format!("tasks wait for each other: {}", path.join(" after ")),
            )
            .hint("remove one --after from the circle")
            .detail("tasks", path)
        }
        Refusal::TooManyDependencies { limit } => {
            ApiError::new(ErrorCode::Limit, format!("more than {limit} dependencies of one task"))
                .hint("chain them, or give them a group and wait for it")
        }
        Refusal::TooDeep { depth, limit } => ApiError::new(
            ErrorCode::Limit,
            format!("launched {depth} levels deep, the limit is {limit}"),
        )
        .hint(format!("a person may raise it: meanwhile config set limits.depth {depth}"))
        .detail("setting", "limits.depth"),
        Refusal::TooManyDescendants { session, live, limit } => ApiError::new(
            ErrorCode::Limit,
            format!("session {session} has {live} live descendants, the limit is {limit}"),
        )
        .hint("wait for some of them: meanwhile wait")
        .hint("a person may raise it: meanwhile config set limits.descendants N")
        .detail("setting", "limits.descendants"),
        Refusal::QueueFull { queued, limit } => ApiError::new(
            ErrorCode::Limit,
            format!("{queued} tasks are queued, the limit is {limit}"),
        )
        .hint("wait for tasks to end, or raise it: meanwhile config set limits.queued N")
        .detail("setting", "limits.queued"),
        Refusal::OverLimitNotAllowed => ApiError::new(
            ErrorCode::Forbidden,
            "--over-limit is for people, not for agents or tasks",
        )
        .hint("leave it out: the task is queued and starts in its turn"),
        Refusal::WaitsForAncestor { inside, target } => ApiError::new(
            ErrorCode::WaitsForItself,
            format!("task {inside} cannot wait for {target}, which it is part of"),
        )
        .hint("wait for tasks that it launched"),
        Refusal::NotEnded { task, state } => {
            ApiError::new(ErrorCode::WrongState, format!("task {task} is {}", state.name()))
                .hint(format!("only ended tasks are retried; to end it: meanwhile cancel {task}"))
        }
        Refusal::AlreadyEnded { task, state } => {
            ApiError::new(ErrorCode::WrongState, format!("task {task} is {}", state.name()))
                .hint(format!("to run it again: meanwhile retry {task}"))
        }
        Refusal::NothingToExtend { task } => {
            ApiError::new(ErrorCode::WrongState, format!("task {task} has no deadline to extend"))
                .hint(format!("meanwhile status {task} shows what it is bounded by"))
        }
        Refusal::Held { reason } => {
            ApiError::new(ErrorCode::DiskFull, format!("no new work is taken: {reason}"))
                .hint("make space; running tasks go on and their ends are recorded")
                .hint("meanwhile clean deletes finished tasks and their files")
        }
        Refusal::EmptyGroup(group) => {
            ApiError::new(ErrorCode::NotFound, format!("no task in group {group}"))
        }
    }
}

/// The error of a store that does not answer.
pub fn store_error(error: &StoreError) -> ApiError {
    let code = match error {
        StoreError::Full { .. } => ErrorCode::DiskFull,
        StoreError::Missing { .. }
        | StoreError::Unreadable { .. }
        | StoreError::Damaged { .. }
        | StoreError::Contradiction { .. }
        | StoreError::Newer { .. }
        | StoreError::Older { .. }
        | StoreError::Migration { .. }
        | StoreError::Foreign { .. }
        | StoreError::Io { .. }
        | StoreError::Busy { .. }
        | StoreError::Conflict { .. } => ErrorCode::Store,
    };
    error.hints().into_iter().fold(ApiError::new(code, error.to_string()), ApiError::hint)
}
