//! `output`: pages of a log by lines, bytes and matches; cursors; the dropped middle; plain text and raw bytes.

use meanwhile_testkit::{DEADLINE, TestHome};
use serde_json::{Value, json};

use crate::check_refusal;

/// A finished task that printed this.
fn printed(home: &TestHome, script: &str) -> String {
    let id = home.launch_shell(script);
    home.wait(&id);
    id
}

#[track_caller]
fn check(home: &TestHome, id: &str, options: &[&str], expected: &str) {
    let ran = home.cli([&["output", id], options].concat());
    ran.expect(0);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), expected, "output {options:?}");
}

#[test]
fn pages_by_lines_bytes_and_matches() {
    let home = TestHome::new();
    let id = printed(&home, "printf 'one\\ntwo\\nthree\\nfour\\nfive'");
    check(&home, &id, &[], "one\ntwo\nthree\nfour\nfive");
    check(&home, &id, &["--head", "2"], "one\ntwo\n");
    check(&home, &id, &["--head", "0"], "");
    check(&home, &id, &["--head", "99"], "one\ntwo\nthree\nfour\nfive");
    check(&home, &id, &["--tail", "2"], "four\nfive");
    check(&home, &id, &["-n", "1"], "five");
    check(&home, &id, &["--tail", "0"], "");
    check(&home, &id, &["--tail", "99"], "one\ntwo\nthree\nfour\nfive");
    check(&home, &id, &["--grep", "^t"], "two\nthree\n");
    check(&home, &id, &["--grep", "^t", "--head", "1"], "two\n");
    check(&home, &id, &["--grep", "^t", "--tail", "1"], "three\n");
    check(&home, &id, &["--grep", "(?i)ONE|FIVE"], "one\nfive");
    check(&home, &id, &["--grep", "nothing"], "");
    check(&home, &id, &["--since", "0"], "one\ntwo\nthree\nfour\nfive");
    check(&home, &id, &["--since", "4"], "two\nthree\nfour\nfive");
    check(&home, &id, &["--since", "23"], "");
    check(&home, &id, &["--since", "99999"], "");
    check(&home, &id, &["--since", "4", "--head", "1"], "two\n");
    check(&home, &id, &["--max-bytes", "5"], "one\nt");
    check(&home, &id, &["--max-bytes", "0"], "");
    check(&home, &id, &["--attempt", "1", "--tail", "1"], "five");
}

#[test]
fn marks_about_cuts_go_to_stderr_with_what_to_type() {
    let home = TestHome::new();
    let id = printed(&home, "seq 1 1000");
    let ran = home.cli(["output", &id, "--max-bytes", "10"]);
    assert!(ran.stdout.len() <= 10);
    assert!(ran.complaint().contains("--since"), "{}", ran.complaint());
    assert_eq!(home.cli(["output", &id]).complaint(), "");
}

#[test]
fn json_pages_follow_each_other_by_their_cursors() {
    let home = TestHome::new();
    let id = printed(&home, "seq 1 2000");
    let whole = home.cli(["output", &id]).stdout;
    let (mut text, mut cursor, mut pages) = (String::new(), 0, 0);
    loop {
        let since = cursor.to_string();
        let page = home.json(["output", &id, "--since", &since, "--max-bytes", "1000"]);
        let part = page["text"].as_str().expect("it is text");
        assert!(part.len() <= 1000);
        assert_eq!((&page["bytes"], &page["dropped_bytes"]), (&json!(whole.len()), &json!(0)));
        if part.is_empty() {
            break;
        }
        text.push_str(part);
        cursor = page["next_cursor"].as_u64().expect("a cursor");
        pages += 1;
    }
    assert_eq!(text.as_bytes(), whole);
    assert!(pages >= whole.len() / 1000, "{pages} pages");
    assert_eq!(cursor, whole.len() as u64);
}

