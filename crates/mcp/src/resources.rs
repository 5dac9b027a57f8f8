//! Reports and logs as resources, for people who attach them and clients that read them beside a model.
//!
//! What it is for: `meanwhile://task/ID` is what became of a task, `meanwhile://task/ID/output` what it printed, a page
//! at a time. What it owns: these addresses and the words of the report. What it never does: show what the tools would
//! not: the daemon decides by the session of the caller, output is fenced, masked and bounded as there. Nor does reading
//! one count as told: nobody knows whether a model is shown it.

use meanwhile_api::client::Client;
use meanwhile_api::list::ListQuery;
use meanwhile_api::output::OutputQuery;
use meanwhile_api::query::{percent_decode, percent_encode};
use meanwhile_api::task::{Outcome, Task};
use meanwhile_api::{ApiError, ErrorCode, TaskId, sanitise};
use rmcp::model::{
    ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::json;

use crate::arguments::Arguments;
use crate::fence::Fence;
use crate::server::Shared;
use crate::tool::output::shown;
use crate::waits::is_modern;
use crate::{digest, limits, words};

/// What all addresses begin with.
const TASKS: &str = "meanwhile://task/";
/// What reports and logs are.
const MARKDOWN: &str = "text/markdown";
const PLAIN: &str = "text/plain";

/// What an address means.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Report(TaskId),
    Output { id: TaskId, since: Option<u64>, tail: Option<u64> },
}

impl Address {
    /// None when it is none of ours.
    fn read(uri: &str) -> Option<Address> {
        let rest = uri.strip_prefix(TASKS)?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let (id, part) = path.split_once('/').map_or((path, None), |(a, b)| (a, Some(b)));
        let id = TaskId(percent_decode(id).filter(|id| !id.is_empty())?);
        match (part, query) {
            (None, None) => Some(Address::Report(id)),
            (Some("output"), query) => {
                let (mut since, mut tail) = (None, None);
                for pair in query.into_iter().flat_map(|query| query.split('&')) {
                    match pair.split_once('=')? {
                        ("since", number) => since = Some(number.parse().ok()?),
                        ("tail", number) => tail = Some(number.parse().ok()?),
                        _ => return None,
                    }
                }
                Some(Address::Output { id, since, tail })
            }
            _ => None,
        }
    }

    fn report(id: &str) -> String {
        format!("{TASKS}{}", percent_encode(id))
    }

    fn output(id: &str) -> String {
        format!("{TASKS}{}/output", percent_encode(id))
    }
}

/// How the addresses of every task are made.
pub(crate) fn templates() -> ListResourceTemplatesResult {
    ListResourceTemplatesResult::with_all_items(vec![
        ResourceTemplate::new(format!("{TASKS}{{id}}"), "report")
            .with_description("What became of a task of this session.")
            .with_mime_type(MARKDOWN),
        ResourceTemplate::new(format!("{TASKS}{{id}}/output{{?since,tail}}"), "output")
            .with_description(
                "What it printed: the last 40 lines, or `tail` of them, or a page from the cursor `since` on.",
            )
            .with_mime_type(PLAIN),
    ])
}

/// `resources/list`: those of the newest tasks of the caller's session.
pub(crate) async fn list(
    shared: &Shared,
    context: &RequestContext<RoleServer>,
) -> Result<ListResourcesResult, ErrorData> {
    let listed = async {
        let claim = shared.sessions.claim(context, &mut Arguments::new());
        let client = shared.sessions.client(&claim)?;
        let limit = Some(limits::RESOURCES_MAX / 2);
        let own = ListQuery { session: Some(claim.name), limit, ..ListQuery::default() };
        match client.list(&own).await {
            // Inside a task the daemon knows the session better than we do.
            Err(error) if error.code == ErrorCode::Forbidden => {
                client.list(&ListQuery { session: None, ..own }).await
            }
            reply => reply,
        }
    };
    let reply = listed.await.map_err(|error| refused(&error))?;
    let both = |task: &Task| {
        let (id, title) = (task.id.as_str(), words::title(task));
        let report = Resource::new(Address::report(id), format!("{id} report"))
            .with_title(title.clone())
            .with_description(words::line(task))
            .with_mime_type(MARKDOWN);
        let output = Resource::new(Address::output(id), format!("{id} output"))
            .with_title(format!("output of {title}"))
            .with_mime_type(PLAIN);
        [report, output]
    };
    Ok(ListResourcesResult::with_all_items(reply.tasks.iter().flat_map(both).collect()))
}

