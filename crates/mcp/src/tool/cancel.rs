//! `cancel`: end tasks, and say so when nothing of them is alive.
//!
//! What it is for: stopping what was launched. What it owns: the answer, also when the grace of a task is longer than a
//! tool call may be. What it never does: cancel what was not named.

use meanwhile_api::change::{CancelReply, CancelRequest};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{Answer, Call};
use crate::arguments::{self, Arguments};
use crate::{answer, limits, words};

pub(super) async fn cancel(call: &Call<'_>, arguments: Arguments) -> Answer {
    let asked: arguments::Cancel = arguments::read("cancel", arguments)?;
    let select = asked.select()?;
    let request = CancelRequest { select, wait: true, cascade: true };
    let (reply, over) = match timeout(limits::CANCEL_MAX, call.client.cancel(&request)).await {
        Ok(reply) => (reply?, true),
        // The request stands; this answers how far it has come.
        Err(_) => (call.client.cancel(&CancelRequest { wait: false, ..request }).await?, false),
    };
    call.tells_of(&reply.tasks);
    Ok(shown(&reply, over).into())
}

fn shown(reply: &CancelReply, over: bool) -> rmcp::model::CallToolResult {
    let most = usize::try_from(limits::SHOWN_MAX).unwrap_or(usize::MAX);
    let mut text: Vec<String> = Vec::new();
    for task in reply.tasks.iter().take(most) {
        let before =
            if reply.already_ended.contains(&task.id) { " [had ended before]" } else { "" };
        text.push(format!("{}{before}", words::line(task)));
    }
    if reply.tasks.is_empty() {
        text.push("there was nothing to cancel".to_owned());
    }
    if !over {
        text.push("They were told to end and have not all ended yet.".to_owned());
    }
    let tasks: Vec<Value> = reply
        .tasks
        .iter()
        .take(most)
        .map(|task| json!({"id": task.id, "state": task.state, "why": words::why(task)}))
        .collect();
    let object = Map::from_iter([
        ("tasks".to_owned(), Value::Array(tasks)),
        ("already_ended".to_owned(), json!(reply.already_ended)),
        ("all_ended".to_owned(), json!(over)),
    ]);
    answer::both(text.join("\n"), object)
}
