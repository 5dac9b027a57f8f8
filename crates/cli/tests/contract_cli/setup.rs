//! `setup` and what `doctor` says of agents: from a program on PATH to an agent that is told.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use meanwhile_testkit::{Invocation, TestHome};
use serde_json::Value;

use super::check_refusal;

/// A directory with programs of these names, and a shell.
fn programs(home: &TestHome, names: &[&str]) -> PathBuf {
    let directory = home.path("bin");
    fs::create_dir_all(&directory).expect("it is ours");
    for name in names {
        let path = directory.join(name);
        fs::write(&path, "#!/bin/sh\nexit 0\n").expect("it is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let shell = directory.join("sh");
    if !shell.exists() {
        symlink("/bin/sh", shell).expect("it is ours");
    }
    directory
}

fn setup<'a>(home: &'a TestHome, agents: &[&str], words: &[&str]) -> Invocation<'a> {
    let words = ["--json", "setup"].iter().chain(words);
    home.invoke(words).env("PATH", programs(home, agents))
}

fn files(home: &TestHome) -> Vec<PathBuf> {
    let user = home.root().join("user");
    let Ok(entries) = fs::read_dir(user) else { return vec![] };
    entries.map(|entry| entry.expect("it is there").path()).collect()
}

#[test]
fn with_nobody_to_ask_the_plan_is_shown_and_nothing_changed() {
    let home = TestHome::new();
    let before = files(&home);
    let path = programs(&home, &["claude", "gemini"]);
    let ran = home.invoke(["setup"]).env("PATH", path).run();
    ran.expect(1);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("meanwhile setup --yes"), "{said}");
    let shown = String::from_utf8_lossy(&ran.stdout).into_owned();
    for part in ["claude", "gemini", "would make", "mcpServers.meanwhile", "hook claude Stop"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("codex"), "it is not there: {shown}");
    assert_eq!(files(&home), before, "a plan was carried out");
    let told = setup(&home, &["claude"], &[]).run();
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(told["installed"], false);
    assert_eq!(told["agents"][0]["works"], Value::Null, "{told}");
}

#[test]
fn all_agents_are_set_up_and_tried_out_and_again_changes_nothing() {
    let home = TestHome::new();
    let all = ["claude", "codex", "opencode", "gemini", "droid", "copilot"];
    for again in [false, true] {
        let told = setup(&home, &all, &["--yes"]).run().json();
        assert_eq!(told["installed"], true);
        let agents = told["agents"].as_array().expect("a list");
        assert_eq!(agents.len(), all.len(), "{told}");
        for agent in agents {
            assert_eq!(agent["works"], true, "{agent}");
            let changes = agent["changes"].as_array().expect("a list");
            assert_eq!(changes.is_empty(), again, "{agent}");
        }
    }
    let unread = home.json(["inbox", "--peek", "--any-session"]);
    assert_eq!(unread.as_array().map(Vec::len), Some(0), "what was tried is told: {unread}");
    home.cli(["install", "--check"]).expect(0);
}

#[test]
fn one_that_cannot_be_set_up_does_not_hinder_the_others() {
    let home = TestHome::new();
    let file = home.root().join("user/.gemini/settings.json");
    fs::create_dir_all(file.parent().expect("it has one")).expect("it is ours");
    fs::write(&file, "{\"a\": ").expect("it is ours");
    let ran = setup(&home, &["gemini", "droid"], &["--yes"]).run();
    ran.expect(1);
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let of = |name: &str| {
        let mut agents = told["agents"].as_array().expect("a list").iter();
        agents.find(|agent| agent["agent"] == name).expect("it is told")
    };
    assert_eq!(of("droid")["works"], true, "{told}");
    assert_eq!(of("gemini")["works"], false);
    assert!(of("gemini")["trouble"].as_str().is_some_and(|it| it.contains("settings.json")));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "{\"a\": ");
}

