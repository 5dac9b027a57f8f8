//! HTTP over the unix socket, as a program of somebody else's would speak it.
//!
//! Owns a client of a few lines that is not ours, so that nothing is right only because both ends share a mistake.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use meanwhile_testkit::{DEADLINE, TestHome};
use serde_json::{Value, json};

/// An answer.
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Raw {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}\n{}", self.head, self.body))
    }
}

/// A connection to the daemon of a home, which runs.
#[track_caller]
pub(crate) fn connect(home: &TestHome) -> UnixStream {
    home.cli(["daemon", "start"]).ok();
    let socket = UnixStream::connect(home.state().join("daemon.sock")).expect("the daemon listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
    socket
}

/// One request on a connection of its own.
#[track_caller]
pub(crate) fn ask(
    home: &TestHome,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Raw {
    let mut socket = connect(home);
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    socket.write_all(format!("{request}\r\n{body}").as_bytes()).expect("the daemon reads");
    read_answer(&mut socket)
}

fn read_answer(socket: &mut UnixStream) -> Raw {
    let mut bytes = Vec::new();
    // A daemon that refuses a request may close before it has read all of it: what it said counts.
    let _ = socket.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Raw { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// A launch as it stands on the wire.
fn submission(home: &TestHome, task: &Value) -> String {
    json!({
        "tasks": [task],
        "caller": { "cwd": home.cwd(), "env": [["PATH", "/usr/bin:/bin"]], "umask": 18, "rlimits": [] },
    })
    .to_string()
}

#[test]
fn a_request_without_our_headers_is_answered_in_json() {
    let home = TestHome::new();
    let answer = ask(&home, "GET", "/v1/tasks", &[], "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    assert!(answer.head.contains("meanwhile-protocol: "), "{}", answer.head);
    assert_eq!(answer.json()["tasks"], json!([]));
}

#[test]
fn errors_have_a_status_a_code_a_hint_and_an_exit_code() {
    let home = TestHome::new();
    let table: &[(&str, &str, &str, u16, &str, u64)] = &[
        ("GET", "/nowhere", "", 404, "no_such_route", 2),
        ("GET", "/v1/tasks/../../etc/passwd", "", 404, "no_such_route", 2),
        ("DELETE", "/v1/tasks", "", 405, "wrong_method", 2),
        ("GET", "/v1/tasks/0123456789", "", 404, "no_such_task", 3),
        ("GET", "/v1/tasks/x", "", 400, "usage", 2),
        ("POST", "/v1/tasks", "not json", 400, "bad_request", 2),
        ("POST", "/v1/tasks", "{\"tasks\":[],\"surprise\":1}", 400, "bad_request", 2),
        ("GET", "/v1/tasks?state=done", "", 400, "", 2),
        ("GET", "/v1/tasks?surprise=1", "", 400, "", 2),
        ("GET", "/v1/tasks?limit=many", "", 400, "", 2),
        ("POST", "/v1/wait", "{\"select\":{\"ids\":[\"0123456789\"]}}", 404, "no_such_task", 3),
    ];
    for (method, path, body, status, code, exit) in table {
        let answer = ask(&home, method, path, &[], body);
        assert_eq!(answer.status, *status, "{method} {path}: {}", answer.body);
        let error = &answer.json()["error"];
        assert!(code.is_empty() || error["code"] == *code, "{method} {path}: {error:#}");
        assert_eq!(error["exit"], *exit, "{method} {path}: {error:#}");
        assert!(error["message"].is_string() && error["hint"].is_array(), "{error:#}");
    }
}

#[test]
fn the_api_describes_itself() {
    let home = TestHome::new();
    let answer = ask(&home, "GET", "/v1/openapi.json", &[], "");
    let document = answer.json();
    assert!(
        document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")),
        "{}",
        answer.body
    );
    for path in ["/v1/tasks", "/v1/events", "/v1/wait", "/v1/tasks/{id}/output"] {
        assert!(document["paths"][path].is_object(), "{path} is missing");
    }
}

#[test]
fn a_request_id_makes_the_effect_happen_once_also_after_the_daemon_died() {
    let home = TestHome::new();
    let body = submission(&home, &json!({ "command": ["true"] }));
    let headers = [
        ("Meanwhile-Request-Id", "0123456789abcdef0123456789abcdef"),
        ("Content-Type", "application/json"),
    ];
    let first = ask(&home, "POST", "/v1/tasks", &headers, &body);
    assert_eq!(first.status, 200, "{}", first.body);
    let again = ask(&home, "POST", "/v1/tasks", &headers, &body);
    let id = |answer: &Raw| answer.json()["accepted"][0]["id"].clone();
    assert_eq!(id(&again), id(&first));
    home.kill_daemon();
    let third = ask(&home, "POST", "/v1/tasks", &headers, &body);
    assert_eq!(id(&third), id(&first));
    assert_eq!(home.json(["list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_submission_that_is_refused_leaves_nothing() {
    let home = TestHome::new();
    let body = json!({
        "tasks": [{ "command": ["true"] }, { "command": ["true"], "retries": -1 }],
        "caller": { "cwd": "/", "env": [], "umask": 18, "rlimits": [] },
    });
    let answer = ask(&home, "POST", "/v1/tasks", &[], &body.to_string());
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(home.json(["list"]), json!([]));
}

#[test]
fn a_body_beyond_the_limit_is_refused_unread() {
    let home = TestHome::new();
    let mut socket = connect(&home);
    let head = "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 999999999999\r\n\r\n";
    socket.write_all(head.as_bytes()).expect("the daemon reads");
    // It may stop listening at any moment: it has heard enough.
    let _ = socket.write_all(&vec![b' '; 1 << 20]);
    let answer = read_answer(&mut socket);
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert_eq!(ask(&home, "GET", "/v1/tasks", &[], "").status, 200);
}

#[test]
fn nonsense_ends_its_own_connection_only() {
    let home = TestHome::new();
    let daemon = {
        connect(&home);
        home.daemon().expect("it runs").pid()
    };
    let long = format!("GET /v1/tasks HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    for bytes in [
        &b"\x16\x03\x01\x00nonsense\r\n\r\n"[..],
        b"GET / SMTP/9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        long.as_bytes(),
    ] {
        let mut socket = connect(&home);
        let _ = socket.write_all(bytes);
        let answer = read_answer(&mut socket);
        assert!(answer.status == 0 || (400..500).contains(&answer.status), "{}", answer.head);
    }
    assert_eq!(home.daemon().map(|daemon| daemon.pid()), Some(daemon), "it lives on");
    assert_eq!(ask(&home, "GET", "/v1/tasks", &[], "").status, 200);
}

#[test]
fn one_connection_takes_one_request_after_another() {
    let home = TestHome::new();
    let mut socket = connect(&home);
    for _ in 0..3 {
        socket.write_all(b"GET /v1/summary HTTP/1.1\r\nHost: x\r\n\r\n").expect("the daemon reads");
    }
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while seen.matches("\"total\"").count() < 3 {
        let count = socket.read(&mut buffer).expect("the daemon answers");
        assert!(count > 0, "it closed the connection: {seen}");
        seen += &String::from_utf8_lossy(&buffer[..count]);
    }
}

/// A stream of events: numbers, kinds and tasks.
struct Events {
    socket: UnixStream,
    pending: String,
}

impl Events {
    #[track_caller]
    fn open(home: &TestHome, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut socket = connect(home);
        let mut request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        socket.write_all(format!("{request}\r\n").as_bytes()).expect("the daemon reads");
        let mut events = Self { socket, pending: String::new() };
        let head = events.until("\r\n\r\n");
        assert!(head.contains(" 200 ") && head.contains("text/event-stream"), "{head}");
        events
    }

    /// The next piece up to a separator.
    #[track_caller]
    fn until(&mut self, separator: &str) -> String {
        loop {
            if let Some((piece, rest)) = self.pending.split_once(separator) {
                let (piece, rest) = (piece.to_owned(), rest.to_owned());
                self.pending = rest;
                return piece;
            }
            let mut buffer = [0; 4096];
            let count = self.socket.read(&mut buffer).expect("an event comes in time");
            assert!(count > 0, "the stream ended: {}", self.pending);
            self.pending += &String::from_utf8_lossy(&buffer[..count]);
        }
    }

    /// The next event of a task: its number and kind.
    #[track_caller]
    fn next(&mut self) -> (u64, String, Value) {
        loop {
            let block = self.until("\n\n");
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let (Some(id), Some(data)) = (field("id:"), field("data:")) else { continue };
            let data: Value = serde_json::from_str(data).expect("data is JSON");
            assert_eq!(data["seq"].to_string(), id, "the id of an event is its number");
            assert_eq!(data["kind"].as_str(), field("event:"), "{data}");
            let kind = data["kind"].as_str().expect("text").to_owned();
            return (id.parse().expect("a number"), kind, data);
        }
    }

    /// Reads on until the end of a task.
    #[track_caller]
    fn read_to_end_of(&mut self, id: &str) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            let (number, kind, data) = self.next();
            numbers.push(number);
            if kind == "ended" && data["task"] == id {
                return numbers;
            }
        }
    }
}

#[test]
fn a_stream_of_events_resumes_where_it_was_left_and_misses_nothing() {
    let home = TestHome::new();
    let first = home.launch(["true"]);
    home.wait(&first);
    let mut stream = Events::open(&home, "/v1/events?since=0", &[]);
    let seen = stream.read_to_end_of(&first);
    drop(stream);
    let second = home.launch(["true"]);
    home.wait(&second);
    // What happened meanwhile comes first, then what happens now.
    let last = seen.last().expect("there were events").to_string();
    let mut resumed = Events::open(&home, "/v1/events?since=0", &[("Last-Event-ID", &last)]);
    let missed = resumed.read_to_end_of(&second);
    assert!(missed[0] > *seen.last().expect("there were events"), "{seen:?} {missed:?}");
    let third = home.launch(["true"]);
    let live = resumed.read_to_end_of(&third);
    let all = [seen, missed, live].concat();
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    let mut whole = Events::open(&home, "/v1/events?since=0", &[]);
    assert_eq!(whole.read_to_end_of(&third), all, "the same as in one piece");
}

#[test]
fn a_stream_goes_on_by_its_number_after_the_daemon_was_killed() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    let mut stream = Events::open(&home, "/v1/events?since=0", &[]);
    let (number, kind, _) = stream.next();
    assert_eq!(kind, "submitted");
    home.kill_daemon();
    gate.open();
    home.wait(&id);
    let mut resumed = Events::open(&home, &format!("/v1/events?since={number}"), &[]);
    let rest = resumed.read_to_end_of(&id);
    assert!(rest.iter().all(|later| *later > number), "{rest:?}");
}

#[test]
fn a_stream_can_be_of_one_task_and_of_some_kinds() {
    let home = TestHome::new();
    let other = home.launch(["true"]);
    let id = home.launch(["true"]);
    home.wait(&other);
    home.wait(&id);
    let mut stream = Events::open(
        &home,
        &format!("/v1/events?since=0&task={id}&kind=submitted&kind=ended"),
        &[],
    );
    let kinds = [(); 2].map(|()| {
        let (_, kind, data) = stream.next();
        assert_eq!(data["task"], id.as_str());
        kind
    });
    assert_eq!(kinds, ["submitted", "ended"]);
}
