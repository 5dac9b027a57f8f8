//! What was handed to somebody who is gone.

use std::process::{Command, Stdio};

use meanwhile_testkit::{DEADLINE, TestHome, until};

use std::io::{BufRead as _, BufReader};

/// Takes what is unread and says nothing more: neither that it has arrived nor that it has not.
const TAKE: &str = r#"
import os, socket, sys
body = '{"route":"mcp","holder":"predecessor"}'
client = socket.socket(socket.AF_UNIX)
client.connect(os.environ["MEANWHILE_HOME"] + "/daemon.sock")
client.sendall(("POST /v1/inbox/deliver HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    "meanwhile-protocol: 1\r\n"
    f"meanwhile-session: explicit:s\r\ncontent-length: {len(body)}\r\n\r\n{body}").encode())
said = b"".join(iter(lambda: client.recv(4096), b"")).decode()
print("taken" if '"outcome":"notices"' in said else said, flush=True)
sys.stdin.read()
"#;

/// A lease lasts 30 s: a server that is started anew would tell its session nothing for so long.
#[test]
fn what_was_leased_to_a_process_that_is_gone_is_free_at_once() {
    let home = TestHome::new();
    let id = home.cli(["--session", "s", "run", "--", "true"]).ok().trim().to_owned();
    home.wait(&id);
    let mut taker = Command::new("python3")
        .args(["-c", TAKE])
        .env_clear()
        .envs(home.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut said = String::new();
    let output = taker.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut said).expect("it says something");
    assert_eq!(said.trim(), "taken");
    let unread = || home.cli(["--json", "--session", "s", "inbox"]).json();
    assert_eq!(unread(), serde_json::json!([]), "it is on its way");
    home.kill_daemon();
    assert_eq!(unread(), serde_json::json!([]), "a new daemon knows that");
    taker.kill().expect("it is ours");
    // Dead and not reaped is gone, too.
    let told = until("the lease to be free", DEADLINE, || Some(unread()));
    assert!(told.to_string().contains(&id), "{told}");
    taker.wait().expect("it is ours");
}
