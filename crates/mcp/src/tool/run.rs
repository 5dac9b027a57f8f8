//! `run`: launch, and answer at once.
//!
//! What it is for: one task or a batch, in one transaction; they are on disk when the answer is sent. What it owns: the
//! answer. What it never does: make an MCP task of a launch: ten launches must not become ten wake-ups.

use meanwhile_api::submit::{Detail, Inherit, SubmitRequest};
use meanwhile_api::task::Task;
use meanwhile_api::{ApiError, sanitise};
use serde_json::{Map, Value, json};

use super::{Answer, Call};
use crate::arguments::{self, Arguments};
use crate::{answer, words};

/// The longest word for a turn; ids of agents are 36 characters.
const TURN_BYTES: usize = 100;

pub(super) async fn run(call: &Call<'_>, arguments: Arguments) -> Answer {
    let mut tasks = arguments::new_tasks(arguments)?;
    if let Some(turn) = turn(call) {
        for task in tasks.iter_mut().filter(|task| task.turn.is_none()) {
            task.turn = Some(turn.clone());
        }
    }
    let caller = call.shared.caller.clone();
    let inherit = Inherit::Session;
    let request = SubmitRequest { tasks, caller, inherit, detail: Detail::Tasks };
    let reply = call.client.submit(&request).await.map_err(|error| with_place(error, &request))?;
    let known = |task: &Task| reply.accepted.iter().any(|one| one.existing && one.id == task.id);
    let lines = reply.tasks.iter().map(|task| {
        let known =
            if known(task) { " [known by its idempotency key: nothing was launched]" } else { "" };
        format!("{}{known}", words::line(task))
    });
    let mut text: Vec<String> = lines.collect();
    let objects = reply.tasks.iter().map(|task| launched(task, known(task)));
    let mut object = match request.tasks.len() {
        1 => objects.flatten().collect(),
        // What is absent is left out: a batch is long enough.
        _ => {
            let present = objects.map(|task| task.into_iter().filter(|(_, it)| !it.is_null()));
            let tasks = present.map(|task| Value::Object(task.collect())).collect();
            Map::from_iter([("tasks".to_owned(), Value::Array(tasks))])
        }
    };
    if !reply.warnings.is_empty() {
        let warnings: Vec<String> =
            reply.warnings.iter().map(|text| sanitise::line(text)).collect();
        text.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        object.insert("warnings".to_owned(), json!(warnings));
    }
    text.push(
        "You will be told of the end. Go on with other work; `wait` only when you need the result."
            .to_owned(),
    );
    Ok(answer::both(text.join("\n"), object).into())
}

/// The turn of the conversation that the call is made in, where the agent says it: Codex does, as an object or its text.
fn turn(call: &Call<'_>) -> Option<String> {
    let said = call.context.meta.get("x-codex-turn-metadata")?;
    let said = match said {
        Value::String(text) => serde_json::from_str(text).ok()?,
        said => said.clone(),
    };
    let turn = said.get("turn_id")?.as_str()?;
    (!turn.is_empty() && turn.len() <= TURN_BYTES && sanitise::line(turn) == turn)
        .then(|| turn.to_owned())
}

/// What a launch answers with: an id above all.
fn launched(task: &Task, known: bool) -> Map<String, Value> {
    let facts = [
        ("id", json!(task.id)),
        ("state", json!(task.state)),
        ("queue_position", json!(task.queue_position)),
        ("why", json!(words::why(task))),
        ("deadline", json!(task.deadline)),
    ];
    let known = known.then_some(("existing", json!(true)));
    facts.into_iter().chain(known).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The daemon names entries of a batch as lines, from 1; a model wrote a list.
fn with_place(error: ApiError, request: &SubmitRequest) -> ApiError {
    let line =
        error.details.get("line").and_then(Value::as_u64).filter(|_| request.tasks.len() > 1);
    let Some(line) = line else { return error };
    let named = format!("line {line}: ");
    let message = error.message.strip_prefix(&named).unwrap_or(&error.message);
    let message = format!("tasks[{}]: {message}", line.saturating_sub(1));
    ApiError { message, ..error }
}
