//! Values on the command line: labels, variables, names, patterns, globs, and lines of `--from`.
//!
//! The command line is a program without a library, so its parsers are compiled in here once more.

#[path = "../../../crates/cli/src/command/arguments.rs"]
#[expect(dead_code, reason = "the parsers that have nothing to go wrong are not called")]
mod parsers;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use meanwhile_api::OsText;
use meanwhile_api::submit::NewTask;
use meanwhile_daemon::output;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(variable) = parsers::variable(OsString::from_vec(bytes.to_vec())) {
        let (name, value): (OsText, OsText) = variable.into();
        assert_eq!([name.as_bytes(), b"=", value.as_bytes()].concat(), bytes);
    }
    lines(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((key, value)) = parsers::label(text) {
        assert_eq!(format!("{key}={value}"), text);
        assert!(!text.chars().any(char::is_control));
        assert!(parsers::label_filter(text).is_ok());
    }
    if let Ok(name) = parsers::name(text) {
        assert!(!name.chars().any(char::is_control));
    }
    let _refused_or_not = (parsers::cpus(text), parsers::span(text), parsers::size(text));
    let _refused_or_not = (parsers::after(text), parsers::code(text), parsers::task_id(text));
    patterns(text);
}

/// What the daemon takes the command line has taken, too.
fn patterns(text: &str) {
    let typed = parsers::regex(text);
    if let Ok(pattern) = output::pattern(text) {
        assert!(typed.is_ok(), "{typed:?}");
        let _found = pattern.is_match(text.as_bytes());
    }
    let _refused_or_not = parsers::glob(text);
}

/// Entries of a batch, as a file has them: what is read and written again is the same entry.
fn lines(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Ok(task) = serde_json::from_slice::<NewTask>(line) else { continue };
        let written = serde_json::to_vec(&task).expect("an entry can be written");
        let again: NewTask = serde_json::from_slice(&written).expect("what we write we read");
        assert_eq!(again, task);
        let _refused_or_not = parsers::work(&task);
    }
}
