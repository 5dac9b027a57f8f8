//! What a model passes to a tool, read strictly and told well.
//!
//! What it is for: a wrong argument is answered so that the next call is right. What it owns: the shapes of the
//! arguments, and reading `run`'s, which are those of the command line's NDJSON files. What it never does: guess.

use meanwhile_api::select::Select;
use meanwhile_api::submit::NewTask;
use meanwhile_api::{ApiError, ErrorCode, Span, TaskId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Arguments as they arrive.
pub(crate) type Arguments = Map<String, Value>;

/// Reads the arguments of a tool. `tool` names it in the complaint.
pub(crate) fn read<T: DeserializeOwned>(tool: &str, arguments: Arguments) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| wrong(tool, &error.to_string()))
}

fn wrong(tool: &str, what: &str) -> ApiError {
    ApiError::new(ErrorCode::Usage, format!("read the arguments of `{tool}`: {what}"))
}

/// `list`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct List {
    pub(crate) state: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) limit: Option<u32>,
}

/// `output`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub(crate) id: TaskId,
    #[serde(default)]
    pub(crate) head: Option<u64>,
    #[serde(default)]
    pub(crate) tail: Option<u64>,
    #[serde(default)]
    pub(crate) grep: Option<String>,
    #[serde(default)]
    pub(crate) since: Option<u64>,
    #[serde(default)]
    pub(crate) max_bytes: Option<u64>,
    #[serde(default)]
    pub(crate) attempt: Option<u32>,
}

/// `wait`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wait {
    #[serde(deserialize_with = "ids")]
    pub(crate) ids: Vec<TaskId>,
    pub(crate) group: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) any: bool,
    pub(crate) timeout: Option<Span>,
}

/// `cancel`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cancel {
    #[serde(deserialize_with = "ids")]
    pub(crate) ids: Vec<TaskId>,
    pub(crate) group: Option<String>,
    pub(crate) all: bool,
}

/// `inbox`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inbox {}

/// `extend`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extend {
    pub(crate) id: TaskId,
    pub(crate) by: Span,
}

/// One id, or a list: models write both.
fn ids<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<TaskId>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected an id or a list of ids")]
    enum Shape {
        Many(Vec<TaskId>),
        One(TaskId),
    }
    Ok(match Shape::deserialize(deserializer)? {
        Shape::Many(ids) => ids,
        Shape::One(id) => vec![id],
    })
}

impl Wait {
    /// For which tasks.
    pub(crate) fn select(&self) -> Result<Select, ApiError> {
        match (self.ids.as_slice(), &self.group, &self.session) {
            ([], None, None) => Ok(Select::Own),
            ([_, ..], None, None) => Ok(Select::Ids(self.ids.clone())),
            ([], Some(group), None) => Ok(Select::Group(group.clone())),
            ([], None, Some(session)) => Ok(Select::Session(session.clone())),
            _ => Err(wrong("wait", "give one of `ids`, `group` and `session`, or none of them")),
        }
    }
}

impl Cancel {
    /// Which tasks. Nothing is cancelled that was not named.
    pub(crate) fn select(&self) -> Result<Select, ApiError> {
        match (self.ids.as_slice(), &self.group, self.all) {
            ([_, ..], None, false) => Ok(Select::Ids(self.ids.clone())),
            ([], Some(group), false) => Ok(Select::Group(group.clone())),
            ([], None, true) => Ok(Select::Own),
            _ => Err(wrong("cancel", "give exactly one of `ids`, `group` and `all`")),
        }
    }
}

