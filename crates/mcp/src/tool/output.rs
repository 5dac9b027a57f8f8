//! `output`: what a task printed, bounded and fenced.
//!
//! What it is for: reading without flooding a context. What it owns: the bounds and the head line. What it never does:
//! pass on text that could be taken for an instruction: it stands between marks.

use meanwhile_api::inbox::AckRequest;
use meanwhile_api::output::{OutputQuery, OutputReply};
use tokio::time::timeout;

use super::{Answer, Call};
use crate::arguments::{self, Arguments};
use crate::fence::Fence;
use crate::patience::print;
use crate::{answer, limits};

pub(super) async fn output(call: &Call<'_>, arguments: Arguments) -> Answer {
    let asked: arguments::Output = arguments::read("output", arguments)?;
    // Asking from another cursor is the same question: only news is an answer to it.
    let question = print((&call.claim.name, "output", asked.id.as_str(), &asked.grep));
    let bounded = asked.head.is_some() || asked.since.is_some() || asked.grep.is_some();
    let query = OutputQuery {
        attempt: asked.attempt,
        head: asked.head,
        tail: asked.tail.or_else(|| (!bounded).then_some(limits::LINES_DEFAULT)),
        grep: asked.grep,
        since: asked.since,
        max_bytes: Some(asked.max_bytes.unwrap_or(limits::OUTPUT_DEFAULT).min(limits::OUTPUT_MAX)),
        redact: true,
        ..OutputQuery::default()
    };
    let mut page = call.client.output(&asked.id, &query).await?;
    let hold = call.shared.patience.hold(question, state_of(&page), call.now());
    if let Some(hold) = hold.filter(|_| !page.state.is_terminal()) {
        let news = OutputQuery {
            attempt: Some(page.attempt),
            since: Some(page.bytes),
            max_bytes: Some(1),
            follow: true,
            ..OutputQuery::default()
        };
        if let Ok(news) = timeout(hold, call.client.output(&asked.id, &news)).await {
            news?;
            page = call.client.output(&asked.id, &query).await?;
        }
    }
    call.shared.patience.answered(question, state_of(&page), call.now());
    if page.ended && page.state.is_terminal() {
        call.receipt(AckRequest { ids: Vec::new(), tasks: vec![asked.id.clone()] });
    }
    let more = |cursor| format!("since={cursor} continues");
    Ok(answer::words(shown(asked.id.as_str(), &page, more)?).into())
}

/// What a reader would call news: more text, an end, another attempt. That it has got from `starting` to `running` is none.
fn state_of(page: &OutputReply) -> u64 {
    print((page.attempt, page.state.is_terminal(), page.bytes))
}

/// A page with what there is to know of it. `more`: how to ask for what follows a cursor.
pub(crate) fn shown(
    id: &str,
    page: &OutputReply,
    more: impl Fn(u64) -> String,
) -> Result<String, meanwhile_api::ApiError> {
    let text = page.text.to_string_lossy();
    let mut head = format!(
        "{} {}, {} bytes",
        meanwhile_api::sanitise::line(id),
        page.state.name(),
        page.bytes
    );
    if page.dropped_bytes > 0 {
        head.push_str(&format!(" ({} dropped by the log's limit)", page.dropped_bytes));
    }
    let left = page.bytes.saturating_sub(page.next_cursor);
    if page.truncated || left > 0 {
        head.push_str(&format!(", cut here: {}", more(page.next_cursor)));
    } else {
        head.push_str(&format!(", cursor {}", page.next_cursor));
    }
    if text.is_empty() {
        return Ok(format!("{head}, nothing to show"));
    }
    Ok(format!("{head}\n{}", Fence::draw()?.around(&text)))
}
