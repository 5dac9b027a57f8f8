//! From what a client submits to what the loop accepts: every option checked, every default applied.
//!
//! ```text
//!   SubmitRequest ─► words (names, patterns, limits) ─► place (directory, program) ─► after (other tasks)
//!                 ─► Batch { PreparedTask.. , uploads } ─► loop
//! ```
//!
//! Owns the checks that need files or the store's past; limits of the queue, depth and cycles are the
//! core's. A batch is refused whole, and the message names the entry. Thousands of entries share one
//! environment and one look at each program and directory. Writes nothing.

mod after;
pub mod captured;
mod place;
mod spec;
mod words;

use std::collections::HashSet;

use meanwhile_api::limits::BATCH_TASKS_MAX;
use meanwhile_api::submit::{NewTask, SubmitRequest};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::{SessionId, TaskId};
use meanwhile_host::environment::Environment;
use meanwhile_store::Reader;

use crate::engine::refusals::store_error;
use crate::letters::PreparedTask;
use crate::settings::Settings;

/// Who launches.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The session that its tasks belong to.
    pub session: SessionId,
    /// The task it runs in and what that was launched from, nearest first.
    pub ancestors: Vec<TaskId>,
    /// It is a person at a shell.
    pub is_person: bool,
    /// The one session whose tasks it may name; none for all.
    pub only_session: Option<SessionId>,
    /// Whose environment and directory its tasks inherit, in a word for `env_from`.
    pub env_from: &'static str,
}

/// A checked batch.
#[derive(Debug)]
pub struct Batch {
    /// In the order given. Their environment's name is still to be filled in.
    pub tasks: Vec<PreparedTask>,
    /// Which upload is which task's standard input.
    pub uploads: Vec<(TaskId, String)>,
    /// What the caller should know although nothing was refused.
    pub warnings: Vec<String>,
}

/// Everything the checks of one batch share.
struct Shared<'a> {
    request: &'a SubmitRequest,
    launcher: &'a Launcher,
    settings: &'a Settings,
    environment: &'a Environment,
    places: place::Places,
    histories: spec::Histories,
    patterns: words::Patterns,
}

/// Checks a submission.
///
/// # Errors
/// What is wrong with the first bad entry, which is named where there are several.
pub fn prepare(
    reader: &mut dyn Reader,
    request: &SubmitRequest,
    environment: &Environment,
    launcher: &Launcher,
    settings: &Settings,
) -> Result<Batch, ApiError> {
    check_batch(request)?;
    let ids = fresh_ids(reader, request.tasks.len())?;
    let names = after::Names::of(&request.tasks, &ids);
    let mut shared = Shared {
        request,
        launcher,
        settings,
        environment,
        places: place::Places::default(),
        histories: spec::Histories::default(),
        patterns: words::Patterns::default(),
    };
    let mut resolver = after::Resolver::new(names, launcher.only_session.clone());
    let mut batch =
        Batch { tasks: Vec::with_capacity(ids.len()), uploads: Vec::new(), warnings: Vec::new() };
    for (index, (task, id)) in request.tasks.iter().zip(ids).enumerate() {
        entry(&mut shared, &mut resolver, reader, task, id, &mut batch)
            .map_err(|error| name_entry(error, index, request.tasks.len()))?;
    }
    Ok(batch)
}

fn entry(
    shared: &mut Shared<'_>,
    resolver: &mut after::Resolver<'_>,
    reader: &mut dyn Reader,
    task: &NewTask,
    id: TaskId,
    batch: &mut Batch,
) -> Result<(), ApiError> {
    let after = resolver.resolve(reader, &task.after)?;
    let (spec, placement) = spec::build(shared, reader, task, after)?;
    if let meanwhile_api::submit::Stdin::Spooled(token) = &task.stdin {
        batch.uploads.push((id, words::upload_token(token)?));
    }
    if !task.retry_on.is_empty() && task.retries == 0 {
        let warning = "--retry-on has no effect without --retries".to_owned();
        if !batch.warnings.contains(&warning) {
            batch.warnings.push(warning);
        }
    }
    batch.tasks.push(PreparedTask { id, spec: Box::new(spec), placement: Box::new(placement) });
    Ok(())
}

fn check_batch(request: &SubmitRequest) -> Result<(), ApiError> {
    if request.tasks.is_empty() {
        return Err(ApiError::new(ErrorCode::Usage, "no task is submitted")
            .hint("meanwhile run -- make test"));
    }
    if request.tasks.len() > BATCH_TASKS_MAX {
        return Err(ApiError::new(
            ErrorCode::Limit,
            format!("batch has more than {BATCH_TASKS_MAX} tasks"),
        )
        .hint("submit it in parts"));
    }
    if !request.caller.cwd.as_path().is_absolute() {
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("directory of the caller is not absolute: {:?}", request.caller.cwd),
        )
        .hint("give an absolute path as caller.cwd"));
    }
    Ok(())
}

/// Says which entry of a batch an error is about.
fn name_entry(mut error: ApiError, index: usize, entries: usize) -> ApiError {
    if entries > 1 {
        let line = index + 1;
        error.message = format!("line {line}: {}", error.message);
        error = error.detail("line", line).detail("index", index);
    }
    error
}

/// Random ids that no kept task has.
fn fresh_ids(reader: &mut dyn Reader, count: usize) -> Result<Vec<TaskId>, ApiError> {
    let mut ids = Vec::with_capacity(count);
    let mut seen = HashSet::with_capacity(count);
    while ids.len() < count {
        let mut random = vec![0; 8 * (count - ids.len())];
        getrandom::fill(&mut random).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("no random numbers are to be had: {error}"))
        })?;
        let drawn: Vec<TaskId> = random
            .chunks_exact(8)
            .map(|bytes| {
                TaskId::from_random(u64::from_ne_bytes(bytes.try_into().expect("8 bytes")))
            })
            .filter(|id| seen.insert(*id))
            .collect();
        let taken = reader.states(&drawn).map_err(|error| store_error(&error))?;
        ids.extend(drawn.into_iter().zip(taken).filter(|(_, s)| s.is_none()).map(|(id, _)| id));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
