//! Streamable HTTP: the token, the names, and both generations.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use meanwhile_testkit::{DEADLINE, TestHome};
use serde_json::{Value, json};

use crate::client::{MODERN, Speaks, WITH_TASKS, capabilities, meta};

struct Server {
    process: Child,
    port: u16,
    token: String,
    token_file: String,
}

impl Server {
    fn start(home: &TestHome) -> Server {
        let mut process = Command::new(home.binary())
            .args(["--json", "mcp", "--http", "127.0.0.1:0"])
            .current_dir(home.cwd())
            .env_clear()
            .envs(home.environment())
            .env("CLAUDE_CODE_SESSION_ID", "of whoever started the server")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it is");
        let told: Value = serde_json::from_str(&line).expect("JSON");
        let url = told["url"].as_str().expect("a text");
        let port = url.trim_end_matches("/mcp").rsplit(':').next().and_then(|it| it.parse().ok());
        let token_file = told["token_file"].as_str().expect("a text").to_owned();
        let token = std::fs::read_to_string(&token_file).expect("it can be read").trim().to_owned();
        Server { process, port: port.expect("a port"), token, token_file }
    }

    /// Sends headers and a body as they are; the status and the body.
    fn send(&self, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("it can be set");
        let mut text =
            "POST /mcp HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
            Accept: application/json, text/event-stream\r\n"
                .to_owned();
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(text.as_bytes()).expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it answers");
        let status = reply.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        (status, reply)
    }

