//! What a task is born with: variables, directory, umask, limits of resources, a private temporary directory.

use std::collections::BTreeMap;
use std::path::Path;

use meanwhile_testkit::{DEADLINE, TestHome, until, wait_for_file};
use serde_json::json;

type Variables = BTreeMap<String, String>;

/// The variables a task sees when it is launched like this.
#[track_caller]
fn seen(home: &TestHome, caller: &[(&str, &str)], options: &[&str]) -> Variables {
    let line = [&["run"], options, &["--", "env", "-0"]].concat();
    let call = caller.iter().fold(home.invoke(line), |call, (name, value)| call.env(name, value));
    let id = call.run().ok();
    assert_eq!(home.wait(&id)["state"], "completed");
    let bytes = home.cli(["output", &id, "--raw"]).stdout;
    let entries = bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let text = String::from_utf8_lossy(entry);
            let (name, value) = text.split_once('=').expect("an entry is NAME=VALUE");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(String::as_str)
}

#[test]
fn the_environment_is_the_callers_own() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    // The daemon was started before without them.
    let seen = seen(&home, &[("OPENAI_API_KEY", "k"), ("MY_THING", "a=b c"), ("EMPTY", "")], &[]);
    assert_eq!(value(&seen, "OPENAI_API_KEY"), Some("k"));
    assert_eq!(value(&seen, "MY_THING"), Some("a=b c"));
    assert_eq!(value(&seen, "EMPTY"), Some(""));
    assert_eq!(value(&seen, "HOME"), home.root().join("user").to_str());
}

#[test]
fn the_profile_keeps_programs_from_asking() {
    let home = TestHome::new();
    let seen = seen(&home, &[], &[]);
    for (name, expected) in [
        ("PAGER", "cat"),
        ("GIT_PAGER", "cat"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_EDITOR", ":"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("PIP_NO_INPUT", "1"),
        ("PYTHONUNBUFFERED", "1"),
        ("NO_COLOR", "1"),
        ("TERM", "dumb"),
        ("TF_INPUT", "0"),
    ] {
        assert_eq!(value(&seen, name), Some(expected), "{name}");
    }
    assert_eq!(value(&seen, "CI"), None, "CI changes what programs do: only where asked for");
}

#[test]
fn the_profile_sets_only_what_the_user_has_not() {
    let home = TestHome::new();
    let caller = [("PAGER", "most"), ("GIT_EDITOR", ""), ("TERM", "xterm"), ("EDITOR", "vi")];
    let seen = seen(&home, &caller, &[]);
    for (name, expected) in caller {
        assert_eq!(value(&seen, name), Some(expected), "{name}");
    }
    assert_eq!(value(&seen, "GIT_PAGER"), Some("cat"));
}

#[test]
fn no_profile_answers_yes_for_anybody() {
    let home = TestHome::new();
    for profile in ["agent", "ci", "inherit"] {
        let seen = seen(&home, &[], &["--env-profile", profile]);
        for name in [
            "npm_config_yes",
            "NPM_CONFIG_YES",
            "CONDA_ALWAYS_YES",
            "PULUMI_SKIP_CONFIRMATIONS",
            "ASSUME_ALWAYS_YES",
            "TF_CLI_ARGS_apply",
            "APT_GET_ASSUME_YES",
            "NEEDRESTART_MODE",
            "NONINTERACTIVE",
        ] {
            assert_eq!(value(&seen, name), None, "{profile}: {name}");
        }
        let yes =
            seen.iter().find(|(_, value)| matches!(value.as_str(), "yes" | "y" | "-y" | "--yes"));
        assert_eq!(yes, None, "{profile}");
    }
}

#[test]
fn the_profile_can_be_chosen_per_task_and_in_the_configuration() {
    let home = TestHome::builder().config("env.profile = \"inherit\"").build();
    let plain = seen(&home, &[], &[]);
    assert_eq!((value(&plain, "PAGER"), value(&plain, "CI")), (None, None));
    let ci = seen(&home, &[], &["--env-profile", "ci"]);
    assert_eq!(value(&ci, "PAGER"), Some("cat"));
    assert!(value(&ci, "CI").is_some());
    let agent = seen(&home, &[], &["--env-profile", "agent"]);
    assert_eq!((value(&agent, "PAGER"), value(&agent, "CI")), (Some("cat"), None));
}

#[test]
fn what_identifies_the_parent_is_removed_unless_it_is_kept() {
    let home = TestHome::new();
    let identity = [
        ("CLAUDECODE", "1"),
        ("CLAUDE_CODE_SESSION_ID", "s"),
        ("CLAUDE_CODE_SSE_PORT", "1"),
        ("CLAUDE_CODE_ENTRYPOINT", "cli"),
        ("CODEX_THREAD_ID", "t"),
        ("CODEX_SANDBOX", "x"),
        ("GEMINI_CLI", "1"),
        ("OPENCODE", "1"),
        ("MEANWHILE_SESSION", "user"),
        ("MEANWHILE_SOMETHING", "x"),
    ];
    let stay = [("ANTHROPIC_API_KEY", "a"), ("CLAUDE_CONFIG_DIR", "/c"), ("CODEX_HOME", "/x")];
    let all = [&identity[..], &stay[..]].concat();
    let removed = seen(&home, &all, &[]);
    for (name, _) in identity {
        assert_eq!(value(&removed, name), None, "{name}");
    }
    for (name, expected) in stay {
        assert_eq!(value(&removed, name), Some(expected), "{name}");
    }
    let kept = seen(&home, &all, &["--keep-env", "CLAUDECODE", "--keep-env", "CODEX_THREAD_ID"]);
    assert_eq!(
        (value(&kept, "CLAUDECODE"), value(&kept, "CODEX_THREAD_ID")),
        (Some("1"), Some("t"))
    );
    assert_eq!(value(&kept, "GEMINI_CLI"), None);
}

#[test]
fn env_wins_over_everything_and_its_last_value_counts() {
    let home = TestHome::new();
    let options = [
        "--env",
        "PAGER=less",
        "--env",
        "HAD=new",
        "--env",
        "A=1",
        "--env",
        "A=2",
        "--env",
        "E=",
        "--env",
        "CLAUDECODE=mine",
        "--keep-env",
        "CLAUDECODE",
    ];
    let seen = seen(&home, &[("HAD", "old"), ("CLAUDECODE", "1")], &options);
    let expected =
        [("PAGER", "less"), ("HAD", "new"), ("A", "2"), ("E", ""), ("CLAUDECODE", "mine")];
    for (name, expected) in expected {
        assert_eq!(value(&seen, name), Some(expected), "{name}");
    }
}

#[test]
fn a_task_is_told_who_it_is_and_how_to_call_us() {
    let home = TestHome::new();
    let script = "echo $MEANWHILE_TASK $MEANWHILE_ATTEMPT; \"$MEANWHILE_BIN\" --version; echo \"$MEANWHILE_HOME\"";
    let id = home.launch_shell(script);
    home.wait(&id);
    let output = home.output(&id);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], format!("{id} 1"));
    assert!(lines[1].starts_with("meanwhile "), "{output}");
    assert_eq!(Path::new(lines[2]), home.state());
}

