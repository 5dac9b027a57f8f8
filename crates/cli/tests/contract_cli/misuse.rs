//! Misuse of the command line: exit code 2, one line that says what is wrong, a line to type, and nothing started.

use meanwhile_testkit::TestHome;

use crate::{check_refusal, error_of};

type Row = (&'static [&'static str], &'static str);

/// Misuse is told whether or not a daemon runs, and starts none.
#[track_caller]
fn check(table: &[Row]) {
    let home = TestHome::new();
    let ran_before = home.daemon().map(|daemon| daemon.pid());
    for (words, expected) in table {
        check_refusal(&home.cli(*words), 2, expected);
    }
    assert_eq!(home.daemon().map(|daemon| daemon.pid()), ran_before, "misuse started a daemon");
    assert_eq!(home.json(["list"]), serde_json::json!([]), "misuse launched a task");
}

#[test]
fn a_command_that_is_none_is_refused() {
    check(&[
        (&["run"], "command"),
        (&["run", "--"], "command"),
        (&["run", "--", ""], "no name"),
        (&["run", "--shell", ""], "empty"),
        (&["run", "--shell", "  \t"], "empty"),
        (&["run", "--shell", "true", "--", "true"], "together"),
    ]);
}

#[test]
fn bad_durations_are_refused() {
    check(&[
        (&["run", "--timeout", "5", "--", "true"], "`5`"),
        (&["run", "--timeout=-5s", "--", "true"], "-5s"),
        (&["run", "--timeout", "five minutes", "--", "true"], "five minutes"),
        (&["run", "--timeout", "99999999999999999999h", "--", "true"], "9999"),
        (&["run", "--idle-timeout", "1x", "--", "true"], "`1x`"),
        (&["run", "--kill-after", "", "--", "true"], "duration"),
        (&["run", "--delay", "1.5h", "--", "true"], "`1.5h`"),
        (&["run", "--backoff", "soon", "--", "true"], "`soon`"),
        (&["wait", "aaaa", "--timeout", "x"], "`x`"),
        (&["clean", "--older-than", "old"], "`old`"),
        (&["extend", "aaaa", "much"], "`much`"),
    ]);
}

#[test]
fn bad_sizes_are_refused() {
    check(&[
        (&["run", "--max-log", "64QiB", "--", "true"], "`64QiB`"),
        (&["run", "--max-log", "big", "--", "true"], "`big`"),
        (&["run", "--memory", "99999999999TiB", "--", "true"], "99999999999TiB"),
        (&["run", "--memory=-1", "--", "true"], "-1"),
    ]);
}

#[test]
fn limits_of_zero_and_below_are_refused() {
    check(&[
        (&["run", "--memory", "0", "--", "true"], "--memory"),
        (&["run", "--max-log", "0", "--", "true"], "--max-log"),
        (&["run", "--cpus", "0", "--", "true"], "--cpus"),
        (&["run", "--cpus", "-1", "--", "true"], "--cpus"),
        (&["run", "--cpus", "NaN", "--", "true"], "--cpus"),
        (&["run", "--pids", "0", "--", "true"], "--pids"),
        (&["run", "--pids", "-3", "--", "true"], "--pids"),
        (&["run", "--retries", "-1", "--", "true"], "-1"),
        (&["run", "--ready-port", "0", "--", "true"], "--ready-port"),
        (&["list", "--limit", "0"], "--limit"),
        (&["list", "--limit", "-1"], "--limit"),
        (&["output", "aaaa", "--tail", "-1"], "-1"),
        (&["output", "aaaa", "--attempt", "0"], "--attempt"),
        (&["extend", "aaaa", "0"], "no time"),
        (&["extend", "aaaa", "-5m"], "-5m"),
    ]);
}

