//! `run`: launch, and answer at once.
//!
//! What it is for: one task or a batch, in one transaction; they are on disk when the answer is sent. What it owns: the
//! answer. What it never does: make an MCP task of a launch: ten launches must not become ten wake-ups.

use meanwhile_api::submit::{Detail, SubmitRequest};
use meanwhile_api::task::Task;
use meanwhile_api::{ApiError, ErrorCode, sanitise};
use serde_json::{Map, Value, json};

use super::{Answer, Call};
use crate::arguments::{self, Arguments};
use crate::{answer, words};

pub(super) async fn run(call: &Call<'_>, arguments: Arguments) -> Answer {
    let tasks = arguments::new_tasks(arguments)?;
    let caller = call.shared.caller.clone();
    let request = SubmitRequest { tasks, caller, detail: Detail::Tasks };
    let reply = call.client.submit(&request).await.map_err(|error| with_place(error, &request))?;
    let known = |task: &Task| reply.accepted.iter().any(|one| one.existing && one.id == task.id);
    let lines = reply.tasks.iter().map(|task| {
        let known =
            if known(task) { " [known by its idempotency key: nothing was launched]" } else { "" };
        format!("{}{known}", words::line(task))
    });
    let mut text: Vec<String> = lines.collect();
    let objects: Vec<Value> = reply.tasks.iter().map(|task| launched(task, known(task))).collect();
    let mut object = match (objects.as_slice(), request.tasks.len()) {
        ([Value::Object(one)], 1) => one.clone(),
        _ => Map::from_iter([("tasks".to_owned(), Value::Array(objects))]),
    };
    if !reply.warnings.is_empty() {
        let warnings: Vec<String> =
            reply.warnings.iter().map(|text| sanitise::line(text)).collect();
        text.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        object.insert("warnings".to_owned(), json!(warnings));
    }
    text.push("Go on with other work; `wait` only when you need the result.".to_owned());
    Ok(answer::both(text.join("\n"), object).into())
}

/// What a launch answers with: an id above all.
fn launched(task: &Task, known: bool) -> Value {
    let mut object = json!({
        "id": task.id,
        "state": task.state,
        "queue_position": task.queue_position,
        "why": words::why(task),
        "deadline": task.deadline,
    });
    if known {
        object["existing"] = json!(true);
    }
    object
}

/// The daemon counts entries of a batch from 1, as lines; a model wrote a list.
fn with_place(error: ApiError, request: &SubmitRequest) -> ApiError {
    let entry =
        error.details.get("line").or_else(|| error.details.get("entry")).and_then(Value::as_u64);
    match entry {
        Some(entry) if request.tasks.len() > 1 && error.code != ErrorCode::Internal => {
            let message = format!("tasks[{}]: {}", entry.saturating_sub(1), error.message);
            ApiError { message, ..error }
        }
        _ => error,
    }
}
