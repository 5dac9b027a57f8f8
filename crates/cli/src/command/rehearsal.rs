//! One harmless task through what was installed, as an agent would do it.
//!
//! What it is for: `setup` shows that it works before anybody relies on it. What it owns: the part of the agent: it speaks
//! MCP to the installed server and calls the installed hook. What it never does: touch a session of anybody else, or keep
//! a process.
//!
//! ```text
//!   server  meanwhile mcp          ── initialize, tools/list ──► our tools
//!   launch  tools/call run `true`  ──► an id
//!   end     the daemon says that it has ended, and tells nobody by that
//!   told    meanwhile hook AGENT   ──► the id is in what it says
//! ```

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meanwhile_api::headers::SessionClaim;
use meanwhile_api::select::Select;
use meanwhile_api::task::State;
use meanwhile_api::wait::{Until, WaitRequest};
use meanwhile_api::{ApiError, ErrorCode, Span, TaskId};
use meanwhile_integrations::{Agent, hook};
use serde_json::{Value, json};

use crate::context::Context;
use crate::entry::{self, WithoutDaemon};
use crate::failure::Failure;

/// A daemon may have to start, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest answer that is read: the listing of the tools has some KiB.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Launches `true` as this agent would, and listens for its end.
///
/// # Errors
/// What did not work, and what was said.
pub(super) fn rehearse(context: &Context, agent: Agent, program: &Path) -> Result<(), Failure> {
    let session = session();
    let mut server = Server::start(context, program, &session)?;
    let id = server.launch()?;
    let claim = SessionClaim::explicit(session.clone());
    // Nothing is shown by this: the notice is left for the hook.
    let client = entry::client_of(&context.globals, Some(claim), WithoutDaemon::Start, None)?;
    let state = context.block_on(async {
        let request = WaitRequest {
            select: Select::Ids(vec![id.clone()]),
            any: false,
            until: Until::Done,
            timeout: Some(Span::from_ms(u64::try_from(PATIENCE.as_millis()).expect("a minute"))),
        };
        Ok(client.wait(&request).await?.tasks.first().map(|task| task.state))
    })?;
    if state != Some(State::Completed) {
        let state = state.map_or("gone", State::name);
        return Err(trouble(format!("task {id} (`true`) is {state}")));
    }
    let said = call_hook(context, agent, program, &session)?;
    if said.contains(&id.0) {
        Ok(())
    } else {
        Err(trouble(format!("the hook said nothing of task {id}")))
    }
}

fn trouble(what: String) -> Failure {
    ApiError::new(ErrorCode::Internal, what).into()
}

/// A session of its own, so that nobody is told of what is tried here.
fn session() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("setup-{}-{}", std::process::id(), now.as_nanos())
}

/// The installed program, as an agent starts it.
fn installed(context: &Context, program: &Path, session: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("MEANWHILE_SESSION", session)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(home) = &context.globals.home {
        command.env("MEANWHILE_HOME", home);
    }
    command
}

fn call_hook(
    context: &Context,
    agent: Agent,
    program: &Path,
    session: &str,
) -> Result<String, Failure> {
    let (event, input) = hook::sample(agent, session);
    let mut command = installed(context, program, session);
    let mut child = command
        .args(["hook", agent.name(), event])
        .spawn()
        .map_err(|error| trouble(format!("start the hook: {error}")))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // A hook that reads nothing says nothing: that is seen below.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let mut said = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    let read = stdout.take(LONGEST_ANSWER).read_to_string(&mut said);
    let ended = child.wait();
    read.and(ended).map_err(|error| trouble(format!("read what the hook says: {error}")))?;
    Ok(said)
}

/// The MCP server, spoken to as an agent does. It ends with this.
struct Server {
    process: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    last_id: u64,
}

impl Server {
    fn start(context: &Context, program: &Path, session: &str) -> Result<Self, Failure> {
        let mut process = installed(context, program, session)
            .arg("mcp")
            .spawn()
            .map_err(|error| trouble(format!("start the MCP server: {error}")))?;
        let input = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let (found, answers) = channel();
        // It ends with the server's output. Bounded: one answer for each request.
        std::thread::spawn(move || {
            for line in output.take(LONGEST_ANSWER).lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str(&line) else { return };
                if found.send(answer).is_err() {
                    return;
                }
            }
        });
        let mut server = Self { process, input, answers, last_id: 0 };
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "meanwhile-setup", "version": env!("CARGO_PKG_VERSION") },
        });
        server.ask("initialize", &hello)?;
        server.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        let tools = server.ask("tools/list", &json!({}))?;
        let mut tools = tools["tools"].as_array().into_iter().flatten();
        if !tools.any(|tool| tool["name"] == "run") {
            return Err(trouble("the MCP server has no tool `run`".to_owned()));
        }
        Ok(server)
    }

    fn launch(&mut self) -> Result<TaskId, Failure> {
        let call = json!({ "name": "run", "arguments": { "shell": "true", "name": "setup" } });
        let answer = self.ask("tools/call", &call)?;
        match answer["structuredContent"]["id"].as_str() {
            Some(id) => Ok(TaskId(id.to_owned())),
            None => {
                let said = answer["content"][0]["text"].as_str().unwrap_or("nothing");
                Err(trouble(format!("launch by the tool `run`: it said: {said}")))
            }
        }
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        loop {
            let mut answer = self
                .answers
                .recv_timeout(PATIENCE)
                .map_err(|_| trouble(format!("ask the MCP server: no answer to `{method}`")))?;
            if answer["id"] != id {
                continue;
            }
            if let Some(message) = answer["error"]["message"].as_str() {
                return Err(trouble(format!("ask the MCP server: {method}: {message}")));
            }
            return Ok(answer["result"].take());
        }
    }

    fn write(&mut self, message: &Value) -> Result<(), Failure> {
        let line = message.to_string() + "\n";
        self.input
            .write_all(line.as_bytes())
            .map_err(|error| trouble(format!("speak to the MCP server: {error}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}
