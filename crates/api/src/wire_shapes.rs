//! Forgiving readings of fields that people write by hand in `--from` files.
//!
//! What it is for: `"label": "k=v"`, `"labels": {"k": "v"}` and `"retry_on": "1,2"` all mean what they say. What it
//! owns: those readings, as serde functions. What it never does: write more than one shape.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::ids::TaskId;
use crate::limits::BATCH_TASKS_MAX;
use crate::submit::{After, Condition, NewTask, Stdin};
use crate::text::OsText;

/// For `skip_serializing_if`: a batch of 10,000 tasks says only what differs from the defaults.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            OneOrMany::Many(all) => all,
            OneOrMany::One(one) => vec![one],
        }
    }
}

/// A list, or its only element without brackets.
pub(crate) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    OneOrMany::deserialize(deserializer).map(OneOrMany::into_vec)
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an object, \"K=V\", or a list of \"K=V\"")]
enum LabelShape {
    Map(BTreeMap<String, String>),
    Texts(OneOrMany<String>),
}

/// Labels: an object, `"k=v"`, or a list of them.
pub(crate) fn labels<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let texts = match LabelShape::deserialize(deserializer)? {
        LabelShape::Map(map) => return Ok(map),
        LabelShape::Texts(texts) => texts.into_vec(),
    };
    let pair = |text: String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(D::Error::custom(format_args!("`{text}` is not a label (example: area=backend)"))),
    };
    texts.into_iter().map(pair).collect()
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an object, \"K=V\", a list of \"K=V\" or of pairs")]
enum EnvShape {
    Map(BTreeMap<String, OsText>),
    Pairs(Vec<(OsText, OsText)>),
    Texts(OneOrMany<OsText>),
}

/// Environment: an object, a list of pairs, `"K=V"`, or a list of them.
pub(crate) fn env<'de, D>(deserializer: D) -> Result<Vec<(OsText, OsText)>, D::Error>
where
    D: Deserializer<'de>,
{
    let texts = match EnvShape::deserialize(deserializer)? {
        EnvShape::Map(map) => {
            return Ok(map.into_iter().map(|(k, v)| (OsText::from(k), v)).collect());
        }
        EnvShape::Pairs(pairs) => return Ok(pairs),
        EnvShape::Texts(texts) => texts.into_vec(),
    };
    let pair = |text: OsText| match text.as_bytes().iter().position(|byte| *byte == b'=') {
        Some(at) if at > 0 => {
            Ok((OsText::from(&text.as_bytes()[..at]), OsText::from(&text.as_bytes()[at + 1..])))
        }
        _ => Err(D::Error::custom(format_args!("{text:?} is not K=V (example: RUST_LOG=debug)"))),
    };
    texts.into_iter().map(pair).collect()
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected exit codes such as \"1,2\" or [1, 2]")]
enum CodesShape {
    Numbers(OneOrMany<i32>),
    Text(String),
}

/// Exit codes: `[1, 2]`, `1`, or `"1,2"`.
pub(crate) fn codes<'de, D>(deserializer: D) -> Result<Vec<i32>, D::Error>
where
    D: Deserializer<'de>,
{
    match CodesShape::deserialize(deserializer)? {
        CodesShape::Numbers(numbers) => Ok(numbers.into_vec()),
        CodesShape::Text(text) => {
            let bad = || {
                D::Error::custom(format_args!(
                    "`{text}` is not a list of exit codes (example: 1,2)"
                ))
            };
            text.split(',').map(|code| code.trim().parse().map_err(|_| bad())).collect()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterObject {
    id: TaskId,
    #[serde(default)]
    condition: Condition,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"ID\", \"ID:ok\", \"ID:any\", \"ID:fail\", or {\"id\": ..., \"condition\": ...}"
)]
enum AfterShape {
    Text(String),
    Object(AfterObject),
}

/// Dependencies: one or a list of `"ID"`, `"ID:any"`, or objects.
pub(crate) fn after<'de, D>(deserializer: D) -> Result<Vec<After>, D::Error>
where
    D: Deserializer<'de>,
{
    let shapes = OneOrMany::<AfterShape>::deserialize(deserializer)?.into_vec();
    let read = |shape| match shape {
        AfterShape::Object(AfterObject { id, condition }) => Ok(After { id, condition }),
        AfterShape::Text(text) => text.parse().map_err(D::Error::custom),
    };
    shapes.into_iter().map(read).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StdinObject {
    File(OsText),
    Spooled(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a path, {\"file\": PATH}, {\"spooled\": TOKEN} or null")]
enum StdinShape {
    Nothing(()),
    Text(String),
    Object(StdinObject),
}

/// Standard input: a path, or the object that names its kind.
pub(crate) fn stdin<'de, D>(deserializer: D) -> Result<Stdin, D::Error>
where
    D: Deserializer<'de>,
{
    match StdinShape::deserialize(deserializer)? {
        StdinShape::Nothing(()) => Ok(Stdin::None),
        StdinShape::Text(text) if text == "-" => Err(D::Error::custom(
            "`-` is the client's own standard input: name a file, or upload it first",
        )),
        StdinShape::Text(path) => Ok(Stdin::File(OsText::from(path))),
        StdinShape::Object(StdinObject::File(path)) => Ok(Stdin::File(path)),
        StdinShape::Object(StdinObject::Spooled(token)) => Ok(Stdin::Spooled(token)),
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Vec<NewTask>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tasks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<NewTask>, A::Error> {
        let mut tasks = Vec::new();
        while tasks.len() <= BATCH_TASKS_MAX {
            let Some(task) = seq.next_element()? else { return Ok(tasks) };
            tasks.push(task);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(tasks)
    }
}

/// The tasks of a submission; of too many only as many as show that they are. An entry takes hundreds of bytes in memory
/// and three on the wire (`{},`), so that counting them afterwards would be too late.
pub(crate) fn batch<'de, D>(deserializer: D) -> Result<Vec<NewTask>, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(BatchVisitor)
}
