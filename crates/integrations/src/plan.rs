//! Which files an agent needs, and what is wanted in each.
//!
//! Owns: the agents' formats: names of files and keys, and what each lets us say. Facts of versions are in
//! docs/integrations.md. Never reads or writes a file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::agent::{Agent, Places, Scope};
use crate::edit::{Content, Edit, keys};

/// Under this name the agents know us.
const NAME: &str = "meanwhile";

/// Tools that change nothing, and those that only touch what the same session launched.
const QUIET_TOOLS: [&str; 6] = ["list", "output", "wait", "inbox", "extend", "cancel"];

/// The tool that launches.
const LAUNCH_TOOL: &str = "run";

/// The same on the command line, where an agent's shell tool calls us.
const QUIET_COMMANDS: [&str; 7] = ["list", "status", "output", "wait", "inbox", "extend", "lanes"];

/// Seconds that a hook may take where it only looks.
const HOOK_TIMEOUT_S: u32 = 10;

/// Seconds that the end of a turn may be held, for agents without a person; and some.
const HOLD_TIMEOUT_S: u32 = 1_900;

/// Seconds that the waiter beside an idle session may wait: a day.
const WAITER_TIMEOUT_S: u32 = 86_400;

/// Longest that one of our tools takes (`mcp.max_wait` is 45 s at most), and some.
const TOOL_TIMEOUT_S: u32 = 120;

/// How Claude Code calls us for its status line.
const STATUS_LINE: &str = " statusline";

const SKILL: &str = include_str!("text/skill.md");
const AGENT: &str = include_str!("text/agent.md");
const PLUGIN: &str = include_str!("text/opencode.js");

/// The line of the plugin that names our program.
const PLUGIN_PROGRAM: &str = "const PROGRAM = \"meanwhile\"\n";

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Our own program: absolute, because agents start servers with another PATH.
    pub program: PathBuf,
    /// Launching, too, needs no permission.
    pub allow_launch: bool,
}

/// A file and what is wanted in it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) path: PathBuf,
    /// What it is for, for people.
    pub(crate) purpose: &'static str,
    pub(crate) content: Content,
}

/// All files of an agent.
pub(crate) fn files(agent: Agent, scope: &Scope, places: &Places, wishes: &Wishes) -> Vec<Wanted> {
    let directory = places.directory(agent, scope);
    let mut files = match agent {
        Agent::Claude => claude(&directory, places, scope, wishes),
        Agent::Codex => codex(&directory, wishes),
        Agent::OpenCode => opencode(&directory, places, scope, wishes),
        Agent::Gemini => gemini(&directory, wishes),
        Agent::Droid => droid(&directory, wishes),
        Agent::Copilot => copilot(&directory, scope, wishes),
    };
    files.push(whole(
        directory.join("skills").join(NAME).join("SKILL.md"),
        "a skill: when and how",
        SKILL,
    ));
    if let Some(name) = agent_definition(agent) {
        files.push(whole(directory.join(name), "an agent definition", AGENT));
    }
    files
}

/// Where an agent looks for definitions of agents that are written as ours is.
fn agent_definition(agent: Agent) -> Option<&'static str> {
    match agent {
        Agent::Claude => Some("agents/background-task-runner.md"),
        Agent::OpenCode => Some("agent/background-task-runner.md"),
        Agent::Droid => Some("droids/background-task-runner.md"),
        // Codex has none in a file of its own; those of the others need keys that ours has not.
        Agent::Codex | Agent::Gemini | Agent::Copilot => None,
    }
}

/// What an agent does not let us say, for people.
pub(crate) fn cannot(agent: Agent) -> Option<&'static str> {
    match agent {
        Agent::Claude | Agent::Gemini => None,
        Agent::Codex => {
            Some("codex runs new hooks only after you have reviewed them: it asks when it starts")
        }
        Agent::OpenCode => Some("opencode asks for no tool of ours unless you told it to"),
        Agent::Droid => Some("droid has no rules for tools of servers: it asks as it is set up to"),
        Agent::Copilot => Some("copilot keeps its permissions per directory: it asks once in each"),
    }
}

fn tools(wishes: &Wishes) -> impl Iterator<Item = &'static str> {
    QUIET_TOOLS.into_iter().chain(wishes.allow_launch.then_some(LAUNCH_TOOL))
}

fn whole(path: PathBuf, purpose: &'static str, text: &str) -> Wanted {
    Wanted { path, purpose, content: Content::Whole(text.to_owned()) }
}

fn program(wishes: &Wishes) -> String {
    wishes.program.to_string_lossy().into_owned()
}

fn member(path: &[&str], value: Value) -> Edit {
    Edit::Member { at: keys(path), value }
}

