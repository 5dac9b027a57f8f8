//! The standard streams, one JSON-RPC message per line, before the MCP library sees them.
//!
//! What it is for: the library drops what it cannot read, and a client then waits for an answer that never comes. What
//! it owns: the bound on a line, the answers to what is no message, and the order in which lines are written. What it
//! never does: look into a message further than to know that it is one.
//!
//! ```text
//! stdin --lines--> check --good--> pipe --> rmcp --> pipe --\
//!                     \--bad: an error line------------------+--> stdout
//! ```

use rmcp::model::ErrorCode;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::{limits, subscriptions};

/// The streams for the library, and what runs beside it.
pub(crate) struct Lines {
    pub(crate) reader: ReadHalf<DuplexStream>,
    pub(crate) writer: WriteHalf<DuplexStream>,
    /// Becomes true when the client has closed its end: nobody is told anything any more.
    pub(crate) left: watch::Receiver<bool>,
    /// Ends when everything that the library wrote has been written.
    pub(crate) written: JoinHandle<()>,
}

/// Puts the checks between these streams and the library.
pub(crate) fn checked(
    input: impl AsyncRead + Unpin + Send + 'static,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Lines {
    let (library, ours) = tokio::io::duplex(limits::PIPE_BYTES);
    let (reader, writer) = tokio::io::split(library);
    let (from_library, to_library) = tokio::io::split(ours);
    // One line at a time: whoever writes nonsense waits until it has been told so.
    let (complaints, complained) = mpsc::channel(1);
    let (leaves, left) = watch::channel(false);
    tokio::spawn(async move {
        read(input, to_library, complaints).await;
        // Nobody may be listening.
        let _ = leaves.send(true);
    });
    let written = tokio::spawn(write(from_library, output, complained));
    Lines { reader, writer, left, written }
}

async fn read(
    input: impl AsyncRead + Unpin,
    mut library: WriteHalf<DuplexStream>,
    complaints: mpsc::Sender<String>,
) {
    let mut input = BufReader::new(input);
    while let Ok(Some(line)) = next_line(&mut input).await {
        let passed = match check(&line) {
            Ok(()) => {
                let line = subscriptions::carried(&line).unwrap_or(line);
                library.write_all(&line).await.is_ok()
            }
            Err(None) => true,
            Err(Some(complaint)) => complaints.send(complaint).await.is_ok(),
        };
        if !passed {
            break;
        }
    }
    // The library answers what it has begun, and ends.
    let _ = library.shutdown().await;
}

/// A line with its end; of one that is too long only the beginning, without an end. None when there are no more.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let most = limits::LINE_BYTES as u64 + 1;
    let mut line = Vec::new();
    if (&mut *input).take(most).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        return Ok(Some(line));
    }
    if line.len() <= limits::LINE_BYTES {
        // The last line needs no end.
        line.push(b'\n');
        return Ok(Some(line));
    }
    // The rest is not kept.
    let mut rest = Vec::new();
    while (&mut *input).take(most).read_until(b'\n', &mut rest).await? > 0
        && rest.last() != Some(&b'\n')
    {
        rest.clear();
    }
    Ok(Some(line))
}

