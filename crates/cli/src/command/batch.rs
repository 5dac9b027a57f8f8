//! Many tasks from a file: one JSON object per line.
//!
//! What it is for: `run --from FILE|-`. What it owns: reading the lines, filling in what the command line says for all of
//! them, and naming the line of every error, also of those that the daemon finds. What it never does: accept a part of a
//! batch.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use meanwhile_api::submit::NewTask;
use meanwhile_api::{ApiError, ErrorCode, OsText, limits};
use serde_json::{Map, Value};

use crate::command::arguments as check;
use crate::failure::Failure;
use crate::usage;

/// The entries of a batch with the number of the line of each.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) tasks: Vec<NewTask>,
    lines: Vec<usize>,
}

/// What an entry looks like.
const EXAMPLE: &str = r#"an entry looks like {"command": ["make", "test"], "name": "tests"}"#;

/// A key with more mistakes than this is another word.
const MISTAKES_MAX: usize = 2;

/// What became of the good entries.
const NOTHING: &str = "nothing of the batch was launched";

/// What holds for every entry that does not say otherwise.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    /// By the names that entries use; without the two below.
    keys: Map<String, Value>,
    /// These are joined with those of the entry, whose own win.
    labels: BTreeMap<String, String>,
    env: Vec<(OsText, OsText)>,
}

impl Defaults {
    /// From options of the command line.
    pub(crate) fn of(mut options: NewTask) -> Result<Defaults, Failure> {
        let of_one_task = [
            ("--name", options.name.is_some()),
            ("--idempotency-key", options.idempotency_key.is_some()),
        ];
        if let Some((option, _)) = of_one_task.iter().find(|(_, given)| *given) {
            return Err(Failure::usage(
                format!("`{option}` is for one task; the entries of a batch would share it"),
                r#"put it into its entry: {"command": ["make"], "name": "build"}"#,
            ));
        }
        let labels = std::mem::take(&mut options.labels);
        let env = std::mem::take(&mut options.env);
        let keys = match serde_json::to_value(options) {
            Ok(Value::Object(keys)) => keys,
            _ => unreachable!("options are an object of plain values"),
        };
        Ok(Defaults { keys, labels, env })
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.labels.is_empty() && self.env.is_empty()
    }

    /// The entry on a line, with what it leaves open filled in.
    fn entry(&self, line: &[u8]) -> Result<NewTask, serde_json::Error> {
        let task: NewTask = serde_json::from_slice(line)?;
        if self.is_empty() {
            return Ok(task);
        }
        // What is written counts, also where it says the same as nothing would: `"priority": 0`.
        let written: Map<String, Value> = serde_json::from_slice(line)?;
        let mut keys = self.keys.clone();
        for key in written.keys() {
            keys.remove(canonical(key).as_str());
        }
        if let Value::Object(own) = serde_json::to_value(task)? {
            keys.extend(own);
        }
        let mut task: NewTask = serde_json::from_value(Value::Object(keys))?;
        for (key, value) in &self.labels {
            task.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        // Of two values of one variable the last one holds.
        task.env.splice(0..0, self.env.iter().cloned());
        Ok(task)
    }
}

/// The one name of a key that has several.
fn canonical(key: &str) -> String {
    match key {
        "label" => "labels".to_owned(),
        "artifact" => "artifacts".to_owned(),
        key => key.replace('-', "_"),
    }
}

impl Batch {
    /// Reads a file, or standard input for `-`.
    pub(crate) fn read(from: &OsStr, defaults: &Defaults) -> Result<Batch, Failure> {
        if from == "-" {
            return Batch::parse(io::stdin().lock(), defaults);
        }
        let shown = from.to_string_lossy();
        let file = File::open(from).map_err(|error| unreadable(&shown, &error))?;
        Batch::parse(BufReader::new(file), defaults)
    }

