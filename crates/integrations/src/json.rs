//! Edits of JSON with or without comments: everything that is not ours keeps its bytes.
//!
//! Owns: the way from keys to nodes of the text. Never sorts, never reformats.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstObject, CstRootNode};
use serde_json::Value;

use crate::edit::{Damage, Edit, Edited, Found, is_ours};

/// Some editors begin a file with it; JSON knows no such thing.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What a file begins as where there is none.
pub(crate) const EMPTY: &str = "{}\n";

struct Document {
    mark: bool,
    root: CstRootNode,
    object: CstObject,
}

impl Document {
    fn of(text: &str) -> Result<Self, Damage> {
        let (mark, text) = match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let text = if text.trim().is_empty() { EMPTY } else { text };
        // What an agent reads, and not all that this parser could.
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let root = CstRootNode::parse(text, &options).map_err(|error| error.to_string())?;
        let object = root.object_value().ok_or("it is not a JSON object")?;
        Ok(Self { mark, root, object })
    }

    fn text(&self) -> String {
        let text = self.root.to_string();
        if self.mark { format!("{BYTE_ORDER_MARK}{text}") } else { text }
    }

    /// The object at a path; what is missing on the way is made and told.
    fn object_at(&self, path: &[String], made: &mut Vec<Vec<String>>) -> Result<CstObject, Damage> {
        let mut object = self.object.clone();
        for (depth, key) in path.iter().enumerate() {
            if object.get(key).is_none() {
                object.append(key, CstInputValue::Object(vec![]));
                made.push(path[..=depth].to_vec());
            }
            object = object.object_value(key).ok_or_else(|| not(path, depth, "an object"))?;
        }
        Ok(object)
    }

    fn list_at(&self, path: &[String], made: &mut Vec<Vec<String>>) -> Result<CstArray, Damage> {
        let (key, parents) = path.split_last().expect("a list has a name");
        let parent = self.object_at(parents, made)?;
        if parent.get(key).is_none() {
            parent.append(key, CstInputValue::Array(vec![]));
            made.push(path.to_vec());
        }
        parent.array_value(key).ok_or_else(|| not(path, parents.len(), "a list"))
    }

    fn list_there(&self, path: &[String]) -> Option<CstArray> {
        let (key, parents) = path.split_last().expect("a list has a name");
        self.there(parents)?.array_value(key)
    }

    /// The object at a path, if all of it is there.
    fn there(&self, path: &[String]) -> Option<CstObject> {
        path.iter().try_fold(self.object.clone(), |object, key| object.object_value(key))
    }
}

fn not(path: &[String], depth: usize, what: &str) -> Damage {
    format!("`{}` is not {what}", path[..=depth].join("."))
}

/// The text with all edits made.
pub(crate) fn apply(text: &str, edits: &[Edit]) -> Result<Edited, Damage> {
    let document = Document::of(text)?;
    let (mut found, mut made) = (Vec::new(), Vec::new());
    for edit in edits {
        found.push(match edit {
            Edit::Member { at, value } => {
                let (key, parents) = at.split_last().expect("a member has a name");
                let parent = document.object_at(parents, &mut made)?;
                match parent.get(key) {
                    Some(member) if member.to_serde_value().as_ref() == Some(value) => Found::Same,
                    Some(member) => {
                        member.set_value(input(value));
                        Found::Older
                    }
                    None => {
                        parent.append(key, input(value));
                        Found::Nothing
                    }
                }
            }
            Edit::Offer { at, value, mark } => {
                let (key, parents) = at.split_last().expect("a member has a name");
                let parent = document.object_at(parents, &mut made)?;
                offer(&parent, key, value, mark)
            }
            Edit::Element { list, value, mark } => {
                let array = document.list_at(list, &mut made)?;
                add(&array, value, mark.as_deref())
            }
            Edit::Beside { list, value, mark } => match document.list_there(list) {
                Some(array) => add(&array, value, Some(mark)),
                None => Found::Same,
            },
        });
    }
    let changed = found.iter().any(|found| !matches!(found, Found::Same | Found::Others));
    let text = if changed || !made.is_empty() { document.text() } else { text.to_owned() };
    Ok(Edited { text, found, made })
}