/// What to answer to a line that is no message; nothing to an empty one.
fn check(line: &[u8]) -> Result<(), Option<String>> {
    let complain = |id: Value, code: ErrorCode, message: &str| {
        let error = json!({ "code": code.0, "message": message });
        Err(Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string() + "\n"))
    };
    if line.len() > limits::LINE_BYTES {
        let most = limits::LINE_BYTES >> 20;
        let message =
            format!("a message must be shorter than {most} MiB: pass large data in files");
        return complain(Value::Null, ErrorCode::INVALID_REQUEST, &message);
    }
    if line.trim_ascii().is_empty() {
        return Err(None);
    }
    let message = match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(message)) => message,
        Ok(Value::Array(_)) => {
            let message = "batches of messages are not part of MCP: send one object per line";
            return complain(Value::Null, ErrorCode::INVALID_REQUEST, message);
        }
        Ok(_) => {
            let message = "a message is a JSON object";
            return complain(Value::Null, ErrorCode::INVALID_REQUEST, message);
        }
        Err(error) => {
            let message = format!("this line is not JSON: {error}");
            return complain(Value::Null, ErrorCode::PARSE_ERROR, &message);
        }
    };
    let id = message.get("id").cloned().unwrap_or(Value::Null);
    let is_answer = message.contains_key("result") || message.contains_key("error");
    let Some(method) = message.get("method").and_then(Value::as_str) else {
        if is_answer {
            return Ok(());
        }
        return complain(id, ErrorCode::INVALID_REQUEST, "`method` is missing or no text");
    };
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return complain(id, ErrorCode::INVALID_REQUEST, "`jsonrpc` must be \"2.0\"");
    }
    let params = message.get("params").unwrap_or(&Value::Null);
    // The library calls this an unknown method.
    if method == "tools/call" {
        let named = params.get("name").is_some_and(Value::is_string);
        let arguments = params.get("arguments");
        if !named || !arguments.is_none_or(|it| it.is_object() || it.is_null()) {
            let message = "tools/call needs `name`, a text, and `arguments`, an object";
            return complain(id, ErrorCode::INVALID_PARAMS, message);
        }
    }
    Ok(())
}

async fn write(
    library: ReadHalf<DuplexStream>,
    mut output: impl AsyncWrite + Unpin,
    mut complained: mpsc::Receiver<String>,
) {
    let mut library = BufReader::new(library);
    let mut line = Vec::new();
    let mut may_complain = true;
    loop {
        // Reading a line goes on where it was when it is interrupted: what has arrived stays in `line`.
        let written = tokio::select! {
            read = library.read_until(b'\n', &mut line) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let written = output.write_all(&line).await;
                    line.clear();
                    written
                }
            },
            complaint = complained.recv(), if may_complain => match complaint {
                Some(complaint) => output.write_all(complaint.as_bytes()).await,
                None => { may_complain = false; Ok(()) }
            },
        };
        if written.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn code_of(line: &str) -> i64 {
        let told = check(line.as_bytes()).unwrap_err().expect("an answer");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        told["error"]["code"].as_i64().expect("a code")
    }

    #[test]
    fn what_is_no_message_is_answered_and_not_passed_on() {
        assert_eq!(code_of("{nope"), -32700);
        assert_eq!(code_of("[{}]"), -32600);
        assert_eq!(code_of("3"), -32600);
        assert_eq!(code_of("{}"), -32600);
        assert_eq!(code_of(r#"{"jsonrpc":"1.0","method":"ping","id":1}"#), -32600);
        let call = |params: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#)
        };
        assert_eq!(code_of(&call(r#"{"name":"run","arguments":[]}"#)), -32602);
        assert_eq!(code_of(&call(r#"{"arguments":{}}"#)), -32602);
        assert!(check(call(r#"{"name":"run"}"#).as_bytes()).is_ok());
        assert!(check(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).is_ok());
        assert_eq!(check(b" \r\n"), Err(None));
    }

    #[test]
    fn an_answer_names_the_request_it_is_about() {
        let told = check(br#"{"jsonrpc":"2.0","id":"x","params":{}}"#).unwrap_err().unwrap();
        assert!(told.contains(r#""id":"x""#), "{told}");
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_the_next_one_is_read() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut text = vec![b'x'; limits::LINE_BYTES * 2 + 10];
            text.extend(b"\n{}\nlast");
            let mut input = BufReader::new(text.as_slice());
            let long = next_line(&mut input).await.unwrap().unwrap();
            assert!(check(&long).unwrap_err().unwrap().contains("shorter than"));
            assert_eq!(next_line(&mut input).await.unwrap().unwrap(), b"{}\n");
            assert_eq!(next_line(&mut input).await.unwrap().unwrap(), b"last\n");
            assert!(next_line(&mut input).await.unwrap().is_none());
        });
    }
}
