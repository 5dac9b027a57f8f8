//! A daemon that follows a script: one step per request, on a real unix socket, in a thread of its own.
//!
//! What it owns: the socket, the thread, and what it was asked. It never understands a request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use meanwhile_api::ApiError;
use meanwhile_api::error::ErrorReply;
use serde::Serialize;

/// What to do with the next request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Read it and close the connection.
    Die,
    /// Read it, remove the socket, close everything.
    DieAndUnlink,
    /// Read it and keep the connection open until the client closes it.
    Silence,
    /// Answer; a body shorter than its length ends the connection, too.
    Answer { status: u16, length: usize, body: Vec<u8> },
    /// Answer as a daemon of long ago, which speaks these protocols.
    Older { protocols: &'static str, answer: Box<Step> },
    /// Open a stream of events, send this and close the connection.
    Stream(String),
}

impl Step {
    /// A success.
    pub(crate) fn json(value: &impl Serialize) -> Step {
        let body = serde_json::to_vec(value).unwrap();
        Step::Answer { status: 200, length: body.len(), body }
    }

    /// A failure.
    pub(crate) fn error(error: ApiError) -> Step {
        let status = error.http_status();
        let body = serde_json::to_vec(&ErrorReply { error }).unwrap();
        Step::Answer { status, length: body.len(), body }
    }
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The number of its connection, from 1.
    pub(crate) connection: usize,
    /// The request line.
    pub(crate) line: String,
    /// The headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A running script.
pub(crate) struct Daemon {
    socket: PathBuf,
    thread: JoinHandle<Vec<Seen>>,
    _home: Option<tempfile::TempDir>,
}

impl Daemon {
    /// Starts a script in a home of its own.
    pub(crate) fn start(steps: Vec<Step>) -> Daemon {
        let home = tempfile::tempdir().unwrap();
        let daemon = Daemon::start_at(home.path().join("daemon.sock"), steps);
        Daemon { _home: Some(home), ..daemon }
    }

    /// Starts a script on this socket.
    pub(crate) fn start_at(socket: PathBuf, steps: Vec<Step>) -> Daemon {
        // Bound through a descriptor, because the path may be longer than an address.
        let directory = std::fs::File::open(socket.parent().unwrap()).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&directory);
        let short = format!("/proc/self/fd/{fd}/{}", socket.file_name().unwrap().display());
        let listener = UnixListener::bind(short).unwrap();
        let path = socket.clone();
        let thread = std::thread::spawn(move || follow(listener, &path, steps));
        Daemon { socket, thread, _home: None }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it was asked, once every step was taken.
    pub(crate) fn finish(self) -> Vec<Seen> {
        self.thread.join().unwrap()
    }
}

fn follow(listener: UnixListener, socket: &Path, steps: Vec<Step>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut steps = steps.into_iter().peekable();
    for connection in 1.. {
        if steps.peek().is_none() {
            break;
        }
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        while steps.peek().is_some() {
            let Some(request) = read(&mut reader, connection) else { break };
            seen.push(request);
            let step = steps.next().expect("it was peeked at");
            if matches!(step, Step::DieAndUnlink) {
                std::fs::remove_file(socket).unwrap();
            }
            if !take(&step, reader.get_mut()) {
                break;
            }
        }
    }
    seen
}

/// Takes a step; false ends the connection.
fn take(step: &Step, stream: &mut UnixStream) -> bool {
    match step {
        Step::Die | Step::DieAndUnlink => false,
        Step::Silence => {
            // Returns when the client has given up.
            let _ = stream.read(&mut [0; 1]);
            false
        }
        Step::Answer { status, length, body } => {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
            body.len() == *length
        }
        Step::Older { protocols, answer } => {
            let Step::Answer { status, length, body } = &**answer else {
                panic!("a daemon of long ago answers");
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\
                 meanwhile-daemon-version: 0.0.1\r\nmeanwhile-protocol: {protocols}\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
            true
        }
        Step::Stream(text) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            write!(stream, "{head}{:x}\r\n{text}\r\n", text.len()).unwrap();
            false
        }
    }
}

fn read(reader: &mut BufReader<UnixStream>, connection: usize) -> Option<Seen> {
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        Some(line.trim_end().to_owned())
    };
    let line = next()?;
    let mut headers = Vec::new();
    while let Some((key, value)) = next()?.split_once(": ") {
        headers.push((key.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(key, _)| key == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { connection, line, headers, body })
}
