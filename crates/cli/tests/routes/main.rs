//! Other routes, with the real binary: what arrives at a webhook, a command, a desktop and a terminal, and when.
//!
//! Owns a receiver on loopback and programs that write down what they were given. Every wait is for something that
//! arrives; what must not arrive is looked for after something that comes later by the same way.

mod misuse;
mod receiver;
mod signs;
mod survival;
mod tls;
mod webhook;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use meanwhile_testkit::{DEADLINE, TestHome, until};
use receiver::Receiver;

/// A home that posts to this receiver, with further keys of `notify`. Without a table: lines may follow.
fn home_with(receiver: &Receiver, lines: &str) -> TestHome {
    let url = receiver.url("/hook?token=T0KEN");
    TestHome::builder()
        .config(&format!("notify.webhook.urls = [\"{url}\"]\nnotify.backoff = \"200ms\"\n{lines}"))
        .build()
}

/// A program of the user's: `line` is run by a shell with our arguments after it.
fn program(home: &TestHome, name: &str, line: &str) -> PathBuf {
    let path = home.path(name);
    // Complete under another name first: a file that is open for writing cannot be executed.
    let beside = home.path(&format!("{name}.new"));
    fs::write(&beside, format!("#!/bin/sh\n{line}\n")).expect("a file can be written");
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).expect("our own file");
    fs::rename(&beside, &path).expect("the same directory");
    path
}

/// The text of a file once it has some that is complete.
#[track_caller]
fn complete(path: &std::path::Path) -> String {
    until("the file to be complete", DEADLINE, || {
        fs::read_to_string(path).ok().filter(|text| text.ends_with("\nEND\n"))
    })
}

/// What `notify --json` says of the only way there is, once `wanted` holds.
#[track_caller]
fn standing(home: &TestHome, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    until("the route to stand so", DEADLINE, || {
        let all = home.json(["notify"]);
        let one = all.as_array()?.first()?.clone();
        wanted(&one).then_some(one)
    })
}

/// The daemon's log once it says so: it hears from its courier when that one has ended.
#[track_caller]
fn logged(home: &TestHome, text: &str) -> String {
    until("the daemon to log it", DEADLINE, || {
        let log = fs::read_to_string(home.state().join("logs/daemon.log")).unwrap_or_default();
        log.contains(text).then_some(log)
    })
}
