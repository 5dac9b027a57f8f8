//! What agents tell their hooks, and what hooks may answer: one meaning, a dialect per agent.
//!
//! ```text
//!   stdin (JSON of the agent) ──► Call { session, moment, ... } ──► somebody decides ──► Speech ──► stdout (JSON)
//! ```
//!
//! Owns: the names of events and fields of each agent. Never decides what is said, never asks anybody. Fields it does not
//! know are passed over: agents add some with every release.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::Agent;

/// Most bytes of input that are read: a prompt is part of some.
pub const LARGEST_INPUT: usize = 4 << 20;

/// Longest name of a session that is believed.
const LONGEST_SESSION: usize = 256;

/// Where an agent is in its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A conversation begins, or goes on in another process or under another name.
    Start(Beginning),
    /// A person has said something.
    Prompt,
    /// A tool has ended, and the model is asked again.
    AfterTool,
    /// The turn is over; `again` if it is over a second time because a hook held it.
    Stop { again: bool },
    /// The turn of a subagent is over.
    SubagentStop { again: bool },
    /// The conversation is closed.
    End,
}

/// How a conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    New,
    /// It goes on where it was.
    Resumed,
    /// It goes on, and the model has forgotten most of it.
    Compacted,
    /// The same process goes on with another conversation.
    Cleared,
}

/// What an agent told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The agent's own name for the conversation.
    pub session: String,
    pub moment: Moment,
    /// It is a subagent that speaks: what is said reaches that one, and not the conversation.
    pub subagent: bool,
    pub cwd: Option<String>,
    pub permission_mode: Option<String>,
}

/// What is said to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Beside what it goes on with.
    Context(String),
    /// It had ended its turn: it goes on with this.
    GoOn(String),
}

/// Why an input cannot be used. The hook then says nothing, and the agent goes on as if there were none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    NotJson(String),
    NoSession,
    /// An event that we have no use for.
    Unknown(String),
}

#[derive(Deserialize)]
struct Input {
    #[serde(alias = "sessionId")]
    session_id: Option<String>,
    hook_event_name: Option<String>,
    source: Option<String>,
    #[serde(default)]
    stop_hook_active: bool,
    agent_id: Option<Value>,
    cwd: Option<String>,
    permission_mode: Option<String>,
}

/// Reads what an agent gave a hook for the event that the hook was installed for.
///
/// # Errors
/// When it is not what this agent says.
pub fn read(agent: Agent, event: &str, input: &[u8]) -> Result<Call, Unusable> {
    let input: Input =
        serde_json::from_slice(input).map_err(|error| Unusable::NotJson(error.to_string()))?;
    let session = input.session_id.filter(|name| is_session(name));
    // What it says itself is newer than what was once installed.
    let event = input.hook_event_name.as_deref().unwrap_or(event);
    let again = input.stop_hook_active;
    let moment = match (agent, event) {
        (_, "SessionStart") | (Agent::Copilot, "sessionStart") => {
            Moment::Start(match input.source.as_deref() {
                Some("resume" | "fork") => Beginning::Resumed,
                Some("compact") => Beginning::Compacted,
                Some("clear") => Beginning::Cleared,
                Some(_) | None => Beginning::New,
            })
        }
        (Agent::Gemini, "BeforeAgent") => Moment::Prompt,
        (Agent::Gemini, "AfterTool") => Moment::AfterTool,
        (Agent::Gemini, "AfterAgent") => Moment::Stop { again },
        (Agent::Claude | Agent::Codex | Agent::Droid, "UserPromptSubmit") => Moment::Prompt,
        (Agent::Claude | Agent::Codex | Agent::Droid, "PostToolUse")
        | (Agent::Claude, "PostToolBatch") => Moment::AfterTool,
        (Agent::Claude | Agent::Codex | Agent::Droid, "Stop") => Moment::Stop { again },
        (Agent::Claude | Agent::Codex | Agent::Droid, "SubagentStop") => {
            Moment::SubagentStop { again }
        }
        (Agent::Claude | Agent::Gemini | Agent::Droid, "SessionEnd") => Moment::End,
        (Agent::Copilot, "userPromptSubmitted") => Moment::Prompt,
        (Agent::Copilot, "postToolUse") => Moment::AfterTool,
        (Agent::Copilot, "agentStop") => Moment::Stop { again },
        (Agent::Copilot, "subagentStop") => Moment::SubagentStop { again },
        (Agent::Copilot, "sessionEnd") => Moment::End,
        (Agent::OpenCode, "chat.message") => Moment::Prompt,
        (Agent::OpenCode, "tool.execute.after") => Moment::AfterTool,
        // Its waiter begins when it is idle.
        (Agent::OpenCode, "session.idle" | "Wait") => Moment::Stop { again },
        (Agent::OpenCode, "experimental.session.compacting") => Moment::Start(Beginning::Compacted),
        _ => {
            return Err(Unusable::Unknown(
                event.chars().filter(|c| !c.is_control()).take(60).collect(),
            ));
        }
    };
    Ok(Call {
        session: session.ok_or(Unusable::NoSession)?,
        moment,
        subagent: input.agent_id.is_some_and(|id| !id.is_null()),
        cwd: input.cwd,
        permission_mode: input.permission_mode,
    })
}

