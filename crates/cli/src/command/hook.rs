//! `hook`: an agent CLI says where it is in its work, and is told what its session has not heard yet.
//!
//! What it is for: the end of a task reaches the conversation that launched it, whichever agent it is. What it owns: what
//! is done at which moment. What it never does: break the agent that calls it (whatever goes wrong, it says nothing and
//! ends well), start a daemon where nothing is unread, hold a turn twice, or run for agents that are tasks themselves.
//!
//! ```text
//!   a prompt, a tool's end, a start ──► unread? ──► beside what the model reads next
//!   a turn's end   without a person ──► hold until the session's tasks are done ──► the turn goes on with the digest
//!                  else, no waiter  ──► is it time to tell? ──► the turn goes on with the digest
//!   Wait (Claude)  blocks beside an idle session ──► digest on stderr, exit 2: the session is woken
//!   Wait (OpenCode)  see `waiter`
//! ```

use std::io::{self, Read as _};
use std::time::Duration;

use clap::Args;
use meanwhile_api::client::Client;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::inbox::{
    AckRequest, DeliverReply, DeliverRequest, InboxQuery, PresenceRequest, Route,
};
use meanwhile_api::list::ListQuery;
use meanwhile_api::select::Select;
use meanwhile_api::task::State;
use meanwhile_api::wait::{Until, WaitRequest};
use meanwhile_api::{ApiError, Span, TaskId};
use meanwhile_integrations::Agent;
use meanwhile_integrations::hook::{self, Beginning, Call, Moment, Speech};

use crate::cli::{Action, Answer};
use crate::command::{presence, waiter};
use crate::context::Context;
use crate::entry::{self, WithoutDaemon};
use crate::failure::Failure;

/// An agent waits for its hooks: what takes longer than this is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a turn without a person is held for the session's own tasks. Below the time that `install` gives the hook.
const HOLD: Duration = Duration::from_secs(30 * 60);

/// Wakes a session of Claude Code; all other agents take any code but 0 for a failure or a veto.
const WAKE: u8 = 2;

/// The event by which the waiters of Claude Code and OpenCode are installed.
const WAITER: &str = "Wait";

/// The lane of services, which never end and are not waited for.
const SERVICES: &str = "services";

/// Called by agent CLIs: tell them what happened in the background
///
/// Reads what the agent says on standard input. `meanwhile install AGENT` sets it up. It says nothing and exits 0 where
/// there is nothing to say, and whatever goes wrong.
#[derive(Debug, Args)]
pub(crate) struct Hook {
    /// Agent and event, such as `claude Stop`
    #[arg(value_name = "AGENT EVENT", num_args = 0.., allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,
}

impl Action for Hook {
    fn run(self, context: &Context) -> Answer {
        // A task's agent belongs to the task: who launched it is told, and nobody else.
        if std::env::var_os("MEANWHILE_TASK").is_some() {
            return Ok(0);
        }
        let [agent, event] = self.words.as_slice() else {
            context.note("usage: meanwhile hook AGENT EVENT");
            return Ok(0);
        };
        let Some(agent) = Agent::named(agent) else {
            context.note("no such agent");
            return Ok(0);
        };
        // What waits beside OpenCode is answered on its standard input.
        let talks = agent == Agent::OpenCode && event == WAITER;
        let Ok(input) = (if talks { waiter::first_line() } else { whole_input() }) else {
            return Ok(0);
        };
        let call = match hook::read(agent, event, &input) {
            Ok(call) => call,
            Err(why) => {
                context.note(&format!("nothing to do: {why:?}"));
                return Ok(0);
            }
        };
        let told = if event == WAITER {
            wait(context, agent, &call)
        } else {
            answer(context, agent, event, &call)
        };
        told.or_else(|failure| {
            failure.report(false, &context.err);
            Ok(0)
        })
    }
}

fn whole_input() -> io::Result<Vec<u8>> {
    let limit = u64::try_from(hook::LARGEST_INPUT).expect("some megabytes");
    let mut input = Vec::new();
    io::stdin().lock().take(limit).read_to_end(&mut input)?;
    Ok(input)
}

fn claim(agent: Agent, call: &Call) -> SessionClaim {
    SessionClaim { source: agent.name().to_owned(), name: call.session.clone() }
}