#[test]
fn a_retry_has_the_environment_of_its_own_caller() {
    let home = TestHome::new();
    let id = home.invoke(["run", "--shell", "echo $WHO"]).env("WHO", "first").run().ok();
    home.wait(&id);
    home.invoke(["retry", &id]).env("WHO", "second").run().ok();
    home.wait(&id);
    assert_eq!(home.output(&id), "second");
    assert_eq!(home.cli(["output", &id, "--attempt", "1"]).ok(), "first");
}

#[test]
fn captured_environments_are_private_and_go_when_no_task_needs_them() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let line = ["run", "--shell", &gate.shell()];
    let id = home.invoke(line).env("SECRET", "sentinel-value").run().ok();
    crate::wait_for_state(&home, &id, "running");
    let database = std::fs::read(home.state().join("meanwhile.db")).expect("it is there");
    let wal = std::fs::read(home.state().join("meanwhile.db-wal")).unwrap_or_default();
    for (name, bytes) in [("database", database), ("write-ahead log", wal)] {
        let found = bytes.windows(14).any(|window| window == b"sentinel-value");
        assert!(!found, "a variable's value is in the {name}");
    }
    gate.open();
    home.wait(&id);
    // Looked at when nothing has been unfinished for two minutes, and at every start.
    home.cli(["daemon", "stop"]).ok();
    home.cli(["daemon", "start"]).ok();
    let files = std::fs::read_dir(home.state().join("env")).map(Iterator::count);
    assert_eq!(files.unwrap_or(0), 0);
}

#[test]
fn secrets_in_variables_reach_no_log_and_no_answer() {
    let home = TestHome::builder().config("daemon.log_level = \"debug\"").build();
    let line = ["run", "--env", "TOKEN=sentinel-value", "--", "true"];
    let id = home.invoke(line).env("OTHER", "sentinel-value").run().ok();
    home.wait(&id);
    for words in [
        &["--json", "status", &id][..],
        &["--json", "list"],
        &["status", &id],
        &["--json", "audit"],
    ] {
        assert!(!home.cli(words).ok().contains("sentinel-value"), "{words:?}");
    }
    let log = std::fs::read(home.state().join("logs/daemon.log")).expect("the daemon writes a log");
    assert!(!String::from_utf8_lossy(&log).contains("sentinel-value"), "it is in the daemon's log");
}

