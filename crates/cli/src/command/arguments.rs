//! Values on the command line: checked before anything is sent.
//!
//! What it is for: a misuse is told at once, with an example, whether or not a daemon runs. What it owns: the parsers that
//! several commands share. What it never does: check what only the daemon can know.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use meanwhile_api::submit::{After, NewTask};
use meanwhile_api::{OsText, Size, Span, TaskId};

/// The longest name of a task, group, lane or session, in bytes; longer ones are a mistake and would flood every list.
const NAME_MAX: usize = 200;
/// The longest regular expression, in bytes, as the daemon has it.
const PATTERN_MAX: usize = 4 << 10;
/// The longest glob, in bytes, as the daemon has it: deeply nested braces are read by recursion.
const GLOB_MAX: usize = 1_000;

/// An id, a prefix of one, or a name.
pub(crate) fn task_id(text: &str) -> Result<TaskId, String> {
    name(text).map(TaskId).map_err(|_| {
        let shown = text.chars().take(40).collect::<String>();
        format!("`{shown}` is no id, prefix (4 characters at least) or name of a task")
    })
}

/// Text that names something.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > NAME_MAX {
        return Err(format!("it is longer than {NAME_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("it holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// A duration; `0` is allowed.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|error: meanwhile_api::duration::DurationError| error.to_string())
}

/// A duration that is longer than nothing.
pub(crate) fn positive_span(text: &str) -> Result<Span, String> {
    match span(text)? {
        Span::ZERO => Err(format!("`{text}` is no time at all (examples: 10s, 5m, 1h30m)")),
        span => Ok(span),
    }
}

/// A size above zero.
pub(crate) fn size(text: &str) -> Result<Size, String> {
    let size: Size =
        text.parse().map_err(|error: meanwhile_api::size::SizeError| error.to_string())?;
    match size.as_bytes() {
        0 => Err(format!("`{text}` leaves no room at all (examples: 64MiB, 10GiB)")),
        _ => Ok(size),
    }
}

/// A number of processors above zero; parts are allowed.
pub(crate) fn cpus(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("`{text}` is not a number of processors above zero (examples: 2, 0.5)")),
    }
}

/// A regular expression.
pub(crate) fn regex(text: &str) -> Result<String, String> {
    let wrong = |error: regex::Error| {
        // The last line of the library's message says what is wrong; those above draw an arrow.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("it is not a regular expression: {last}")
    };
    if text.len() > PATTERN_MAX {
        return Err(format!("it is longer than {PATTERN_MAX} bytes"));
    }
    regex::bytes::Regex::new(text).map_err(wrong)?;
    Ok(text.to_owned())
}

/// A glob.
pub(crate) fn glob(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > GLOB_MAX {
        return Err(format!("it is longer than {GLOB_MAX} bytes"));
    }
    globset::Glob::new(text).map_err(|error| format!("it is not a glob: {}", error.kind()))?;
    Ok(text.to_owned())
}

/// `KEY=VALUE` of a label.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("`{text}` is not a label (example: kind=nightly)");
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if key.is_empty() || !key.chars().all(plain) {
        return Err(format!("{}; its key is made of letters, digits and - _ . /", wrong()));
    }
    if value.chars().any(char::is_control) || value.len() > NAME_MAX {
        return Err(wrong());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `KEY=VALUE` or `KEY` of a filter.
pub(crate) fn label_filter(text: &str) -> Result<String, String> {
    if !text.contains('=') {
        let wrong = |_| format!("`{text}` is no key of a label (examples: kind, kind=nightly)");
        label(&format!("{text}=")).map_err(wrong)?;
        return Ok(text.to_owned());
    }
    label(text)?;
    Ok(text.to_owned())
}

/// `NAME=VALUE` of an environment variable, any bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variable(pub(crate) OsText, pub(crate) OsText);

impl From<Variable> for (OsText, OsText) {
    fn from(variable: Variable) -> (OsText, OsText) {
        (variable.0, variable.1)
    }
}

/// Splits `NAME=VALUE`.
pub(crate) fn variable(argument: OsString) -> Result<Variable, String> {
    let shown = argument.to_string_lossy().into_owned();
    let bytes = argument.into_vec();
    let at = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
    let at = at.ok_or_else(|| format!("`{shown}` is not NAME=VALUE (example: RUST_LOG=debug)"))?;
    Ok(Variable(OsText::from(&bytes[..at]), OsText::from(&bytes[at + 1..])))
}

/// `ID[:COND]` of a dependency.
pub(crate) fn after(text: &str) -> Result<After, String> {
    let after: After =
        text.parse().map_err(|error: meanwhile_api::submit::AfterError| error.to_string())?;
    task_id(after.id.as_str())?;
    Ok(after)
}

/// Exit codes, separated by commas.
pub(crate) fn code(text: &str) -> Result<i32, String> {
    let code = text.trim().parse::<u8>();
    code.map(i32::from).map_err(|_| format!("`{text}` is not an exit code (0 to 255)"))
}

/// What is wrong with what a task is to run, and a line that is right.
pub(crate) fn work(task: &NewTask) -> Result<(), (&'static str, &'static str)> {
    const PROGRAM: &str = "for example: meanwhile run -- cargo test";
    const SHELL: &str = "for example: meanwhile run --shell 'make 2>&1 | tee log'";
    match (&task.command[..], &task.shell) {
        ([], None) => Err(("the task has no command", PROGRAM)),
        ([_, ..], Some(_)) => Err(("the task has both a command and a shell line", SHELL)),
        ([program, ..], None) if program.is_empty() => Err(("the program has no name", PROGRAM)),
        ([], Some(line)) if line.as_bytes().trim_ascii().is_empty() => {
            Err(("the shell line is empty", SHELL))
        }
        _ => Ok(()),
    }
}

/// A path or other bytes that must not be empty.
pub(crate) fn bytes(argument: OsString) -> Result<OsString, String> {
    if argument.as_bytes().is_empty() { Err("it is empty".to_owned()) } else { Ok(argument) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_zero_and_below_are_refused() {
        for bad in ["0", "-1", "", "NaN", "inf", "x"] {
            assert!(cpus(bad).is_err(), "{bad}");
            assert!(size(bad).is_err(), "{bad}");
            assert!(positive_span(bad).is_err(), "{bad}");
        }
        assert_eq!(cpus("0.5"), Ok(0.5));
    }

    #[test]
    fn labels_are_key_and_value() {
        assert_eq!(label("a.b/c=x=y"), Ok(("a.b/c".to_owned(), "x=y".to_owned())));
        for bad in ["", "=", "=v", "k", "k k=v", "k=\n"] {
            assert!(label(bad).is_err(), "{bad}");
        }
        assert!(label_filter("k").is_ok() && label_filter("k=v").is_ok());
    }

    #[test]
    fn variables_may_hold_any_bytes() {
        let bytes = OsString::from_vec(b"A=\xff=b".to_vec());
        let expected = Variable(OsText::from("A"), OsText::from(&b"\xff=b"[..]));
        assert_eq!(variable(bytes), Ok(expected));
        assert!(variable("=x".into()).is_err() && variable("x".into()).is_err());
    }

    #[test]
    fn patterns_are_checked_where_they_are_typed() {
        assert!(regex("(").unwrap_err().contains("unclosed group"));
        assert!(glob("a[").is_err());
        // The nesting of either would take the stack.
        assert!(glob(&("{".repeat(50_000) + &"}".repeat(50_000))).is_err());
        assert!(regex(&"\\pL".repeat(50_000)).is_err());
        assert!(regex("^ready$").is_ok() && glob("target/**/*.log").is_ok());
    }
}
