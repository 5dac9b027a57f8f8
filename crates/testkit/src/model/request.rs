//! What a client asked, whichever words it uses.
//!
//! Owns: the shapes of four interfaces, as far as a script needs them. Never answers.

use serde_json::Value;

/// Whose interface a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    Gemini,
}

impl Dialect {
    /// By the end of the path, so that any base URL works.
    pub(super) fn of(path: &str) -> Option<Self> {
        let ends = |end: &str| path.ends_with(end);
        if ends("/messages") {
            Some(Self::Messages)
        } else if ends("/chat/completions") {
            Some(Self::Chat)
        } else if ends("/responses") {
            Some(Self::Responses)
        } else if ends(":generateContent") || ends(":streamGenerateContent") {
            Some(Self::Gemini)
        } else {
            None
        }
    }
}

/// A tool that a client offers, with the schema of its arguments.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    /// With its namespace in front where it has one.
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) schema: Value,
}

/// A request without its dialect.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) last_user: String,
    pub(super) after_tools: bool,
    pub(super) tools: Vec<Offered>,
}

pub(super) fn read(dialect: Dialect, path: &str, body: &Value) -> Request {
    let (last_user, after_tools) = match dialect {
        Dialect::Messages => last(&body["messages"], |message| match message["role"].as_str() {
            Some("user") if has(&message["content"], "tool_result") => Turn::Tools,
            Some("user") => Turn::User(text_of(&message["content"])),
            _ => Turn::Other,
        }),
        Dialect::Chat => last(&body["messages"], |message| match message["role"].as_str() {
            Some("user") => Turn::User(text_of(&message["content"])),
            Some("tool") => Turn::Tools,
            _ => Turn::Other,
        }),
        Dialect::Responses => match &body["input"] {
            Value::String(text) => (text.clone(), false),
            items => last(items, |item| match (item["type"].as_str(), item["role"].as_str()) {
                (Some(kind), _) if kind.ends_with("_call_output") => Turn::Tools,
                (_, Some("user")) => Turn::User(text_of(&item["content"])),
                _ => Turn::Other,
            }),
        },
        Dialect::Gemini => last(&body["contents"], |content| {
            let parts = content["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
            if parts.iter().any(|part| part.get("functionResponse").is_some()) {
                Turn::Tools
            } else if content["role"].as_str().unwrap_or("user") == "user" {
                Turn::User(text_of(&content["parts"]))
            } else {
                Turn::Other
            }
        }),
    };
    let in_path = path.rsplit_once("/models/").and_then(|(_, rest)| rest.split(':').next());
    Request {
        model: body["model"].as_str().or(in_path).unwrap_or_default().to_owned(),
        stream: body["stream"].as_bool().unwrap_or(path.ends_with(":streamGenerateContent")),
        last_user,
        after_tools,
        tools: tools(dialect, &body["tools"]),
    }
}

enum Turn {
    User(String),
    Tools,
    Other,
}

/// The last text of the user, and whether tools have answered since.
fn last(messages: &Value, turn: impl Fn(&Value) -> Turn) -> (String, bool) {
    let mut found = (String::new(), false);
    for message in messages.as_array().into_iter().flatten() {
        match turn(message) {
            Turn::User(text) => found = (text, false),
            Turn::Tools => found.1 = true,
            Turn::Other => {}
        }
    }
    found
}

fn has(content: &Value, kind: &str) -> bool {
    content.as_array().into_iter().flatten().any(|block| block["type"] == kind)
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join("\n"),
        Value::Object(members) => {
            members.get("text").or_else(|| members.get("content")).map(text_of).unwrap_or_default()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

fn tools(dialect: Dialect, tools: &Value) -> Vec<Offered> {
    let mut offered = Vec::new();
    for tool in tools.as_array().into_iter().flatten() {
        let mut add = |name: &Value, schema: &Value| {
            let name = name.as_str().unwrap_or_default().to_owned();
            offered.push(Offered { name, namespace: None, schema: schema.clone() });
        };
        match dialect {
            Dialect::Messages => add(&tool["name"], &tool["input_schema"]),
            Dialect::Chat => add(&tool["function"]["name"], &tool["function"]["parameters"]),
            // Codex puts the tools of a server into a namespace.
            Dialect::Responses if tool["type"] == "namespace" => {
                let namespace = tool["name"].as_str().unwrap_or_default();
                for inner in tool["tools"].as_array().into_iter().flatten() {
                    let name = inner["name"].as_str().unwrap_or_default();
                    offered.push(Offered {
                        name: format!("{namespace}__{name}"),
                        namespace: Some(namespace.to_owned()),
                        schema: inner["parameters"].clone(),
                    });
                }
            }
            Dialect::Responses if tool["name"].is_string() => {
                add(&tool["name"], &tool["parameters"])
            }
            Dialect::Responses => add(&tool["type"], &tool["parameters"]),
            Dialect::Gemini => {
                for function in tool["functionDeclarations"].as_array().into_iter().flatten() {
                    let schema =
                        function.get("parametersJsonSchema").unwrap_or(&function["parameters"]);
                    add(&function["name"], schema);
                }
            }
        }
    }
    offered
}
