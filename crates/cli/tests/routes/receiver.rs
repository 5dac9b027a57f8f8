//! A receiver of webhooks on loopback: answers as it is told, and keeps what came.
//!
//! Owns a listener and a thread per connection; both end with the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Arrivals, Sender, channel};
use std::sync::{Arc, Mutex};

use meanwhile_testkit::DEADLINE;
use serde_json::Value;

/// What it answers a request with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status.
    Status(u16),
    /// Go elsewhere.
    Redirect(String),
    /// Ten megabytes.
    Flood,
    /// Nothing, for as long as the other side waits.
    Silence,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Arrived {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Ids of its notices, in order.
    pub(crate) fn notices(&self) -> Vec<String> {
        let json = self.json();
        let notices = json["notices"].as_array().expect("a list");
        notices.iter().map(|n| n["id"].as_str().expect("an id").to_owned()).collect()
    }
}

/// A receiver that listens.
pub(crate) struct Receiver {
    port: u16,
    arrivals: Arrivals<Arrived>,
}

impl Receiver {
    /// Answers with these, one after the other; with 200 once they are used up.
    pub(crate) fn answering(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        let port = listener.local_addr().expect("it is bound").port();
        let (arrived, arrivals) = channel();
        let next = Arc::new(Mutex::new(answers.to_vec()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (arrived, next) = (arrived.clone(), Arc::clone(&next));
                std::thread::spawn(move || serve(stream, &arrived, &next));
            }
        });
        Self { port, arrivals }
    }

    pub(crate) fn new() -> Self {
        Self::answering(&[])
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The next request.
    #[track_caller]
    pub(crate) fn next(&self) -> Arrived {
        self.arrivals.recv_timeout(DEADLINE).expect("something arrives")
    }

    /// Those that have arrived and were not looked at.
    pub(crate) fn rest(&self) -> Vec<Arrived> {
        self.arrivals.try_iter().collect()
    }
}

fn serve(mut stream: TcpStream, arrived: &Sender<Arrived>, next: &Mutex<Vec<Answer>>) {
    let Some(request) = read(&mut stream) else { return };
    let answer = {
        let mut next = next.lock().expect("no thread panics with it");
        if next.is_empty() { Answer::Status(200) } else { next.remove(0) }
    };
    let _test_is_over = arrived.send(request);
    let _gone = match answer {
        Answer::Status(status) => {
            let head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 2\r\n\r\nok");
            stream.write_all(head.as_bytes())
        }
        Answer::Redirect(to) => {
            let head =
                format!("HTTP/1.1 307 Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes())
        }
        Answer::Flood => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 10 << 20);
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; 10 << 20]))
        }
        // Until the other side hangs up.
        Answer::Silence => stream.read(&mut [0]).map(|_| ()),
    };
}

fn read(stream: &mut TcpStream) -> Option<Arrived> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut piece).ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&piece[..n]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut request = Arrived { head, body: bytes.split_off(head_end + 4) };
    let length: usize = request.header("content-length").and_then(|n| n.parse().ok())?;
    while request.body.len() < length {
        match stream.read(&mut piece).ok()? {
            0 => return None,
            n => request.body.extend_from_slice(&piece[..n]),
        }
    }
    Some(request)
}