#[test]
fn what_does_not_work_is_said_and_exits_1() {
    let home = TestHome::new();
    fs::create_dir_all(home.state()).expect("it is ours");
    fs::write(home.state().join("config.toml"), "lanes = 7\n").expect("it is ours");
    let ran = setup(&home, &["claude"], &["--yes"]).run();
    ran.expect(1);
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(told["agents"][0]["works"], false, "{told}");
    assert!(told["agents"][0]["trouble"].as_str().is_some_and(|it| !it.is_empty()), "{told}");
}

#[test]
fn setup_is_for_people_and_for_agents_that_are_there() {
    let home = TestHome::new();
    let path = programs(&home, &[]);
    let refused = |words: &[&str], code: i32, why: &str| {
        let call = home.invoke(["setup"].iter().chain(words)).env("PATH", &path);
        let call = if code == 4 { call.env("MEANWHILE_TASK", "x") } else { call };
        check_refusal(&call.run(), code, why);
    };
    refused(&[], 1, "on PATH");
    refused(&["vim"], 2, "known are claude");
    refused(&["claude", "--yes"], 4, "not inside a task");
    let named = setup(&home, &[], &["claude", "--yes"]).run().json();
    assert_eq!(named["agents"][0]["works"], true, "named, it need not be there: {named}");
    assert_eq!(named["agents"][0]["program"], Value::Null);
}

/// What `doctor` finds out about an agent.
fn finding(home: &TestHome, agent: &str) -> Value {
    let path = programs(home, &["claude", "codex"]);
    let told = home.invoke(["--json", "doctor"]).env("PATH", path).run().json();
    let mut checks = told["checks"].as_array().expect("a list").iter();
    let name = format!("agents.{agent}");
    checks.find(|check| check["name"] == name.as_str()).cloned().unwrap_or_default()
}

#[test]
fn doctor_says_which_agents_have_the_tools_and_what_is_missing() {
    let home = TestHome::new();
    assert_eq!(finding(&home, "droid"), Value::Null, "it is not there");
    let text = |check: &Value| check["text"].as_str().expect("text").to_owned();
    let without = finding(&home, "claude");
    assert_eq!(without["health"], "ok", "nobody has to: {without}");
    assert!(text(&without).contains("meanwhile setup claude"), "{without}");
    home.cli(["install", "claude"]).expect(0);
    assert_eq!(finding(&home, "claude")["health"], "ok");
    let settings = home.root().join("user/.claude/settings.json");
    fs::write(&settings, "{}\n").expect("it is ours");
    let missing = finding(&home, "claude");
    assert_eq!(missing["health"], "warning");
    assert!(text(&missing).contains("hook claude Stop"), "{missing}");
    assert_eq!(missing["hint"][0], "meanwhile install claude");
}

#[test]
fn doctor_says_which_sessions_wait_for_a_restart() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let program = programs(&home, &["claude"]).join("codex");
    fs::write(&program, format!("#!/bin/sh\n{}\n", gate.shell())).expect("it is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let session = home.invoke(Vec::<String>::new()).program(&program).start();
    // sleep: the kernel counts in hundredths of a second when a process began.
    std::thread::sleep(std::time::Duration::from_millis(50));
    home.cli(["install", "codex"]).expect(0);
    let waits = finding(&home, "codex");
    assert_eq!(waits["health"], "warning", "{waits}");
    let checked = home.cli(["install", "--check", "codex"]);
    checked.expect(0);
    assert!(checked.complaint().contains("began before it was installed"), "{}", checked.text());
    gate.open();
    session.wait(meanwhile_testkit::DEADLINE).expect(0);
    // Somebody may have sessions of the real one on this machine, and they are older.
    let after = finding(&home, "codex");
    assert_eq!(older(&waits), older(&after) + 1, "{waits} {after}");
}

/// Of how many sessions a finding says that they wait for a restart.
fn older(finding: &Value) -> u64 {
    let text = finding["text"].as_str().expect("text");
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
