//! Bytes that are no text, and very many of them: arguments, paths and variables arrive as they were given.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;

use meanwhile_testkit::{Ran, TestHome};
use serde_json::{Value, json};

use crate::check_refusal;

/// `ÿþ` in Latin-1: valid in a path, never in UTF-8.
const ODD: &[u8] = b"odd-\xff\xfe";

fn odd() -> &'static OsStr {
    OsStr::from_bytes(ODD)
}

fn with(prefix: &str, bytes: &[u8]) -> OsString {
    OsString::from_vec([prefix.as_bytes(), bytes].concat())
}

fn run<'a>(home: &TestHome, words: impl IntoIterator<Item = &'a OsStr>) -> String {
    let line = std::iter::once(OsStr::new("run")).chain(words);
    home.cli(line).ok()
}

#[track_caller]
fn raw_output(home: &TestHome, id: &str) -> Vec<u8> {
    let task = home.wait(id);
    assert_eq!(task["state"], "completed", "{task:#}");
    home.cli(["output", id, "--raw"]).stdout
}

#[test]
fn arguments_that_are_not_utf8_arrive_as_they_are() {
    let home = TestHome::new();
    let id = run(
        &home,
        ["--".as_ref(), OsStr::new("printf"), OsStr::new("%s|"), odd(), OsStr::new("ä")],
    );
    assert_eq!(raw_output(&home, &id), [ODD, b"|\xc3\xa4|"].concat());
    let command = &home.status(&id)["command"];
    assert_eq!(command[2], json!({ "base64": "b2RkLf/+" }), "{command}");
    assert_eq!(command[3], "ä", "{command}");
    // For people there is something to read, and it is valid UTF-8.
    for words in [&["list"][..], &["status", &id]] {
        let shown = home.cli(words);
        assert!(std::str::from_utf8(&shown.stdout).is_ok_and(|text| text.contains("odd-")));
    }
}

#[test]
fn a_shell_line_that_is_not_utf8_arrives_as_it_is() {
    let home = TestHome::new();
    let line = with("printf %s ", ODD);
    let id = run(&home, ["--shell".as_ref(), line.as_os_str()]);
    assert_eq!(raw_output(&home, &id), ODD);
}

#[test]
fn a_directory_that_is_not_utf8_is_where_the_task_runs() {
    let home = TestHome::new();
    let directory = home.cwd().join(odd());
    fs::create_dir(&directory).expect("a directory can be made");
    for (options, called_in) in
        [(vec!["--cwd".as_ref(), odd()], home.cwd()), (vec![], directory.clone())]
    {
        let mut line = vec![OsStr::new("run")];
        line.extend(options);
        line.extend(["--", "pwd"].map(OsStr::new));
        let id = home.invoke(line).cwd(called_in).run().ok();
        let expected = [directory.as_os_str().as_bytes(), b"\n"].concat();
        assert_eq!(raw_output(&home, &id), expected);
    }
}

