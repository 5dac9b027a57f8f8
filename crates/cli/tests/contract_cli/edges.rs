//! The edges of what one can ask for, and callers in odd places: nothing is accepted that cannot be kept, and nothing
//! crashes.

use meanwhile_testkit::TestHome;
use serde_json::json;

use crate::check_refusal;

#[test]
fn what_nobody_means_is_refused_and_the_bound_is_told() {
    let home = TestHome::new();
    for (options, expected) in [
        (&["--retries", "4294967295"][..], "100"),
        (&["--timeout", "100000000h"], "10 years"),
        (&["--delay", "18446744073709551615ms"], "10 years"),
        (&["--ready", "x", "--ready-port", "80"], "--ready-port"),
        (&["--pty", "--stdin", "/etc/hostname"], "--stdin"),
    ] {
        let ran = home.cli([&["run"], options, &["--", "true"]].concat());
        check_refusal(&ran, 2, expected);
    }
    assert_eq!(home.json(["list"]), json!([]));
}

#[test]
fn the_extremes_that_are_allowed_work() {
    let home = TestHome::new();
    let name = "n".repeat(200);
    for options in [
        &["--priority", "-2147483648"][..],
        &["--priority", "2147483647"],
        &["--max-log", "1"],
        &["--memory", "1TiB"],
        &["--cpus", "4096"],
        &["--pids", "4294967295"],
        &["--nice", "19"],
        &["--timeout", "87600h"],
        &["--idle-timeout", "0", "--backoff", "0", "--kill-after", "0", "--delay", "0"],
        &["--retries", "100"],
        &["--name", &name],
        &["--label", "a.b/c-d_e=x=y z"],
        &["--artifact", "target/**/*.{log,txt}"],
        &[
            "--notify",
            "none",
            "--force",
            "--idempotent",
            "--on-waiting",
            "kill",
            "--notify-on",
            "error",
        ],
    ] {
        let ran = home.cli([&["run", "--wait"], options, &["--", "true"]].concat());
        assert_eq!(ran.code(), 0, "{options:?}: {}", ran.complaint());
    }
}

#[test]
fn a_tiny_log_still_has_its_beginning_and_its_end() {
    let home = TestHome::new();
    let id = home.launch_with(["--max-log", "1"], ["seq", "1", "200000"]);
    let task = home.wait(&id);
    assert_eq!(task["log"]["bytes"], 1_288_895);
    let output = home.output(&id);
    assert!(output.starts_with("1\n") && output.ends_with("200000"), "{} bytes", output.len());
}

#[test]
fn a_caller_whose_directory_is_gone_is_told_or_names_another() {
    let home = TestHome::new();
    let directory = home.path("gone");
    std::fs::create_dir(&directory).expect("a directory can be made");
    let gone = ["sh", "-c", "rmdir \"$PWD\"; exec \"$@\"", "sh"];
    let ran = home.invoke(["run", "--", "true"]).cwd(&directory).wrapped(gone).run();
    assert!(matches!(ran.code(), 2 | 4), "{}: {}", ran.code(), ran.complaint());
    assert!(
        ran.complaint().contains("directory") && ran.complaint().contains("--cwd"),
        "{}",
        ran.complaint()
    );
    std::fs::create_dir(&directory).expect("a directory can be made");
    let ran = home.invoke(["run", "--cwd", "/", "--", "pwd"]).cwd(&directory).wrapped(gone).run();
    let id = ran.ok();
    home.wait(&id);
    assert_eq!(home.output(&id), "/");
    std::fs::create_dir(&directory).expect("a directory can be made");
    home.invoke(["list"]).cwd(&directory).wrapped(gone).run().ok();
}

#[test]
fn closed_descriptors_confuse_nobody() {
    let home = TestHome::new();
    let (mark, log) = (home.path("mark"), home.path("log"));
    let mark_text = mark.to_str().expect("our own path is text");
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let script = format!("\"$@\" {closed}; echo $? >> '{}'", log.display());
        home.invoke(["run", "--wait", "--", "touch", mark_text])
            .wrapped(["sh", "-c", &script, "sh"])
            .run()
            .ok();
        assert!(std::fs::remove_file(&mark).is_ok(), "the task did not run with {closed}");
    }
    let codes = std::fs::read_to_string(log).expect("the shell wrote it");
    assert_eq!(codes, "0\n".repeat(4), "it succeeded each time");
    // What could have been written into a socket or a database that took the place of a closed one.
    assert_eq!(home.json(["list", "--summary"])["states"]["completed"], 4);
    home.cli(["daemon", "stop"]).ok();
    home.cli(["doctor"]).expect(0);
}

#[test]
fn a_caller_without_a_path_or_a_home_of_its_own_can_launch() {
    let home = TestHome::new();
    let call =
        home.invoke(["run", "--wait", "--", "ls", "/"]).env_remove("PATH").env_remove("HOME");
    call.run().ok();
}

/// The daemon that such a caller starts serves others after it; the task has the caller's limits.
#[test]
fn a_caller_with_tight_limits_starts_a_daemon_without_them() {
    let home = TestHome::new();
    home.cli(["daemon", "stop"]).ok();
    let tight = ["sh", "-c", "ulimit -S -n 40; ulimit -S -f 8; ulimit -S -t 1; exec \"$@\"", "sh"];
    let id = home.invoke(["run", "--shell", "ulimit -n; ulimit -f"]).wrapped(tight).run().ok();
    home.wait(&id);
    assert_eq!(home.output(&id), "40\n8");
    let entries = "{\"shell\":\"head -c 100000 /dev/zero\"}\n".repeat(60);
    home.invoke(["run", "--wait", "--from", "-"]).stdin(entries).run().expect(0);
}

/// Only a privileged daemon can raise a hard limit; another cannot keep a store, which it says rather than dies of.
#[test]
fn a_daemon_that_may_write_short_files_only_says_so() {
    let home = TestHome::new();
    home.cli(["daemon", "stop"]).ok();
    let ran = home.invoke(["run", "--", "true"]).wrapped(["prlimit", "--fsize=4096:4096"]).run();
    if ran.code() == 0 {
        assert_eq!(home.wait(&ran.text())["state"], "completed");
    } else {
        check_refusal(&ran, 6, "ulimit -f");
    }
}

#[test]
fn a_name_may_be_anything_people_write() {
    let home = TestHome::new();
    for name in [
        "größe",
        "日本語 の ビルド",
        "a/b",
        "--force",
        "-n",
        "0",
        "null",
        "a'b\"c",
        "$(touch x)",
        "%s%n",
        "😀",
    ] {
        let option = format!("--name={name}");
        let id = home.launch_with([option.as_str()], ["true"]);
        home.wait(&id);
        assert_eq!(home.status(&id)["name"], name);
        assert!(home.cli(["list", "--name", name]).code() <= 2);
        let by_name = home.cli(["--json", "status", "--", name]);
        assert_eq!(by_name.json()["id"], id.as_str(), "{name}");
    }
    assert!(!home.path("x").exists(), "nothing of a name is run");
}
