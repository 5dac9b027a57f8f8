//! What cannot start: refused at once where that is certain, with the exit codes of a shell in `run --wait`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use meanwhile_testkit::{TestHome, mode};
use serde_json::json;

use crate::{check_refusal, error_of};

fn script(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own files can be changed");
}

/// Refused with 4 by `run`, and with the code of a shell by `run --wait`; no task is left behind.
#[track_caller]
fn check(home: &TestHome, options: &[&str], program: &str, shell_code: i32, expected: &str) {
    let line = |first: &[&str]| {
        let words = [&["run"], first, options, &["--", program]].concat();
        home.cli(words)
    };
    check_refusal(&line(&[]), 4, expected);
    check_refusal(&line(&["--wait"]), shell_code, expected);
    let followed = line(&["--follow"]);
    followed.expect(shell_code);
    assert_eq!(home.json(["list"]), json!([]), "a refused launch leaves no task");
}

#[test]
fn an_unknown_program_is_refused_at_once() {
    let home = TestHome::new();
    check(&home, &[], "no-such-program-here", 127, "no-such-program-here");
}

#[test]
fn a_missing_path_is_refused_at_once() {
    let home = TestHome::new();
    check(&home, &[], "/no/such/program", 127, "/no/such/program");
    check(&home, &[], "./missing", 127, "missing");
}

#[test]
fn a_directory_is_refused_at_once() {
    let home = TestHome::new();
    check(&home, &[], "/", 126, "directory");
}

#[test]
fn a_file_that_is_not_executable_is_refused_at_once() {
    let home = TestHome::new();
    script(&home.path("plain"), "#!/bin/sh\n", 0o644);
    check(&home, &[], "./plain", 126, "plain");
}

#[test]
fn a_missing_directory_is_refused_at_once() {
    let home = TestHome::new();
    check(&home, &["--cwd", "/no/such/directory"], "true", 1, "/no/such/directory");
    check(&home, &["--cwd", "missing"], "true", 1, "missing");
}

#[test]
fn a_file_as_directory_is_refused_at_once() {
    let home = TestHome::new();
    fs::write(home.path("file"), "").expect("a file can be written");
    check(&home, &["--cwd", "file"], "true", 1, "file");
}

#[test]
fn a_forbidden_directory_is_refused_at_once() {
    // Root is forbidden nothing: another user then calls.
    let home = match mode::is_root() {
        true => TestHome::builder().uid(meanwhile_testkit::free_uid()).build(),
        false => TestHome::new(),
    };
    let forbidden = home.path("forbidden");
    fs::create_dir(&forbidden).expect("a directory can be made");
    fs::set_permissions(&forbidden, fs::Permissions::from_mode(0o000))
        .expect("own files can be changed");
    check(
        &home,
        &["--cwd", forbidden.to_str().expect("our own path is text")],
        "true",
        1,
        "forbidden",
    );
}

#[test]
fn a_refusal_says_in_json_why_and_what_a_shell_would_exit_with() {
    let home = TestHome::new();
    let ran = home.cli(["--json", "run", "--", "no-such-program-here"]);
    ran.expect(4);
    let error = error_of(&ran);
    assert_eq!((&error["code"], &error["exit"]), (&json!("cannot_start"), &json!(4)), "{error:#}");
    assert_eq!(error["details"]["run_wait_exit"], 127, "{error:#}");
    assert!(error["hint"][0].is_string(), "{error:#}");
}

/// A script whose interpreter is missing looks startable; whichever way it is found out, it is told.
#[test]
fn a_missing_interpreter_ends_run_wait_like_a_shell() {
    let home = TestHome::new();
    script(&home.path("script"), "#!/no/such/interpreter\n", 0o755);
    let ran = home.cli(["run", "--wait", "--", "./script"]);
    assert!(matches!(ran.code(), 126 | 127), "exit code {}: {}", ran.code(), ran.complaint());
    assert!(ran.complaint().contains("interpreter"), "{}", ran.complaint());
}

