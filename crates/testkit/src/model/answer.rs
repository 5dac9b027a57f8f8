//! What to do, in the words of each interface: the events of a stream, or one document.
//!
//! Owns: the shapes. Ids are counted, so that a run can be repeated.

use serde_json::{Value, json};

use super::request::{Dialect, Request};
use super::scenario::Call;

/// An event of a stream: its name where the interface has one, and its data.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) name: Option<&'static str>,
    pub(super) data: String,
    /// A piece of the text: between these a slow model waits.
    pub(super) piece: bool,
}

/// What the model says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) text: &'a str,
    pub(super) calls: &'a [Call],
    /// Makes ids unlike those of other answers.
    pub(super) number: usize,
}

/// Characters of a text that are sent at once.
const PIECE: usize = 9;

fn pieces(text: &str) -> impl Iterator<Item = String> {
    let characters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> =
        characters.chunks(PIECE).map(|piece| piece.iter().collect()).collect();
    pieces.into_iter()
}

fn event(name: &'static str, value: &Value) -> Sent {
    Sent { name: Some(name), data: value.to_string(), piece: false }
}

fn data(value: &Value) -> Sent {
    Sent { name: None, data: value.to_string(), piece: false }
}

fn as_piece(sent: Sent) -> Sent {
    Sent { piece: true, ..sent }
}

/// The one document of a request that did not ask for a stream.
pub(super) fn document(dialect: Dialect, request: &Request, said: Said<'_>) -> Value {
    match dialect {
        Dialect::Messages => message(request, said, true),
        Dialect::Chat => {
            let mut message = json!({ "role": "assistant", "content": said.text });
            if !said.calls.is_empty() {
                message =
                    json!({ "role": "assistant", "content": null, "tool_calls": chat_calls(said) });
            }
            json!({
                "id": format!("chatcmpl-{}", said.number), "object": "chat.completion", "created": 1, "model": request.model,
                "choices": [{ "index": 0, "message": message, "finish_reason": chat_reason(said) }], "usage": chat_usage(),
            })
        }
        Dialect::Responses => response(request, said, "completed"),
        Dialect::Gemini => gemini(request, gemini_parts(said), Some("STOP")),
    }
}

/// The events of a stream.
pub(super) fn stream(dialect: Dialect, request: &Request, said: Said<'_>) -> Vec<Sent> {
    match dialect {
        Dialect::Messages => messages_stream(request, said),
        Dialect::Chat => chat_stream(request, said),
        Dialect::Responses => responses_stream(request, said),
        Dialect::Gemini => gemini_stream(request, said),
    }
}

