//! Limits of resources: held, and shown as they are held.

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

/// A limit is shown with its value and how it is held.
#[track_caller]
fn check_shown(limits: &Value, name: &str, expected: Value) {
    assert_eq!(limits[name]["value"], expected, "{limits:#}");
    let held = limits[name]["held"].as_str();
    assert!(matches!(held, Some("enforced" | "sampled")), "{limits:#}");
}

#[test]
fn a_task_without_limits_shows_none() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    assert_eq!(home.wait(&id)["limits"], json!(null));
}

#[test]
fn a_task_over_its_memory_is_ended_with_that_cause() {
    let home = TestHome::new();
    let script = "import time\nkept = bytearray(200 << 20)\nfor at in range(0, len(kept), 4096): kept[at] = 1\n\
                  time.sleep(1000)";
    let id = home.launch_with(["--memory", "64MiB"], ["python3", "-c", script]);
    let task = home.wait(&id);
    assert_eq!(
        (&task["state"], &task["cause"]["kind"]),
        (&json!("failed"), &json!("oom")),
        "{task:#}"
    );
    check_shown(&task["limits"], "memory", json!(64 << 20));
}

#[test]
fn a_task_below_its_memory_is_left_alone() {
    let home = TestHome::new();
    let id = home.launch_with(["--memory", "512MiB"], ["sh", "-c", "sleep 0.3; echo fine"]);
    assert_eq!(home.wait(&id)["state"], "completed");
}

/// Where the kernel holds it, `fork` fails; where it is sampled, the task is ended with the cause.
#[test]
fn a_task_cannot_have_more_processes_than_it_may() {
    let home = TestHome::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; wait";
    let id = home.launch_with(["--pids", "6"], ["sh", "-c", script]);
    let task = home.wait(&id);
    assert_eq!(task["state"], "failed", "{task:#}");
    check_shown(&task["limits"], "pids", json!(6));
    if task["limits"]["pids"]["held"] == "sampled" {
        assert_eq!(task["cause"], json!({ "kind": "pids_limit", "limit": 6 }), "{task:#}");
    }
    home.finish();
}

#[test]
fn processors_are_limited() {
    let home = TestHome::new();
    let id = home.launch_with(["--cpus", "1"], ["nproc"]);
    let task = home.wait(&id);
    check_shown(&task["limits"], "cpus", json!(1.0));
    if task["limits"]["cpus"]["held"] == "sampled" || std::thread::available_parallelism().is_ok() {
        assert_eq!(home.output(&id), "1", "{task:#}");
    }
}

#[test]
fn niceness_is_what_was_asked_for() {
    let home = TestHome::new();
    let id = home.launch_with(["--nice", "7"], ["nice"]);
    let task = home.wait(&id);
    assert_eq!(home.output(&id), "7");
    assert_eq!(task["limits"]["nice"], 7, "{task:#}");
}

#[test]
fn a_log_is_kept_within_its_cap_head_and_tail() {
    let home = TestHome::new();
    let id = home.launch_shell_with(["--max-log", "64KiB"], "seq 1 100000");
    let task = home.wait(&id);
    let (bytes, dropped) = (task["log"]["bytes"].as_u64(), task["log"]["dropped_bytes"].as_u64());
    assert_eq!(bytes, Some(588_895), "everything that was written counts: {task:#}");
    assert!(dropped.is_some_and(|dropped| dropped >= 588_895 - (64 << 10)), "{task:#}");
    let directory = std::path::Path::new(task["log"]["path"].as_str().expect("a path")).parent();
    let files =
        std::fs::read_dir(directory.expect("it has one")).expect("it can be listed").flatten();
    let kept: u64 = files
        .filter(|file| file.file_name().to_string_lossy().starts_with("output"))
        .map(|file| file.metadata().map_or(0, |meta| meta.len()))
        .sum();
    assert!(kept <= 64 << 10, "{kept} bytes are kept");
    assert_eq!(Some(kept), bytes.zip(dropped).map(|(bytes, dropped)| bytes - dropped));
    let output = home.output(&id);
    assert!(output.starts_with("1\n2\n3\n") && output.ends_with("99999\n100000"));
}

#[test]
fn a_process_that_outlives_its_task_is_ended_and_named() {
    let home = TestHome::new();
    let marker = home.marker();
    let id = home.launch_shell(&format!("sleep {marker} & setsid sleep {marker} & exit 0"));
    let task = home.wait(&id);
    assert_eq!(
        (&task["state"], &task["leaked"]["count"]),
        (&json!("completed"), &json!(2)),
        "{task:#}"
    );
    assert_eq!(task["leaked"]["kept"], false);
    assert!(task["leaked"]["processes"][0]["pid"].is_u64(), "{task:#}");
    assert!(task["leaked"]["processes"][0]["command"].is_string(), "{task:#}");
    assert_eq!(meanwhile_testkit::marked(&marker), Vec::<u32>::new());
}

#[test]
fn keep_leaked_keeps_them() {
    let home = TestHome::new();
    let marker = home.marker();
    let script = format!("sleep {marker} & exit 0");
    let id = home.launch_shell_with(["--keep-leaked"], &script);
    let task = home.wait(&id);
    assert_eq!(
        (&task["leaked"]["count"], &task["leaked"]["kept"]),
        (&json!(1), &json!(true)),
        "{task:#}"
    );
    assert_eq!(meanwhile_testkit::marked(&marker).len(), 1);
}