#[test]
fn at_the_end_there_is_nothing_and_that_is_no_error() {
    let home = TestHome::new();
    let id = printed(&home, "echo hello");
    let end = home.json(["output", &id])["next_cursor"].to_string();
    let ran = home.cli(["output", &id, "--since", &end]);
    assert_eq!((ran.code(), ran.stdout.len(), ran.stderr.len()), (0, 0, 0));
    let page = home.json(["output", &id, "--since", &end]);
    assert_eq!((&page["text"], page["next_cursor"].to_string()), (&json!(""), end));
    let silent = printed(&home, "true");
    assert_eq!(home.cli(["output", &silent]).stdout, b"");
}

#[test]
fn the_output_of_a_task_that_has_not_begun_is_empty() {
    let home = TestHome::new();
    let id = home.launch_with(["--delay", "1h"], ["true"]);
    assert_eq!(home.cli(["output", &id]).ok(), "");
    assert_eq!(home.json(["output", &id])["text"], "");
}

#[test]
fn stdout_and_stderr_come_in_the_order_they_were_written() {
    let home = TestHome::new();
    let id =
        printed(&home, "echo 1; echo 2 >&2; echo 3; echo 4 > /dev/stderr; echo 5 > /dev/stdout");
    check(&home, &id, &[], "1\n2\n3\n4\n5\n");
    // The streams of a command are not kept apart, and that is said.
    check_refusal(&home.cli(["output", &id, "--stream", "stderr"]), 4, "stderr");
}

#[test]
fn plain_text_is_utf8_without_control_characters_and_raw_is_the_bytes() {
    let home = TestHome::new();
    let script = r"printf 'a\033[31mred\033[0m\tb\000c\007\b\377\302\233x\n\033]0;title\007end\n\033[2Jdone\302'";
    let id = printed(&home, script);
    let raw =
        b"a\x1b[31mred\x1b[0m\tb\0c\x07\x08\xff\xc2\x9bx\n\x1b]0;title\x07end\n\x1b[2Jdone\xc2";
    assert_eq!(home.cli(["output", &id, "--raw"]).stdout, raw);
    let plain = home.cli(["output", &id]).stdout;
    let text = std::str::from_utf8(&plain).expect("valid UTF-8");
    assert!(text.chars().all(|c| matches!(c, '\t' | '\n') || !c.is_control()), "{text:?}");
    assert!(text.starts_with("ared\tbc\u{fffd}") && text.contains("\nend\ndone"), "{text:?}");
    let page = home.json(["output", &id]);
    assert_eq!(page["text"].as_str(), Some(text), "the same in JSON");
    let page = home.json(["output", &id, "--raw"]);
    assert!(page["text"]["base64"].is_string(), "{page}");
}

#[test]
fn a_cut_never_splits_a_character() {
    let home = TestHome::new();
    let id = printed(&home, "printf 'ääääääää€€€€'");
    for bytes in 0..16 {
        let ran = home.cli(["output", &id, "--max-bytes", &bytes.to_string()]);
        let text = String::from_utf8(ran.stdout).expect("valid UTF-8");
        assert!(text.len() <= bytes && !text.contains('\u{fffd}'), "{bytes}: {text:?}");
    }
}

#[test]
fn a_line_without_end_is_read_in_bounded_memory() {
    let home = TestHome::new();
    let id = printed(&home, "head -c 20000000 /dev/zero | tr '\\0' x");
    let ran = home.invoke(["output", &id]).wrapped(["prlimit", "--as=1000000000"]).run();
    assert_eq!(ran.ok().len(), 20_000_000);
    let page = home.json(["output", &id, "--tail", "1", "--max-bytes", "100"]);
    assert!(page["text"].as_str().is_some_and(|text| text.len() <= 100), "{page}");
}

/// A task that printed numbered lines far beyond its cap.
fn flooded(home: &TestHome) -> (String, Value) {
    let id = home.launch_shell_with(["--max-log", "128KiB"], "seq -f 'line %07.0f' 1 50000");
    let task = home.wait(&id);
    (id, task["log"].clone())
}