#[test]
fn bad_numbers_are_refused() {
    check(&[
        (&["run", "--retries", "two", "--", "true"], "--retries"),
        (&["run", "--retries", "99999999999", "--", "true"], "--retries"),
        (&["run", "--priority", "high", "--", "true"], "--priority"),
        (&["run", "--nice", "20", "--", "true"], "--nice"),
        (&["run", "--nice", "-21", "--", "true"], "--nice"),
        (&["run", "--retry-on", "1,x", "--", "true"], "`x`"),
        (&["run", "--retry-on", "256", "--", "true"], "`256`"),
        (&["run", "--ready-port", "65536", "--", "true"], "--ready-port"),
        (&["output", "aaaa", "--since", "x"], "--since"),
        (&["output", "aaaa", "--max-bytes", "1k"], "--max-bytes"),
    ]);
}

#[test]
fn bad_patterns_are_refused() {
    check(&[
        (&["run", "--ready", "(", "--", "true"], "regular expression"),
        (&["run", "--notify-on", "[", "--", "true"], "regular expression"),
        (&["run", "--artifact", "a[", "--", "true"], "glob"),
        (&["output", "aaaa", "--grep", "(?P<"], "regular expression"),
    ]);
}

#[test]
fn bad_labels_names_and_variables_are_refused() {
    check(&[
        (&["run", "--label", "nothing", "--", "true"], "label"),
        (&["run", "--label", "=v", "--", "true"], "label"),
        (&["run", "--label", "a b=v", "--", "true"], "label"),
        (&["list", "--label", "a b"], "label"),
        (&["run", "--name", "", "--", "true"], "empty"),
        (&["run", "--name", "a\nb", "--", "true"], "control character"),
        (&["run", "--group", "\u{1b}[31m", "--", "true"], "control character"),
        (&["run", "--lane", "", "--", "true"], "empty"),
        (&["run", "--env", "NOVALUE", "--", "true"], "NAME=VALUE"),
        (&["run", "--env", "=v", "--", "true"], "NAME=VALUE"),
        (&["run", "--cwd", "", "--", "true"], "empty"),
    ]);
}

#[test]
fn words_that_are_no_choice_are_refused_with_the_choices() {
    check(&[
        (&["run", "--env-profile", "x", "--", "true"], "agent"),
        (&["run", "--notify", "x", "--", "true"], "all-done"),
        (&["run", "--on-waiting", "x", "--", "true"], "notify"),
        (&["run", "--after", "aaaa:maybe", "--", "true"], "ID:any"),
        (&["list", "--state", "done"], "completed"),
        (&["list", "--kind", "x"], "command"),
        (&["list", "--since", "yesterday"], "2h"),
        (&["wait", "aaaa", "--until", "later"], "ready"),
        (&["output", "aaaa", "--stream", "stdlog"], "stdout"),
        (&["completions", "tcsh-ng"], "bash"),
        (&["config", "frobnicate"], "config"),
        (&["daemon", "restart"], "daemon"),
    ]);
}

#[test]
fn contradicting_and_missing_arguments_are_refused() {
    check(&[
        (&["run", "--wait", "--follow", "--", "true"], "together"),
        (&["run", "--from", "-", "--", "true"], "together"),
        (&["run", "--no-such-option", "--", "true"], "--no-such-option"),
        (&["output"], "ID"),
        (&["output", "aaaa", "--head", "1", "--tail", "1"], "together"),
        (&["follow"], "ID"),
        (&["retry"], "ID"),
        (&["complete"], "ID"),
        (&["extend", "aaaa"], "missing"),
        (&["cancel"], "cancel"),
        (&["cancel", "aaaa", "--all"], "together"),
        (&["wait", "aaaa", "--group", "g"], "together"),
        (&["config", "set", "lanes.default.limit"], "missing"),
        (&["daemon"], "subcommand"),
    ]);
}

