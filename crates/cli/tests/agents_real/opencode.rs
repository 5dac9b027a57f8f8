//! OpenCode's server with what `install` wrote: sessions are woken by our plugin, each of its own and once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use meanwhile_testkit::model::Model;
use meanwhile_testkit::{Gate, TestHome};
use serde_json::{Value, json};

use super::clis::{Cli, launches_and_stays};

/// It starts in seconds, asks a model, and two cores are shared.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a digest of one begins.
const DIGEST: &str = "1 background task has ended";

/// A running server of OpenCode, without a screen.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(home: &TestHome, model: &Model) -> Self {
        let mut process = Command::new(Cli::OpenCode.program())
            .args(["serve", "--hostname", "127.0.0.1", "--port", "0"])
            .current_dir(home.cwd())
            .env_clear()
            .envs(home.environment())
            .envs(Cli::OpenCode.variables(model))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut lines = output.lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            line.rsplit_once("listening on http://127.0.0.1:")?.1.trim().parse().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port: port.expect("it says where it listens") }
    }

    /// One request, and what was answered.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it answers");
        let (head, body) = reply.split_once("\r\n\r\n").expect("an answer");
        assert!(head.contains(" 200 "), "{method} {path}: {reply}");
        serde_json::from_str(body).expect("JSON")
    }

    fn session(&self) -> String {
        let session = self.ask("POST", "/session", &json!({}));
        session["id"].as_str().expect("text").to_owned()
    }

    /// Says something in a session, and waits until its turn is over.
    #[track_caller]
    fn say(&self, session: &str, text: &str) {
        let body = json!({ "parts": [{ "type": "text", "text": text }] });
        let answer = self.ask("POST", &format!("/session/{session}/message"), &body);
        assert_eq!(answer["info"]["error"], Value::Null, "{answer}");
    }

    /// Texts of what was said to the model of a session.
    fn said(&self, session: &str) -> Vec<String> {
        let messages = self.ask("GET", &format!("/session/{session}/message"), &Value::Null);
        let messages = messages.as_array().expect("a list").iter();
        let parts = messages
            .filter(|message| message["info"]["role"] == "user")
            .flat_map(|message| message["parts"].as_array().expect("a list"));
        parts.filter_map(|part| part["text"].as_str()).map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A home with OpenCode as `install` left it.
fn prepared(model: &Model) -> TestHome {
    let home = TestHome::new();
    Cli::OpenCode.set_up(&home, model);
    home.cli(["install", "opencode"]).expect(0);
    home
}

fn launch(gate: &Gate, name: &str) -> String {
    let call = json!({ "shell": format!("{}; echo end-of-{name}", gate.shell()), "name": name });
    format!("build it [[call:{} {call}]]", Cli::OpenCode.tool("run"))
}

fn session_of(home: &TestHome, name: &str) -> String {
    let tasks = home.json(["list", "--any-session"]);
    let mut tasks = tasks.as_array().expect("a list").iter();
    let task = tasks.find(|task| task["name"] == name).expect("it was launched");
    task["session"].as_str().expect("text").to_owned()
}

/// Waits until a digest was part of a request, and of how many it was the last word of the user.
fn woken(model: &Model, end: &str) -> usize {
    let says = |text: &str| text.contains(DIGEST) && text.contains(end);
    model.until(end, |asked| asked.iter().any(|one| says(&one.last_user)).then_some(()));
    model.asked().iter().filter(|one| says(&one.last_user)).count()
}

#[test]
fn idle_sessions_of_one_server_are_woken_each_of_its_own_and_once() {
    let model = Model::new();
    let home = prepared(&model);
    let server = Server::start(&home, &model);
    let (first, second) = (server.session(), server.session());
    let (mut one, mut two) = (home.gate("one"), home.gate("two"));
    server.say(&first, &launch(&one, "one"));
    server.say(&second, &launch(&two, "two"));
    assert_eq!(session_of(&home, "one"), first);
    assert_eq!(session_of(&home, "two"), second);
    one.open();
    assert_eq!(woken(&model, "end-of-one"), 1);
    two.open();
    assert_eq!(woken(&model, "end-of-two"), 1);
    let digests = |session: &str| -> Vec<String> {
        server.said(session).into_iter().filter(|text| text.contains(DIGEST)).collect()
    };
    for (session, mine) in [(&first, "end-of-one"), (&second, "end-of-two")] {
        let digests = digests(session);
        assert_eq!(digests.len(), 1, "{digests:#?}");
        assert!(digests[0].contains(mine), "{digests:#?}");
    }
    meanwhile_testkit::until("what was told to be read", PATIENCE, || {
        let unread = home.json(["inbox", "--peek", "--any-session"]);
        unread.as_array().is_some_and(Vec::is_empty).then_some(())
    });
    drop(server);
    home.finish();
}

#[test]
fn what_its_shell_launches_is_of_its_session_and_told_beside_the_next_prompt() {
    let model = Model::new();
    let home = prepared(&model);
    // Nobody is woken by it: it waits for the next prompt.
    home.cli(["config", "set", "notify.wake", "never"]).expect(0);
    let server = Server::start(&home, &model);
    let session = server.session();
    let mut gate = home.gate("gate");
    let work = home.path("work.sh");
    std::fs::write(&work, format!("{}; echo end-of-shelled", gate.shell())).expect("it is ours");
    let line = format!("'{}' run --name shelled -- sh {}", home.binary().display(), work.display());
    server.say(&session, &format!("build it [[scn:tool:{line}]]"));
    assert_eq!(session_of(&home, "shelled"), session);
    gate.open();
    meanwhile_testkit::until("the end", PATIENCE, || {
        (home.json(["list", "--any-session"])[0]["state"] == "completed").then_some(())
    });
    server.say(&session, "and now");
    let told: Vec<String> =
        server.said(&session).into_iter().filter(|text| text.contains("end-of-shelled")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains(DIGEST), "{told:#?}");
    drop(server);
    home.finish();
}

#[test]
fn the_waiter_ends_with_the_server_and_what_it_had_not_told_is_unread() {
    let model = Model::new();
    let home = prepared(&model);
    let server = Server::start(&home, &model);
    let session = server.session();
    let mut gate = home.gate("gate");
    server.say(&session, &launch(&gate, "late"));
    let waiters = || home.json(["daemon", "status"])["waiters"].as_u64().expect("a number");
    meanwhile_testkit::until("the waiter", PATIENCE, || (waiters() == 1).then_some(()));
    drop(server);
    meanwhile_testkit::until("its end", PATIENCE, || (waiters() == 0).then_some(()));
    gate.open();
    home.wait(home.json(["list", "--any-session"])[0]["id"].as_str().expect("text"));
    let unread = home.json(["inbox", "--peek", "--any-session"]);
    assert_eq!(unread[0]["session"], session.as_str(), "{unread}");
    home.finish();
}

#[test]
fn what_ended_while_it_works_is_told_beside_its_tool() {
    let model = Model::new();
    let home = prepared(&model);
    let script = launches_and_stays(&home, "quick", "MEANWHILE_SESSION");
    let prompt = format!("build it [[scn:tool:sh {}]]", script.display());
    Cli::OpenCode.ask(&home, &model, &prompt).expect(0);
    assert!(session_of(&home, "quick").starts_with("ses_"));
    let told = model.asked().into_iter().find(|asked| asked.mentions(DIGEST));
    let told = told.unwrap_or_else(|| panic!("never told: {:#?}", model.asked().last()));
    assert!(told.after_tools && told.mentions("the-last-line"), "{:#?}", told.body);
    let unread = home.json(["inbox", "--peek", "--any-session"]);
    assert_eq!(unread.as_array().map(Vec::len), Some(0), "what was told is read: {unread}");
    home.finish();
}
