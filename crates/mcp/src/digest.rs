//! What became of tasks, in few tokens.
//!
//! What it is for: the answer of a `wait`, whether it blocked or was an MCP task. What it owns: which lines of output
//! are worth their tokens: the last ones of what did not succeed, the last line of what did. What it never does: fail
//! because an output cannot be read: the states are the answer.

use meanwhile_api::client::Client;
use meanwhile_api::output::OutputQuery;
use meanwhile_api::task::Task;
use meanwhile_api::{ApiError, TaskId};
use rmcp::model::CallToolResult;
use serde_json::{Map, Value, json};

use crate::fence::Fence;
use crate::{answer, limits, words};

/// What there is to tell.
pub(crate) struct Told<'a> {
    /// All of them: of many, those that matter most are shown, and all are counted.
    pub(crate) tasks: &'a [Task],
    /// Those whose records have been deleted.
    pub(crate) gone: &'a [TaskId],
    /// The first success was waited for rather than all.
    pub(crate) any: bool,
}

/// The tasks have ended (or one has, where the first was waited for).
pub(crate) async fn ended(client: &Client, told: &Told<'_>) -> Result<CallToolResult, ApiError> {
    let fence = Fence::draw()?;
    let mut text = vec![head(told)];
    let mut objects = Vec::new();
    let mut outputs_left = limits::DIGEST_OUTPUTS_MAX;
    for task in in_order_of_interest(told.tasks).into_iter().take(shown_max()) {
        text.push(words::line(task));
        let mut object = words::object(task);
        if task.state.is_terminal() && outputs_left > 0 {
            outputs_left -= 1;
            if let Some(last) = last_lines(client, task).await {
                let fenced = fence.around(&last);
                object.insert("last_output".to_owned(), json!(fenced));
                text.push(fenced);
            }
        }
        objects.push(Value::Object(object));
    }
    let good = told.gone.is_empty() && told.tasks.iter().all(words::succeeded);
    let good = good || (told.any && told.tasks.iter().any(words::succeeded));
    let mut result = whole(told, text, objects, true);
    result.is_error = Some(!good);
    Ok(result)
}

/// The time is over and they run on.
pub(crate) fn running(told: &Told<'_>) -> CallToolResult {
    let mut text = vec![head(told)];
    let unfinished = || told.tasks.iter().filter(|task| !task.state.is_terminal());
    text.extend(unfinished().take(shown_max()).map(words::line));
    text.push(
        "Still running; you will be told. Go on with other work, and wait again when there is none."
            .to_owned(),
    );
    // What runs on is what is asked about.
    let mut tasks: Vec<&Task> = told.tasks.iter().collect();
    tasks.sort_by_key(|task| task.state.is_terminal());
    let objects = tasks
        .into_iter()
        .take(shown_max())
        .map(|task| Value::Object(words::object(task)))
        .collect();
    whole(told, text, objects, false)
}

/// How many an answer shows.
fn shown_max() -> usize {
    usize::try_from(limits::SHOWN_MAX).unwrap_or(usize::MAX)
}

fn head(told: &Told<'_>) -> String {
    let mut text = words::tally(told.tasks);
    let more = told.tasks.len().saturating_sub(shown_max());
    if more > 0 {
        text.push_str(&format!(" ({more} of them not shown)"));
    }
    if !told.gone.is_empty() {
        let gone: Vec<&str> =
            told.gone.iter().map(TaskId::as_str).take(limits::IDS_IN_A_WAIT).collect();
        let more = told.gone.len() - gone.len();
        text.push_str(&format!("; records deleted: {}", gone.join(" ")));
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
    }
    text
}

fn whole(told: &Told<'_>, text: Vec<String>, objects: Vec<Value>, done: bool) -> CallToolResult {
    let mut object = Map::from_iter([
        ("summary".to_owned(), json!(head(told))),
        ("done".to_owned(), json!(done)),
        ("tasks".to_owned(), Value::Array(objects)),
    ]);
    if !told.gone.is_empty() {
        let gone: Vec<&TaskId> = told.gone.iter().take(shown_max()).collect();
        object.insert("gone".to_owned(), json!(gone));
    }
    answer::both(text.join("\n"), object)
}

/// What did not succeed first, then what did, then what has not ended.
fn in_order_of_interest(tasks: &[Task]) -> Vec<&Task> {
    let mut order: Vec<&Task> = tasks.iter().collect();
    order.sort_by_key(|task| match (task.state.is_terminal(), words::succeeded(task)) {
        (true, false) => 0,
        (true, true) => 1,
        (false, _) => 2,
    });
    order
}

/// The end of what it printed, as long as it is worth its tokens.
pub(crate) async fn last_lines(client: &Client, task: &Task) -> Option<String> {
    let tail = if words::succeeded(task) { 1 } else { limits::FAILURE_LINES };
    let query = OutputQuery {
        attempt: Some(task.attempt),
        tail: Some(tail),
        max_bytes: Some(limits::OUTPUT_DEFAULT),
        redact: true,
        ..OutputQuery::default()
    };
    // A task that never started has no log.
    let page = client.output(&task.id, &query).await.ok()?;
    let text = page.text.to_string_lossy();
    let text = text.trim_end();
    let from =
        text.len().saturating_sub(usize::try_from(limits::DIGEST_OUTPUT).unwrap_or(usize::MAX));
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at))?;
    Some(if from > 0 { format!("…{}", &text[from..]) } else { text.to_owned() })
}