fn offer(parent: &CstObject, key: &str, value: &Value, mark: &str) -> Found {
    let Some(member) = parent.get(key) else {
        parent.append(key, input(value));
        return Found::Nothing;
    };
    match member.to_serde_value() {
        Some(found) if found == *value => Found::Same,
        Some(found) if is_ours(&found, value, Some(mark)) => {
            member.set_value(input(value));
            Found::Older
        }
        Some(_) | None => Found::Others,
    }
}

fn add(array: &CstArray, value: &Value, mark: Option<&str>) -> Found {
    let mut ours = array.elements().into_iter().filter(|element| {
        element.to_serde_value().is_some_and(|found| is_ours(&found, value, mark))
    });
    let Some(first) = ours.next() else {
        array.append(input(value));
        return Found::Nothing;
    };
    let rest: Vec<_> = ours.collect();
    let same = first.to_serde_value().as_ref() == Some(value) && rest.is_empty();
    if same {
        return Found::Same;
    }
    let at = first.element_index().unwrap_or(0);
    rest.into_iter().for_each(jsonc_parser::cst::CstNode::remove);
    first.remove();
    array.insert(at, input(value));
    Found::Older
}

/// The text without what the edits put there, and without the empty containers among `made`.
pub(crate) fn retract(text: &str, edits: &[Edit], made: &[Vec<String>]) -> Result<String, Damage> {
    let document = Document::of(text)?;
    let mut changed = false;
    for edit in edits {
        changed |= match edit {
            Edit::Member { at, .. } => take_out(&document, at, |_| true),
            Edit::Offer { at, value, mark } => {
                take_out(&document, at, |found| is_ours(found, value, Some(mark)))
            }
            Edit::Element { list, value, mark } => {
                empty_of(&document, list, |found| is_ours(found, value, mark.as_deref()))
            }
            Edit::Beside { list, value, mark } => {
                empty_of(&document, list, |found| is_ours(found, value, Some(mark)))
            }
        };
    }
    // The innermost first.
    let mut made: Vec<_> = made.to_vec();
    made.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in made {
        let (key, parents) = path.split_last().expect("a container has a name");
        let Some(member) = document.there(parents).and_then(|parent| parent.get(key)) else {
            continue;
        };
        let empty = match member.to_serde_value() {
            Some(Value::Object(members)) => members.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            _ => false,
        };
        if empty {
            member.remove();
            changed = true;
        }
    }
    Ok(if changed { document.text() } else { text.to_owned() })
}

/// Takes a member out if it is ours; whether it was.
fn take_out(document: &Document, at: &[String], ours: impl Fn(&Value) -> bool) -> bool {
    let (key, parents) = at.split_last().expect("a member has a name");
    let member = document.there(parents).and_then(|parent| parent.get(key));
    let Some(member) = member.filter(|member| member.to_serde_value().is_some_and(|it| ours(&it)))
    else {
        return false;
    };
    member.remove();
    true
}

/// Takes out of a list what is ours; whether there was any.
fn empty_of(document: &Document, list: &[String], ours: impl Fn(&Value) -> bool) -> bool {
    let elements = document.list_there(list).map(|array| array.elements()).unwrap_or_default();
    let is_ours = |found: Option<Value>| found.is_some_and(|found| ours(&found));
    let ours: Vec<_> =
        elements.into_iter().filter(|element| is_ours(element.to_serde_value())).collect();
    let any = !ours.is_empty();
    ours.into_iter().for_each(jsonc_parser::cst::CstNode::remove);
    any
}

/// Whether nothing but an empty object is left.
pub(crate) fn is_empty(text: &str) -> bool {
    Document::of(text).is_ok_and(|document| {
        document.object.properties().is_empty()
            && text.trim().trim_matches(['{', '}']).trim().is_empty()
    })
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(bool) => CstInputValue::Bool(*bool),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => CstInputValue::Object(
            members.iter().map(|(key, value)| (key.clone(), input(value))).collect(),
        ),
    }
}
