//! Edits of TOML: everything that is not ours keeps its bytes.
//!
//! Owns: the way from keys to tables. Lists of others are not edited: no agent wants it.

use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table, TableLike};

use crate::edit::{Damage, Edit, Edited, Found};

/// The text with all edits made.
pub(crate) fn apply(text: &str, edits: &[Edit]) -> Result<Edited, Damage> {
    let mut document = parsed(text)?;
    let (mut found, mut made) = (Vec::new(), Vec::new());
    for edit in edits {
        let (at, value) = member(edit)?;
        let (key, parents) = at.split_last().expect("a member has a name");
        let parent = table_at(&mut document, parents, &mut made)?;
        let wanted = item(value)?;
        let same = parent.get(key).map(|there| plain(there) == plain(&wanted));
        if same != Some(true) {
            parent.insert(key, wanted);
        }
        found.push(match same {
            Some(true) => Found::Same,
            Some(false) => Found::Older,
            None => Found::Nothing,
        });
    }
    let changed = found.iter().any(|found| *found != Found::Same);
    let text = if changed { document.to_string() } else { text.to_owned() };
    Ok(Edited { text, found, made })
}

/// The text without what the edits put there, and without the empty tables among `made`.
pub(crate) fn retract(text: &str, edits: &[Edit], made: &[Vec<String>]) -> Result<String, Damage> {
    let mut document = parsed(text)?;
    for edit in edits {
        let (at, _) = member(edit)?;
        let (key, parents) = at.split_last().expect("a member has a name");
        if let Some(parent) = there(&mut document, parents) {
            parent.remove(key);
        }
    }
    let mut made: Vec<_> = made.to_vec();
    made.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in made {
        let (key, parents) = path.split_last().expect("a table has a name");
        if let Some(parent) = there(&mut document, parents) {
            let empty =
                parent.get(key).and_then(Item::as_table_like).is_some_and(TableLike::is_empty);
            if empty {
                parent.remove(key);
            }
        }
    }
    Ok(document.to_string())
}

/// Whether nothing is left.
pub(crate) fn is_empty(text: &str) -> bool {
    text.trim().is_empty()
}

fn parsed(text: &str) -> Result<DocumentMut, Damage> {
    // The first line of its message says where; the rest draws it.
    text.parse().map_err(|error: toml_edit::TomlError| {
        let told = error.to_string();
        told.lines().next().unwrap_or("it is not TOML").to_owned()
    })
}

fn member(edit: &Edit) -> Result<(&[String], &Value), Damage> {
    match edit {
        Edit::Member { at, value } => Ok((at, value)),
        Edit::Element { list: at, .. } | Edit::Beside { list: at, .. } | Edit::Offer { at, .. } => {
            Err(format!("`{}` is no plain member", at.join(".")))
        }
    }
}

fn table_at<'a>(
    document: &'a mut DocumentMut,
    path: &[String],
    made: &mut Vec<Vec<String>>,
) -> Result<&'a mut dyn TableLike, Damage> {
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for (depth, key) in path.iter().enumerate() {
        if table.get(key).is_none() {
            let mut new = Table::new();
            // `[a.b]` says it all; `[a]` alone would be a line of nothing.
            new.set_implicit(true);
            table.insert(key, Item::Table(new));
            made.push(path[..=depth].to_vec());
        }
        table = table
            .get_mut(key)
            .and_then(Item::as_table_like_mut)
            .ok_or_else(|| format!("`{}` is not a table", path[..=depth].join(".")))?;
    }
    Ok(table)
}

fn there<'a>(document: &'a mut DocumentMut, path: &[String]) -> Option<&'a mut dyn TableLike> {
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for key in path {
        table = table.get_mut(key)?.as_table_like_mut()?;
    }
    Some(table)
}

/// What an item says, without how it is written.
fn plain(item: &Item) -> String {
    match item.as_table_like() {
        Some(table) => {
            let mut members: Vec<_> =
                table.iter().map(|(key, item)| format!("{key:?}:{}", plain(item))).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        None => match item.as_value() {
            Some(value) => value.clone().decorated("", "").to_string(),
            None => String::new(),
        },
    }
}

fn item(value: &Value) -> Result<Item, Damage> {
    if let Value::Object(members) = value {
        let mut table = Table::new();
        for (key, value) in members {
            table.insert(key, item(value)?);
        }
        // A heading over nothing but further headings says nothing.
        table.set_implicit(!members.is_empty() && members.values().all(Value::is_object));
        return Ok(Item::Table(table));
    }
    Ok(Item::Value(scalar(value)?))
}

fn scalar(value: &Value) -> Result<toml_edit::Value, Damage> {
    Ok(match value {
        Value::Bool(bool) => (*bool).into(),
        Value::Number(number) => {
            number.as_i64().ok_or_else(|| format!("{number} is no integer"))?.into()
        }
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(scalar).collect();
            toml_edit::Value::Array(items?.into_iter().collect())
        }
        Value::Null | Value::Object(_) => return Err("TOML has no such value".to_owned()),
    })
}
