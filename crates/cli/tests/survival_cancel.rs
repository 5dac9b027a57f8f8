//! After a cancel no process of the task is alive, whatever it did to escape; and whatever else happens
//! at the same moment, there is one end.
//!
//! Owns the escapes and the races. Looks for survivors by a mark on their command lines, which neither a
//! new session, nor a new parent, nor an empty environment removes.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use meanwhile_testkit::{Bell, DEADLINE, Dice, Process, TestHome, marked};
use serde_json::{Value, json};

#[track_caller]
fn heard(bell: &mut Bell) -> Process {
    let pid = bell.wait(DEADLINE).parse().expect("the task rang with its pid");
    Process::of(pid).expect("the task that rang lives")
}

/// Runs `escape`, a shell fragment in which `{nap}` is a command that lasts, `{ring}` says who is there,
/// and `{stay}` does both. Cancels the task when it has come so far, and looks for survivors at the
/// moment the cancel returns.
#[track_caller]
fn check_escape(escape: &str) {
    let home = TestHome::new();
    let nap = home.marker();
    let mut bell = home.bell("bell");
    let ring = format!("echo $$ > '{}'", bell.path().display());
    let stay = home.path("stay.sh");
    fs::write(&stay, format!("{ring}; exec sleep {nap}\n")).expect("a file can be written");
    let escape = escape
        .replace("{stay}", &format!("/bin/sh {}", stay.display()))
        .replace("{nap}", &format!("sleep {nap}"))
        .replace("{ring}", &ring);
    let id =
        home.launch_shell_with(["--kill-after", "300ms"], &format!("{escape}\nexec sleep {nap}"));
    let escaped = heard(&mut bell);
    home.cli(["cancel", &id]).ok();
    assert!(!escaped.is_alive(), "what called itself {} lives", escaped.pid());
    assert_eq!(marked(&nap), Vec::<u32>::new(), "survivors of a cancel");
    let task = home.status(&id);
    assert_eq!(task["state"], "cancelled", "{task:#}");
    assert_eq!(task["cause"]["kind"], "cancelled_by", "{task:#}");
    home.finish();
}

#[test]
fn cancel_ends_what_called_setsid() {
    check_escape("setsid {stay} &");
}

#[test]
fn cancel_ends_what_forked_twice() {
    check_escape("setsid sh -c '({stay} &) ; exit 0'");
}

#[test]
fn cancel_ends_what_has_no_environment() {
    check_escape("setsid env -i /bin/sh -c '({stay} &); exit 0'");
}

#[test]
fn cancel_ends_what_ignores_hangups() {
    check_escape(
        r#"setsid nohup sh -c 'trap "" HUP TERM INT; {ring}; {nap}' < /dev/null > /dev/null 2>&1 &"#,
    );
}

#[test]
fn cancel_ends_what_another_one_starts_when_it_dies() {
    check_escape(
        r#"setsid sh -c 'trap "setsid {nap} & setsid {nap} & exit 0" TERM; {ring}; {nap} & wait' &"#,
    );
}

#[test]
fn a_task_that_ignores_sigterm_is_killed_after_its_grace() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let line = format!("trap '' TERM; {}; while :; do sleep 1000; done", bell.shell("$$"));
    let id = home.launch_shell_with(["--kill-after", "700ms"], &line);
    let main = heard(&mut bell);
    let start = Instant::now();
    home.cli(["cancel", &id]).ok();
    let took = start.elapsed();
    assert!(!main.is_alive());
    assert!(took >= Duration::from_millis(700), "it had {took:?} only");
    // Far from the default grace of 10 s; the machine may be slow, the kill may not be late by design.
    assert!(took < Duration::from_secs(5), "it had {took:?}");
    let task = home.status(&id);
    assert_eq!(
        (&task["state"], &task["signal"], &task["exit_code"]),
        (&json!("cancelled"), &json!("SIGKILL"), &Value::Null)
    );
    home.finish();
}

#[test]
fn a_cancelled_task_may_tidy_up_and_its_true_exit_code_is_kept() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let line = format!(
        "trap 'echo tidied; exit 7' TERM; {}; while :; do sleep 1000 & wait; done",
        bell.shell("$$")
    );
    let id = home.launch_shell(&line);
    heard(&mut bell);
    home.cli(["cancel", &id]).ok();
    let task = home.status(&id);
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("cancelled"), &json!(7)));
    assert_eq!(home.output(&id), "tidied");
    home.cli(["cancel", &id]).ok();
    assert_eq!(home.status(&id)["ended_at"], task["ended_at"], "an ended task is left as it is");
    home.finish();
}

/// Cancels that meet a start, an exit or a retry: at the end every task has one end per attempt, and no
/// seat is taken.
#[test]
fn a_cancel_at_any_moment_gives_one_end_and_frees_the_seat() {
    const TASKS: usize = 40;
    let mut dice = Dice::new();
    let home = TestHome::builder().config("lanes.commands.limit = 3").build();
    home.cli(["daemon", "start"]).ok();
    let mut cancels = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..TASKS {
        let line =
            *dice.pick(&["exit 0", "exit 1", "sleep 0.02; exit 1", "sleep 0.05", "sleep 1000"]);
        let options = ["--retries", "3", "--backoff", "1ms"];
        let id = home.launch_shell_with(options, line);
        // sleep: no state is waited for; the moment of the cancel is what is random here
        std::thread::sleep(Duration::from_millis(dice.number(0..60)));
        cancels.push(home.invoke(["cancel", &id]).start());
        ids.push(id);
    }
    for cancel in cancels {
        cancel.wait(DEADLINE).ok();
    }
    // No cancel is needed any more: `wait` must come back at once, whatever the ends were.
    let ran = home.cli(["wait"].into_iter().chain(ids.iter().map(String::as_str)));
    assert!(matches!(ran.code(), 0 | 1), "{}", ran.complaint());

    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for id in &ids {
        let task = home.status(id);
        let state = task["state"].as_str().expect("a state is a string").to_owned();
        assert!(["completed", "failed", "cancelled"].contains(&state.as_str()), "{task:#}");
        let attempts = task["attempts"].as_array().expect("attempts are an array");
        assert!(attempts.iter().all(|attempt| !attempt["ended_at"].is_null()), "{task:#}");
        *ends.entry(state).or_default() += 1;
    }
    println!("ends: {ends:?}");
    let daemon = home.json(["daemon", "status"]);
    for lane in daemon["lanes"].as_array().expect("lanes are an array") {
        assert_eq!((&lane["running"], &lane["queued"]), (&json!(0), &json!(0)), "{lane:#}");
    }
    let log = home.cli(["--json", "audit", "--kind", "ended"]).ok();
    let mut seen: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).expect("an event is JSON");
        let task = event["task"].as_str().expect("an end is of a task").to_owned();
        *seen.entry((task, event["attempt"].as_u64().expect("and of an attempt"))).or_default() +=
            1;
    }
    assert!(seen.values().all(|times| *times == 1), "ended more than once: {seen:?}");
    home.finish();
}