/// A client as this session, where a daemon runs or must run; none where there is nothing to tell.
fn client(context: &Context, claim: &SessionClaim) -> Result<Option<Client>, Failure> {
    // What it asks is for itself: only what is delivered counts as shown.
    let of = |without| entry::client_of(&context.globals, Some(claim.clone()), without, None);
    let present = of(WithoutDaemon::Fail)?;
    let reader = of(WithoutDaemon::ReadStore)?;
    let start = of(WithoutDaemon::Start)?;
    context.block_on(async {
        let query = InboxQuery { any_session: false, limit: Some(1) };
        Ok(match present.inbox(&query).await {
            Ok(_) => Some(present),
            Err(_) => (reader.inbox(&query).await?.unread > 0).then_some(start),
        })
    })
}

fn answer(context: &Context, agent: Agent, event: &str, call: &Call) -> Answer {
    if !call.subagent && call.moment == Moment::End {
        return leave(context, agent, call);
    }
    if call.subagent || !hook::can_hear(call.moment) {
        return Ok(0);
    }
    let claim = claim(agent, call);
    let Some(client) = client(context, &claim)? else { return Ok(0) };
    let holding = matches!(call.moment, Moment::Stop { .. }) && nobody_looks_on(agent);
    let patience = if holding { HOLD + PATIENCE } else { PATIENCE };
    let said = context.block_on(async {
        let said = tokio::time::timeout(patience, say(&client, agent, call, holding)).await;
        said.unwrap_or(Ok(None)).map_err(Failure::from)
    })?;
    let Some((speech, ids)) = said else { return Ok(0) };
    context.print(&(hook::answer(agent, event, &speech) + "\n"))?;
    // Only what has arrived is acknowledged: what a crash swallows before this comes again.
    context.block_on(async {
        let request = AckRequest { ids, tasks: Vec::new() };
        Ok(client.acknowledge(&request).await.map(|_| ())?)
    })?;
    Ok(0)
}

/// The conversation is closed: there is nobody to tell anything, and nothing to start a daemon for.
fn leave(context: &Context, agent: Agent, call: &Call) -> Answer {
    let of = Some(claim(agent, call));
    let client = entry::client_of(&context.globals, of, WithoutDaemon::Fail, None)?;
    context.block_on(async {
        let _given_up = tokio::time::timeout(PATIENCE, presence::closed(&client)).await;
        Ok(0)
    })
}

/// What is said, and the notices that are in it.
type Said = Option<(Speech, Vec<String>)>;

async fn say(client: &Client, agent: Agent, call: &Call, holding: bool) -> Result<Said, ApiError> {
    presence::began(client, agent, call).await;
    match call.moment {
        Moment::Start(Beginning::Compacted) => {
            let reply = client.compaction().await?;
            Ok(reply.text.map(|text| (Speech::Context(text), Vec::new())))
        }
        Moment::Start(_) | Moment::AfterTool => Ok(context_of(take(client, false, None).await?)),
        Moment::Prompt => {
            client.presence(&PresenceRequest::Typed {}).await?;
            Ok(context_of(take(client, false, None).await?))
        }
        Moment::Stop { .. } if holding => hold(client).await,
        Moment::Stop { .. } => {
            client.presence(&PresenceRequest::Idle {}).await?;
            if matches!(agent, Agent::Claude | Agent::OpenCode) {
                // Its waiter begins at this same moment and wakes it when it is time; a second one would send it away.
                return Ok(None);
            }
            // What may wait waits for the next prompt.
            let reply = take(client, true, Some(Span::from_ms(0))).await?;
            Ok(context_of(reply).map(go_on))
        }
        Moment::SubagentStop { .. } | Moment::End => Ok(None),
    }
}

fn go_on((speech, ids): (Speech, Vec<String>)) -> (Speech, Vec<String>) {
    match speech {
        Speech::Context(text) | Speech::GoOn(text) => (Speech::GoOn(text), ids),
    }
}

fn context_of(reply: DeliverReply) -> Said {
    let ids = reply.notices.iter().map(|notice| notice.id.clone()).collect();
    reply.digest.map(|digest| (Speech::Context(digest), ids))
}

async fn take(
    client: &Client,
    wait: bool,
    timeout: Option<Span>,
) -> Result<DeliverReply, ApiError> {
    let request = DeliverRequest { wait, timeout, ..DeliverRequest::new(Route::Hook)? };
    client.deliver(&request).await
}

