//! `config`: every setting with its default, changed in place and applied at once.

use std::fs;

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

use crate::{check_refusal, error_of};

/// Settings that are promised, with their defaults.
const DEFAULTS: &[(&str, &str)] = &[
    ("lanes.default.limit", "5"),
    ("lanes.commands.limit", "3"),
    ("lanes.services.limit", "10"),
    ("limits.starts", "10"),
    ("limits.agents", "8"),
    ("limits.depth", "3"),
    ("limits.descendants", "50"),
    ("limits.queued", "100000"),
    ("timeouts.command", "5m"),
    ("timeouts.agent", "30m"),
    ("timeouts.grace", "10s"),
    ("log.cap", "64MiB"),
    ("retention.age", "30d"),
    ("retention.bytes", "10GiB"),
    ("isolation.cgroup", "auto"),
    ("env.profile", "agent"),
];

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn every_setting_is_shown_with_its_default_and_what_it_does() {
    let home = TestHome::new();
    let all = home.json(["config", "get"]);
    let all = all.as_array().expect("an array");
    for (key, default) in DEFAULTS {
        let one = home.json(["config", "get", key]);
        let shown = text(&one["default"]);
        assert!(shown == *default || (*key == "retention.age" && shown == "720h"), "{key}: {one}");
        assert!(one["help"].as_str().is_some_and(|help| !help.is_empty()), "{one}");
        let listed = all.iter().any(|entry| entry["key"] == *key);
        assert!(listed || key.starts_with("lanes."), "{key} is not listed");
        if *key != "isolation.cgroup" {
            assert_eq!(
                (&one["source"], &one["value"]),
                (&json!("default"), &one["default"]),
                "{one}"
            );
        }
    }
    let shown = home.cli(["config"]).ok();
    assert!(shown.contains("log.cap") && shown.contains("64MiB"), "{shown}");
    assert_eq!(home.cli(["config", "get", "log.cap"]).ok(), "64MiB");
}

#[test]
fn config_set_edits_the_file_in_place() {
    let home = TestHome::builder().config("# mine\nlimits.depth = 2 # for now").build();
    home.cli(["config", "set", "log.cap", "32MiB"]).ok();
    home.cli(["config", "set", "limits.depth", "3"]).ok();
    let file = home.cli(["config", "path"]).ok();
    let text = fs::read_to_string(&file).expect("it can be read");
    assert!(
        text.contains("# mine") && text.contains("# for now") && text.contains("32MiB"),
        "{text}"
    );
    assert_eq!(home.cli(["config", "get", "limits.depth"]).ok(), "3");
    let one = home.json(["config", "get", "log.cap"]);
    assert_eq!((&one["value"], &one["source"]), (&json!("32MiB"), &json!("file")));
    home.cli(["config", "set", "log.cap", "--default"]).ok();
    assert_eq!(home.json(["config", "get", "log.cap"])["source"], "default");
}

#[test]
fn lanes_have_settings_whatever_their_names() {
    let home = TestHome::new();
    home.cli(["config", "set", "lanes.\"anthropic/opus\".limit", "2"]).ok();
    home.cli(["config", "set", "lanes.build.limit", "0"]).ok();
    assert_eq!(home.cli(["config", "get", "lanes.\"anthropic/opus\".limit"]).ok(), "2");
    let lanes = home.json(["lanes"]);
    let limit = |name: &str| {
        let lanes = lanes.as_array().expect("an array");
        lanes.iter().find(|lane| lane["name"] == name).map(|lane| lane["limit"].clone())
    };
    assert_eq!((limit("anthropic/opus"), limit("build")), (Some(json!(2)), Some(json!(null))));
}

#[test]
fn a_bad_key_or_value_is_refused_and_changes_nothing() {
    let home = TestHome::new();
    for (key, value, code) in [
        ("lanes.default.limit", "-1", 2),
        ("lanes.default.limit", "many", 2),
        ("lanes.default.limit", "1.5", 2),
        ("limits.starts", "0", 2),
        ("limits.depth", "-3", 2),
        ("timeouts.command", "5", 2),
        ("timeouts.grace", "soon", 2),
        ("log.cap", "1KiB", 2),
        ("log.cap", "big", 2),
        ("isolation.cgroup", "maybe", 2),
        ("store.network", "perhaps", 2),
    ] {
        let before = home.json(["config", "get", key]);
        let ran = home.cli(["config", "set", key, value]);
        check_refusal(&ran, code, key);
        assert_eq!(home.json(["config", "get", key]), before, "{key}");
    }
    let ran = home.cli(["config", "set", "lane.default.limt", "1"]);
    assert!(matches!(ran.code(), 2 | 3), "{}", ran.code());
    assert!(
        ran.complaint().contains("lanes.default.limit"),
        "the nearest is named: {}",
        ran.complaint()
    );
    let ran = home.cli(["--json", "config", "get", "no.such.key"]);
    assert!(matches!(ran.code(), 2 | 3), "{}", ran.code());
    assert!(error_of(&ran)["hint"][0].is_string());
}

#[test]
fn a_file_that_makes_no_sense_is_refused_whole_and_named() {
    for (text, expected) in [
        ("limits.depth = ", "TOML"),
        ("limits.dpeth = 3", "limits.depth"),
        ("limits.depth = -1", "limits.depth"),
        ("log.cap = \"lots\"", "log.cap"),
    ] {
        let home = TestHome::new();
        home.cli(["daemon", "stop"]).ok();
        fs::write(home.state().join("config.toml"), text).expect("a file can be written");
        let ran = home.cli(["run", "--", "true"]);
        assert_ne!(ran.code(), 0, "{text}");
        assert!(ran.complaint().contains(expected), "{text}: {}", ran.complaint());
        assert!(ran.complaint().contains("hint: "), "{text}: {}", ran.complaint());
    }
}

#[test]
fn the_log_cap_of_the_configuration_holds_for_new_tasks_at_once() {
    let home = TestHome::new();
    home.cli(["config", "set", "log.cap", "64KiB"]).ok();
    let id = home.launch_shell("seq 1 50000");
    assert!(home.wait(&id)["log"]["dropped_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
}

#[test]
fn the_grace_of_the_configuration_holds() {
    let home = TestHome::builder().config("timeouts.grace = \"100ms\"").build();
    let mut bell = home.bell("bell");
    let script = format!("trap '' TERM; {}; while :; do sleep 0.02; done", bell.shell("up"));
    let id = home.launch_shell(&script);
    bell.wait(meanwhile_testkit::DEADLINE);
    let asked = std::time::Instant::now();
    home.cli(["cancel", &id]).ok();
    assert!(asked.elapsed() < std::time::Duration::from_secs(8), "the default grace is 10 s");
}

#[test]
fn without_a_daemon_the_file_is_read_and_changed_as_well() {
    let home = TestHome::builder().config("limits.depth = 2").build();
    assert_eq!(home.cli(["config", "get", "limits.depth"]).ok(), "2");
    home.cli(["config", "set", "limits.depth", "3"]).ok();
    home.cli(["daemon", "stop"]).ok();
    assert_eq!(home.cli(["config", "get", "limits.depth"]).ok(), "3");
}
