//! `install` and `uninstall`: what a person sees of them. What they do to files is tested in `integrations`.

use std::fs;

use meanwhile_testkit::TestHome;
use serde_json::Value;

use super::check_refusal;

#[test]
fn a_plan_changes_nothing_and_is_what_is_done() {
    let home = TestHome::new();
    let planned = home.json(["install", "claude", "--dry-run"]);
    let settings = home.root().join("user/.claude/settings.json");
    assert!(!settings.exists(), "a plan was carried out");
    let done = home.json(["install", "claude"]);
    assert_eq!(planned["changes"], done["changes"]);
    assert!(settings.exists());
    let server: Value = serde_json::from_slice(
        &fs::read(home.root().join("user/.claude.json")).expect("it was made"),
    )
    .expect("it is JSON");
    let command = server["mcpServers"]["meanwhile"]["command"].as_str().expect("it has one");
    assert!(command.starts_with('/'), "agents have another PATH: {command}");
    let again = home.json(["install", "claude"]);
    assert_eq!(again["changes"], Value::Array(vec![]));
    home.json(["uninstall", "claude"]);
    assert!(!settings.exists());
}

#[test]
fn a_check_exits_1_until_everything_is_there() {
    let home = TestHome::new();
    check_refusal(&home.cli(["install", "--check"]), 1, "no agent has the tools");
    home.cli(["install", "--check", "codex"]).expect(1);
    home.cli(["install", "codex"]).expect(0);
    home.cli(["install", "--check", "codex"]).expect(0);
    home.cli(["install", "--check"]).expect(0);
    let file = home.root().join("user/.codex/config.toml");
    let text = fs::read_to_string(&file).expect("it was made");
    let moved = text.replace("command = \"", "command = \"/elsewhere");
    fs::write(&file, moved).expect("it is ours");
    let ran = home.cli(["install", "--check"]);
    ran.expect(1);
    assert!(
        ran.text().contains("differs") && ran.text().contains("mcp_servers.meanwhile"),
        "{}",
        ran.text()
    );
}

#[test]
fn what_cannot_be_done_is_refused_and_says_why() {
    let home = TestHome::new();
    check_refusal(&home.cli(["install", "vim"]), 2, "known are claude");
    check_refusal(&home.cli(["install"]), 2, "AGENT");
    check_refusal(&home.cli(["install", "claude", "--project", "--user"]), 2, "--user");
    let file = home.root().join("user/.gemini/settings.json");
    fs::create_dir_all(file.parent().expect("it has one")).expect("it is ours");
    fs::write(&file, "{\"a\": ").expect("it is ours");
    check_refusal(&home.cli(["install", "gemini"]), 4, "settings.json");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "{\"a\": ");
    let ran = home.invoke(["install", "claude"]).env("HOME", "here").run();
    check_refusal(&ran, 2, "HOME");
}

#[test]
fn a_project_has_files_of_its_own() {
    let home = TestHome::new();
    let changes = home.json(["install", "claude", "--project"]);
    assert_eq!(changes["scope"], "project");
    assert!(
        home.cwd().join(".mcp.json").exists() && home.cwd().join(".claude/settings.json").exists()
    );
    assert!(!home.root().join("user/.claude.json").exists());
    home.json(["uninstall", "claude", "--project"]);
    assert_eq!(fs::read_dir(home.cwd()).expect("it can be listed").count(), 0);
}