/// Nobody can be woken later: everything the session has running is waited for, and told once. Nothing is handed out
/// before: what a crash swallows while this waits is unread still.
async fn hold(client: &Client) -> Result<Said, ApiError> {
    let ends = tokio::time::Instant::now() + HOLD;
    loop {
        let ids = unfinished(client).await?;
        let left = ends.saturating_duration_since(tokio::time::Instant::now());
        if ids.is_empty() || left.is_zero() {
            break;
        }
        let timeout = Span::from_ms(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let request = WaitRequest {
            select: Select::Ids(ids),
            any: false,
            until: Until::Done,
            timeout: Some(timeout),
        };
        client.wait(&request).await?;
    }
    Ok(context_of(take(client, false, None).await?).map(go_on))
}

async fn unfinished(client: &Client) -> Result<Vec<TaskId>, ApiError> {
    let state = State::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
    let query = ListQuery { state, limit: Some(200), ..ListQuery::default() };
    let tasks = client.list(&query).await?.tasks;
    Ok(tasks.into_iter().filter(|task| task.lane != SERVICES).map(|task| task.id).collect())
}

/// Whether the agent runs for one prompt, without a person.
fn nobody_looks_on(agent: Agent) -> bool {
    match agent {
        // It says so to its children: `cli` is its terminal.
        Agent::Claude => {
            let entry = std::env::var("CLAUDE_CODE_ENTRYPOINT");
            entry.is_ok_and(|entry| entry.starts_with("sdk"))
        }
        Agent::Codex | Agent::Gemini | Agent::Droid | Agent::Copilot => {
            entry::callers().iter().any(|arguments| is_for_one_prompt(agent, arguments))
        }
        // It ends with the turn, and no hook of its can hold that.
        Agent::OpenCode => false,
    }
}

/// Whether these are the arguments of an agent that was started for one prompt. Its program is the first word, or the
/// script of an interpreter.
fn is_for_one_prompt(agent: Agent, arguments: &[Vec<u8>]) -> bool {
    let is_agent =
        |word: &Vec<u8>| word.rsplit(|byte| *byte == b'/').next() == Some(agent.name().as_bytes());
    let Some(at) = arguments.iter().take(2).position(is_agent) else { return false };
    arguments[at + 1..].iter().any(|word| match agent {
        Agent::Codex => matches!(word.as_slice(), b"exec" | b"e"),
        Agent::Droid => word == b"exec",
        Agent::Gemini | Agent::Copilot => {
            matches!(word.as_slice(), b"-p" | b"--prompt") || word.starts_with(b"--prompt=")
        }
        Agent::Claude | Agent::OpenCode => false,
    })
}

/// The waiter beside an idle session: ends when there is something to tell, and the agent wakes the model with it.
fn wait(context: &Context, agent: Agent, call: &Call) -> Answer {
    if call.subagent || nobody_looks_on(agent) {
        return Ok(0);
    }
    let claim = claim(agent, call);
    let client = entry::client_of(&context.globals, Some(claim), WithoutDaemon::Start, None)?;
    if agent == Agent::OpenCode {
        return waiter::wait(context, &client, WAITER).map(|()| 0);
    }
    context.block_on(async {
        presence::began(&client, agent, call).await;
        let reply = take(&client, true, None).await?;
        let Some(digest) = &reply.digest else { return Ok(0) };
        context.note(digest);
        let ids = reply.notices.iter().map(|notice| notice.id.clone()).collect();
        client.acknowledge(&AckRequest { ids, tasks: Vec::new() }).await?;
        Ok(WAKE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_for_one_prompt_is_told_from_one_with_a_person() {
        let is = |agent: Agent, line: &str| {
            let words: Vec<Vec<u8>> =
                line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            is_for_one_prompt(agent, &words)
        };
        assert!(is(Agent::Codex, "/usr/bin/codex exec --json go"));
        assert!(is(Agent::Codex, "node /usr/bin/codex e go"));
        assert!(!is(Agent::Codex, "codex resume"));
        assert!(is(Agent::Gemini, "node /usr/bin/gemini -y -p go"));
        assert!(!is(Agent::Gemini, "node /usr/bin/gemini"));
        assert!(!is(Agent::Gemini, "sh -c gemini -p"), "that is the shell");
        assert!(is(Agent::Droid, "droid exec --auto low go"));
        assert!(!is(Agent::Droid, "droid"));
        assert!(is(Agent::Copilot, "/opt/copilot --prompt=go"));
        assert!(!is(Agent::Copilot, "copilot -i go"));
    }
}
