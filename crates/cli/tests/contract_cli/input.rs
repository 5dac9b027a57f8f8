//! Standard input and terminals of tasks.

use std::fs;
use std::io::Write;

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::json;

use crate::check_refusal;

#[test]
fn without_input_a_reader_sees_the_end_at_once() {
    let home = TestHome::new();
    let id = home.invoke(["run", "--", "cat"]).stdin("not for the task").run().ok();
    assert_eq!(home.wait(&id)["state"], "completed");
    assert_eq!(home.output(&id), "");
}

#[test]
fn our_standard_input_is_spooled_before_the_id_is_printed() {
    let home = crate::one_seat();
    let mut gate = home.gate("gate");
    crate::hold_the_seat(&home, &gate);
    let line = ["run", "--lane", "one", "--stdin", "-", "--", "cat"];
    let bytes = b"\x00\xffbinary\nwithout end".to_vec();
    let id = home.invoke(line).stdin(bytes.clone()).run().ok();
    // The caller is gone, the task has not begun, and the daemon dies: the input is on disk.
    home.kill_daemon();
    gate.open();
    assert_eq!(home.wait(&id)["state"], "completed");
    assert_eq!(home.cli(["output", &id, "--raw"]).stdout, bytes);
}

#[test]
fn a_retry_reads_the_spooled_input_again() {
    let home = TestHome::new();
    let id = home.invoke(["run", "--stdin", "-", "--", "cat"]).stdin("words").run().ok();
    home.wait(&id);
    home.cli(["retry", &id]).ok();
    home.wait(&id);
    assert_eq!(home.output(&id), "words");
}

#[test]
fn an_automatic_retry_reads_the_spooled_input_again() {
    let home = TestHome::new();
    let script = "cat; [ $MEANWHILE_ATTEMPT = 2 ]";
    let line = ["run", "--retries", "1", "--backoff", "1ms", "--stdin", "-", "--shell", script];
    let id = home.invoke(line).stdin("words").run().ok();
    assert_eq!(home.wait(&id)["state"], "completed");
    assert_eq!(home.output(&id), "words");
}

#[test]
fn megabytes_of_input_arrive_and_too_many_are_refused() {
    let home = TestHome::new();
    let line = ["run", "--stdin", "-", "--shell", "wc -c"];
    let id = home.invoke(line).stdin(vec![b'x'; 8 << 20]).run().ok();
    home.wait(&id);
    assert_eq!(home.output(&id), (8 << 20).to_string());
    let line = ["run", "--stdin", "-", "--", "true"];
    let ran = home.invoke(line).stdin(vec![b'x'; (64 << 20) + 1]).run();
    check_refusal(&ran, 2, "64 MiB");
}

#[test]
fn a_file_is_opened_when_the_task_starts() {
    let home = crate::one_seat();
    let mut gate = home.gate("gate");
    crate::hold_the_seat(&home, &gate);
    fs::write(home.path("input"), "before").expect("a file can be written");
    let id = home.launch_with(["--lane", "one", "--stdin", "input"], ["cat"]);
    fs::write(home.path("input"), "after").expect("a file can be written");
    gate.open();
    home.wait(&id);
    assert_eq!(home.output(&id), "after");
}

#[test]
fn a_fifo_is_read_live() {
    let home = TestHome::new();
    let mut gate = home.gate("fifo");
    let mut bell = home.bell("bell");
    let script = format!("read -r line; {}", bell.shell("got $line"));
    let fifo = home.path("fifo");
    let fifo = fifo.to_str().expect("our own path is text");
    let id = home.launch_shell_with(["--stdin", fifo], &script);
    crate::wait_for_state(&home, &id, "running");
    gate.open();
    assert_eq!(bell.wait(DEADLINE), "got go");
    assert_eq!(home.wait(&id)["state"], "completed");
}

#[test]
fn a_fifo_without_a_writer_holds_the_task_and_not_us() {
    let home = TestHome::new();
    let fifo = home.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo is there").success());
    let id = home.launch_with(["--stdin", fifo.to_str().expect("text")], ["cat"]);
    // Others are not held up by it.
    let other = home.launch(["true"]);
    assert_eq!(home.wait(&other)["state"], "completed");
    let writer = fs::OpenOptions::new().write(true).open(&fifo);
    writer.expect("somebody reads it").write_all(b"late").expect("a FIFO takes four bytes");
    assert_eq!(home.wait(&id)["state"], "completed");
    assert_eq!(home.output(&id), "late");
}

#[test]
fn a_task_that_waits_for_its_fifo_can_be_cancelled() {
    let home = TestHome::new();
    let fifo = home.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo is there").success());
    let id = home.launch_with(["--stdin", fifo.to_str().expect("text")], ["cat"]);
    home.cli(["cancel", &id]).ok();
    assert_eq!(home.status(&id)["state"], "cancelled");
    home.finish();
}

#[test]
fn an_input_file_that_is_missing_is_told() {
    let home = TestHome::new();
    let ran = home.cli(["run", "--stdin", "no-such-file", "--", "cat"]);
    if ran.code() == 0 {
        let task = home.wait(&ran.text());
        assert_eq!(task["cause"]["kind"], "spawn_error", "{task:#}");
        let message = task["cause"]["message"].as_str().expect("it says why");
        assert!(message.contains("no-such-file"), "{message}");
    } else {
        check_refusal(&ran, 4, "no-such-file");
    }
}

#[test]
fn a_pty_is_a_terminal_and_its_log_is_what_it_shows() {
    let home = TestHome::new();
    let script =
        "test -t 0 && test -t 1 && test -t 2 && echo terminal; (: < /dev/tty) && echo controlling";
    let id = home.launch_shell_with(["--pty"], script);
    assert_eq!(home.wait(&id)["state"], "completed");
    assert_eq!(home.output(&id), "terminal\ncontrolling");
    assert_eq!(home.cli(["output", &id, "--raw"]).stdout, b"terminal\r\ncontrolling\r\n");
    let path = home.status(&id)["log"]["path"].as_str().expect("a path").to_owned();
    assert_eq!(fs::read(path).expect("it can be read"), b"terminal\r\ncontrolling\r\n");
}

#[test]
fn a_pty_task_that_is_cancelled_leaves_nothing() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let id = home.launch_shell_with(["--pty"], &format!("{}; cat", bell.shell("up")));
    bell.wait(DEADLINE);
    let task = crate::wait_for_state(&home, &id, "running");
    assert!(task["pid"].is_u64(), "{task:#}");
    home.cli(["cancel", &id]).ok();
    assert_eq!(home.status(&id)["state"], "cancelled");
    home.finish();
}

#[test]
fn the_log_of_a_running_task_can_be_read_with_a_pty_too() {
    let home = TestHome::new();
    for options in [&[][..], &["--pty"]] {
        let id = home.launch_shell_with(options, "echo hello; exec sleep 1000");
        let path = until("the log to have a path", DEADLINE, || {
            home.status(&id)["log"]["path"].as_str().map(str::to_owned)
        });
        let text =
            meanwhile_testkit::wait_for_file(path.as_ref(), DEADLINE, |bytes| !bytes.is_empty());
        assert!(text.starts_with(b"hello"), "{text:?}");
    }
}

#[test]
fn stdin_of_an_entry_is_a_path() {
    let home = TestHome::new();
    fs::write(home.path("input"), "words").expect("a file can be written");
    let entry = json!({ "command": ["cat"], "stdin": "input" }).to_string();
    let id = home.invoke(["run", "--from", "-"]).stdin(entry).run().ok();
    assert_eq!(home.wait(&id)["state"], "completed");
    assert_eq!(home.output(&id), "words");
}
