//! Status notifications for MCP tasks (`notifications/tasks`), to peers that subscribed to them.
//!
//! What it is for: a client that listens need not poll. What it owns: what such a subscription hears and when: at once how
//! it stands, then what changes, to the end. What it never does: replace polling (who is told here may ask all the same),
//! or count as having told a session: nobody knows what becomes of a notification.
//!
//! The library's filter has no `taskIds` (it drops what it does not know), so they are carried past it in `_meta`. Its
//! acknowledgment does not name them either.

use std::time::Duration;

use meanwhile_api::ApiError;
use meanwhile_api::event::EventsQuery;
use rmcp::model::{
    DetailedTask, NotificationMetaObject, ServerNotification, TaskStatusNotification,
    TaskStatusNotificationParams,
};
use rmcp::service::SubscriptionContext;
use serde_json::{Map, Value};
use tokio::time::sleep;

use crate::server::Shared;
use crate::waits::{self, may_be_a_task};
use crate::{limits, patience::print};

/// The request that subscribes.
pub(crate) const LISTEN: &str = "subscriptions/listen";
/// In `_meta`: the tasks of a subscription.
const CARRIED: &str = "meanwhile/taskIds";

/// Puts the tasks of a subscription where the library keeps them; whether there were any.
pub(crate) fn carry(message: &mut Map<String, Value>) -> bool {
    if message.get("method").and_then(Value::as_str) != Some(LISTEN) {
        return false;
    }
    let Some(Value::Object(params)) = message.get_mut("params") else { return false };
    let Some(ids) = params.get("notifications").and_then(|filter| filter.get("taskIds")).cloned()
    else {
        return false;
    };
    let meta = params.entry("_meta").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(meta) = meta else { return false };
    meta.insert(CARRIED.to_owned(), ids);
    true
}

/// The same for a message as it arrives; none where nothing is to be changed.
pub(crate) fn carried(message: &[u8]) -> Option<Vec<u8>> {
    // Hardly any message is one: the others are not parsed for it.
    message.windows(LISTEN.len()).find(|part| *part == LISTEN.as_bytes())?;
    let mut parsed: Map<String, Value> = serde_json::from_slice(message).ok()?;
    if !carry(&mut parsed) {
        return None;
    }
    let mut text = serde_json::to_vec(&parsed).ok()?;
    text.push(b'\n');
    Some(text)
}

/// Serves a subscription, until its peer ends it or there is nothing left to hear.
pub(crate) async fn listen(shared: &Shared, context: &SubscriptionContext) {
    let request = context.request_context();
    let asked = request.meta.get(CARRIED).and_then(Value::as_array);
    let ids = asked.into_iter().flatten().filter_map(Value::as_str);
    let ids = ids.filter(|id| waits::Wait::from_id(id).is_some());
    let ids: Vec<String> = ids.take(limits::SUBSCRIBED_MAX).map(str::to_owned).collect();
    if ids.is_empty() || !may_be_a_task(request) {
        return;
    }
    tokio::select! {
        () = context.cancelled() => {}
        () = left(shared) => {}
        // Without a daemon there is nothing to hear; the client can still poll.
        _ = tell(shared, context, ids) => {}
    }
}

/// Until the client has closed its end: the library would wait for us.
async fn left(shared: &Shared) {
    let Some(left) = shared.left.get() else { return std::future::pending().await };
    // An end that is gone has ended.
    let _ = left.clone().wait_for(|left| *left).await;
}

async fn tell(
    shared: &Shared,
    context: &SubscriptionContext,
    ids: Vec<String>,
) -> Result<(), ApiError> {
    let client = shared.sessions.onlooker()?;
    // What happens between the first look and the first event comes as an event.
    let since = client.daemon().await?.store.last_event;
    let query = EventsQuery { since: Some(since), any_session: true, ..EventsQuery::default() };
    let mut events = client.events(query);
    let mut open: Vec<(String, u64)> = ids.into_iter().map(|id| (id, 0)).collect();
    loop {
        let mut still = Vec::new();
        for (id, said) in open {
            let Ok(task) = waits::look_at(shared, &id).await else { continue };
            let now =
                print((task.task.status_message.as_deref(), task.payload.status().is_terminal()));
            let over = task.payload.status().is_terminal();
            if now != said && !send(context, task).await {
                return Ok(());
            }
            if !over {
                still.push((id, now));
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        open = still;
        events.next().await?;
        // sleep: events come in bursts, and one notification tells them all.
        sleep(Duration::from_millis(limits::POLL_MS)).await;
    }
}

/// Whether it could be sent.
async fn send(context: &SubscriptionContext, task: DetailedTask) -> bool {
    let request = context.request_context();
    let mut told = TaskStatusNotification::new(TaskStatusNotificationParams::from(task));
    let mut meta = NotificationMetaObject::new();
    meta.set_subscription_id(request.id.clone());
    told.extensions.insert(meta);
    let told = ServerNotification::TaskStatusNotification(told);
    request.peer.send_notification(told).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_tasks_of_a_subscription_are_carried_and_nothing_else_is_touched() {
        let asked = json!({"jsonrpc": "2.0", "id": 1, "method": LISTEN,
            "params": {"notifications": {"taskIds": ["wait:0123456789"]}, "_meta": {"x": 1}}});
        let carried = carried(asked.to_string().as_bytes()).expect("it is changed");
        let carried: Value = serde_json::from_slice(&carried).expect("JSON");
        assert_eq!(carried["params"]["_meta"], json!({"x": 1, CARRIED: ["wait:0123456789"]}));
        assert_eq!(carried["id"], 1);
        for other in [
            json!({"method": LISTEN, "params": {"notifications": {"toolsListChanged": true}}}),
            json!({"method": LISTEN, "params": {"notifications": {"taskIds": []}, "_meta": 3}}),
            json!({"method": "tools/call", "params": {"notifications": {"taskIds": []}, "name": LISTEN}}),
            json!({"method": LISTEN}),
            json!([LISTEN]),
        ] {
            assert_eq!(super::carried(other.to_string().as_bytes()), None, "{other}");
        }
    }
}