#[test]
fn an_unknown_command_is_answered_with_the_nearest_and_an_example() {
    let home = TestHome::new();
    for (word, near) in [
        ("lsit", "meanwhile list"),
        ("statsu", "meanwhile status"),
        ("outptu", "meanwhile output"),
        ("cancle", "meanwhile cancel"),
        ("jobs", "meanwhile list"),
        ("exec", "meanwhile run"),
        ("log", "meanwhile output"),
        ("rerun", "meanwhile retry"),
    ] {
        let ran = home.cli([word, "aaaa"]);
        check_refusal(&ran, 2, word);
        assert!(ran.complaint().contains(near), "{word}: {}", ran.complaint());
    }
    check_refusal(&home.cli(["qqqqqqqqqqqq"]), 2, "meanwhile --help");
}

#[test]
fn misuse_is_told_in_json_where_json_was_asked_for() {
    let home = TestHome::new();
    for words in [
        &["--json", "run", "--timeout", "x", "--", "true"][..],
        &["run", "--timeout", "x", "--json", "--", "true"],
        &["--json", "lsit"],
    ] {
        let ran = home.cli(words);
        ran.expect(2);
        let error = error_of(&ran);
        assert_eq!((&error["code"], &error["exit"]), (&"usage".into(), &2.into()), "{error:#}");
        assert!(error["message"].is_string() && error["hint"][0].is_string(), "{error:#}");
        assert_eq!(ran.text(), "");
    }
}

#[test]
fn options_after_the_program_belong_to_it() {
    let home = TestHome::new();
    let id = home.launch(["echo", "--json", "--timeout", "x", "--", "-n"]);
    home.wait(&id);
    assert_eq!(home.output(&id), "--json --timeout x -- -n");
}

#[test]
fn help_and_version_go_to_stdout_and_start_nothing() {
    let home = TestHome::new();
    let before = home.daemon().map(|daemon| daemon.pid());
    for verb in [
        "run",
        "list",
        "status",
        "output",
        "follow",
        "wait",
        "cancel",
        "retry",
        "complete",
        "extend",
        "lanes",
        "prune",
        "clean",
        "daemon",
        "doctor",
        "config",
        "completions",
    ] {
        let ran = home.cli([verb, "--help"]);
        let help = ran.ok();
        assert!(help.contains("Example") && help.contains("meanwhile"), "{verb}: {help}");
        assert_eq!(ran.complaint(), "", "{verb}");
        assert!(home.cli(["--help"]).ok().contains(verb), "{verb} is not in the overview");
    }
    assert!(home.cli(["--version"]).ok().starts_with("meanwhile "));
    assert_eq!(home.daemon().map(|daemon| daemon.pid()), before);
}

#[test]
fn completions_know_every_command_in_every_shell() {
    let home = TestHome::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = home.cli(["completions", shell]).ok();
        for word in ["run", "idempotency-key", "cancel", "older-than"] {
            assert!(text.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn bash_accepts_the_completions_for_bash() {
    let home = TestHome::new();
    let script = home.path("completions.bash");
    std::fs::write(&script, home.cli(["completions", "bash"]).stdout)
        .expect("a file can be written");
    let checked = std::process::Command::new("bash").arg("-n").arg(&script).status();
    assert!(checked.expect("bash is there").success());
}

#[test]
fn a_negative_duration_is_named_as_what_it_is() {
    let home = TestHome::new();
    for line in [
        &["run", "--timeout", "-5s", "--", "true"][..],
        &["run", "--timeout=-5s", "--", "true"],
        &["extend", "abcd", "-5m"],
    ] {
        let ran = home.cli(line);
        ran.expect(2);
        assert!(ran.complaint().contains("negative"), "{line:?}: {}", ran.complaint());
        assert!(ran.complaint().contains("-5"), "{line:?}: {}", ran.complaint());
    }
}

#[test]
fn help_is_text_also_where_json_was_asked_for() {
    let home = TestHome::new();
    let usual = home.cli(["help"]).ok();
    assert_eq!(home.cli(["help", "--json"]).ok(), usual);
    assert_eq!(home.cli(["--json", "help"]).ok(), usual);
    assert_eq!(home.cli(["help", "run", "--json"]).ok(), home.cli(["help", "run"]).ok());
}
