//! What a receiver gets, and how often.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use meanwhile_testkit::TestHome;

use crate::receiver::{Answer, Receiver};
use crate::{home_with, logged, program, standing};

#[test]
fn an_end_is_posted_once_with_its_facts_and_without_its_output() {
    let receiver = Receiver::new();
    let home = home_with(&receiver, "");
    let name = r#"--x '"$(touch bad)" <b>"#;
    let options = ["--session", "s", "run", "--group", "g", &format!("--name={name}")];
    let id = home.cli([&options[..], &["--shell", "echo SENTINEL; exit 3"]].concat()).ok();
    let arrived = receiver.next();
    assert!(arrived.head.starts_with("POST /hook?token=T0KEN HTTP/1.1"), "{}", arrived.head);
    let body = arrived.json();
    assert_eq!(body["version"], 1);
    assert_eq!(body["type"], "notices");
    assert_eq!(body["attempt"], 1);
    assert_eq!(arrived.header("webhook-id"), body["id"].as_str());
    assert_eq!(arrived.header("webhook-signature"), None, "there is no secret");
    let [notice] = body["notices"].as_array().unwrap().as_slice() else { panic!("one: {body}") };
    assert_eq!(notice["id"], format!("{id}.1.done"));
    assert_eq!(notice["name"], name, "a name arrives as it is");
    assert_eq!(notice["session"], "s");
    assert_eq!(notice["group"], "g");
    assert_eq!(notice["state"], "failed");
    assert_eq!(notice["cause"]["code"], 3);
    assert!(
        !String::from_utf8_lossy(&arrived.body).contains("SENTINEL"),
        "output was not asked for"
    );
    // Something later by the same way: nothing came in between.
    let later = home.cli(["--session", "s", "run", "--", "false"]).ok();
    assert_eq!(receiver.next().notices(), [format!("{later}.1.done")]);
    let one = standing(&home, |one| one["waiting"] == 0);
    assert!(!one.to_string().contains("T0KEN"), "{one}");
    let log = logged(&home, "told by another route");
    assert!(!log.contains("T0KEN"), "{log}");
    let ledger = fs::read_to_string(home.state().join("routes/ledger.json")).unwrap();
    assert!(!ledger.contains("T0KEN"), "{ledger}");
}

#[test]
fn a_post_is_signed_over_its_id_its_time_and_its_body() {
    let receiver = Receiver::new();
    let home = TestHome::new();
    let secret = home.path("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    home.cli(["config", "set", "notify.webhook.secret_file", secret.to_str().unwrap()]).ok();
    home.cli(["config", "set", "notify.webhook.urls", &receiver.url("/")]).ok();
    home.cli(["run", "--", "false"]).ok();
    let arrived = receiver.next();
    let header = |name| arrived.header(name).expect("the header is there").to_owned();
    let (id, time, signature) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    // Python's own HMAC: another implementation than ours.
    let script = "import sys,hmac,hashlib,base64\n\
        key,id,time=sys.argv[1:4]\n\
        body=sys.stdin.buffer.read()\n\
        mac=hmac.new(key.encode(),f'{id}.{time}.'.encode()+body,hashlib.sha256).digest()\n\
        print('v1,'+base64.b64encode(mac).decode())";
    let mut python = Command::new("python3")
        .args(["-c", script, "0123456789abcdef0123456789abcdef", &id, &time])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python 3 is there: CONTRIBUTING.md");
    python.stdin.take().expect("a pipe").write_all(&arrived.body).expect("it reads all of it");
    let expected = python.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&expected.stdout).trim(), signature);
    let seconds: i64 = time.parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(seconds.unsigned_abs().abs_diff(now) < 3_600, "{seconds} {now}");
}

#[test]
fn a_receiver_that_fails_is_tried_again_with_the_same_ids_and_then_no_more() {
    let receiver = Receiver::answering(&[Answer::Status(500), Answer::Status(429)]);
    let home = home_with(&receiver, "");
    home.cli(["run", "--", "false"]).ok();
    let tries = [receiver.next(), receiver.next(), receiver.next()];
    for (number, arrived) in tries.iter().enumerate() {
        assert_eq!(arrived.json()["attempt"], number + 1);
        assert_eq!(arrived.header("webhook-id"), tries[0].header("webhook-id"));
        assert_eq!(arrived.notices(), tries[0].notices());
    }
    let one = standing(&home, |one| one["waiting"] == 0);
    assert_eq!(one["given_up"], 0, "{one}");
    assert!(one["worked_at"].is_string(), "{one}");
}

#[test]
fn a_redirect_is_not_followed_and_given_up_on_record() {
    let inside = Receiver::new();
    let receiver = Receiver::answering(&[Answer::Redirect(inside.url("/secret"))]);
    let home = home_with(&receiver, "");
    home.cli(["run", "--", "false"]).ok();
    receiver.next();
    let one = standing(&home, |one| one["given_up"] == 1);
    assert!(one["given_up_because"].as_str().unwrap().contains("307"), "{one}");
    assert!(inside.rest().is_empty(), "the redirect was followed");
    let doctor = home.json(["doctor"]);
    let check =
        doctor["checks"].as_array().unwrap().iter().find(|c| c["name"] == "routes").unwrap();
    assert_eq!(check["health"], "warning", "{check}");
    logged(&home, "given up: not told by another route");
}