fn server(path: PathBuf, key: &str, value: Value) -> Wanted {
    let content = Content::Json(vec![member(&[key, NAME], value)]);
    Wanted { path, purpose: "the MCP server", content }
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// One hook for one event, told apart from those of others by its arguments.
fn hook(agent: Agent, event: &str, argument: &str, wishes: &Wishes, more: &Value) -> Edit {
    let mark = format!(" hook {} {argument}", agent.name());
    let mut command = json!({ "type": "command", "command": quoted(&program(wishes)) + &mark });
    for (key, value) in more.as_object().into_iter().flatten() {
        command[key] = value.clone();
    }
    // With a matcher where the event is about tools: all of them.
    let value = match event {
        "PostToolUse" | "AfterTool" => json!({ "matcher": "*", "hooks": [command] }),
        _ => json!({ "hooks": [command] }),
    };
    Edit::Element { list: keys(&["hooks", event]), value, mark: Some(mark) }
}

fn hooks(agent: Agent, wishes: &Wishes) -> Vec<Edit> {
    let short = json!({ "timeout": HOOK_TIMEOUT_S });
    let hold = json!({ "timeout": HOLD_TIMEOUT_S });
    let plain = |event: &str| hook(agent, event, event, wishes, &short);
    let held = |event: &str| hook(agent, event, event, wishes, &hold);
    match agent {
        Agent::Claude => {
            let waiter = json!({ "timeout": WAITER_TIMEOUT_S, "asyncRewake": true });
            let mut edits: Vec<Edit> =
                ["SessionStart", "UserPromptSubmit", "PostToolUse"].map(plain).into();
            edits.push(held("Stop"));
            edits.push(hook(agent, "Stop", "Wait", wishes, &waiter));
            edits.push(hook(agent, "SessionStart", "Wait", wishes, &waiter));
            edits.push(plain("SessionEnd"));
            edits
        }
        Agent::Codex | Agent::Droid => {
            let mut edits: Vec<Edit> =
                ["SessionStart", "UserPromptSubmit", "PostToolUse"].map(plain).into();
            edits.push(held("Stop"));
            if agent == Agent::Droid {
                // Codex has no such event.
                edits.push(plain("SessionEnd"));
            }
            edits
        }
        Agent::Gemini => {
            // Milliseconds there.
            let of = |event: &str, seconds: u32| {
                let more = json!({ "name": NAME, "timeout": seconds * 1000 });
                hook(agent, event, event, wishes, &more)
            };
            let mut edits: Vec<Edit> = ["SessionStart", "BeforeAgent", "AfterTool", "SessionEnd"]
                .map(|event| of(event, HOOK_TIMEOUT_S))
                .into();
            edits.push(of("AfterAgent", HOLD_TIMEOUT_S));
            edits
        }
        // These have files of ours alone.
        Agent::OpenCode | Agent::Copilot => vec![],
    }
}

fn claude(directory: &Path, places: &Places, scope: &Scope, wishes: &Wishes) -> Vec<Wanted> {
    let value = json!({ "type": "stdio", "command": program(wishes), "args": ["mcp"], "env": {} });
    let allow = |rule: String| Edit::Element {
        list: keys(&["permissions", "allow"]),
        value: Value::String(rule),
        mark: None,
    };
    let mut rules: Vec<Edit> =
        tools(wishes).map(|tool| allow(format!("mcp__{NAME}__{tool}"))).collect();
    rules.extend(QUIET_COMMANDS.iter().map(|command| allow(format!("Bash({NAME} {command}:*)"))));
    if wishes.allow_launch {
        rules.push(allow(format!("Bash({NAME} run:*)")));
    }
    rules.extend(hooks(Agent::Claude, wishes));
    let line = quoted(&program(wishes)) + STATUS_LINE;
    rules.push(Edit::Offer {
        at: keys(&["statusLine"]),
        value: json!({ "type": "command", "command": line }),
        mark: STATUS_LINE.to_owned(),
    });
    vec![
        server(places.claude_servers(scope), "mcpServers", value),
        Wanted {
            path: directory.join("settings.json"),
            purpose: "permissions, hooks and a status line",
            content: Content::Json(rules),
        },
    ]
}

fn codex(directory: &Path, wishes: &Wishes) -> Vec<Wanted> {
    let mut edits = vec![member(
        &["mcp_servers", NAME],
        json!({
            "command": program(wishes),
            "args": ["mcp"],
            "tool_timeout_sec": TOOL_TIMEOUT_S,
            // Codex starts servers with few variables.
            "env_vars": ["MEANWHILE_HOME", "MEANWHILE_SESSION", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"],
            "tools": Value::Object(
                tools(wishes).map(|tool| (tool.to_owned(), json!({ "approval_mode": "approve" }))).collect(),
            ),
        }),
    )];
    vec![
        Wanted {
            path: directory.join("config.toml"),
            purpose: "the MCP server and its permissions",
            content: Content::Toml(std::mem::take(&mut edits)),
        },
        hooks_file(directory.join("hooks.json"), Agent::Codex, wishes),
    ]
}

fn hooks_file(path: PathBuf, agent: Agent, wishes: &Wishes) -> Wanted {
    Wanted { path, purpose: "hooks", content: Content::Json(hooks(agent, wishes)) }
}

fn opencode(directory: &Path, places: &Places, scope: &Scope, wishes: &Wishes) -> Vec<Wanted> {
    let value = json!({
        "type": "local",
        "command": [program(wishes), "mcp"],
        "enabled": true,
        "timeout": TOOL_TIMEOUT_S * 1000,
    });
    // A text of JSON is one of JavaScript, too.
    let program = format!("const PROGRAM = {}\n", Value::String(program(wishes)));
    vec![
        server(places.opencode_settings(scope), "mcp", value),
        whole(
            directory.join("plugin").join("meanwhile.js"),
            "a plugin: tells sessions what ended, and wakes idle ones",
            &PLUGIN.replace(PLUGIN_PROGRAM, &program),
        ),
    ]
}

fn gemini(directory: &Path, wishes: &Wishes) -> Vec<Wanted> {
    let value = json!({
        "command": program(wishes),
        "args": ["mcp"],
        "timeout": TOOL_TIMEOUT_S * 1000,
    });
    let rules: String = tools(wishes)
        .map(|tool| {
            format!(
                "[[rule]]\nmcpName = \"{NAME}\"\ntoolName = \"{tool}\"\ndecision = \"allow\"\npriority = 100\n\n"
            )
        })
        .collect();
    let rules = format!("# Made by `meanwhile install gemini`.\n\n{}\n", rules.trim_end());
    let mut edits = vec![member(&["mcpServers", NAME], value)];
    edits.extend(hooks(Agent::Gemini, wishes));
    vec![
        Wanted {
            path: directory.join("settings.json"),
            purpose: "the MCP server and hooks",
            content: Content::Json(edits),
        },
        whole(directory.join("policies").join("meanwhile.toml"), "permissions", &rules),
    ]
}

fn droid(directory: &Path, wishes: &Wishes) -> Vec<Wanted> {
    let value = json!({
        "type": "stdio",
        "command": program(wishes),
        "args": ["mcp"],
        "disabled": false,
    });
    // Where hooks.json has a list for an event, Droid does not look for that event in settings.json.
    let beside = hooks(Agent::Droid, wishes).into_iter().filter_map(|edit| match edit {
        Edit::Element { list, value, mark: Some(mark) } => {
            Some(Edit::Beside { list: list[1..].to_vec(), value, mark })
        }
        _ => None,
    });
    vec![
        server(directory.join("mcp.json"), "mcpServers", value),
        hooks_file(directory.join("settings.json"), Agent::Droid, wishes),
        Wanted {
            path: directory.join("hooks.json"),
            purpose: "hooks, beside those that are there",
            content: Content::Json(beside.collect()),
        },
    ]
}

fn copilot(directory: &Path, scope: &Scope, wishes: &Wishes) -> Vec<Wanted> {
    let value = json!({
        "type": "local",
        "command": program(wishes),
        "args": ["mcp"],
        "tools": ["*"],
        "timeout": TOOL_TIMEOUT_S * 1000,
    });
    let path = match scope {
        Scope::User => directory.join("mcp-config.json"),
        Scope::Project(root) => root.join(".mcp.json"),
    };
    vec![
        server(path, "mcpServers", value),
        whole(directory.join("hooks").join("meanwhile.json"), "hooks", &copilot_hooks(wishes)),
    ]
}

fn copilot_hooks(wishes: &Wishes) -> String {
    let hook = |event: &str, seconds: u32| {
        let command =
            format!("{} hook {} {event}", quoted(&program(wishes)), Agent::Copilot.name());
        json!([{ "type": "command", "bash": command, "timeoutSec": seconds }])
    };
    let mut hooks = serde_json::Map::new();
    for event in ["sessionStart", "userPromptSubmitted", "postToolUse"] {
        hooks.insert(event.to_owned(), hook(event, HOOK_TIMEOUT_S));
    }
    hooks.insert("agentStop".to_owned(), hook("agentStop", HOLD_TIMEOUT_S));
    let text = serde_json::to_string_pretty(&json!({ "version": 1, "hooks": hooks }));
    text.expect("texts and numbers") + "\n"
}
