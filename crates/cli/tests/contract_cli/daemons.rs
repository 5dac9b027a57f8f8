//! `daemon run|start|stop|status|install`, as they are typed.

use std::fs;

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::json;

use crate::check_refusal;

fn stopped() -> TestHome {
    let home = TestHome::new();
    // Some modes start it with the home.
    home.cli(["daemon", "stop"]).ok();
    home
}

#[test]
fn start_starts_it_once_and_says_its_pid() {
    let home = stopped();
    let first = home.cli(["daemon", "start"]).ok();
    let pid = home.daemon().expect("it runs").pid();
    assert!(first.contains(&pid.to_string()), "{first}");
    let again = home.cli(["daemon", "start"]).ok();
    assert!(again.contains("already") && again.contains(&pid.to_string()), "{again}");
    assert_eq!(home.daemon().map(|daemon| daemon.pid()), Some(pid));
    assert_eq!(home.json(["daemon", "start"])["pid"], pid);
}

#[test]
fn any_command_that_needs_it_starts_it() {
    for words in [
        &["run", "--", "true"][..],
        &["cancel", "0123456789"],
        &["wait"],
        &["prune"],
        &["clean"],
        &["config", "set", "log.cap", "1MiB"],
    ] {
        let home = stopped();
        home.cli(words);
        assert!(home.daemon().is_some(), "{words:?} started none");
    }
}

#[test]
fn status_says_what_it_is_and_exits_5_when_there_is_none() {
    let home = stopped();
    check_refusal(&home.cli(["daemon", "status"]), 5, "no daemon");
    assert!(home.daemon().is_none(), "asking starts none");
    home.cli(["daemon", "start"]).ok();
    let status = home.json(["daemon", "status"]);
    assert_eq!(status["pid"], home.daemon().expect("it runs").pid());
    assert_eq!(status["home"], json!(home.state()));
    assert_eq!(status["socket"], json!(home.state().join("daemon.sock")));
    assert!(status["version"].is_string() && status["uptime_ms"].is_u64(), "{status:#}");
    let lanes = status["lanes"].as_array().expect("an array");
    assert!(
        lanes.iter().any(|lane| lane["name"] == "commands" && lane["limit"] == 3),
        "{status:#}"
    );
    let shown = home.cli(["daemon", "status"]).ok();
    assert!(shown.contains(&status["pid"].to_string()), "{shown}");
}

#[test]
fn stop_ends_it_and_of_none_is_no_error() {
    let home = stopped();
    home.cli(["daemon", "start"]).ok();
    let daemon = home.daemon().expect("it runs");
    let told = home.cli(["daemon", "stop"]).ok();
    assert!(told.contains(&daemon.pid().to_string()), "{told}");
    daemon.wait_end(DEADLINE);
    let again = home.cli(["daemon", "stop"]);
    again.expect(0);
    assert!(again.complaint().contains("no daemon"), "{}", again.complaint());
    assert!(home.daemon().is_none());
}

#[test]
fn stop_leaves_tasks_running_and_says_how_many() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&format!("{}; exit 3", gate.shell()));
    crate::wait_for_state(&home, &id, "running");
    let reply = home.json(["daemon", "stop"]);
    assert_eq!((&reply["still_running"], &reply["cancelled"]), (&json!(1), &json!(0)), "{reply:#}");
    gate.open();
    assert_eq!(home.wait(&id)["exit_code"], 3);
}

#[test]
fn stop_cancel_all_leaves_nothing() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    crate::wait_for_state(&home, &id, "running");
    let reply = home.json(["daemon", "stop", "--cancel-all"]);
    assert_eq!((&reply["still_running"], &reply["cancelled"]), (&json!(0), &json!(1)), "{reply:#}");
    assert_eq!(home.status(&id)["state"], "cancelled");
    until("every process of the home to end", DEADLINE, || {
        home.processes().is_empty().then_some(())
    });
}

#[test]
fn run_serves_in_front_until_a_signal_and_a_second_one_steps_back() {
    let home = stopped();
    let running = home.invoke(["daemon", "run"]).start();
    until("it to hold the lock", DEADLINE, || home.daemon());
    assert_eq!(home.daemon().map(|daemon| daemon.pid()), Some(running.pid()));
    let id = home.launch(["true"]);
    assert_eq!(home.wait(&id)["state"], "completed");
    let second = home.cli(["daemon", "run"]);
    assert!(
        second.complaint().contains("already") || second.text().contains("already"),
        "{}",
        second.complaint()
    );
    assert_eq!(home.daemon().map(|daemon| daemon.pid()), Some(running.pid()));
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.wait(DEADLINE).code(), 0);
}

#[test]
fn a_daemon_started_on_demand_holds_nothing_of_its_starters() {
    let home = stopped();
    let line = ["run", "--", "true"];
    home.invoke(line).env("SECRET", "sentinel").env("LD_PRELOAD", "").cwd("/usr").run().ok();
    let pid = home.daemon().expect("it runs").pid();
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("it lives");
    let environment = String::from_utf8_lossy(&read("environ")).into_owned();
    assert!(
        !environment.contains("sentinel") && !environment.contains("LD_PRELOAD"),
        "{environment}"
    );
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).expect("it lives");
    assert_eq!(link("cwd").to_str(), Some("/"));
    for descriptor in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(descriptor).to_str(), Some("/dev/null"), "{descriptor}");
    }
    let status = String::from_utf8_lossy(&read("status")).into_owned();
    assert!(status.contains("Umask:\t0077"), "{status}");
    let own_session = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> =
        own_session.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    assert_eq!(fields[3], pid.to_string(), "it leads a session of its own");
}

#[test]
fn install_writes_a_unit_that_kills_no_task() {
    let home = TestHome::new();
    let ran = home.cli(["daemon", "install"]);
    let path = ran.ok();
    assert!(path.starts_with(&home.root().join("user").display().to_string()), "{path}");
    let unit = fs::read_to_string(&path).expect("it was written");
    for expected in ["KillMode=process", "Delegate=", "daemon run", "[Install]"] {
        assert!(unit.contains(expected), "{expected} is not in {unit}");
    }
    let home_text = home.state().display().to_string();
    assert!(unit.contains(&home_text), "it serves this home: {unit}");
    assert!(ran.complaint().contains("systemctl --user"), "{}", ran.complaint());
    assert!(home.json(["daemon", "install"])["path"].is_string());
}

#[test]
fn its_log_is_structured_and_names_what_it_does() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    let log = home.json(["daemon", "status"])["log"].as_str().expect("a path").to_owned();
    let text = fs::read_to_string(log).expect("it can be read");
    let lines: Vec<&str> = text.lines().collect();
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| !line.chars().any(char::is_control)), "{text}");
}
