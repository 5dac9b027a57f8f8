//! From the marker in a prompt to what is done.
//!
//! Owns: the words of the markers. Never knows a dialect.

use std::time::Duration;

use serde_json::{Value, json};

use super::request::{Offered, Request};

const TEXT: &str = "Hello from the scripted model.";
const AFTER_TOOLS: &str = "Done: the tool ran.";

/// Names under which agents offer a shell, the likeliest first.
const SHELLS: [&str; 10] = [
    "Bash",
    "bash",
    "shell",
    "shell_command",
    "exec_command",
    "local_shell",
    "run_shell_command",
    "Execute",
    "execute",
    "run_command",
];

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Value,
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    Text { text: String, over: Duration, cut: bool },
    Calls(Vec<Call>),
    Error(u16),
    Hang,
}

/// Decides; `failures` counts the errors that were given for a marker before.
pub(super) fn decide(request: &Request, failures: &mut dyn FnMut(&str) -> u32) -> Deed {
    let prompt = &request.last_user;
    let calls = calls(prompt);
    if request.after_tools && (!calls.is_empty() || prompt.contains("[[scn:tool")) {
        return text(AFTER_TOOLS);
    }
    if !calls.is_empty() {
        return Deed::Calls(calls);
    }
    let marker = prompt.rsplit_once("[[scn:").and_then(|(_, rest)| rest.split("]]").next());
    let by_model =
        request.model.rsplit('/').next().and_then(|model| model.strip_prefix("scripted-"));
    let name = marker.or(by_model).unwrap_or("text");
    match name.strip_prefix("flaky").and_then(|rest| rest.split_once(':')) {
        Some((times, rest)) => {
            let times: u32 = times.parse().unwrap_or(1);
            if failures(name) < times { Deed::Error(500) } else { plain(rest, request) }
        }
        None => plain(name, request),
    }
}

fn plain(name: &str, request: &Request) -> Deed {
    let (word, rest) = name.split_once(':').unwrap_or((name, ""));
    match word {
        "tool" => shell_call(&request.tools, if rest.is_empty() { "echo hi" } else { rest })
            .map_or_else(|| text("There is no shell."), |call| Deed::Calls(vec![call])),
        "empty" => text(""),
        "hang" => Deed::Hang,
        "cut" => Deed::Text { text: TEXT.to_owned(), over: Duration::ZERO, cut: true },
        "slow" => {
            let over = Duration::from_secs_f64(rest.parse().unwrap_or(20.0));
            Deed::Text { text: TEXT.to_owned(), over, cut: false }
        }
        _ => match word.strip_prefix("err").and_then(|code| code.parse().ok()) {
            Some(code) => Deed::Error(code),
            None => text(TEXT),
        },
    }
}

fn text(text: &str) -> Deed {
    Deed::Text { text: text.to_owned(), over: Duration::ZERO, cut: false }
}

/// All `[[call:NAME {JSON}]]` of a prompt.
fn calls(prompt: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    for piece in prompt.split("[[call:").skip(1) {
        let (name, rest) = piece.split_at(piece.find([' ', ']']).unwrap_or(piece.len()));
        // The document ends where it says it ends: it may hold `]]` itself.
        let mut documents =
            serde_json::Deserializer::from_str(rest.trim_start()).into_iter::<Value>();
        let arguments = match documents.next() {
            Some(Ok(arguments)) => arguments,
            Some(Err(_)) | None => json!({}),
        };
        calls.push(Call { name: name.to_owned(), arguments });
    }
    calls
}

/// A call of the tool that looks most like a shell, with every argument that its schema demands.
fn shell_call(tools: &[Offered], command: &str) -> Option<Call> {
    let named = SHELLS.iter().find_map(|name| tools.iter().find(|tool| tool.name == *name));
    let like = || {
        tools.iter().find(|tool| {
            let name = tool.name.to_lowercase();
            ["shell", "bash", "exec"].iter().any(|part| name.contains(part))
        })
    };
    let tool = named.or_else(like)?;
    let properties = &tool.schema["properties"];
    let mut arguments = match (&properties["command"], &properties["cmd"]) {
        (Value::Null, Value::Object(_)) => json!({ "cmd": command }),
        (of, _) if of["type"] == "array" => json!({ "command": ["bash", "-lc", command] }),
        _ => json!({ "command": command }),
    };
    for name in tool.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if arguments.get(name).is_none() {
            arguments[name] = filler(&properties[name]);
        }
    }
    Some(Call { name: tool.name.clone(), arguments })
}

fn filler(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|choices| choices.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("number" | "integer") => json!(30),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("run a command"),
    }
}
