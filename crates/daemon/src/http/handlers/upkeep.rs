//! `prune`, `clean`, `doctor`.

use std::path::Path;

use meanwhile_api::ApiError;
use meanwhile_api::upkeep::{
    Check, CleanReply, CleanRequest, DoctorReply, Health, PruneReply, Pruned,
};
use meanwhile_core::{State, TaskId};
use meanwhile_host::doctor::{CgroupFacts, Examination, Fact, Status, examine};

use meanwhile_host::{clock, proc};
use meanwhile_store::{Filter, Reader};

use super::Answered;
use super::change::changed;
use super::daemon::loop_status;
use crate::http::context::Context;
use crate::http::exchange::{Asked, json};
use crate::letters::{Ask, LoopStatus};
use crate::retention;
use crate::routes::health as routes;
use crate::view::wire_id;

/// Records looked at, and tasks forgotten, at once.
const PAGE: usize = 500;

pub(super) async fn prune(context: &Context, asked: &Asked) -> Answered {
    asked.caller.must_be_person("pruning")?;
    let changes = changed(context.postbox.ask(Ask::Prune, asked.request.clone()).await?)?;
    let done = changes.iter().map(|change| Pruned {
        task: Some(wire_id(change.task)),
        text: match change.before {
            State::Queued => format!("cancelled {}: queued for too long", change.task),
            _ => format!("settled {}: its supervisor was gone", change.task),
        },
    });
    json(&PruneReply { done: done.collect() })
}

pub(super) async fn clean(context: &Context, asked: &Asked, request: CleanRequest) -> Answered {
    let ended = State::ALL.into_iter().filter(|state| state.is_terminal()).collect();
    let filter =
        Filter { states: ended, session: asked.caller.only_session(), ..Filter::default() };
    let all = context.read(|reader| reader.ids(&filter, meanwhile_store::limits::LIST))?;
    let all: Vec<TaskId> = all.into_iter().map(|(id, _)| id).collect();
    let mut cleaned = CleanReply::default();
    for page in all.chunks(PAGE) {
        let old = old_enough(context, page, &request)?;
        // Counted before: afterwards nothing is left to count.
        let sizes: Vec<(TaskId, u64)> =
            old.iter().map(|id| (*id, retention::bytes_of(&context.home, *id))).collect();
        let forgotten = changed(context.postbox.ask(Ask::Forget { tasks: old }, None).await?)?;
        for change in forgotten.iter().filter(|change| change.acted) {
            cleaned.tasks += 1;
            let size = sizes.iter().find(|(id, _)| *id == change.task);
            cleaned.bytes += size.map_or(0, |(_, bytes)| *bytes);
        }
    }
    json(&cleaned)
}

fn old_enough(
    context: &Context,
    page: &[TaskId],
    request: &CleanRequest,
) -> Result<Vec<TaskId>, ApiError> {
    let Some(age) = request.older_than else { return Ok(page.to_vec()) };
    let now = clock::now().wall;
    let records = context.read(|reader| reader.tasks(page))?;
    let old = records.into_iter().flatten().filter(|record| {
        record.current().ended_at.is_none_or(|ended| now.since(ended) >= age.as_duration())
    });
    Ok(old.map(|record| record.id).collect())
}

pub(super) async fn doctor(context: &Context) -> Answered {
    let status = loop_status(context).await?;
    let store = store(context.read(|reader| reader.integrity()));
    let own_cgroup = proc::cgroup(std::process::id());
    let facts = examine(&Examination {
        cgroup: CgroupFacts::Daemon(&context.cgroups),
        state: Some(&context.home.state),
        user: None,
        daemon_cgroup: own_cgroup.as_deref(),
    });
    let routes = routes::check(Some(&context.home.state), &context.settings().routes);
    let checksums = checksums(&context.home.paths.database());
    let own = [store, checksums, log_of_writes(&status), starts(&status), routes];
    json(&DoctorReply { checks: own.into_iter().chain(machine(facts)).collect() })
}

pub(crate) fn check(name: &str, health: Health, text: impl Into<String>, hint: &[&str]) -> Check {
    let hint = hint.iter().map(|line| (*line).to_owned()).collect();
    Check { name: name.into(), health, text: text.into(), hint }
}

/// Whether the store's pages have checksums.
pub(crate) fn checksums(path: &Path) -> Check {
    let name = "store.checksums";
    match meanwhile_store::has_checksums(path) {
        Some(false) => check(
            name,
            Health::Warning,
            "the store has no checksums: another program made it, or an older build; a bit that changes on disk may \
             not be noticed",
            &["a new home has them: meanwhile --home DIR"],
        ),
        Some(true) | None => check(name, Health::Ok, "every page of the store has a checksum", &[]),
    }
}

/// Whether the store contradicts itself.
pub(crate) fn store(problems: Result<Vec<String>, ApiError>) -> Check {
    match problems {
        Ok(problems) if problems.is_empty() => {
            check("store.integrity", Health::Ok, "the store is sound", &[])
        }
        Ok(problems) => check(
            "store.integrity",
            Health::Failed,
            problems.join("; "),
            &["keep a copy of the database before anything else"],
        ),
        Err(error) => Check {
            name: "store.integrity".into(),
            health: Health::Failed,
            text: error.message,
            hint: error.hint,
        },
    }
}

fn log_of_writes(status: &LoopStatus) -> Check {
    let mib = status.wal_bytes >> 20;
    if status.wal_bytes > meanwhile_store::limits::WAL_TOO_LONG {
        let text = format!("the log of writes has {mib} MiB: some reader holds a transaction open");
        return check("store.wal", Health::Warning, text, &["fuser on the -wal file names it"]);
    }
    check("store.wal", Health::Ok, format!("the log of writes has {mib} MiB"), &[])
}

fn starts(status: &LoopStatus) -> Check {
    match &status.held {
        None => check("queue.starts", Health::Ok, "tasks are started", &[]),
        Some(reason) => check(
            "queue.starts",
            Health::Failed,
            format!("nothing is started: {reason}"),
            &["make space; meanwhile clean deletes finished tasks and their files"],
        ),
    }
}

/// What the machine lets us promise.
pub(crate) fn machine(facts: Vec<Fact>) -> impl Iterator<Item = Check> {
    facts.into_iter().map(|fact| {
        let Fact { name, status, what, promise, hint } = fact;
        Check {
            name: name.into(),
            health: match status {
                Status::Ok => Health::Ok,
                Status::Weaker => Health::Warning,
                Status::Bad => Health::Failed,
            },
            text: match promise {
                None => what,
                Some(promise) => format!("{what}; what holds less for it: {promise}"),
            },
            hint: hint.into_iter().collect(),
        }
    })
}
