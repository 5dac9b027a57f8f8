//! The standard input of the MCP server: any bytes as lines, before a handshake, after one, and without any.
//!
//! The server is the real one without a daemon: what is asked of the daemon is answered with that. Whatever comes in, what
//! goes out are messages, one per line; a client that speaks right beside one that does not (they may be the same) is
//! answered; and the server ends when its input does.

use std::time::Duration;

use meanwhile_api::caller::CallerContext;
use meanwhile_api::{ApiError, ErrorCode, OsText, Timestamp};
use meanwhile_mcp::{Setup, Shelf, serve_streams};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

/// How long a server may take for one input, in an unoptimised program on a busy machine.
const PATIENCE: Duration = Duration::from_secs(50);
/// What is under way between the server and whoever reads its answers.
const PIPE: usize = 64 << 10;
/// The id of the last question. Bytes that have it may cancel it.
const LAST: &str = "the-last-question";

const HELLO: &str = concat!(
    r#"{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"f","version":"1"}}}"#,
    "\n",
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n"
);

pub(crate) fn run(bytes: &[u8]) {
    let (greets, bytes) = match bytes.split_first() {
        Some((b'h', rest)) => (true, rest),
        _ => (false, bytes),
    };
    let mut input = if greets { HELLO.as_bytes().to_vec() } else { Vec::new() };
    input.extend_from_slice(bytes);
    let question =
        format!("\n{{\"jsonrpc\":\"2.0\",\"id\":\"{LAST}\",\"method\":\"tools/list\"}}\n");
    input.extend_from_slice(question.as_bytes());
    let answers = serve(input);
    let mut answered = false;
    for line in answers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: Value = serde_json::from_slice(line).expect("what goes out are messages");
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        answered |= message["id"] == LAST;
    }
    let may_cancel =
        bytes.windows(LAST.len()).any(|part| part == LAST.as_bytes()) || bytes.contains(&b'\\');
    assert!(answered || !greets || may_cancel, "the last question has no answer");
}

/// What the server says to this, to the end.
fn serve(input: Vec<u8>) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime can be made");
    runtime.block_on(async {
        let (theirs, mut ours) = tokio::io::duplex(PIPE);
        let mut answers = Vec::new();
        let input = std::io::Cursor::new(input);
        let both = async {
            let (served, read) =
                tokio::join!(serve_streams(setup(), input, theirs), ours.read_to_end(&mut answers));
            let _a_beginning_that_is_none_is_an_error = served;
            read.expect("a pipe in memory can be read");
        };
        tokio::time::timeout(PATIENCE, both).await.expect("the server ends with its input");
        answers
    })
}

fn setup() -> Setup {
    Setup {
        connect: Box::new(|_| Err(ApiError::new(ErrorCode::Unreachable, "no daemon runs"))),
        claim: None,
        caller: CallerContext {
            cwd: OsText::from("/"),
            env: Vec::new(),
            umask: 0o077,
            rlimits: Vec::new(),
            terminal: None,
        },
        client_is_there: std::sync::Arc::new(|| true),
        shelf: Shelf { put: Box::new(|_, _| Ok(())), get: Box::new(|_| Ok(None)) },
        clock: || Timestamp::from_unix_ms(0),
    }
}
