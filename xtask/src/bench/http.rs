//! The daemon's HTTP over its unix socket, in plain blocking code.
//!
//! Owns one exchange per connection. Used where a thousand command lines would measure the machine and not the daemon.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::Outcome;

/// A request that was sent and is not answered yet.
pub(super) struct Asked(UnixStream);

/// Sends a request to the daemon of a home.
pub(super) fn ask(home: &Path, method: &str, path: &str, body: &str) -> Outcome<Asked> {
    let cannot = |error: std::io::Error| format!("cannot ask the daemon: {error}");
    // A socket address holds 107 bytes; the path of a home may be longer, and this one is not.
    let directory = File::open(home).map_err(cannot)?;
    let socket = format!("/proc/self/fd/{}/daemon.sock", directory.as_raw_fd());
    let mut stream = UnixStream::connect(socket).map_err(cannot)?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: meanwhile\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(cannot)?;
    Ok(Asked(stream))
}

impl Asked {
    /// Waits for the answer.
    pub(super) fn answer(mut self) -> Outcome<Value> {
        let mut text = String::new();
        self.0.read_to_string(&mut text).map_err(|error| format!("no answer: {error}"))?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("the daemon hung up")?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(format!("the daemon refused: {body}"));
        }
        serde_json::from_str(body).map_err(|error| format!("the answer is no JSON: {error}"))
    }
}
