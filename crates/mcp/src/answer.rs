//! Answers as MCP wants them.
//!
//! What it is for: text and structure say the same thing, because some clients show a model only one of them. What it
//! owns: that, and how a refusal reads. What it never does: end a call with a protocol error for what a model can
//! correct: clients hide those from it.

use meanwhile_api::{ApiError, sanitise};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value};

/// An answer in words and as an object.
pub(crate) fn both(text: impl Into<String>, object: Map<String, Value>) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(Value::Object(object));
    result
}

/// An answer in words alone, which every client shows.
pub(crate) fn words(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

/// The answer with a word about what else there is to read.
pub(crate) fn with_unread(mut result: CallToolResult, unread: usize) -> CallToolResult {
    if unread == 0 {
        return result;
    }
    let text = format!("{unread} unread: call `inbox`");
    if let Some(Value::Object(object)) = &mut result.structured_content {
        object.insert("unread".to_owned(), Value::String(text.clone()));
    }
    result.content.push(ContentBlock::text(text));
    result
}

/// What was to be done and why it was not, with what to do next.
pub(crate) fn refusal(doing: &str, error: &ApiError) -> CallToolResult {
    let mut text = format!("failed to {doing}: {}", sanitise::line(&error.message));
    for hint in &error.hint {
        text.push_str(&format!("\nhint: {}", sanitise::line(hint)));
    }
    CallToolResult::error(vec![ContentBlock::text(text)])
}