/// An HTTP error.
pub(super) fn error(dialect: Dialect, code: u16) -> Value {
    let kind = match code {
        400 => "invalid_request_error",
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let message = format!("scripted {code} {kind}");
    match dialect {
        Dialect::Gemini => {
            let status = if code == 429 { "RESOURCE_EXHAUSTED" } else { "INTERNAL" };
            json!({ "error": { "code": code, "message": message, "status": status } })
        }
        Dialect::Messages | Dialect::Chat | Dialect::Responses => {
            json!({ "type": "error", "error": { "type": kind, "message": message, "code": kind } })
        }
    }
}

fn blocks(said: Said<'_>) -> Vec<Value> {
    let call = |(at, call): (usize, &Call)| json!({ "type": "tool_use", "id": format!("toolu_{}_{at}", said.number), "name": call.name, "input": call.arguments });
    match (said.calls, said.text) {
        ([], "") => vec![],
        ([], text) => vec![json!({ "type": "text", "text": text })],
        (calls, _) => calls.iter().enumerate().map(call).collect(),
    }
}

fn message(request: &Request, said: Said<'_>, whole: bool) -> Value {
    let reason = if said.calls.is_empty() { "end_turn" } else { "tool_use" };
    json!({
        "id": format!("msg_{}", said.number), "type": "message", "role": "assistant", "model": request.model,
        "content": if whole { blocks(said) } else { vec![] },
        "stop_reason": whole.then_some(reason), "stop_sequence": null,
        "usage": { "input_tokens": 11, "output_tokens": 7, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0 },
    })
}

fn messages_stream(request: &Request, said: Said<'_>) -> Vec<Sent> {
    let start = json!({ "type": "message_start", "message": message(request, said, false) });
    let mut sent = vec![event("message_start", &start)];
    for (index, mut block) in blocks(said).into_iter().enumerate() {
        let mut deltas = Vec::new();
        if block["type"] == "tool_use" {
            let input = std::mem::replace(&mut block["input"], json!({}));
            deltas.push(json!({ "type": "input_json_delta", "partial_json": input.to_string() }));
        } else {
            block["text"] = json!("");
            deltas.extend(
                pieces(said.text).map(|piece| json!({ "type": "text_delta", "text": piece })),
            );
        }
        let start =
            json!({ "type": "content_block_start", "index": index, "content_block": block });
        sent.push(event("content_block_start", &start));
        for delta in deltas {
            let delta = json!({ "type": "content_block_delta", "index": index, "delta": delta });
            sent.push(as_piece(event("content_block_delta", &delta)));
        }
        sent.push(event(
            "content_block_stop",
            &json!({ "type": "content_block_stop", "index": index }),
        ));
    }
    let reason = if said.calls.is_empty() { "end_turn" } else { "tool_use" };
    let delta = json!({
        "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": { "output_tokens": 7 },
    });
    sent.push(event("message_delta", &delta));
    sent.push(event("message_stop", &json!({ "type": "message_stop" })));
    sent
}

fn chat_calls(said: Said<'_>) -> Value {
    let call = |(at, call): (usize, &Call)| {
        json!({
            "index": at, "id": format!("call_{}_{at}", said.number), "type": "function",
            "function": { "name": call.name, "arguments": call.arguments.to_string() },
        })
    };
    said.calls.iter().enumerate().map(call).collect()
}

fn chat_reason(said: Said<'_>) -> &'static str {
    if said.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn chat_usage() -> Value {
    json!({ "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18 })
}

fn chat_stream(request: &Request, said: Said<'_>) -> Vec<Sent> {
    let chunk = |delta: Value, reason: Option<&str>, usage: Option<Value>| {
        data(&json!({
            "id": format!("chatcmpl-{}", said.number), "object": "chat.completion.chunk", "created": 1, "model": request.model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }], "usage": usage,
        }))
    };
    let mut sent = vec![chunk(json!({ "role": "assistant", "content": "" }), None, None)];
    if said.calls.is_empty() {
        sent.extend(
            pieces(said.text).map(|piece| as_piece(chunk(json!({ "content": piece }), None, None))),
        );
    } else {
        sent.push(chunk(json!({ "tool_calls": chat_calls(said) }), None, None));
    }
    sent.push(chunk(json!({}), Some(chat_reason(said)), Some(chat_usage())));
    sent.push(Sent { name: None, data: "[DONE]".to_owned(), piece: false });
    sent
}

fn items(request: &Request, said: Said<'_>) -> Vec<Value> {
    let call = |(at, call): (usize, &Call)| {
        let id = format!("{}_{at}", said.number);
        let offered = request.tools.iter().find(|tool| tool.name == call.name);
        let namespace = offered.and_then(|tool| tool.namespace.as_deref());
        let name = namespace
            .map_or(call.name.as_str(), |outer| call.name[outer.len()..].trim_start_matches('_'));
        json!({
            "type": "function_call", "id": format!("fc_{id}"), "call_id": format!("call_{id}"),
            "name": name, "namespace": namespace,
            "arguments": call.arguments.to_string(), "status": "completed",
        })
    };
    match (said.calls, said.text) {
        ([], "") => vec![],
        ([], text) => vec![json!({
            "type": "message", "id": format!("msg_{}", said.number), "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }],
        })],
        (calls, _) => calls.iter().enumerate().map(call).collect(),
    }
}

fn response(request: &Request, said: Said<'_>, status: &str) -> Value {
    let done = status == "completed";
    json!({
        "id": format!("resp_{}", said.number), "object": "response", "created_at": 1, "model": request.model, "status": status,
        "output": if done { items(request, said) } else { vec![] },
        "usage": done.then(|| json!({
            "input_tokens": 11, "input_tokens_details": { "cached_tokens": 0 }, "output_tokens": 7,
            "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 18,
        })),
    })
}

fn responses_stream(request: &Request, said: Said<'_>) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut add = |kind: &'static str, mut value: Value, piece: bool| {
        value["type"] = json!(kind);
        value["sequence_number"] = json!(sent.len());
        sent.push(Sent { piece, ..event(kind, &value) });
    };
    add("response.created", json!({ "response": response(request, said, "in_progress") }), false);
    for (at, item) in items(request, said).into_iter().enumerate() {
        let mut begun = item.clone();
        begun["status"] = json!("in_progress");
        let id = item["id"].clone();
        if item["type"] == "function_call" {
            begun["arguments"] = json!("");
            add("response.output_item.added", json!({ "output_index": at, "item": begun }), false);
            let whole = &item["arguments"];
            add(
                "response.function_call_arguments.delta",
                json!({ "item_id": id, "output_index": at, "delta": whole }),
                true,
            );
            add(
                "response.function_call_arguments.done",
                json!({ "item_id": id, "output_index": at, "arguments": whole }),
                false,
            );
        } else {
            begun["content"] = json!([]);
            add("response.output_item.added", json!({ "output_index": at, "item": begun }), false);
            let part = json!({ "type": "output_text", "text": "", "annotations": [] });
            let place = json!({ "item_id": id, "output_index": at, "content_index": 0 });
            let with = |key: &str, value: Value| {
                let mut placed = place.clone();
                placed[key] = value;
                placed
            };
            add("response.content_part.added", with("part", part), false);
            for piece in pieces(said.text) {
                add("response.output_text.delta", with("delta", json!(piece)), true);
            }
            add("response.output_text.done", with("text", json!(said.text)), false);
        }
        add("response.output_item.done", json!({ "output_index": at, "item": item }), false);
    }
    add("response.completed", json!({ "response": response(request, said, "completed") }), false);
    sent
}

fn gemini_parts(said: Said<'_>) -> Vec<Value> {
    let call =
        |call: &Call| json!({ "functionCall": { "name": call.name, "args": call.arguments } });
    match (said.calls, said.text) {
        ([], "") => vec![],
        ([], text) => vec![json!({ "text": text })],
        (calls, _) => calls.iter().map(call).collect(),
    }
}

fn gemini(request: &Request, parts: Vec<Value>, reason: Option<&str>) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    json!({
        "candidates": [candidate], "modelVersion": request.model,
        "usageMetadata": { "promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18 },
    })
}

fn gemini_stream(request: &Request, said: Said<'_>) -> Vec<Sent> {
    if !said.calls.is_empty() {
        return vec![data(&gemini(request, gemini_parts(said), Some("STOP")))];
    }
    let mut sent: Vec<Sent> = pieces(said.text)
        .map(|piece| as_piece(data(&gemini(request, vec![json!({ "text": piece })], None))))
        .collect();
    sent.push(data(&gemini(request, vec![], Some("STOP"))));
    sent
}