#[test]
fn a_program_whose_path_is_not_utf8_runs() {
    let home = TestHome::new();
    let program = home.cwd().join(odd());
    fs::write(&program, "#!/bin/sh\necho ran\n").expect("a file can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .expect("own files can be changed");
    let id = run(&home, ["--".as_ref(), program.as_os_str()]);
    assert_eq!(raw_output(&home, &id), b"ran\n");
}

#[test]
fn variables_that_are_not_utf8_arrive_as_they_are() {
    let home = TestHome::new();
    let given = with("GIVEN=", ODD);
    // Not by a shell: shells drop variables whose names they could not say.
    let line = ["run", "--env"].map(OsStr::new).into_iter().chain([given.as_os_str()]);
    let line = line.chain(["--", "env", "-0"].map(OsStr::new));
    let id = home.invoke(line).env("HAD", odd()).env(with("ODD_", b"\xff"), "1").run().ok();
    let seen = raw_output(&home, &id);
    for expected in [with("GIVEN=", ODD), with("HAD=", ODD), with("ODD_", b"\xff=1")] {
        let found = seen.split(|byte| *byte == 0).any(|entry| entry == expected.as_bytes());
        assert!(found, "{expected:?} is not in {}", String::from_utf8_lossy(&seen));
    }
}

#[test]
fn an_input_file_whose_path_is_not_utf8_is_read() {
    let home = TestHome::new();
    fs::write(home.cwd().join(odd()), "words").expect("a file can be written");
    let id = run(&home, ["--stdin".as_ref(), odd(), OsStr::new("--"), OsStr::new("cat")]);
    assert_eq!(raw_output(&home, &id), b"words");
}

#[test]
fn a_home_whose_path_is_not_utf8_works() {
    let home = TestHome::builder().below(odd()).build();
    let id = home.launch(["echo", "hello"]);
    assert_eq!(raw_output(&home, &id), b"hello\n");
    assert!(home.status(&id)["log"]["path"]["base64"].is_string());
    assert!(home.json(["daemon", "status"])["home"]["base64"].is_string());
    home.cli(["daemon", "status"]).ok();
}

#[test]
fn names_must_be_text_and_the_error_says_so() {
    let home = TestHome::new();
    let line =
        [OsStr::new("run"), OsStr::new("--name"), odd(), OsStr::new("--"), OsStr::new("true")];
    check_refusal(&home.cli(line), 2, "UTF-8");
}

#[test]
fn a_megabyte_of_arguments_arrives() {
    let home = TestHome::new();
    let argument = "x".repeat(10_000);
    let mut line = vec!["run", "--", "sh", "-c", "printf %s \"$*\" | wc -c", "sh"];
    line.extend([argument.as_str(); 100]);
    let id = home.cli(line).ok();
    // A hundred arguments with a space between them.
    assert_eq!(raw_output(&home, &id), b"1000099\n");
    let listed = home.cli(["list"]);
    assert!(listed.ok().len() < 4_096, "a long command does not flood the list");
}

#[test]
fn a_megabyte_in_one_argument_is_told_and_not_lost() {
    let home = TestHome::new();
    // The kernel takes 128 KiB per argument, so this comes by a file and can never start.
    let entry = json!({ "command": ["true", "x".repeat(1 << 20)] }).to_string();
    let ran = home.invoke(["run", "--from", "-"]).stdin(entry).run();
    if ran.code() == 0 {
        let task = home.wait(&ran.text());
        assert_eq!(task["cause"]["kind"], "spawn_error", "{}", task["cause"]);
        let message = task["cause"]["message"].as_str().expect("it says why");
        assert!(message.contains("long"), "{message}");
    } else {
        check_refusal(&ran, 4, "argument of 1048576 bytes");
    }
}

fn refused_entry(home: &TestHome, entry: &Value) -> Ran {
    let entries = format!("{}\n{entry}\n", json!({ "command": ["true"] }));
    home.invoke(["run", "--from", "-"]).stdin(entries).run()
}

#[test]
fn nul_bytes_are_refused_wherever_the_system_cannot_hold_them() {
    let home = TestHome::new();
    for entry in [
        json!({ "command": ["tr\0ue"] }),
        json!({ "command": ["true", "a\0b"] }),
        json!({ "command": ["true", { "base64": "YQBi" }] }),
        json!({ "shell": "true\0" }),
        json!({ "command": ["true"], "cwd": "/\0" }),
        json!({ "command": ["true"], "env": { "A": "b\0c" } }),
        json!({ "command": ["true"], "env": { "A\0": "b" } }),
        json!({ "command": ["true"], "stdin": "/tmp\0" }),
        json!({ "command": ["true"], "name": "a\0b" }),
        json!({ "command": ["true"], "lane": "a\0b" }),
        json!({ "command": ["true"], "labels": { "k": "a\0b" } }),
    ] {
        let ran = refused_entry(&home, &entry);
        check_refusal(&ran, 2, "line 2");
        assert!(!ran.complaint().contains('\0'));
    }
    assert_eq!(home.json(["list"]), json!([]), "a batch with a bad entry is refused whole");
}