#[test]
fn the_dropped_middle_is_marked_once_and_exactly() {
    let home = TestHome::new();
    let (id, log) = flooded(&home);
    assert_eq!(log["bytes"], 50_000 * 13);
    let ran = home.cli(["output", &id]);
    let text = ran.ok();
    assert!(text.starts_with("line 0000001\n") && text.ends_with("line 0050000"));
    let dropped = log["dropped_bytes"].as_u64().expect("a number");
    assert_eq!(ran.stdout.len() as u64 + dropped, 50_000 * 13);
    assert_eq!(ran.complaint().lines().count(), 1, "{}", ran.complaint());
    assert!(ran.complaint().contains("gone"), "{}", ran.complaint());
    let page = home.json(["output", &id]);
    assert_eq!(page["dropped_bytes"], dropped);
    assert_eq!(page["next_cursor"], 50_000 * 13);
    let gap = &page["gaps"][0];
    let (from, to) = (gap["from"].as_u64().expect("from"), gap["to"].as_u64().expect("to"));
    assert_eq!(to - from, dropped, "{gap}");
}

#[test]
fn cursors_are_offsets_into_everything_written() {
    let home = TestHome::new();
    let (id, _) = flooded(&home);
    // A cursor in the gap reads on behind it; one before the end reads what is there.
    let end = 50_000 * 13;
    check(&home, &id, &["--since", &(end - 13).to_string()], "line 0050000\n");
    check(&home, &id, &["--tail", "1"], "line 0050000\n");
    check(&home, &id, &["--head", "1"], "line 0000001\n");
    let gap = home.json(["output", &id])["gaps"][0].clone();
    let inside = (gap["from"].as_u64().expect("a number") + 1).to_string();
    let page = home.json(["output", &id, "--since", &inside, "--max-bytes", "100"]);
    assert!(page["next_cursor"].as_u64() >= gap["to"].as_u64(), "{page}");
    check(&home, &id, &["--grep", "0049999"], "line 0049999\n");
}

#[test]
fn follow_prints_what_is_there_and_what_comes_until_the_end() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let script = format!("echo before; {}; {}; echo after; exit 3", bell.shell("up"), gate.shell());
    let id = home.launch_shell(&script);
    bell.wait(DEADLINE);
    let following = [
        home.invoke(["output", &id, "--follow"]).start(),
        home.invoke(["output", &id, "-f", "--grep", "aft"]).start(),
        home.invoke(["output", &id, "-f", "--since", "7"]).start(),
    ];
    gate.open();
    let outputs: Vec<String> = following
        .into_iter()
        .map(|running| {
            let ran = running.wait(DEADLINE);
            // `output` reads: what the task exits with is not its matter.
            ran.ok()
        })
        .collect();
    assert_eq!(outputs[0], "before\nafter");
    assert_eq!(outputs[1], "after");
    assert_eq!(outputs[2], "after");
}

#[test]
fn follow_in_json_is_one_page_per_line() {
    let home = TestHome::new();
    let id = printed(&home, "echo one; echo two");
    let ran = home.cli(["--json", "output", &id, "--follow"]);
    let pages: Vec<Value> = ran
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a document per line"))
        .collect();
    let text: String = pages.iter().filter_map(|page| page["text"].as_str()).collect();
    assert_eq!(text, "one\ntwo\n");
}

#[test]
fn a_reader_that_closes_its_pipe_is_no_failure() {
    let home = TestHome::new();
    let id = printed(&home, "seq 1 200000");
    let script = format!("set -o pipefail; '{}' output {id} | head -n 1", home.binary().display());
    let piped = home.invoke(["-c", &script]).program("bash").run();
    assert_eq!((piped.code(), piped.text(), piped.complaint()), (0, "1".into(), String::new()));
}

#[test]
fn the_log_is_a_plain_file_while_nothing_is_dropped() {
    let home = TestHome::new();
    let id = printed(&home, "printf 'a\\033[1mb\\n'");
    let task = home.status(&id);
    let path = task["log"]["path"].as_str().expect("a path");
    assert_eq!(std::fs::read(path).expect("it can be read"), b"a\x1b[1mb\n");
    assert_eq!((&task["log"]["bytes"], &task["log"]["dropped_bytes"]), (&json!(7), &json!(0)));
}
