//! Claude Code in a terminal of its own: what a person would see, and nobody types a second time.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use meanwhile_testkit::model::Model;
use meanwhile_testkit::{Gate, TestHome};
use serde_json::json;

use super::clis::Cli;

/// Such a program draws its first screen in seconds; two cores are shared.
const PATIENCE: Duration = Duration::from_secs(90);

const KEY: &str = "sk-ant-scripted-0123456789";

/// A running agent and what it has drawn.
pub(super) struct Terminal {
    child: Child,
    keys: ChildStdin,
    drawn: Arc<(Mutex<Vec<u8>>, Condvar)>,
}

impl Terminal {
    pub(super) fn start(home: &TestHome, model: &Model) -> Self {
        let program = Cli::Claude.program();
        let line = format!("stty rows 45 cols 120; exec '{}'", program.display());
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"])
            .current_dir(home.cwd())
            .env_clear()
            .envs(home.environment())
            .envs(Cli::Claude.variables(model))
            .env("ANTHROPIC_API_KEY", KEY)
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().expect("script gives it a terminal");
        let mut screen = child.stdout.take().expect("a pipe");
        let drawn = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let reader = Arc::clone(&drawn);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut buffer) {
                reader.0.lock().unwrap_or_else(PoisonError::into_inner).extend(&buffer[..n]);
                reader.1.notify_all();
            }
        });
        let keys = child.stdin.take().expect("a pipe");
        Self { child, keys, drawn }
    }

    /// Waits until a text was drawn; escapes between its letters do not count, nor do spaces.
    #[track_caller]
    pub(super) fn until_drawn(&self, text: &str) {
        self.until_any_drawn(&[text]);
    }

    #[track_caller]
    pub(super) fn until_any_drawn(&self, texts: &[&str]) {
        let wanted: Vec<String> =
            texts.iter().map(|text| text.split_whitespace().collect()).collect();
        let start = Instant::now();
        let mut drawn = self.drawn.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let seen = plain(&drawn);
            if wanted.iter().any(|wanted| seen.contains(wanted)) {
                return;
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            let last: String =
                seen.chars().rev().take(2_000).collect::<Vec<_>>().into_iter().rev().collect();
            assert!(!left.is_zero(), "never drawn: {texts:?}; drawn last: {last}");
            drawn =
                self.drawn.1.wait_timeout(drawn, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads its keys");
        self.keys.flush().expect("it reads its keys");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What was drawn without escapes and spaces.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            if !character.is_whitespace() && !character.is_control() {
                plain.push(character);
            }
            continue;
        }
        match characters.next() {
            Some('[') => while characters.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            Some(']') => while characters.next().is_some_and(|c| c != '\u{7}') {},
            _ => {}
        }
    }
    plain
}

/// As somebody who has used it before, in a directory that is trusted.
pub(super) fn known_user(home: &TestHome) {
    let known = json!({
        "hasCompletedOnboarding": true, "theme": "dark", "numStartups": 3,
        "customApiKeyResponses": { "approved": [&KEY[KEY.len() - 20..]], "rejected": [] },
        "projects": { home.cwd().display().to_string(): {
            "hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true, "projectOnboardingSeenCount": 4,
        } },
    });
    let path = home.root().join("user/.claude.json");
    fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
    fs::write(path, known.to_string()).expect("it is ours");
}

#[test]
fn ten_launches_end_and_the_idle_session_is_woken_once() {
    let model = Model::new();
    let home = TestHome::new();
    known_user(&home);
    home.cli(["setup", "claude", "--yes", "--allow-launch"]).expect(0);
    // What it was tried out with is none of the ten.
    home.cli(["clean"]).expect(0);
    home.cli(["config", "set", "lanes.commands.limit", "10"]).expect(0);
    let mut gates: Vec<_> = (0..10).map(|n| home.gate(&format!("gate-{n}"))).collect();
    let call = |gate: &Gate| {
        let call = json!({ "shell": format!("{}; echo done-indeed", gate.shell()) });
        format!(" [[call:mcp__meanwhile__run {call}]]")
    };
    let calls: String = gates.iter().map(call).collect();
    let mut terminal = Terminal::start(&home, &model);
    terminal.until_drawn("shift+tab to cycle");
    terminal.press(&format!("build{calls} end-of-prompt"));
    // So long a line is folded.
    terminal.until_any_drawn(&["end-of-prompt", "Pasted text"]);
    terminal.press("\r");
    model.until("the end of the turn", |asked| {
        asked.iter().any(|one| one.after_tools).then_some(())
    });
    let tasks = home.json(["list", "--any-session"]);
    assert_eq!(tasks.as_array().map(Vec::len), Some(10), "{tasks}");
    terminal.until_drawn("Done: the tool ran.");
    gates.iter_mut().for_each(Gate::open);
    let woken = model.until("the digest in a request", |asked| {
        asked.iter().position(|one| one.mentions("10 background tasks have ended"))
    });
    let asked = model.asked();
    assert!(asked[woken].mentions("done-indeed"), "{:#?}", asked[woken].last_user);
    let typed = asked[woken].last_user.contains("end-of-prompt");
    assert!(!typed, "it was the user who asked: {}", asked[woken].last_user);
    terminal.until_drawn("Hello from the scripted model.");
    let unread = home.json(["inbox", "--peek", "--any-session"]);
    assert_eq!(unread.as_array().map(Vec::len), Some(0), "what was told is read: {unread}");
    // Woken again it would ask again.
    let after: Vec<_> =
        model.asked()[woken + 1..].iter().map(|one| one.last_user.clone()).collect();
    assert!(!after.iter().any(|text| text.contains("background tasks have ended")), "{after:#?}");
    drop(terminal);
}
