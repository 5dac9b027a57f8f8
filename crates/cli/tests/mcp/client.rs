//! A client of MCP that knows nothing but the protocol, and only what a test needs of it.
//!
//! Owns the server's process: it is killed with the client. Never believes a line that is not JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use meanwhile_testkit::{DEADLINE, TestHome};
use serde_json::{Map, Value, json};

pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// Which MCP is spoken, and whether the tasks extension is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// 2025-11-25, with a handshake.
    Legacy { tasks: bool },
    /// 2026-07-28, without.
    Modern { tasks: bool },
}

pub(crate) const LEGACY: Speaks = Speaks::Legacy { tasks: false };
pub(crate) const MODERN: Speaks = Speaks::Modern { tasks: false };
pub(crate) const WITH_TASKS: Speaks = Speaks::Modern { tasks: true };

pub(crate) struct Client {
    server: Child,
    input: Option<ChildStdin>,
    answers: Receiver<Value>,
    speaks: Speaks,
    last_id: u64,
    /// What came that was no answer to the request that was waited for.
    pub(crate) heard: Vec<Value>,
    /// The answer to the handshake.
    pub(crate) welcome: Value,
}

/// What the tasks extension is declared with, or nothing.
pub(crate) fn capabilities(speaks: Speaks) -> Value {
    match speaks {
        Speaks::Legacy { tasks: true } | Speaks::Modern { tasks: true } => {
            json!({ "extensions": { TASKS: {} } })
        }
        Speaks::Legacy { tasks: false } | Speaks::Modern { tasks: false } => json!({}),
    }
}

/// The `_meta` of a request.
pub(crate) fn meta(speaks: Speaks, more: Value) -> Map<String, Value> {
    let mut meta = more.as_object().cloned().unwrap_or_default();
    if let Speaks::Modern { .. } = speaks {
        let name = |key: &str| format!("io.modelcontextprotocol/{key}");
        meta.insert(name("protocolVersion"), json!("2026-07-28"));
        meta.insert(name("clientInfo"), json!({"name": "test", "version": "1"}));
        meta.insert(name("clientCapabilities"), capabilities(speaks));
    }
    meta
}

impl Client {
    pub(crate) fn start(home: &TestHome, speaks: Speaks) -> Client {
        Client::start_with(home, speaks, &[], &[])
    }

    pub(crate) fn start_with(
        home: &TestHome,
        speaks: Speaks,
        options: &[&str],
        environment: &[(&str, &str)],
    ) -> Client {
        let mut server = Command::new(home.binary())
            .args(options)
            .arg("mcp")
            .current_dir(home.cwd())
            .env_clear()
            .envs(home.environment())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let input = server.stdin.take();
        let output = BufReader::new(server.stdout.take().expect("it is piped"));
        let (found, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                let answer =
                    serde_json::from_str(&line).unwrap_or_else(|_| json!({"no JSON": line}));
                if found.send(answer).is_err() {
                    return;
                }
            }
        });
        let (last_id, heard, welcome) = (0, Vec::new(), Value::Null);
        let mut client = Client { server, input, answers, speaks, last_id, heard, welcome };
        client.welcome = client.greet();
        client
    }

    fn greet(&mut self) -> Value {
        if let Speaks::Modern { .. } = self.speaks {
            return self.request("server/discover", json!({}));
        }
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities(self.speaks),
            "clientInfo": {"name": "test", "version": "1"}});
        let welcome = self.request("initialize", hello);
        self.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
        welcome
    }

    /// Writes a line.
    pub(crate) fn write(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is open");
        input.write_all(line.as_bytes()).expect("the server reads");
        input.write_all(b"\n").expect("the server reads");
    }

    /// Sends a request; its id.
    pub(crate) fn send(&mut self, method: &str, params: Value, more: Value) -> u64 {
        self.last_id += 1;
        let mut params = params;
        let meta = meta(self.speaks, more);
        if !meta.is_empty() {
            params["_meta"] = Value::Object(meta);
        }
        let id = self.last_id;
        self.write(
            &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string(),
        );
        id
    }

    /// The answer to a request: the whole message. Answers may come in another order than questions.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        let answers = |message: &Value| message["id"] == id && message.get("method").is_none();
        if let Some(at) = self.heard.iter().position(answers) {
            return self.heard.remove(at);
        }
        loop {
            let message = self.next();
            if answers(&message) {
                return message;
            }
            self.heard.push(message);
        }
    }

    /// The next message, whatever it is.
    pub(crate) fn next(&mut self) -> Value {
        self.answers.recv_timeout(DEADLINE).expect("the server says something")
    }

    /// A request and its answer.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params, json!({}));
        self.answer(id)
    }

    /// Calls a tool; its result.
    #[track_caller]
    pub(crate) fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let id = self.send_tool(name, arguments);
        self.result(id)
    }

    pub(crate) fn send_tool(&mut self, name: &str, arguments: Value) -> u64 {
        self.send("tools/call", json!({"name": name, "arguments": arguments}), json!({}))
    }

    #[track_caller]
    pub(crate) fn result(&mut self, id: u64) -> Value {
        let answer = self.answer(id);
        assert!(answer["result"].is_object(), "an error instead of a result: {answer}");
        answer["result"].clone()
    }

    /// Launches a shell line; its id.
    #[track_caller]
    pub(crate) fn launch(&mut self, line: &str) -> String {
        let launched = self.tool("run", json!({"shell": line}));
        launched["structuredContent"]["id"].as_str().expect("an id").to_owned()
    }

    /// `tasks/get`: the task.
    #[track_caller]
    pub(crate) fn get(&mut self, task: &str) -> Value {
        let answer = self.request("tasks/get", json!({"taskId": task}));
        assert!(answer["result"].is_object(), "an id of ours is answered: {answer}");
        answer["result"].clone()
    }

    /// Kills the server, as a crash would.
    pub(crate) fn kill(mut self) {
        self.server.kill().expect("it is ours");
        self.server.wait().expect("it is ours");
    }

    /// Closes the server's input; what else it says, and its exit code.
    pub(crate) fn leave(mut self) -> (Vec<Value>, i32) {
        drop(self.input.take());
        let rest = self.answers.iter().collect();
        (rest, self.server.wait().expect("it is ours").code().expect("it exits"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The text of a tool's result.
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}
