//! What people see: plain text in pipes, colours on terminals only, and nothing a task can forge.

use std::ffi::OsString;

use meanwhile_testkit::{Ran, TestHome};
use serde_json::Value;

/// Gives the program a terminal, and passes on what it shows.
const ON_A_TERMINAL: &str =
    "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

fn on_a_terminal(home: &TestHome, environment: &[(&str, &str)], words: &[&str]) -> Ran {
    let call =
        home.invoke(words).wrapped(["python3", "-c", ON_A_TERMINAL]).env("TERM", "xterm-256color");
    environment.iter().fold(call, |call, (name, value)| call.env(name, value)).run()
}

/// Commands whose answers people read.
fn shown(id: &str) -> Vec<Vec<String>> {
    let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        line(&[]),
        line(&["list"]),
        line(&["list", "--summary"]),
        line(&["status", id]),
        line(&["output", id]),
        line(&["wait", id]),
        line(&["follow", id]),
        line(&["lanes"]),
        line(&["config", "get"]),
        line(&["daemon", "status"]),
        line(&["doctor"]),
        line(&["audit", "--task", id]),
        line(&["cancel", id]),
        line(&["--help"]),
        line(&["run", "--help"]),
        line(&["no-such-command"]),
        line(&["status", "0123456789"]),
    ]
}

#[test]
fn nothing_but_plain_text_goes_into_a_pipe() {
    let home = TestHome::new();
    let id = home.launch_shell("printf 'a\\033[31mb\\033[0m\\n'; exit 1");
    home.wait(&id);
    for words in shown(&id) {
        let ran = home.cli(&words);
        for bytes in [&ran.stdout, &ran.stderr] {
            assert!(
                !bytes.contains(&0x1b) && !bytes.contains(&b'\r'),
                "{words:?} prints escape sequences"
            );
        }
    }
}

#[test]
fn a_terminal_gets_colours_and_no_color_takes_them_away() {
    let home = TestHome::new();
    let id = home.launch(["false"]);
    home.wait(&id);
    for words in [&["list"][..], &["status", &id]] {
        let coloured = on_a_terminal(&home, &[], words);
        assert!(coloured.stdout.contains(&0x1b), "{words:?}: {}", coloured.text());
        for environment in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CLICOLOR", "0")] {
            let plain = on_a_terminal(&home, &[environment], words);
            assert!(
                !plain.stdout.contains(&0x1b),
                "{words:?} with {environment:?}: {}",
                plain.text()
            );
        }
        let empty = on_a_terminal(&home, &[("NO_COLOR", "")], words);
        assert!(empty.stdout.contains(&0x1b), "an empty NO_COLOR is none (no-color.org)");
    }
    let forced = home.invoke(["list"]).env("CLICOLOR_FORCE", "1").run();
    assert!(forced.stdout.contains(&0x1b));
}

#[test]
fn a_terminal_is_not_overrun_and_a_pipe_is_not_cut() {
    let home = TestHome::new();
    let long = "x".repeat(300);
    let id = home.launch(["echo", &long]);
    home.wait(&id);
    let narrow = on_a_terminal(&home, &[("COLUMNS", "60"), ("NO_COLOR", "1")], &["list"]);
    for line in narrow.text().lines() {
        assert!(line.trim_end().chars().count() <= 60, "{line}");
    }
    assert!(home.cli(["status", &id]).ok().contains(&long));
}

#[test]
fn wait_on_a_terminal_ends_like_wait_and_leaves_the_cursor_shown() {
    let home = TestHome::new();
    let id = home.launch_shell("sleep 0.2; exit 3");
    let ran = on_a_terminal(&home, &[], &["wait", &id]);
    assert_eq!(ran.code(), 1, "{}", ran.text());
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let (hidden, shown) = (text.rfind("\u{1b}[?25l"), text.rfind("\u{1b}[?25h"));
    assert!(hidden <= shown, "{text:?}");
}

/// What a hostile program may put wherever a text of its choice is kept.
const SEQUENCES: &[&str] = &[
    "\u{1b}[2J",
    "\u{1b}[31m",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]52;c;cHduZWQ=\u{7}",
    "\u{1b}]8;;http://x\u{1b}\\",
    "\u{1b}P1;2|x\u{1b}\\",
    "\u{1b}_x\u{1b}\\",
    "\u{1b}^x\u{1b}\\",
    "\u{1b}Xx\u{1b}\\",
    "\u{9b}2J",
    "\u{9d}0;t\u{9c}",
    "\u{90}x\u{9c}",
    "\u{1b}c",
    "\u{1b}[6n",
    "\u{1b}]0;never ends",
    "\r\n",
    "\u{8}\u{8}\u{8}",
    "\u{7f}",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{feff}",
    "\u{e0001}",
    "\u{2028}",
    "\t",
];