    fn parse(mut reader: impl BufRead, defaults: &Defaults) -> Result<Batch, Failure> {
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
            let task =
                defaults.entry(&line).map_err(|error| wrong_line(number, &reason(&error)))?;
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
        let index = error.details.get("index").and_then(Value::as_u64);
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
    let Some(at) = text.rfind(" at line ") else { return text };
    let why = &text[..at];
    let why = unknown_key(why).unwrap_or_else(|| why.replace("a sequence", "an array"));
    format!("{why} (column {})", error.column())
}

/// The parser's words about a key that does not exist, without the list of all that do.
fn unknown_key(why: &str) -> Option<String> {
    let (key, known) = why.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    let known = known.split('`').skip(1).step_by(2);
    let near = known.map(|known| (usage::distance(key, known), known)).min()?;
    Some(match near {
        (mistakes, known) if mistakes <= MISTAKES_MAX => {
            format!("no option is called `{key}`; did you mean `{known}`?")
        }
        _ => format!("no option is called `{key}`; meanwhile run --help lists all"),
    })
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
        match Batch::parse(text.as_bytes(), &Defaults::default()) {
            Err(Failure::Error { error, .. }) => error,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn entries_keep_the_numbers_of_their_lines() {
        let text = "\n{\"command\":[\"a\"]}\n\n{\"shell\":\"b\",\"timeout\":\"5m\"}";
        let batch = Batch::parse(text.as_bytes(), &Defaults::default()).unwrap();
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
    fn a_mistyped_key_is_answered_with_the_nearest_one() {
        let message = |key: &str| error(&format!("{{\"command\":[\"x\"],\"{key}\":1}}")).message;
        assert!(message("lan").contains("`lan`; did you mean `lane`?"), "{}", message("lan"));
        assert!(message("colour-of-it").contains("meanwhile run --help"));
    }

    #[test]
    fn options_of_the_command_line_hold_for_entries_that_do_not_say_otherwise() {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let variable = |name: &str, value: &str| (OsText::from(name), OsText::from(value));
        let options = NewTask {
            group: Some("g".to_owned()),
            lane: Some("l".to_owned()),
            priority: 7,
            keep_tmp: true,
            labels: [label("a", "1"), label("b", "1")].into(),
            env: vec![variable("A", "1"), variable("B", "1")],
            retry_on: vec![3],
            ..NewTask::default()
        };
        let defaults = Defaults::of(options).unwrap();
        let entry = |text: &str| defaults.entry(text.as_bytes()).unwrap();
        let plain = entry(r#"{"command":["x"]}"#);
        assert_eq!((plain.group.as_deref(), plain.lane.as_deref()), (Some("g"), Some("l")));
        assert_eq!((plain.priority, plain.keep_tmp, plain.retry_on), (7, true, vec![3]));
        let own = entry(
            r#"{"shell":"x","lane":"own","priority":0,"group":null,"keep-tmp":false,"retry-on":[4],
               "label":{"b":"2"},"env":{"B":"2"}}"#,
        );
        assert_eq!((own.lane.as_deref(), own.priority, own.group), (Some("own"), 0, None));
        assert_eq!((own.keep_tmp, own.retry_on), (false, vec![4]));
        assert_eq!(own.labels, [label("a", "1"), label("b", "2")].into());
        let env = [("A", "1"), ("B", "1"), ("B", "2")].map(|(name, value)| variable(name, value));
        assert_eq!(own.env, env);
    }

    #[test]
    fn what_can_be_of_one_task_only_is_no_default() {
        let name = NewTask { name: Some("n".to_owned()), ..NewTask::default() };
        let key = NewTask { idempotency_key: Some("k".to_owned()), ..NewTask::default() };
        for options in [name, key] {
            assert!(Defaults::of(options).is_err());
        }
    }

    #[test]
    fn an_empty_batch_is_refused() {
        assert_eq!(error("\n\n").message, "the batch has no entries");
    }
}