    /// A request with everything right, and the headers of the case beside it; the status and the message.
    fn request(
        &self,
        speaks: Speaks,
        more: &[(&str, &str)],
        method: &str,
        name: Option<&str>,
        params: Value,
    ) -> (u16, Value) {
        let (host, bearer) = (format!("127.0.0.1:{}", self.port), format!("Bearer {}", self.token));
        let mut headers = vec![("Host", host.as_str()), ("Authorization", &bearer)];
        if let Speaks::Modern { .. } = speaks {
            headers.extend([("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)]);
            headers.extend(name.map(|name| ("Mcp-Name", name)));
        }
        headers.extend(more);
        let mut params = params;
        let meta = meta(speaks, json!({}));
        if !meta.is_empty() {
            params["_meta"] = Value::Object(meta);
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let (status, reply) = self.send(&headers, &body.to_string());
        let message = reply.lines().rev().find_map(|line| {
            serde_json::from_str(line.strip_prefix("data: ").unwrap_or(line))
                .ok()
                .filter(Value::is_object)
        });
        (status, message.unwrap_or(Value::String(reply)))
    }

    fn tool(&self, speaks: Speaks, more: &[(&str, &str)], name: &str, arguments: Value) -> Value {
        let params = json!({"name": name, "arguments": arguments});
        let (status, message) = self.request(speaks, more, "tools/call", Some(name), params);
        assert_eq!(status, 200, "{message}");
        message["result"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_token_is_the_owners_alone_and_stays_the_same() {
    let home = TestHome::new();
    let first = Server::start(&home);
    assert_eq!(first.token.len(), 64, "256 bits");
    let mode = std::fs::metadata(&first.token_file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = Server::start(&home);
    assert_eq!(first.token, second.token, "clients have it in their configuration");
    let told = Command::new("cat").arg(format!("/proc/{}/cmdline", first.process.id())).output();
    let told = String::from_utf8(told.expect("cat runs").stdout).expect("a text");
    assert!(!told.contains(&first.token), "arguments are for everybody to see");
}

#[test]
fn no_request_without_the_token_or_from_a_page_is_served() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let port = server.port;
    let host = format!("127.0.0.1:{port}");
    let bearer = format!("Bearer {}", server.token);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "run", "arguments": {"shell": "true"}, "_meta": meta(MODERN, json!({}))}});
    let body = body.to_string();
    let check = |headers: &[(&str, &str)], expected: u16| {
        let (status, reply) = server.send(headers, &body);
        assert_eq!(status, expected, "{headers:?}: {reply}");
        assert!(!reply.contains(&server.token), "{reply}");
    };
    check(&[("Host", &host)], 401);
    for wrong in ["Bearer", "Bearer x", "Basic eDp4", &format!("Bearer {}", "0".repeat(64))] {
        check(&[("Host", &host), ("Authorization", wrong)], 401);
    }
    for rebound in
        ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost.", "0.0.0.0"]
    {
        check(&[("Host", rebound), ("Authorization", &bearer)], 403);
    }
    check(&[("Host", &host), ("Host", "evil.example"), ("Authorization", &bearer)], 403);
    for page in ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"] {
        check(&[("Host", &host), ("Origin", page), ("Authorization", &bearer)], 403);
    }
    assert_eq!(home.json(["list"]), json!([]), "nothing was launched");
    let ours = format!("http://localhost:{port}");
    let local = format!("localhost:{port}");
    let right = [
        ("Host", local.as_str()),
        ("Origin", ours.as_str()),
        ("Authorization", &bearer),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "run"),
    ];
    check(&right, 200);
    assert_eq!(home.json(["list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn both_generations_are_served_over_http() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let gate = home.gate("gate");
    let launched = server.tool(WITH_TASKS, &[], "run", json!({"shell": gate.shell()}));
    let id = launched["structuredContent"]["id"].as_str().expect("an id").to_owned();
    let made = server.tool(WITH_TASKS, &[], "wait", json!({"ids": [id]}));
    assert_eq!(made["resultType"], "task", "{made}");
    let task = made["taskId"].as_str().expect("an id");
    let get = |name: &str| {
        server.request(WITH_TASKS, &[], "tasks/get", Some(name), json!({"taskId": task}))
    };
    assert_eq!(get(task).1["result"]["status"], "working");
    let (status, refused) = get("another");
    assert_eq!(
        (status, &refused["error"]["code"]),
        (400, &json!(-32020)),
        "the header must say the same"
    );
    let legacy = Speaks::Legacy { tasks: true };
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities(legacy),
        "clientInfo": {"name": "old", "version": "1"}});
    let (status, welcome) = server.request(legacy, &[], "initialize", None, hello);
    assert_eq!((status, &welcome["result"]["serverInfo"]["name"]), (200, &json!("meanwhile")));
}

/// The environment of the server says nothing about who connects to it.
#[test]
fn a_client_over_http_is_a_session_of_its_own_or_the_one_that_its_header_names() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let session = |more: &[(&str, &str)]| {
        let launched = server.tool(MODERN, more, "run", json!({"shell": "true"}));
        let id = launched["structuredContent"]["id"].as_str().expect("an id").to_owned();
        home.status(&id)["session"].as_str().expect("a name").to_owned()
    };
    assert_eq!(session(&[]), "mcp-test");
    assert_eq!(session(&[("Meanwhile-Session", "window-2")]), "window-2");
    assert_eq!(session(&[("Meanwhile-Session", "user")]), "mcp-test", "never that of a person");
}

/// Of what has ended there is one notification, and then the stream is over.
#[test]
fn a_subscription_over_http_hears_of_a_wait() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let launched = server.tool(WITH_TASKS, &[], "run", json!({"shell": "exit 3"}));
    let id = launched["structuredContent"]["id"].as_str().expect("an id").to_owned();
    home.wait(&id);
    let (host, bearer) = (format!("127.0.0.1:{}", server.port), format!("Bearer {}", server.token));
    let headers = [
        ("Host", host.as_str()),
        ("Authorization", &bearer),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "subscriptions/listen"),
    ];
    let filter = json!({"taskIds": [format!("wait:{id}")]});
    let params = json!({"notifications": filter, "_meta": meta(WITH_TASKS, json!({}))});
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params});
    let (status, reply) = server.send(&headers, &body.to_string());
    assert_eq!(status, 200, "{reply}");
    let heard: Vec<Value> = reply
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    let told = heard.iter().find(|message| message["method"] == "notifications/tasks");
    let told = &told.unwrap_or_else(|| panic!("{reply}"))["params"];
    assert_eq!(told["result"]["isError"], true, "{told}");
    assert!(heard.iter().any(|message| message["id"] == 1), "it is over: {reply}");
}

#[test]
fn bad_bodies_and_other_paths_are_refused() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let (host, bearer) = (format!("127.0.0.1:{}", server.port), format!("Bearer {}", server.token));
    let right = [("Host", host.as_str()), ("Authorization", bearer.as_str())];
    assert_eq!(server.send(&right, "{nope").0, 415);
    let get = format!(
        "GET /elsewhere HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.write_all(get.as_bytes()).expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers");
    assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
}

#[test]
fn only_loopback_is_listened_on() {
    let home = TestHome::new();
    for bad in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "localhost:0", "7778"] {
        let ran = home.cli(["mcp", "--http", bad]);
        ran.expect(2);
        assert!(ran.complaint().contains("127.0.0.1:"), "{}", ran.complaint());
    }
    let server = Server::start(&home);
    let taken = home.cli(["mcp", "--http", &format!("127.0.0.1:{}", server.port)]);
    taken.expect(2);
    assert!(taken.complaint().contains("hint: choose another port"), "{}", taken.complaint());
}