/// Nothing that a terminal would obey, or that makes a text read differently than it is.
#[track_caller]
fn check_harmless(ran: &Ran, what: &str) {
    for bytes in [&ran.stdout, &ran.stderr] {
        let text = std::str::from_utf8(bytes).expect("valid UTF-8");
        let bad = text.chars().find(|c| {
            let control = c.is_control() && !matches!(c, '\n' | '\t');
            let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
            control || invisible
        });
        assert_eq!(bad, None, "{what}: {text:?}");
    }
}

#[test]
fn a_task_cannot_forge_what_people_see() {
    let home = TestHome::new();
    for sequence in SEQUENCES {
        let evil = format!("a{sequence}b");
        let variable = OsString::from(format!("EVIL={evil}"));
        let shell = OsString::from("printf '%s' \"$EVIL\"; printf '%s' \"$EVIL\" >&2; exit 1");
        let mut line: Vec<OsString> =
            vec!["run".into(), "--env".into(), variable, "--shell".into(), shell];
        line.extend(["--label".into(), OsString::from(format!("k={evil}"))]);
        let ran = home.cli(&line);
        // A label that nobody can read may be refused; it must not be shown as it is.
        let id = match ran.code() {
            0 => ran.text(),
            _ => {
                check_harmless(&ran, "the refusal of a label");
                line.truncate(5);
                home.cli(&line).ok()
            }
        };
        home.wait(&id);
        for words in shown(&id) {
            check_harmless(&home.cli(&words), &format!("{words:?} with {sequence:?}"));
        }
    }
}

#[test]
fn arguments_names_and_directories_are_shown_harmless() {
    let home = TestHome::new();
    for sequence in SEQUENCES {
        let evil = format!("a{sequence}b");
        let directory = home.path(&evil.replace('/', "|"));
        std::fs::create_dir(&directory).expect("a directory may have any name");
        let directory = directory.to_str().expect("it is text");
        for option in ["--name", "--group", "--lane"] {
            let ran = home.cli(["run", option, &evil, "--cwd", directory, "--", "echo", &evil]);
            check_harmless(&ran, option);
            let id = match ran.code() {
                0 => ran.text(),
                _ => home.cli(["run", "--cwd", directory, "--", "echo", &evil]).ok(),
            };
            home.wait(&id);
            for words in [
                &["list"][..],
                &["status", &id],
                &["wait", &id],
                &["lanes"],
                &["daemon", "status"],
                &[],
            ] {
                check_harmless(&home.cli(words), &format!("{words:?} with {option} {sequence:?}"));
            }
        }
    }
}

#[test]
fn errors_show_what_was_typed_harmless() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    for sequence in SEQUENCES {
        let evil = format!("abcd{sequence}b");
        for words in [
            &["status", &evil][..],
            &[&evil],
            &["run", "--timeout", &evil, "--", "true"],
            &["run", "--label", &evil, "--", "true"],
            &["run", "--", &evil],
            &["run", "--cwd", &evil, "--", "true"],
            &["run", "--after", &evil, "--", "true"],
            &["config", "set", &evil, "1"],
            &["config", "set", "lanes.default.limit", &evil],
            &["config", "get", &evil],
            &["output", "abcd", "--grep", &format!("({evil}")],
            &["wait", "--group", &evil],
            &["--session", &evil, "cancel"],
        ] {
            check_harmless(&home.cli(words), &format!("{words:?}"));
        }
    }
}

#[test]
fn every_answer_is_one_json_document_where_json_was_asked_for() {
    let home = TestHome::new();
    let id = home.launch(["echo", "hello"]);
    home.wait(&id);
    let table: &[&[&str]] = &[
        &[],
        &["list"],
        &["list", "--summary"],
        &["status", &id],
        &["output", &id],
        &["wait", &id],
        &["cancel", &id],
        &["retry", &id],
        &["wait", &id],
        &["lanes"],
        &["prune"],
        &["daemon", "status"],
        &["daemon", "start"],
        &["config"],
        &["config", "get"],
        &["config", "get", "log.cap"],
        &["config", "path"],
        &["config", "set", "log.cap", "32MiB"],
        &["run", "--", "true"],
        &["clean", "--older-than", "1h"],
        &["daemon", "stop"],
    ];
    for words in table {
        let ran = home.cli([&["--json"], *words].concat());
        ran.expect(0);
        let document: Result<Value, _> = serde_json::from_slice(&ran.stdout);
        assert!(document.is_ok(), "{words:?}: {}", ran.text());
        assert_eq!(ran.text().lines().count(), 1, "{words:?}: one line for programs");
        assert_eq!(ran.complaint(), "", "{words:?}");
    }
}

#[test]
fn relative_times_and_states_are_in_the_list() {
    let home = TestHome::new();
    let id = home.launch_with(["--name", "the build"], ["false"]);
    home.wait(&id);
    let list = home.cli(["list"]).ok();
    assert!(
        list.contains("the build") && list.contains("exit 1") && list.contains("now"),
        "{list}"
    );
    let card = home.cli(["status", &id]).ok();
    for word in [id.as_str(), "the build", "failed", "false", "commands"] {
        assert!(card.contains(word), "{word} is not in {card}");
    }
}
