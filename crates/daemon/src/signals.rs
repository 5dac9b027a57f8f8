//! SIGTERM and SIGINT end the daemon politely: tasks and supervisors go on.
//!
//! Runs on the HTTP runtime and posts the same letter that `daemon stop` does.

use meanwhile_core::Actor;
use tokio::signal::unix::{SignalKind, signal};

use crate::letters::{Ask, Postbox};

/// Waits for the first of them and asks the loop to stop.
pub(crate) async fn stop_when_told(postbox: Postbox) {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("no signal handlers: the daemon ends at once when it is told to");
        return;
    };
    let by = tokio::select! {
        _ = term.recv() => Actor::Rule("SIGTERM"),
        _ = int.recv() => Actor::Rule("SIGINT"),
    };
    let stop = Ask::Stop { cancel_all: false, hand_over: false, by };
    let _it_ends_anyway = postbox.ask(stop, None).await;
}
