//! Many tasks from a file: one JSON object per line.
//!
//! What it is for: `run --from FILE|-`. What it owns: reading the lines and naming the line of every error, also of those
//! that the daemon finds. What it never does: accept a part of a batch.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use meanwhile_api::submit::NewTask;
use meanwhile_api::{ApiError, ErrorCode, limits};

use crate::command::arguments as check;
use crate::failure::Failure;

/// The entries of a batch with the number of the line of each.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) tasks: Vec<NewTask>,
    lines: Vec<usize>,
}

/// What an entry looks like.
const EXAMPLE: &str = r#"an entry looks like {"command": ["make", "test"], "name": "tests"}"#;

/// What became of the good entries.
const NOTHING: &str = "nothing of the batch was launched";

impl Batch {
    /// Reads a file, or standard input for `-`.
    pub(crate) fn read(from: &OsStr) -> Result<Batch, Failure> {
        if from == "-" {
            return Batch::parse(io::stdin().lock());
        }
        let shown = from.to_string_lossy();
        let file = File::open(from).map_err(|error| unreadable(&shown, &error))?;
        Batch::parse(BufReader::new(file))
    }

    fn parse(mut reader: impl BufRead) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            if read.map_err(|error| unreadable("the batch", &error))? == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let task: NewTask = serde_json::from_slice(&line)
                .map_err(|error| wrong_line(number, &reason(&error)))?;
            check::work(&task).map_err(|(why, _)| wrong_line(number, why))?;
            if batch.tasks.len() == limits::BATCH_TASKS_MAX {
                let most = limits::BATCH_TASKS_MAX;
                return Err(Failure::usage(
                    format!("the batch has more than {most} entries"),
                    "submit it in parts",
                ));
            }
            batch.tasks.push(task);
            batch.lines.push(number);
        }
        if batch.tasks.is_empty() {
            return Err(Failure::usage("the batch has no entries", EXAMPLE));
        }
        Ok(batch)
    }

    /// Names the line of an error that the daemon found in an entry.
    pub(crate) fn name_line(&self, mut error: ApiError) -> ApiError {
        let index = error.details.get("index").and_then(serde_json::Value::as_u64);
        // Of a single entry the daemon does not say which one it is.
        let index = index.or((self.lines.len() == 1).then_some(0));
        let line = index.and_then(|index| self.lines.get(usize::try_from(index).ok()?));
        if let (Some(line), Some(index)) = (line, index) {
            // The daemon knows nothing of empty lines and counts entries.
            let counted = format!("line {}: ", index + 1);
            let message = error.message.strip_prefix(&counted).unwrap_or(&error.message);
            error.message = format!("line {line}: {message}");
            error = error.detail("line", *line);
        }
        if error.hint.iter().any(|hint| hint == NOTHING) {
            return error;
        }
        error.hint(NOTHING)
    }
}

/// A JSON error without the position, which is that of a document of one line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => format!("{} (column {})", &text[..at], error.column()),
        None => text,
    }
}

fn wrong_line(number: usize, why: &str) -> Failure {
    ApiError::new(ErrorCode::Usage, format!("line {number}: {why}"))
        .hint(EXAMPLE)
        .hint(NOTHING)
        .detail("line", number)
        .into()
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("`{name}` cannot be read: {error}"), "meanwhile run --from FILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ApiError {
        match Batch::parse(text.as_bytes()) {
            Err(Failure::Error { error, .. }) => error,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn entries_keep_the_numbers_of_their_lines() {
        let text = "\n{\"command\":[\"a\"]}\n\n{\"shell\":\"b\",\"timeout\":\"5m\"}";
        let batch = Batch::parse(text.as_bytes()).unwrap();
        assert_eq!(batch.tasks.len(), 2);
        let refused =
            ApiError::new(ErrorCode::NoSuchTask, "line 2: no task `x`").detail("index", 1);
        assert_eq!(batch.name_line(refused).message, "line 4: no task `x`");
    }

    #[test]
    fn a_bad_entry_is_named_by_its_line() {
        for bad in [
            "not json",
            "{}",
            "[]",
            r#"{"command":[]}"#,
            r#"{"command":["a"],"shell":"b"}"#,
            r#"{"command":["a"],"tiemout":"5m"}"#,
            r#"{"command":["a"],"timeout":"5"}"#,
            r#"{"shell":""}"#,
        ] {
            let error = error(&format!("{{\"command\":[\"ok\"]}}\n{bad}\n"));
            assert!(error.message.starts_with("line 2: "), "{bad}: {}", error.message);
            assert!(!error.message.contains(" at line 1"), "{}", error.message);
            assert_eq!(error.exit, meanwhile_api::ExitCode::Usage);
        }
    }

    #[test]
    fn an_empty_batch_is_refused() {
        assert_eq!(error("\n\n").message, "the batch has no entries");
    }
}
