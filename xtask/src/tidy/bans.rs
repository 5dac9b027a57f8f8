//! Code that a room must not contain: escape hatches everywhere, and the world outside its home.
//!
//! Owns the table of bans. Looks at code only; comments and literals cannot offend. A test module
//! at the end of a file and test targets may touch the world, but may not sleep or be ignored.

use super::Complaint;
use super::rust::Source;
use super::tree::{File, Tree};

/// What no code of ours contains, with what to do instead.
const NOWHERE: [(&str, &str); 5] = [
    (
        "#[allow(",
        "use `#[expect(lint, reason = \"...\")]`: it complains when it is no longer needed",
    ),
    (
        "#![allow(",
        "use `#![expect(lint, reason = \"...\")]`: it complains when it is no longer needed",
    ),
    ("todo!(", "finish it, or return an error that says so"),
    ("unimplemented!(", "finish it, or return an error that says so"),
    ("#[ignore", "a test that is not run keeps no promise: make it pass, or remove it"),
];

/// How a function is marked that a test starts as a process of its own, to be killed: the test
/// binary offers no other door. It is run, by the test that it names.
const HELPER: &str = "#[ignore = \"the helper process of ";

/// Waiting by the clock. Allowed with a comment `// sleep: why no event can be waited for`.
const SLEEPS: [&str; 2] = ["thread::sleep(", "time::interval("];

/// The runtime's timer: how the product arms a deadline, but no way to wait in a test.
const TIMERS: [&str; 2] = ["time::sleep(", "sleep_until("];

/// A part of the world, and the rooms where it may be reached for.
struct Ban {
    tokens: &'static [&'static str],
    homes: &'static [&'static str],
    instead: &'static str,
}

const BANS: [Ban; 5] = [
    Ban {
        tokens: &["unsafe_code"],
        // SQLite is told of another way to its file by a table of C functions, and the store is where SQLite is.
        homes: &["host", "supervisor", "store/sqlite/sums"],
        instead: "unsafe code lives in supervisor and host only",
    },
    Ban {
        tokens: &["process::Command"],
        // A command of the user's is one of the routes.
        homes: &["host", "supervisor", "routes", "cli", "testkit", "faults", "xtask"],
        instead: "processes are started by host: ask it, or return an effect",
    },
    Ban {
        tokens: &["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"],
        homes: &[
            "host",
            "supervisor",
            "routes",
            "daemon",
            "cli",
            "testkit",
            "faults",
            "xtask",
            "api/client",
        ],
        instead: "take `now` as an argument",
    },
    Ban {
        tokens: &[
            "env::var",
            "env::vars",
            "env::args",
            "env::home_dir",
            "env::current_dir",
            "env::temp_dir",
        ],
        homes: &["cli", "testkit", "faults", "faultpoint", "xtask", "api/client", "host"],
        instead: "take the value as an argument: libraries do not read the environment",
    },
    Ban {
        tokens: &[
            "std::fs",
            "fs::read",
            "fs::write",
            "fs::File",
            "File::open",
            "File::create",
            "OpenOptions::",
        ],
        homes: &[
            "store",
            "host",
            "supervisor",
            "routes",
            "daemon",
            "integrations",
            "cli",
            "testkit",
            "faults",
            "faultpoint",
            "fuzz",
            "xtask",
            "api/client",
        ],
        instead: "core and api touch no files: take bytes as arguments",
    },
];

pub(super) fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    for (file, source) in tree.rust() {
        for (number, line) in source.code.iter().enumerate() {
            let mut complain = |what: &str, instead: &str| {
                let message = format!("`{what}`: {instead}");
                complaints.push(Complaint::new(&file.path, number + 1, message));
            };
            for (token, instead) in NOWHERE {
                let helper = source.raw[number].contains(HELPER);
                if contains(line, token) && !helper {
                    complain(token.trim_end_matches('('), instead);
                }
            }
            let in_test = file.is_test_target() || source.is_test_line(number);
            check_sleep(source, number, in_test, &mut complain);
            if !in_test && !is_program(file) {
                check_world(file, line, &mut complain);
            }
        }
    }
}

fn check_sleep(
    source: &Source,
    number: usize,
    in_test: bool,
    complain: &mut impl FnMut(&str, &str),
) {
    let timers: &[&str] = if in_test { &TIMERS } else { &[] };
    for token in SLEEPS.iter().chain(timers) {
        if contains(&source.code[number], token) && !source.is_annotated(number, "sleep") {
            complain(
                token.trim_end_matches('('),
                "wait for the event; where there is none, say why in a comment `// sleep: ...`",
            );
        }
    }
}

/// A program of its own reads its arguments and environment; libraries are given them.
fn is_program(file: &File) -> bool {
    file.path.contains("/src/bin/")
}

fn check_world(file: &File, line: &str, complain: &mut impl FnMut(&str, &str)) {
    for ban in &BANS {
        let at_home = ban.homes.iter().any(|home| {
            let path = match home.split_once('/') {
                Some((room, part)) => format!("crates/{room}/src/{part}"),
                None => format!("crates/{home}/"),
            };
            *home == file.room() || file.path.starts_with(&path)
        });
        if at_home {
            continue;
        }
        if let Some(token) = ban.tokens.iter().find(|token| contains(line, token)) {
            complain(token, ban.instead);
        }
    }
}

/// Finds a token that is not the tail of a longer word (`my_fs::read` is not `fs::read`).
fn contains(line: &str, token: &str) -> bool {
    line.match_indices(token).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_about(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.into(), text: text.into(), source: Some(Source::new(text)) };
        let source = file.source.as_ref().expect("a .rs file has a source");
        let mut found = Vec::new();
        for (number, line) in source.code.iter().enumerate() {
            let mut complain = |what: &str, _: &str| found.push(what.to_owned());
            check_sleep(source, number, file.is_test_target(), &mut complain);
            check_world(&file, line, &mut complain);
        }
        found
    }

    #[test]
    fn core_may_not_read_a_clock_and_host_may() {
        let text = "let now = std::time::Instant::now();";
        assert_eq!(complaints_about("crates/core/src/task.rs", text), ["Instant::now"]);
        assert!(complaints_about("crates/host/src/clock.rs", text).is_empty());
    }

    #[test]
    fn only_the_client_of_api_reaches_the_world() {
        let text = "let home = std::env::var(\"HOME\");";
        assert_eq!(complaints_about("crates/api/src/request.rs", text), ["env::var"]);
        assert!(complaints_about("crates/api/src/client/home.rs", text).is_empty());
        assert!(complaints_about("crates/api/src/client.rs", text).is_empty());
    }

    #[test]
    fn unsafe_code_has_few_homes() {
        let text = "#[expect(unsafe_code, reason = \"fork\")]";
        assert_eq!(complaints_about("crates/daemon/src/lib.rs", text), ["unsafe_code"]);
        assert!(complaints_about("crates/host/src/launch.rs", text).is_empty());
    }

    #[test]
    fn a_sleep_needs_a_reason() {
        let bare = "std::thread::sleep(pause);";
        assert_eq!(complaints_about("crates/cli/tests/run.rs", bare), ["thread::sleep"]);
        let annotated = format!("// sleep: the kernel announces no such event\n{bare}");
        assert!(complaints_about("crates/cli/tests/run.rs", &annotated).is_empty());
    }
}