/// Which conversation an agent speaks of, whatever else it says.
#[must_use]
pub fn session(input: &[u8]) -> Option<String> {
    let input: Input = serde_json::from_slice(input).ok()?;
    input.session_id.filter(|name| is_session(name))
}

fn is_session(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_SESSION && !name.chars().any(char::is_control)
}

/// An event of an agent after a tool, and what the agent would say with it: for trying a hook out.
#[must_use]
pub fn sample(agent: Agent, session: &str) -> (&'static str, String) {
    let event = match agent {
        Agent::Claude | Agent::Codex | Agent::Droid => "PostToolUse",
        Agent::Gemini => "AfterTool",
        Agent::OpenCode => "tool.execute.after",
        Agent::Copilot => "postToolUse",
    };
    (event, json!({ "session_id": session, "hook_event_name": event }).to_string())
}

/// Whether something said at this moment reaches the model.
#[must_use]
pub fn can_hear(moment: Moment) -> bool {
    match moment {
        Moment::Start(_) | Moment::Prompt | Moment::AfterTool => true,
        Moment::Stop { again } => !again,
        Moment::SubagentStop { .. } | Moment::End => false,
    }
}

/// What the hook prints; the agent reads it at exit code 0.
#[must_use]
pub fn answer(agent: Agent, event: &str, speech: &Speech) -> String {
    let value = match (agent, speech) {
        // Our own plugin reads it.
        (Agent::OpenCode, Speech::Context(text) | Speech::GoOn(text)) => json!({ "say": text }),
        (Agent::Copilot, Speech::Context(text)) => json!({ "additionalContext": text }),
        (_, Speech::Context(text)) => json!({
            "hookSpecificOutput": { "hookEventName": event, "additionalContext": text },
        }),
        (Agent::Gemini, Speech::GoOn(text)) => json!({ "decision": "deny", "reason": text }),
        (_, Speech::GoOn(text)) => json!({ "decision": "block", "reason": text }),
    };
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(agent: Agent, event: &str, fields: &Value) -> Result<Moment, Unusable> {
        let mut input =
            json!({ "session_id": "s-1", "cwd": "/w", "hook_event_name": event, "new": [1] });
        for (key, value) in fields.as_object().expect("fields are an object") {
            input[key] = value.clone();
        }
        read(agent, event, input.to_string().as_bytes()).map(|call| call.moment)
    }

    #[test]
    fn each_agent_is_understood_in_its_own_words() {
        let none = json!({});
        let start =
            |source: &str| moment(Agent::Claude, "SessionStart", &json!({ "source": source }));
        assert_eq!(start("startup"), Ok(Moment::Start(Beginning::New)));
        assert_eq!(start("resume"), Ok(Moment::Start(Beginning::Resumed)));
        assert_eq!(start("clear"), Ok(Moment::Start(Beginning::Cleared)));
        assert_eq!(start("compact"), Ok(Moment::Start(Beginning::Compacted)));
        for agent in [Agent::Claude, Agent::Codex, Agent::Droid] {
            assert_eq!(moment(agent, "UserPromptSubmit", &none), Ok(Moment::Prompt));
            assert_eq!(moment(agent, "PostToolUse", &none), Ok(Moment::AfterTool));
            let held = json!({ "stop_hook_active": true });
            assert_eq!(moment(agent, "Stop", &held), Ok(Moment::Stop { again: true }));
            assert_eq!(moment(agent, "Stop", &none), Ok(Moment::Stop { again: false }));
        }
        assert_eq!(moment(Agent::Gemini, "BeforeAgent", &none), Ok(Moment::Prompt));
        assert_eq!(moment(Agent::Gemini, "AfterTool", &none), Ok(Moment::AfterTool));
        assert_eq!(moment(Agent::Gemini, "AfterAgent", &none), Ok(Moment::Stop { again: false }));
        assert_eq!(moment(Agent::Claude, "PostToolBatch", &none), Ok(Moment::AfterTool));
        assert_eq!(moment(Agent::Droid, "SessionEnd", &none), Ok(Moment::End));
        assert_eq!(moment(Agent::OpenCode, "chat.message", &none), Ok(Moment::Prompt));
        assert_eq!(moment(Agent::OpenCode, "tool.execute.after", &none), Ok(Moment::AfterTool));
        assert_eq!(moment(Agent::OpenCode, "Wait", &none), Ok(Moment::Stop { again: false }));
        assert!(moment(Agent::OpenCode, "Stop", &none).is_err(), "that is a word of others");
    }

    /// What Copilot CLI 1.0.102 gave its hooks, word for word but for paths.
    #[test]
    fn what_copilot_said_is_understood() {
        let heard = |event: &str, input: &str| {
            let call = read(Agent::Copilot, event, input.as_bytes()).expect("it is whole");
            assert_eq!(call.session, "99b369b8-5ec4-4b2d-827d-1be7431f3883");
            assert_eq!(call.cwd.as_deref(), Some("/w"));
            call.moment
        };
        let common = r#""sessionId":"99b369b8-5ec4-4b2d-827d-1be7431f3883","timestamp":1795294987928,"cwd":"/w""#;
        let of = |event: &str, more: &str| heard(event, &format!("{{{common},{more}}}"));
        let start = r#""source":"new","initialPrompt":"build it""#;
        assert_eq!(of("sessionStart", start), Moment::Start(Beginning::New));
        assert_eq!(of("userPromptSubmitted", r#""prompt":"build it""#), Moment::Prompt);
        let tool = r#""toolName":"bash","toolArgs":{"command":"true"},"toolResult":{"resultType":"success","textResultForLlm":""}"#;
        assert_eq!(of("postToolUse", tool), Moment::AfterTool);
        let stop = |again: bool| {
            let stop = format!(
                r#""transcriptPath":"/t","stopReason":"end_turn","stop_hook_active":{again}"#
            );
            of("agentStop", &stop)
        };
        assert_eq!(stop(false), Moment::Stop { again: false });
        assert_eq!(stop(true), Moment::Stop { again: true });
        assert_eq!(of("sessionEnd", r#""reason":"complete""#), Moment::End);
    }

    /// What Gemini CLI 0.61.0 and Droid 0.215.0 gave their hooks, word for word but for paths.
    #[test]
    fn what_gemini_and_droid_said_is_understood() {
        let of = |agent: Agent, event: &str, mode: &str, more: &str| {
            let input = format!(
                r#"{{"session_id":"c837b84f-e05d-4261-a82d-d335e7530928","transcript_path":"/t.jsonl","cwd":"/w",{mode}"hook_event_name":"{event}"{more}}}"#
            );
            let call = read(agent, event, input.as_bytes()).expect("it is whole");
            assert_eq!(call.session, "c837b84f-e05d-4261-a82d-d335e7530928");
            assert!(!call.subagent);
            call.moment
        };
        let gemini = |event: &str, more: &str| {
            let more = format!(r#","timestamp":"2026-11-21T21:29:14.364Z",{more}"#);
            of(Agent::Gemini, event, "", &more)
        };
        let new = Moment::Start(Beginning::New);
        assert_eq!(gemini("SessionStart", r#""source":"startup""#), new);
        assert_eq!(gemini("BeforeAgent", r#""prompt":"go""#), Moment::Prompt);
        let tool = r#""tool_name":"run_shell_command","tool_input":{"command":"true"},"tool_response":{"llmContent":""}"#;
        assert_eq!(gemini("AfterTool", tool), Moment::AfterTool);
        let stop = |again: bool| {
            gemini(
                "AfterAgent",
                &format!(r#""prompt":"go","prompt_response":"done","stop_hook_active":{again}"#),
            )
        };
        assert_eq!(stop(false), Moment::Stop { again: false });
        assert_eq!(stop(true), Moment::Stop { again: true });
        assert_eq!(gemini("SessionEnd", r#""reason":"exit""#), Moment::End);
        let droid = |event: &str, more: &str| {
            of(Agent::Droid, event, r#""permission_mode":"auto-low","#, more)
        };
        assert_eq!(droid("SessionStart", r#","source":"startup","CLAUDE_ENV_FILE":"/e.sh""#), new);
        let tool = r#","tool_name":"Execute","tool_input":{"command":"true","riskLevel":"low"},"tool_response":"[Process exited with code 0]""#;
        assert_eq!(droid("PostToolUse", tool), Moment::AfterTool);
        let stop = r#","message_id":"m","stop_hook_active":true,"tool_execution_count":0,"elapsed_time":429"#;
        assert_eq!(droid("Stop", stop), Moment::Stop { again: true });
        assert_eq!(
            droid("SessionEnd", r#","reason":"other","session_duration_ms":960.09"#),
            Moment::End
        );
    }

    #[test]
    fn what_is_not_for_us_is_told_and_harms_nobody() {
        let of = |event: &str, input: &str| {
            read(Agent::Claude, event, input.as_bytes()).expect_err(input)
        };
        assert!(matches!(of("Stop", "{\"session_id\": "), Unusable::NotJson(_)));
        assert!(matches!(of("Stop", ""), Unusable::NotJson(_)));
        assert!(matches!(of("Stop", "[]"), Unusable::NotJson(_)));
        assert_eq!(of("Stop", "{}"), Unusable::NoSession);
        assert_eq!(of("Stop", "{\"session_id\": \"a\\u001bb\"}"), Unusable::NoSession);
        let long = json!({ "session_id": "x".repeat(300) }).to_string();
        assert_eq!(of("Stop", &long), Unusable::NoSession);
        assert_eq!(of("NewEvent", "{\"session_id\": \"s\"}"), Unusable::Unknown("NewEvent".into()));
        assert_eq!(
            of("Stop", "{\"session_id\": \"s\", \"hook_event_name\": \"X\\u0007Y\"}"),
            Unusable::Unknown("XY".into())
        );
    }

    #[test]
    fn a_subagent_is_told_apart() {
        let call =
            |text: &str| read(Agent::Claude, "PostToolUse", text.as_bytes()).expect("it is whole");
        assert!(call("{\"session_id\": \"s\", \"agent_id\": \"a1\"}").subagent);
        assert!(!call("{\"session_id\": \"s\", \"agent_id\": null}").subagent);
        assert!(!call("{\"session_id\": \"s\"}").subagent);
    }

    #[test]
    fn a_turn_that_a_hook_held_once_is_not_held_again() {
        assert!(can_hear(Moment::Stop { again: false }));
        assert!(!can_hear(Moment::Stop { again: true }));
    }

    #[test]
    fn answers_are_json_in_the_words_of_the_agent() {
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let context =
            read(&answer(Agent::Codex, "PostToolUse", &Speech::Context("2 ended".into())));
        assert_eq!(context["hookSpecificOutput"]["additionalContext"], "2 ended");
        assert_eq!(context["hookSpecificOutput"]["hookEventName"], "PostToolUse");
        let stop = Speech::GoOn("\"quoted\"\n".into());
        // Codex refuses an answer to Stop with any other field.
        assert_eq!(
            read(&answer(Agent::Codex, "Stop", &stop)),
            json!({ "decision": "block", "reason": "\"quoted\"\n" })
        );
        assert_eq!(read(&answer(Agent::Gemini, "AfterAgent", &stop))["decision"], "deny");
        assert_eq!(read(&answer(Agent::Copilot, "agentStop", &stop))["decision"], "block");
        let context = Speech::Context("2 ended".into());
        assert_eq!(
            read(&answer(Agent::Copilot, "postToolUse", &context)),
            json!({ "additionalContext": "2 ended" })
        );
        assert_eq!(read(&answer(Agent::OpenCode, "Wait", &context)), json!({ "say": "2 ended" }));
    }
}
