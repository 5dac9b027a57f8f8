//! What tasks write: kept whole up to the cap, counted beyond it, and never able to fill a disk, block a
//! task or hide an end. And what they leave behind: processes that hold the output open end nothing.
//!
//! Owns tasks that write too much, too strangely, or after their end.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, Process, TestHome, marked};
use serde_json::{Value, json};

/// All bytes below a directory.
fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_below(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

#[track_caller]
fn number(value: &Value) -> usize {
    let number = value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"));
    usize::try_from(number).expect("a test writes less than the memory there is")
}

#[test]
fn a_flood_of_output_is_cut_to_its_cap_and_counted() {
    const CAP: u64 = 256 << 10;
    let home = TestHome::new();
    let id = home.launch_with(["--max-log", "256KiB"], ["seq", "1", "2000000"]);
    let task = home.wait(&id);
    assert_eq!(task["state"], "completed", "{task:#}");

    let whole: String = (1..=2_000_000).map(|n| format!("{n}\n")).collect();
    let log = &task["log"];
    assert_eq!(number(&log["bytes"]), whole.len());
    let kept = whole.len() - number(&log["dropped_bytes"]);
    assert!(kept as u64 <= CAP, "{kept} bytes are kept");
    assert!(kept as u64 >= CAP / 2, "only {kept} bytes are kept");
    let files = bytes_below(&home.state().join("tasks").join(&id));
    // The owner file is one page; a write that is under way may be another.
    assert!(files <= CAP + 2 * 4096, "its files have {files} bytes");

    let read = home.cli(["output", &id, "--raw"]).stdout;
    assert_eq!(read.len(), kept, "what is not dropped can be read");
    let head = read.iter().zip(whole.as_bytes()).take_while(|(a, b)| a == b).count();
    let tail = read.iter().rev().zip(whole.bytes().rev()).take_while(|(a, b)| **a == *b).count();
    assert!(head > 0 && tail > 0 && head + tail >= kept, "head {head}, tail {tail} of {kept}");
    assert!(whole.ends_with(&(home.cli(["output", &id, "--tail", "3"]).text() + "\n")));
    home.finish();
}

/// A script that opens its stderr anew must not cut what is there (a pipe has nothing to cut).
#[test]
fn a_script_that_reopens_its_output_loses_nothing() {
    let home = TestHome::new();
    let id = home.launch_shell(
        "echo one; echo two > /dev/stderr; echo three; echo four > /dev/stdout; echo five >&2",
    );
    assert_eq!(home.wait(&id)["state"], "completed");
    assert_eq!(home.output(&id), "one\ntwo\nthree\nfour\nfive");
    home.finish();
}

#[test]
fn a_line_without_end_is_bounded_wherever_it_is_shown() {
    let home = TestHome::new();
    let line = "head -c 8000000 /dev/zero | tr '\\0' x";
    let id = home.launch_shell_with(["--max-log", "128KiB"], line);
    let task = home.wait(&id);
    assert_eq!(task["state"], "completed", "{task:#}");
    assert_eq!(task["log"]["bytes"], 8_000_000);
    for options in [&["--tail", "1"][..], &["--head", "1"], &["--grep", "x"], &[]] {
        let line =
            ["output", &id, "--max-bytes", "1000"].into_iter().chain(options.iter().copied());
        let shown = home.cli(line).ok();
        assert!(!shown.is_empty() && shown.len() <= 1001, "{options:?}: {} bytes", shown.len());
        assert!(shown.trim().bytes().all(|byte| byte == b'x'), "{options:?}");
    }
    home.finish();
}

#[test]
fn strange_bytes_are_kept_raw_and_shown_harmless() {
    let home = TestHome::new();
    let file = home.path("bytes");
    let bytes: Vec<u8> =
        [&b"\x1b]52;c;ZXZpbA==\x07\x1b[31mred\x1b[0m\0nul \xff\xfe bad\r\n"[..]].concat().repeat(3);
    fs::write(&file, &bytes).expect("a file can be written");
    let id = home.launch(["cat".as_ref(), file.as_os_str()]);
    home.wait(&id);
    assert_eq!(home.cli(["output", &id, "--raw"]).stdout, bytes);
    let shown = home.cli(["output", &id]).stdout;
    let text = String::from_utf8(shown).expect("plain output is valid UTF-8");
    assert!(text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{text:?}");
    assert!(text.contains("red") && text.contains("nul") && text.contains("bad"), "{text:?}");
    assert!(!text.contains("ZXZpbA"), "what was meant for a terminal is not text: {text:?}");
    home.finish();
}

/// Runs a task whose main process exits with 3 and leaves `leftover` behind, and demands that the end
/// came soon and left nobody alive.
#[track_caller]
fn check_leak(leftover: &str) {
    let home = TestHome::new();
    let nap = home.marker();
    let mut bell = home.bell("bell");
    let ring = format!("echo $$ > '{}'", bell.path().display());
    let leftover = leftover.replace("{nap}", &format!("sleep {nap}")).replace("{ring}", &ring);
    // The leftover is certainly there when the end comes.
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&format!("{leftover}\n{}\necho out; exit 3", gate.shell()));
    bell.wait(DEADLINE);
    gate.open();
    let start = Instant::now();
    let task = home.wait(&id);
    // 200 ms of patience and 1 s of grace by design; the rest is for slow machines.
    assert!(start.elapsed() < Duration::from_secs(8), "the end took {:?}", start.elapsed());
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(3)));
    assert!(number(&task["leaked"]["count"]) >= 1, "{task:#}");
    assert_eq!(task["leaked"]["kept"], false);
    assert_eq!(marked(&nap), Vec::<u32>::new(), "leftovers of an ended task are alive");
    assert_eq!(home.output(&id), "out");
    home.finish();
}

#[test]
fn a_grandchild_that_keeps_stdout_open_does_not_hide_the_end() {
    check_leak(r#"sh -c '{ring}; exec {nap}' &"#);
}

#[test]
fn a_grandchild_that_ignores_sigterm_is_killed_after_the_end() {
    check_leak(r#"sh -c 'trap "" TERM HUP; {ring}; {nap}; {nap}' &"#);
}

#[test]
fn a_grandchild_without_output_and_session_is_found_after_the_end() {
    check_leak(r#"setsid sh -c '{ring}; exec {nap}' < /dev/null > /dev/null 2>&1 &"#);
}

#[test]
fn leftovers_are_kept_when_asked_for() {
    let home = TestHome::new();
    let nap = home.marker();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let ring = format!("echo $$ > {}", bell.path().display());
    let line = format!("sh -c '{ring}; exec sleep {nap}' & {}", gate.shell());
    let id = home.launch_shell_with(["--keep-leaked"], &line);
    let pid = bell.wait(DEADLINE).parse().expect("the leftover rang with its pid");
    let leftover = Process::of(pid).expect("it lives");
    gate.open();
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("completed"), &json!(0)));
    assert_eq!((&task["leaked"]["kept"], &task["leaked"]["count"]), (&json!(true), &json!(1)));
    assert!(leftover.is_alive());
    // The next task is not held up by it.
    let next = home.launch(["true"]);
    assert_eq!(home.wait(&next)["state"], "completed");
    leftover.kill();
    home.finish();
}