/// `resources/read`.
pub(crate) async fn read(
    shared: &Shared,
    context: &RequestContext<RoleServer>,
    uri: &str,
) -> Result<ReadResourceResult, ErrorData> {
    let Some(address) = Address::read(uri) else {
        let shown = words::short(&sanitise::line(uri), 120);
        let message = format!("no resource `{shown}`; there are {TASKS}ID and {TASKS}ID/output");
        return Err(not_found(context, message, uri));
    };
    let text = async {
        let claim = shared.sessions.claim(context, &mut Arguments::new());
        let client = shared.sessions.client(&claim)?;
        match &address {
            Address::Report(id) => report(&client, id).await,
            Address::Output { id, since, tail } => output(&client, id, *since, *tail).await,
        }
    };
    let text = text.await.map_err(|error| match error.code {
        ErrorCode::NoSuchTask | ErrorCode::Usage | ErrorCode::Ambiguous => {
            not_found(context, sanitise::line(&error.message), uri)
        }
        _ => refused(&error),
    })?;
    let kind = match address {
        Address::Report(_) => MARKDOWN,
        Address::Output { .. } => PLAIN,
    };
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(kind)]))
}

async fn output(
    client: &Client,
    id: &TaskId,
    since: Option<u64>,
    tail: Option<u64>,
) -> Result<String, ApiError> {
    let query = OutputQuery {
        since,
        tail: tail.or_else(|| since.is_none().then_some(limits::LINES_DEFAULT)),
        max_bytes: Some(limits::OUTPUT_DEFAULT),
        redact: true,
        ..OutputQuery::default()
    };
    let page = client.output(id, &query).await?;
    let more = |cursor| format!("{}?since={cursor} continues", Address::output(id.as_str()));
    shown(id.as_str(), &page, more)
}

/// What became of it, and where there is more.
async fn report(client: &Client, id: &TaskId) -> Result<String, ApiError> {
    let task = client.task(id).await?;
    let ended = task.state.is_terminal();
    let head = if ended { "Background Task Completed" } else { "Background Task" };
    let why = words::why(&task).map(|why| format!(" ({why})")).unwrap_or_default();
    let status = match (ended, task.outcome) {
        (false, _) => task.state.name(),
        (true, Some(Outcome::Partial)) => "Partial",
        (true, _) if words::succeeded(&task) => "Success",
        (true, _) => "Failure",
    };
    let mut text = format!("### {head}: {}\n- Task: {}\n", words::title(&task), task.id);
    text.push_str(&format!("- Status: {status}{why}\n"));
    if let Some(ms) = task.duration_ms {
        text.push_str(&format!("- Duration: {} (attempt {})\n", words::rough(ms), task.attempt));
    }
    if let (false, Some(deadline)) = (ended, task.deadline) {
        text.push_str(&format!("- Deadline: {deadline}\n"));
    }
    text.push_str(&format!("- Output: {}\n", Address::output(task.id.as_str())));
    if let Some(last) = digest::last_lines(client, &task).await.filter(|last| !last.is_empty()) {
        text.push_str(&format!("- Last lines:\n{}\n", Fence::draw()?.around(&last)));
    }
    Ok(text)
}

/// There is no such resource, in the code of the peer's generation (2026-07-28 has none of its own for it).
fn not_found(context: &RequestContext<RoleServer>, message: String, uri: &str) -> ErrorData {
    let data = Some(json!({ "uri": sanitise::line(uri) }));
    if is_modern(context) {
        ErrorData::invalid_params(message, data)
    } else {
        ErrorData::resource_not_found(message, data)
    }
}

fn refused(error: &ApiError) -> ErrorData {
    let message = sanitise::line(&error.message);
    match error.code {
        ErrorCode::Forbidden => ErrorData::invalid_params(message, None),
        _ => ErrorData::internal_error(message, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_one_thing_or_nothing() {
        let id = || TaskId::from("0123456789");
        let output = |since, tail| Some(Address::Output { id: id(), since, tail });
        let at = |rest: &str| Address::read(&format!("meanwhile://task/{rest}"));
        assert_eq!(at("0123456789"), Some(Address::Report(id())));
        assert_eq!(at("0123456789/output"), output(None, None));
        assert_eq!(at("0123456789/output?since=7"), output(Some(7), None));
        assert_eq!(at("0123456789/output?tail=5&since=7"), output(Some(7), Some(5)));
        assert_eq!(at("a%20name"), Some(Address::Report(TaskId::from("a name"))));
        for bad in [
            "",
            "/output",
            "0123456789/",
            "0123456789/secrets",
            "0123456789/output/..",
            "0123456789?since=7",
            "0123456789/output?since=-1",
            "0123456789/output?raw=true",
            "0123456789/output?",
            "%ff",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
        assert_eq!(Address::read("file:///etc/passwd"), None);
        assert_eq!(Address::read(&Address::output("a b/c")).map(|_| ()), Some(()));
    }
}
