//! The scripted model, asked as the agents ask.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{Dialect, Model};

/// Posts a document; status and body.
fn post(model: &Model, path: &str, body: &Value) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", model.port)).expect("it listens");
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

fn anthropic(prompt: &str, stream: bool) -> Value {
    json!({
        "model": "m", "stream": stream, "messages": [{ "role": "user", "content": prompt }],
        "tools": [{ "name": "Bash", "input_schema": { "type": "object", "properties": { "command": { "type": "string" },
            "n": { "type": "integer" } }, "required": ["command", "n"] } }],
    })
}

#[test]
fn every_interface_gets_the_text_in_its_own_shape() {
    let model = Model::new();
    let user = json!([{ "role": "user", "content": "hello" }]);
    let asked = [
        ("/v1/messages", anthropic("hello", false), "/content/0/text", Dialect::Messages),
        (
            "/v1/chat/completions",
            json!({ "messages": user }),
            "/choices/0/message/content",
            Dialect::Chat,
        ),
        ("/v1/responses", json!({ "input": user }), "/output/0/content/0/text", Dialect::Responses),
        (
            "/v1beta/models/g:generateContent",
            json!({ "contents": [{ "parts": [{ "text": "hello" }] }] }),
            "/candidates/0/content/parts/0/text",
            Dialect::Gemini,
        ),
    ];
    for (path, body, place, _) in &asked {
        let (status, text) = post(&model, path, body);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (status, &value.pointer(place)),
            (200, &Some(&json!("Hello from the scripted model."))),
            "{text}"
        );
    }
    for (at, (.., dialect)) in asked.iter().enumerate() {
        let seen = &model.asked()[at];
        assert_eq!((seen.dialect, seen.last_user.as_str()), (*dialect, "hello"));
    }
}

#[test]
fn a_stream_carries_the_same_in_pieces() {
    let model = Model::new();
    let (_, text) = post(&model, "/v1/messages", &anthropic("hello", true));
    assert!(
        text.matches("text_delta").count() >= 3 && text.contains("event: message_stop"),
        "{text}"
    );
    let (_, cut) = post(&model, "/v1/messages", &anthropic("[[scn:cut]]", true));
    assert!(cut.matches("text_delta").count() == 1 && !cut.contains("message_stop"), "{cut}");
}

#[test]
fn a_prompt_scripts_calls_and_the_turn_ends_after_their_results() {
    let model = Model::new();
    let prompt = "do [[call:mcp__m__run {\"tasks\": [[1]]}]] and [[call:list]]";
    let (_, text) = post(&model, "/v1/messages", &anthropic(prompt, false));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["content"][0]["name"], "mcp__m__run");
    assert_eq!(value["content"][0]["input"], json!({ "tasks": [[1]] }));
    assert_eq!(
        (&value["content"][1]["name"], &value["stop_reason"]),
        (&json!("list"), &json!("tool_use"))
    );
    let mut after = anthropic(prompt, false);
    let result = json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": "x" }] });
    after["messages"].as_array_mut().expect("a list").push(result);
    let (_, text) = post(&model, "/v1/messages", &after);
    assert!(text.contains("Done: the tool ran."), "{text}");
    assert!(model.asked()[1].after_tools && model.asked()[1].mentions("tool_result"));
}

#[test]
fn a_shell_is_found_and_what_it_demands_is_filled_in() {
    let model = Model::new();
    let (_, text) = post(&model, "/v1/messages", &anthropic("[[scn:tool:touch a]]", false));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["content"][0]["input"], json!({ "command": "touch a", "n": 30 }));
}

#[test]
fn errors_come_as_often_as_was_said() {
    let model = Model::new();
    let status = |prompt: &str| post(&model, "/v1/messages", &anthropic(prompt, true)).0;
    assert_eq!((status("[[scn:err429]]"), status("[[scn:err529]]")), (429, 529));
    let flaky: Vec<u16> = (0..3).map(|_| status("[[scn:flaky2:text]]")).collect();
    assert_eq!(flaky, [500, 500, 200]);
    assert_eq!(model.until("all requests", |asked| (asked.len() == 5).then_some(5)), 5);
}