#[test]
fn the_directory_is_the_callers_unless_one_is_given() {
    let home = TestHome::new();
    let pwd = |id: &str| {
        home.wait(id);
        home.output(id)
    };
    assert_eq!(pwd(&home.launch(["pwd"])), home.cwd().display().to_string());
    std::fs::create_dir(home.path("sub")).expect("a directory can be made");
    let id = home.launch_with(["--cwd", "sub"], ["pwd"]);
    assert_eq!(pwd(&id), home.path("sub").display().to_string());
    assert_eq!(home.status(&id)["cwd"], json!(home.path("sub")));
    assert_eq!(pwd(&home.launch_with(["--cwd", "/"], ["pwd"])), "/");
    let id = home.invoke(["run", "--", "pwd"]).cwd("/usr").run().ok();
    assert_eq!(pwd(&id), "/usr");
}

#[test]
fn the_umask_is_the_callers() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    for mask in ["0027", "0077", "0000"] {
        let wrapper = ["sh", "-c", &format!("umask {mask}; exec \"$@\""), "sh"];
        let id = home.invoke(["run", "--shell", "umask"]).wrapped(wrapper).run().ok();
        home.wait(&id);
        assert_eq!(home.output(&id), mask);
    }
}

#[test]
fn the_limits_of_resources_are_the_callers() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    let wrapper = ["sh", "-c", "ulimit -n 123; ulimit -c 0; ulimit -f 4000; exec \"$@\"", "sh"];
    let id = home
        .invoke(["run", "--shell", "ulimit -n; ulimit -c; ulimit -f"])
        .wrapped(wrapper)
        .run()
        .ok();
    home.wait(&id);
    assert_eq!(home.output(&id), "123\n0\n4000");
}

#[test]
fn a_task_has_no_descriptors_but_its_own_three_and_no_terminal() {
    let home = TestHome::new();
    let script = "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0; (: < /dev/tty) 2>/dev/null && echo tty; \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let id = home.launch_shell(script);
    home.wait(&id);
    let output = home.output(&id);
    let mut lines = output.lines();
    // 3 is the directory that `ls` itself reads.
    assert_eq!(lines.next(), Some("0 1 2 3 /dev/null"), "{output}");
    assert_eq!(lines.next(), Some("SigBlk:\t0000000000000000"), "{output}");
    assert_eq!(lines.next(), Some("SigIgn:\t0000000000000000"), "{output}");
}

#[test]
fn every_attempt_has_a_private_temporary_directory_that_goes_with_it() {
    let home = TestHome::new();
    let script = "echo \"$TMPDIR\"; stat -c %a \"$TMPDIR\"; mktemp; mkdir \"$TMPDIR/deep\"; : > \"$TMPDIR/deep/file\"; \
                  chmod 0 \"$TMPDIR/deep\"";
    let id = home.launch_shell(script);
    home.wait(&id);
    let output = home.output(&id);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(Path::new(lines[0]), home.state().join(format!("tmp/{id}.1")));
    assert_eq!(lines[1], "700");
    assert!(lines[2].starts_with(lines[0]), "mktemp uses it: {output}");
    until("the temporary directory to be removed", DEADLINE, || {
        (!Path::new(lines[0]).exists()).then_some(())
    });
}

#[test]
fn keep_tmp_keeps_the_temporary_directory() {
    let home = TestHome::new();
    let id = home.launch_shell_with(["--keep-tmp"], "echo kept > \"$TMPDIR/file\"");
    home.wait(&id);
    let file = home.state().join(format!("tmp/{id}.1/file"));
    let kept = wait_for_file(&file, DEADLINE, |bytes| !bytes.is_empty());
    assert_eq!(kept, b"kept\n");
    home.cli(["clean"]).ok();
    until("clean to remove it", DEADLINE, || (!file.exists()).then_some(()));
}

#[test]
fn a_temporary_directory_of_ones_own_stays_ones_own() {
    let home = TestHome::new();
    let mine = home.path("mine");
    std::fs::create_dir(&mine).expect("a directory can be made");
    let seen = seen(&home, &[], &["--env", &format!("TMPDIR={}", mine.display())]);
    assert_eq!(value(&seen, "TMPDIR"), mine.to_str());
    assert!(mine.exists());
}

#[test]
fn the_task_object_says_where_the_environment_came_from() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    assert_eq!(home.status(&id)["env_from"], "caller");
}
