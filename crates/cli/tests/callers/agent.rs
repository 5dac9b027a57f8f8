//! An agent that does what it is told: it calls hooks, keeps MCP servers and runs commands, all as children of its own.
//!
//! Owns the agent's process and, through it, its servers: they are killed with it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use meanwhile_testkit::{DEADLINE, Process, TestHome};
use serde_json::{Value, json};

/// One line of JSON is one thing to do, and one is its answer.
const SCRIPT: &str = r#"
import json, subprocess, sys
servers, running = {}, []
def call(server, asked):
    try:
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
    except BrokenPipeError:
        return {"gone": True}
    while True:
        said = server.stdout.readline()
        if not said:
            return {"gone": True}
        said = json.loads(said)
        if said.get("id") == asked["id"] and "method" not in said:
            return said
for line in sys.stdin:
    do = json.loads(line)
    env, cwd, answer = do.get("env"), do.get("cwd"), {}
    if do["do"] == "run":
        ran = subprocess.run(do["argv"], env=env, cwd=cwd, input=do["input"], capture_output=True, text=True)
        answer = {"code": ran.returncode, "out": ran.stdout, "err": ran.stderr}
    elif do["do"] == "start":
        child = subprocess.Popen(do["argv"], env=env, cwd=cwd, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        child.stdin.write(do["input"])
        child.stdin.close()
        running.append(child)
    elif do["do"] == "still running":
        answer = {"running": sum(1 for child in running if child.poll() is None)}
    elif do["do"] == "codes":
        answer = {"codes": [child.poll() for child in running]}
    elif do["do"] == "serve":
        servers[do["name"]] = subprocess.Popen(do["argv"], env=env, cwd=cwd, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        answer = {"said": call(servers[do["name"]], do["hello"]), "pid": servers[do["name"]].pid}
    elif do["do"] == "call":
        answer = call(servers[do["name"]], do["asked"])
    print(json.dumps(answer), flush=True)
"#;

/// The variables of one child.
pub(crate) type Variables = BTreeMap<String, String>;

pub(crate) struct Agent<'a> {
    home: &'a TestHome,
    name: &'static str,
    process: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    asked: u64,
    /// Answers that nobody has waited for.
    unheard: usize,
    /// The numbers of its servers.
    servers: BTreeMap<String, u32>,
}

impl<'a> Agent<'a> {
    /// An agent of this name, with these variables and in this directory.
    pub(crate) fn start_with(
        home: &'a TestHome,
        name: &'static str,
        more: &[(&str, &str)],
        cwd: &std::path::Path,
    ) -> Agent<'a> {
        let script = home.path(&format!("{name}-agent.py"));
        std::fs::write(&script, SCRIPT).expect("a file can be written");
        let mut process = Command::new("python3")
            .arg(&script)
            .current_dir(cwd)
            .env_clear()
            .envs(variables(home, more))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let input = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let (found, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).expect("the script answers in JSON");
                if found.send(answer).is_err() {
                    return;
                }
            }
        });
        let (asked, unheard, servers) = (0, 0, BTreeMap::new());
        Agent { home, name, process, input, answers, asked, unheard, servers }
    }

    pub(crate) fn start(home: &'a TestHome, name: &'static str) -> Agent<'a> {
        Agent::start_with(home, name, &[], &home.cwd())
    }

    fn write(&mut self, what: &Value) {
        writeln!(self.input, "{what}").expect("the agent reads");
    }

    #[track_caller]
    fn tell(&mut self, what: &Value) -> Value {
        self.write(what);
        self.answers.recv_timeout(DEADLINE).expect("the agent answers")
    }

    /// Runs a program as the agent's shell tool does; what it printed.
    #[track_caller]
    pub(crate) fn run(&mut self, words: &[&str], more: &[(&str, &str)]) -> String {
        let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let line = format!("'{}' {line}", self.home.binary().display());
        let ran = self.shell(&line, "", more);
        assert_eq!(ran["code"], 0, "{words:?}: {ran}");
        ran["out"].as_str().expect("text").trim().to_owned()
    }

    /// Runs a line as agents run their hooks and tools; how it ended.
    pub(crate) fn shell(&mut self, line: &str, input: &str, more: &[(&str, &str)]) -> Value {
        self.shell_in("run", line, input, &variables(self.home, more), &self.home.cwd())
    }

    fn shell_in(
        &mut self,
        how: &str,
        line: &str,
        input: &str,
        env: &Variables,
        cwd: &std::path::Path,
    ) -> Value {
        // A shell of its own, which does not become what it runs.
        let argv = ["sh", "-c", &format!("{line}; exit $?")];
        self.tell(&json!({ "do": how, "argv": argv, "env": env, "cwd": cwd, "input": input }))
    }

    fn hook_line(&self, event: &str) -> String {
        format!("'{}' hook {} {event}", self.home.binary().display(), self.name)
    }

    /// Calls a hook; what it said to the model.
    #[track_caller]
    pub(crate) fn hook(&mut self, event: &str, session: &str, more: Value) -> String {
        self.hook_with(event, session, more, &[])
    }

    #[track_caller]
    pub(crate) fn hook_with(
        &mut self,
        event: &str,
        session: &str,
        more: Value,
        variables: &[(&str, &str)],
    ) -> String {
        let (line, input) = (self.hook_line(event), input(event, session, more));
        let ran = self.shell(&line, &input, variables);
        assert_eq!(ran["code"], 0, "{event}: {ran}");
        ran["out"].as_str().expect("text").to_owned()
    }

    /// Starts a hook that waits.
    pub(crate) fn start_hook(&mut self, event: &str, said: &str, session: &str) {
        let (line, input) = (self.hook_line(event), input(said, session, json!({})));
        let env = variables(self.home, &[]);
        let cwd = self.home.cwd();
        self.shell_in("start", &line, &input, &env, &cwd);
    }

    /// How many of the hooks that were started have not ended.
    pub(crate) fn still_running(&mut self) -> u64 {
        self.tell(&json!({ "do": "still running" }))["running"].as_u64().expect("a number")
    }

    /// The exit codes of those that have.
    pub(crate) fn codes(&mut self) -> Vec<Value> {
        self.tell(&json!({ "do": "codes" }))["codes"].as_array().expect("a list").clone()
    }

    /// Starts an MCP server with these variables beside those of the home.
    #[track_caller]
    pub(crate) fn serve(&mut self, name: &str, more: &[(&str, &str)]) {
        let env = variables(self.home, more);
        self.serve_bare(name, &env, &self.home.cwd());
    }

    /// Starts one with nothing else than these.
    #[track_caller]
    pub(crate) fn serve_bare(&mut self, name: &str, env: &Variables, cwd: &std::path::Path) {
        self.asked += 1;
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": self.name, "version": "1" } });
        let hello =
            json!({ "jsonrpc": "2.0", "id": self.asked, "method": "initialize", "params": params });
        let argv = [self.home.binary().into_os_string().into_string().expect("text"), "mcp".into()];
        let serve = json!({ "do": "serve", "name": name, "argv": argv, "env": env, "cwd": cwd, "hello": hello });
        let served = self.tell(&serve);
        assert!(served["said"]["result"].is_object(), "{served}");
        let pid = served["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        self.servers.insert(name.to_owned(), pid.expect("a number"));
    }

    /// Calls a tool of a server; the whole answer, `gone` when the server is.
    pub(crate) fn call(&mut self, name: &str, tool: &str, arguments: Value, meta: Value) -> Value {
        self.asked += 1;
        let mut params = json!({ "name": tool, "arguments": arguments });
        if meta.as_object().is_some_and(|meta| !meta.is_empty()) {
            params["_meta"] = meta;
        }
        let asked =
            json!({ "jsonrpc": "2.0", "id": self.asked, "method": "tools/call", "params": params });
        self.tell(&json!({ "do": "call", "name": name, "asked": asked }))
    }

    /// Launches a shell line by a server; its id.
    #[track_caller]
    pub(crate) fn launch(&mut self, name: &str, line: &str) -> String {
        let answer = self.call(name, "run", json!({ "shell": line }), json!({}));
        let id = answer["result"]["structuredContent"]["id"].as_str();
        id.unwrap_or_else(|| panic!("no launch: {answer}")).to_owned()
    }

    /// Asks for the inbox of a server and does not wait for the answer.
    pub(crate) fn ask_inbox(&mut self, name: &str) {
        self.asked += 1;
        let params = json!({ "name": "inbox", "arguments": {} });
        let asked =
            json!({ "jsonrpc": "2.0", "id": self.asked, "method": "tools/call", "params": params });
        self.write(&json!({ "do": "call", "name": name, "asked": asked }));
        self.unheard += 1;
    }

    /// What came of everything that was asked without waiting; of an agent that was killed, what it has read before.
    pub(crate) fn heard(&mut self) -> String {
        let mut heard = String::new();
        while self.unheard > 0 {
            self.unheard -= 1;
            // An agent that is dead has closed its output.
            let Ok(answer) = self.answers.recv_timeout(DEADLINE) else { break };
            heard.push_str(&answer.to_string());
        }
        heard
    }

    /// Kills a server, as a crash would, whatever the agent is busy with.
    pub(crate) fn kill_server(&mut self, name: &str) {
        let server = self.servers.get(name).and_then(|pid| Process::of(*pid));
        server.inspect(Process::kill);
    }

    /// Kills the agent.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }

    /// What a server's inbox says.
    pub(crate) fn inbox(&mut self, name: &str) -> String {
        let answer = self.call(name, "inbox", json!({}), json!({}));
        answer["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        // Its servers see the end of their input.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn input(event: &str, session: &str, more: Value) -> String {
    let mut input = json!({ "session_id": session, "hook_event_name": event });
    for (key, value) in more.as_object().into_iter().flatten() {
        input[key] = value.clone();
    }
    input.to_string()
}

/// The environment of a home, and more.
pub(crate) fn variables(home: &TestHome, more: &[(&str, &str)]) -> Variables {
    let text = |value: std::ffi::OsString| value.into_string().expect("text");
    let own = home.environment().into_iter().map(|(name, value)| (text(name), text(value)));
    own.chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
}

pub(crate) fn session_of(home: &TestHome, id: &str) -> String {
    home.status(id)["session"].as_str().expect("a name").to_owned()
}