#[test]
fn what_fails_only_at_the_start_is_a_spawn_error() {
    let home = crate::one_seat();
    let mut gate = home.gate("gate");
    crate::hold_the_seat(&home, &gate);
    script(&home.path("gone"), "#!/bin/sh\n", 0o755);
    script(&home.path("closed"), "#!/bin/sh\n", 0o755);
    let gone = home.launch_with(["--lane", "one"], ["./gone"]);
    let closed = home.launch_with(["--lane", "one"], ["./closed"]);
    fs::remove_file(home.path("gone")).expect("own files can be removed");
    script(&home.path("closed"), "#!/bin/sh\n", 0o644);
    gate.open();
    for (id, code) in [(&gone, 127), (&closed, 126)] {
        let task = home.wait(id);
        assert_eq!(task["state"], "failed", "{task:#}");
        assert_eq!(task["cause"]["kind"], "spawn_error", "{task:#}");
        assert!(task["cause"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{task:#}");
        assert_eq!(
            (&task["exit_code"], &task["outcome"]),
            (&json!(null), &json!("failure")),
            "{task:#}"
        );
        let followed = home.cli(["follow", id]);
        followed.expect(code);
        assert!(!followed.complaint().is_empty(), "it says why");
    }
}

#[test]
fn a_script_without_a_first_line_is_refused_or_runs_but_never_hangs() {
    let home = TestHome::new();
    script(&home.path("bare"), "echo bare\n", 0o755);
    let ran = home.cli(["run", "--wait", "--", "./bare"]);
    assert!(matches!(ran.code(), 0 | 126), "exit code {}: {}", ran.code(), ran.complaint());
}

#[test]
fn a_directory_that_goes_away_while_the_task_waits_is_a_spawn_error() {
    let home = crate::one_seat();
    let mut gate = home.gate("gate");
    crate::hold_the_seat(&home, &gate);
    let gone = home.path("gone");
    fs::create_dir(&gone).expect("a directory can be made");
    let gone_text = gone.to_str().expect("our own path is text");
    let id = home.launch_with(["--lane", "one", "--cwd", gone_text], ["true"]);
    fs::remove_dir(&gone).expect("the directory can be removed");
    gate.open();
    let task = home.wait(&id);
    assert_eq!(task["cause"]["kind"], "spawn_error", "{task:#}");
    assert_eq!(home.cli(["follow", &id]).code(), 1);
}

#[test]
fn a_relative_program_is_looked_for_in_the_directory_of_the_task() {
    let home = TestHome::new();
    fs::create_dir(home.path("sub")).expect("a directory can be made");
    script(&home.path("sub/here"), "#!/bin/sh\necho found\n", 0o755);
    let id = home.launch_with(["--cwd", "sub"], ["./here"]);
    assert_eq!(
        (home.wait(&id)["state"].clone(), home.output(&id)),
        (json!("completed"), "found".into())
    );
}

#[test]
fn a_program_is_looked_for_in_the_path_the_task_is_given() {
    let home = TestHome::new();
    fs::create_dir(home.path("tools")).expect("a directory can be made");
    script(&home.path("tools/mine"), "#!/bin/sh\necho mine\n", 0o755);
    let path = format!("PATH={}:/usr/bin:/bin", home.path("tools").display());
    let id = home.launch_with(["--env", &path], ["mine"]);
    assert_eq!(
        (home.wait(&id)["state"].clone(), home.output(&id)),
        (json!("completed"), "mine".into())
    );
}

/// A program that nobody has, with a `PATH` that names a directory the caller may not look into: a shell says 127.
#[test]
fn a_closed_directory_of_the_path_is_no_program() {
    // Root is forbidden nothing: another user then calls.
    let home = match mode::is_root() {
        true => TestHome::builder().uid(meanwhile_testkit::free_uid()).build(),
        false => TestHome::new(),
    };
    let (closed, tools) = (home.path("closed"), home.path("tools"));
    fs::create_dir(&closed).expect("a directory can be made");
    fs::create_dir(&tools).expect("a directory can be made");
    script(&tools.join("mine"), "#!/bin/sh\n", 0o755);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000))
        .expect("own files can be changed");
    let path = format!("PATH={}:{}:/usr/bin:/bin", closed.display(), tools.display());
    home.cli(["run", "--wait", "--env", &path, "--", "no-such-program-here"]).expect(127);
    // Found at the launch and gone at the start.
    let id = home.launch_with(["--env", &path, "--delay", "1s"], ["mine"]);
    fs::remove_file(tools.join("mine")).expect("own files can be removed");
    let task = home.wait(&id);
    assert_eq!(task["cause"]["kind"], "spawn_error", "{task:#}");
    home.cli(["follow", &id]).expect(127);
}