/// The tasks of `run`: one, or those of `tasks`, for which what stands beside it holds unless they say otherwise.
pub(crate) fn new_tasks(mut arguments: Arguments) -> Result<Vec<NewTask>, ApiError> {
    let Some(tasks) = arguments.remove("tasks") else {
        return Ok(vec![new_task(arguments, None)?]);
    };
    let Value::Array(tasks) = tasks else {
        return Err(wrong("run", "`tasks` must be a list of objects"));
    };
    if tasks.is_empty() {
        return Err(wrong("run", "`tasks` is empty"));
    }
    for of_one in ["shell", "command", "name", "idempotency_key"] {
        if arguments.contains_key(of_one) {
            return Err(wrong("run", &format!("`{of_one}` belongs into each of `tasks`")));
        }
    }
    let read = |(at, task): (usize, Value)| {
        let Value::Object(mut task) = task else {
            return Err(wrong("run", &format!("tasks[{at}] is not an object")));
        };
        for (key, value) in &arguments {
            task.entry(key.clone()).or_insert_with(|| value.clone());
        }
        new_task(task, Some(at))
    };
    tasks.into_iter().enumerate().map(read).collect()
}

fn new_task(task: Arguments, at: Option<usize>) -> Result<NewTask, ApiError> {
    let place = at.map(|at| format!("tasks[{at}]: ")).unwrap_or_default();
    let task: NewTask = serde_json::from_value(Value::Object(task))
        .map_err(|error| wrong("run", &format!("{place}{error}")))?;
    match task.work() {
        Ok(_) => Ok(task),
        Err(error) => {
            Err(wrong("run", &format!("{place}{} (example: shell=\"make test\")", error.message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Arguments {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn what_stands_beside_a_batch_holds_for_all_of_it() {
        let tasks = new_tasks(object(json!({
            "group": "g", "timeout": "5m",
            "tasks": [{"shell": "a"}, {"command": ["b", "c"], "group": "h", "env": {"K": "V"}}]
        })))
        .unwrap();
        let groups: Vec<_> = tasks.iter().map(|task| task.group.as_deref().unwrap()).collect();
        assert_eq!(groups, ["g", "h"]);
        assert!(tasks.iter().all(|task| task.timeout == Some(Span::from_secs(300))));
    }

    #[test]
    fn a_wrong_argument_is_named_with_its_place() {
        let check = |arguments: Value, expected: &str| {
            let error = new_tasks(object(arguments)).unwrap_err();
            assert_eq!(error.code, ErrorCode::Usage);
            assert!(error.message.contains(expected), "{}", error.message);
        };
        check(json!({}), "without a command");
        check(json!({"shell": 3}), "invalid type");
        check(json!({"shell": "a", "tiemout": "5m"}), "tiemout");
        check(json!({"shell": "a", "timeout": "5 minutes"}), "not a duration");
        check(json!({"tasks": []}), "empty");
        check(json!({"tasks": [{"shell": "a"}, 3]}), "tasks[1] is not an object");
        check(json!({"tasks": [{"shell": "a"}, {"shell": ""}]}), "tasks[1]");
        check(json!({"shell": "a", "tasks": [{"shell": "b"}]}), "belongs into each");
    }

    #[test]
    fn nothing_is_cancelled_that_was_not_named() {
        let select =
            |arguments| read::<Cancel>("cancel", object(arguments)).and_then(|c| c.select());
        assert!(select(json!({})).is_err());
        assert!(select(json!({"ids": []})).is_err());
        assert!(select(json!({"ids": ["a"], "all": true})).is_err());
        assert_eq!(
            select(json!({"ids": "abcd"})).unwrap(),
            Select::Ids(vec![TaskId::from("abcd")])
        );
        assert_eq!(select(json!({"all": true})).unwrap(), Select::Own);
    }

    #[test]
    fn a_wait_for_nobody_in_particular_is_for_ones_own() {
        let select = |arguments| read::<Wait>("wait", object(arguments)).and_then(|w| w.select());
        assert_eq!(select(json!({})).unwrap(), Select::Own);
        assert_eq!(select(json!({"group": "g"})).unwrap(), Select::Group("g".to_owned()));
        assert!(select(json!({"group": "g", "ids": ["abcd"]})).is_err());
    }
}
