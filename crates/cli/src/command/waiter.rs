//! `hook opencode Wait`: the waiter beside an idle session of OpenCode.
//!
//! What it is for: our plugin in OpenCode wakes a session that is idle. What it owns: the few lines between the plugin and
//! this process. What it never does: outlive OpenCode, start a turn itself, or take something for told that was not.
//!
//! ```text
//!   stdin   {"session_id": ...}            ──► waits for something to tell
//!   stdout  {"say": digest}                ◄── leased to this process
//!   stdin   told                           ──► acknowledged; anything else, or its end: it comes again another time
//! ```

use std::io::{self, BufRead as _, Read as _};

use meanwhile_api::client::Client;
use meanwhile_api::inbox::{AckRequest, DeliverRequest, PresenceRequest, Route};
use meanwhile_integrations::Agent;
use meanwhile_integrations::hook::{self, Speech};
use tokio::sync::oneshot;

use crate::context::Context;
use crate::failure::Failure;

/// The word by which the plugin says that the session has it.
const TOLD: &str = "told";

/// Longest line that is read; the word has some letters.
const LONGEST_LINE: u64 = 64;

/// Waits until there is something to tell or until nobody is left to be told.
pub(super) fn wait(context: &Context, client: &Client, event: &str) -> Result<(), Failure> {
    let mut answer = the_answer();
    context.block_on(async {
        // The hook that said so a moment ago may have given up on a busy machine.
        client.presence(&PresenceRequest::Idle {}).await?;
        let request = DeliverRequest { wait: true, ..DeliverRequest::new(Route::Hook)? };
        let reply = tokio::select! {
            reply = client.deliver(&request) => reply?,
            // OpenCode has ended, or wants to hear no more.
            _ = &mut answer => return Ok(()),
        };
        let Some(digest) = reply.digest else { return Ok(()) };
        let line = hook::answer(Agent::OpenCode, event, &Speech::Context(digest));
        context.print(&(line + "\n"))?;
        if answer.await == Ok(true) {
            let ids = reply.notices.into_iter().map(|notice| notice.id).collect();
            client.acknowledge(&AckRequest { ids, tasks: Vec::new() }).await?;
        }
        Ok(())
    })
}

/// What the plugin says next: whether the session was told. The thread that reads it ends with the process.
fn the_answer() -> oneshot::Receiver<bool> {
    let (to, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().take(LONGEST_LINE).read_line(&mut line);
        // Nobody listens any more when the process ends right now.
        let _ = to.send(read.is_ok() && line.trim() == TOLD);
    });
    answer
}

/// The first line of standard input, which stays open.
pub(super) fn first_line() -> io::Result<Vec<u8>> {
    let limit = u64::try_from(hook::LARGEST_INPUT).expect("some megabytes");
    let mut line = Vec::new();
    io::stdin().lock().take(limit).read_until(b'\n', &mut line)?;
    Ok(line)
}
