//! Commands, desktops and bells: what they are given, and that nothing a task is called can do harm there.

use std::fs;
use std::process::{Command, Stdio};

use meanwhile_testkit::TestHome;

use crate::{complete, logged, program};

/// A name as a task may have it at worst: options, quotes, markup, a shell's words, an escape that shells expand.
const NAME: &str = r#"--help -v "'; touch bad; $(touch bad) `touch bad` <a href="x">&amp; \e[2J"#;

/// Writes its arguments, some variables and its input to a file, the arguments one per line.
fn recorder(home: &TestHome, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let record = home.path(&format!("{name}.record"));
    let line = format!(
        "{{ for word in \"$@\"; do printf 'ARG %s\\n' \"$word\"; done; printf 'NAME %s\\n' \"$NOTICE_NAME\"; \
         printf 'STATE %s\\n' \"$NOTICE_STATE\"; printf 'COUNT %s\\n' \"$NOTICE_COUNT\"; printf 'IN '; cat; \
         printf '\\nEND\\n'; }} > {0}.new; mv {0}.new {0}",
        record.display()
    );
    (program(home, name, &line), record)
}

#[test]
fn a_command_gets_the_facts_as_they_are_and_no_shell_reads_them() {
    let home = TestHome::new();
    let (tell, record) = recorder(&home, "tell");
    let words = serde_json::json!([tell, "--title", "$(touch bad) ;", ""]).to_string();
    home.cli(["config", "set", "notify.command", &words]).ok();
    let id = home.launch_with([format!("--name={NAME}")], ["false"]);
    let text = complete(&record);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["ARG --title", "ARG $(touch bad) ;", "ARG "]);
    assert_eq!(lines[3], format!("NAME {NAME}"));
    assert_eq!(lines[4..6], ["STATE failed", "COUNT 1"]);
    let json: serde_json::Value = serde_json::from_str(&lines[6]["IN ".len()..]).unwrap();
    assert_eq!(json["notices"][0]["name"], NAME);
    assert_eq!(json["notices"][0]["id"], format!("{id}.1.done"));
    assert!(!home.path("bad").exists() && !std::path::Path::new("/bad").exists());
}

#[test]
fn a_command_that_fails_is_tried_again_and_one_that_hangs_is_none_of_our_waits() {
    let home = TestHome::new();
    let count = home.path("count");
    let tell = program(
        &home,
        "tell",
        &format!(
            "echo x >> {0}; test $(wc -l < {0}) -ge 3 || {{ echo 'no luck' >&2; exit 7; }}",
            count.display()
        ),
    );
    home.cli(["config", "set", "notify.backoff", "100ms"]).ok();
    home.cli(["config", "set", "notify.command", tell.to_str().unwrap()]).ok();
    home.launch(["false"]);
    let one = crate::standing(&home, |one| one["worked_at"].is_string());
    assert_eq!((&one["waiting"], &one["given_up"]), (&0.into(), &0.into()), "{one}");
    assert_eq!(fs::read_to_string(&count).unwrap().lines().count(), 3);
}

/// A home whose daemon finds our `notify-send` first.
fn with_desktop(home: &TestHome) -> std::path::PathBuf {
    let (_, record) = recorder(home, "notify-send");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", home.cwd().display());
    home.cli(["daemon", "stop"]).ok();
    home.invoke(["daemon", "start"]).env("PATH", path).run().ok();
    record
}

#[test]
fn the_desktop_shows_a_batch_once_and_no_markup_of_a_task() {
    let home = TestHome::new();
    let record = with_desktop(&home);
    home.cli(["config", "set", "notify.desktop", "true"]).ok();
    let batch = format!("{}\n", serde_json::json!({ "shell": "exit 1", "name": NAME })).repeat(20);
    home.invoke(["run", "--from", "-", "--group", "g"]).stdin(batch).run().ok();
    let text = complete(&record);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["ARG --app-name=Meanwhile", "ARG --urgency=critical"]);
    assert_eq!(lines[2..4], ["ARG --", "ARG Meanwhile"], "what follows is no option");
    let shown = lines[4].strip_prefix("ARG ").expect("the text");
    assert!(shown.contains("&lt;a href=") && !shown.contains('<'), "{shown}");
    assert!(!home.path("bad").exists());
}

#[test]
fn what_was_read_already_is_shown_to_nobody_but_programs_are_told() {
    let home = TestHome::new();
    let record = with_desktop(&home);
    let (tell, told) = recorder(&home, "tell");
    home.cli(["config", "set", "notify.desktop", "true"]).ok();
    home.cli(["config", "set", "notify.command", tell.to_str().unwrap()]).ok();
    // Its end is read here.
    home.cli(["run", "--wait", "--name", "read", "--", "false"]).expect(1);
    assert!(complete(&told).contains("NAME read"));
    assert!(!record.exists(), "{}", fs::read_to_string(&record).unwrap_or_default());
    home.launch_with(["--name", "unread"], ["false"]);
    assert!(complete(&record).contains("unread"));
}

/// Runs `line` in a terminal of its own; what was drawn by its end.
fn in_terminal(home: &TestHome, line: &str) -> String {
    let ran = Command::new("script")
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .current_dir(home.cwd())
        .env_clear()
        .envs(home.environment())
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .output()
        .expect("script gives it a terminal: CONTRIBUTING.md");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn the_terminal_of_a_launch_rings_and_shows_what_no_desktop_does() {
    let home = TestHome::new();
    home.cli(["config", "set", "notify.bell", "true"]).ok();
    let binary = home.binary();
    // It stays until the route has worked.
    let worked = "until meanwhile notify | grep -q 'worked at'; do sleep 0.1; done";
    let line = format!(
        "meanwhile() {{ '{}' \"$@\"; }}; meanwhile run --name 'a;b' -- false >/dev/null; {worked}",
        binary.display()
    );
    let drawn = in_terminal(&home, &line);
    assert!(drawn.contains('\u{7}'), "{drawn:?}");
    let home = TestHome::new();
    // No notify-send is to be found there.
    let tools = home.path("tools");
    fs::create_dir(&tools).unwrap();
    home.cli(["daemon", "stop"]).ok();
    home.invoke(["daemon", "start"]).env("PATH", &tools).run().ok();
    home.cli(["config", "set", "notify.desktop", "true"]).ok();
    let drawn = in_terminal(&home, &line);
    assert!(drawn.contains("\u{1b}]777;notify;Meanwhile;a,b failed"), "{drawn:?}");
}

#[test]
fn a_terminal_that_is_gone_gets_nothing_and_holds_nothing_up() {
    let home = TestHome::new();
    home.cli(["config", "set", "notify.bell", "true"]).ok();
    let mut gate = home.gate("gate");
    let line = format!("'{}' run --shell '{}; exit 1'", home.binary().display(), gate.shell());
    in_terminal(&home, &line);
    gate.open();
    logged(&home, "no terminal of these tasks is left");
}
