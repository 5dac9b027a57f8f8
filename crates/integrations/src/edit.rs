//! One change inside a text, whatever the format, and what came of it.
//!
//! Owns: the words. Never knows a format (`json`, `toml`) or an agent (`plan`).

use serde_json::Value;

/// What is wanted in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// A file of others, with comments or without.
    Json(Vec<Edit>),
    /// A file of others.
    Toml(Vec<Edit>),
    /// A file that is ours alone.
    Whole(String),
}

/// One thing in a file of others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edit {
    /// A member with that value; one of the same name is ours, in an older form.
    Member { at: Vec<String>, value: Value },
    /// A member with that value where there is none. One that does not mention `mark` is somebody's own and stays; nobody
    /// misses it where it is not.
    Offer { at: Vec<String>, value: Value, mark: String },
    /// An element of a list. One that mentions `mark` is ours, in an older form; without a mark only an equal one is.
    Element { list: Vec<String>, value: Value, mark: Option<String> },
    /// The same, if somebody has such a list there.
    Beside { list: Vec<String>, value: Value, mark: String },
}

/// A path of keys.
pub(crate) fn keys(path: &[&str]) -> Vec<String> {
    path.iter().map(|key| (*key).to_owned()).collect()
}

/// What an edit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was there already.
    Same,
    /// An older form of it was there.
    Older,
    /// It was not there.
    Nothing,
    /// Somebody's own is there, and stays.
    Others,
}

/// A text with all edits made.
#[derive(Debug, PartialEq)]
pub(crate) struct Edited {
    pub(crate) text: String,
    /// For each edit.
    pub(crate) found: Vec<Found>,
    /// Objects and lists that had to be made to hold them: these go again when they are empty.
    pub(crate) made: Vec<Vec<String>>,
}

/// Why a text cannot be edited.
pub(crate) type Damage = String;

impl Edit {
    /// Whether it may be absent: somebody may have taken it away on purpose.
    pub(crate) const fn is_offer(&self) -> bool {
        matches!(self, Self::Offer { .. })
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Member { at, .. } | Self::Offer { at, .. } => at.join("."),
            Self::Beside { list, mark, .. } => format!("{}: {}", list.join("."), mark.trim()),
            Self::Element { list, value, mark } => {
                let what = match (value, mark) {
                    (Value::String(text), _) => text.clone(),
                    (_, Some(mark)) => mark.trim().to_owned(),
                    _ => value.to_string(),
                };
                format!("{}: {what}", list.join("."))
            }
        }
    }
}

/// Whether a value is ours: equal, or an older form that mentions the mark.
pub(crate) fn is_ours(found: &Value, value: &Value, mark: Option<&str>) -> bool {
    found == value || mark.is_some_and(|mark| mentions(found, mark))
}

fn mentions(value: &Value, mark: &str) -> bool {
    match value {
        Value::String(text) => text.contains(mark),
        Value::Array(items) => items.iter().any(|item| mentions(item, mark)),
        Value::Object(members) => members.values().any(|member| mentions(member, mark)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