#[test]
fn an_answer_of_ten_megabytes_or_none_at_all_holds_nobody_up() {
    let receiver = Receiver::answering(&[Answer::Flood, Answer::Silence]);
    let home = home_with(&receiver, "");
    home.cli(["run", "--", "false"]).ok();
    receiver.next();
    home.cli(["run", "--", "false"]).ok();
    let silent = receiver.next();
    // While it hangs, the daemon works and another way is served.
    let told = home.path("told");
    let tell = program(
        &home,
        "tell",
        &format!(
            "cat > {0}.new; echo >> {0}.new; echo END >> {0}.new; mv {0}.new {0}",
            told.display()
        ),
    );
    home.cli(["config", "set", "notify.command", tell.to_str().unwrap()]).ok();
    let id = home.launch(["false"]);
    home.wait(&id);
    assert!(crate::complete(&told).contains(&format!("{id}.1.done")));
    let again = receiver.next();
    assert_eq!(
        again.header("webhook-id"),
        silent.header("webhook-id"),
        "it was not taken, and comes again"
    );
    assert_eq!(again.json()["attempt"], 2);
}

#[test]
fn a_hundred_ends_come_together() {
    let receiver = Receiver::new();
    let home = home_with(&receiver, "notify.tell = \"each\"\n");
    let batch = "{\"shell\":\"exit 0\"}\n".repeat(100);
    home.invoke(["run", "--from", "-", "--group", "many"]).stdin(batch).run().ok();
    home.cli(["wait", "--group", "many"]).ok();
    let mut ids = Vec::new();
    let mut posts = 0;
    while ids.len() < 100 {
        ids.extend(receiver.next().notices());
        posts += 1;
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100, "each once");
    // A machine that is slow ends them over several seconds; a post for each would be a hundred.
    assert!(posts <= 50, "{posts} posts");
}

#[test]
fn a_failure_takes_along_what_waits_for_the_last_of_its_group() {
    let receiver = Receiver::new();
    let home = home_with(&receiver, "");
    let mut gate = home.gate("gate");
    let group = ["--group", "g"];
    let last = home.launch_shell_with(group, &gate.shell());
    let done = home.launch_with(group, ["true"]);
    home.wait(&done);
    let failed = home.launch_with(group, ["false"]);
    let mut told = receiver.next().notices();
    told.sort_unstable();
    let mut expected = [format!("{done}.1.done"), format!("{failed}.1.done")];
    expected.sort_unstable();
    assert_eq!(told, expected, "one post, and not before the failure");
    gate.open();
    assert_eq!(receiver.next().notices(), [format!("{last}.1.done")]);
}

#[test]
fn only_what_was_asked_for_is_told() {
    let receiver = Receiver::new();
    let home = home_with(
        &receiver,
        "notify.tell = \"failures\"\nnotify.sessions = [\"a\", \"b\"]\nnotify.groups = [\"g\"]\n",
    );
    let run = |session: &str, rest: &[&str]| {
        home.cli([&["--session", session, "run"], rest].concat()).ok()
    };
    run("a", &["--group", "g", "--", "true"]);
    run("c", &["--group", "g", "--", "false"]);
    run("a", &["--", "false"]);
    run("a", &["--group", "g", "--notify", "none", "--", "false"]);
    let told = run("b", &["--group", "g", "--", "false"]);
    assert_eq!(receiver.next().notices(), [format!("{told}.1.done")]);
    let last = run("a", &["--group", "g", "--", "false"]);
    assert_eq!(receiver.next().notices(), [format!("{last}.1.done")]);
}

#[test]
fn the_last_line_goes_along_where_it_is_asked_for() {
    let receiver = Receiver::new();
    let home = home_with(&receiver, "notify.webhook.output = true\n");
    home.cli(["run", "--shell", "printf 'no\\033[2J way\\n'; exit 1"]).ok();
    assert_eq!(receiver.next().json()["notices"][0]["head"], "no way");
}

#[test]
fn nothing_from_before_a_route_was_set_is_told() {
    let receiver = Receiver::new();
    let home = TestHome::new();
    let before = home.launch(["false"]);
    home.wait(&before);
    home.cli(["config", "set", "notify.webhook.urls", &receiver.url("/")]).ok();
    let after = home.launch(["false"]);
    assert_eq!(receiver.next().notices(), [format!("{after}.1.done")]);
    home.wait(&after);
    home.cli(["config", "set", "notify.webhook.urls", "--default"]).ok();
    let silent = home.launch(["false"]);
    home.wait(&silent);
    home.cli(["config", "set", "notify.webhook.urls", &receiver.url("/")]).ok();
    let last = home.launch(["false"]);
    assert_eq!(receiver.next().notices(), [format!("{last}.1.done")]);
}
