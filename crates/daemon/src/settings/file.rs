//! The file `config.toml`: read it, and change one key of it in place.
//!
//! Owns how the file is read and replaced: comments and order stay, the new text is checked as a
//! whole before it is written, and it is written beside and renamed over, so that a reader sees the
//! old text or the new. A link is followed: people keep their settings elsewhere.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml_edit::{DocumentMut, Item, Table};

use super::{Key, Settings, SettingsError};

/// A settings file is written by hand; beyond this it is another file.
const MAX_FILE: u64 = 1 << 20;

/// What a change of a key did.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// All settings as they now are.
    pub settings: Settings,
    /// The key as it is written in messages.
    pub key: String,
    /// Its value before.
    pub before: Json,
    /// Its value now.
    pub after: Json,
}

/// The settings of a home; the defaults where there is no file.
///
/// # Errors
/// When the file cannot be read or its content makes no sense.
pub fn load(path: &Path) -> Result<Settings, SettingsError> {
    Settings::parse(&read(path)?)
}

/// The names of the keys that the file sets.
///
/// # Errors
/// When the file cannot be read or is not TOML.
pub fn written_keys(path: &Path) -> Result<Vec<String>, SettingsError> {
    let document: DocumentMut =
        read(path)?.parse().map_err(|error| SettingsError::syntax(&error))?;
    let mut names = Vec::new();
    super::keys::names_in(document.as_table(), &mut Vec::new(), &mut names);
    Ok(names)
}

/// Sets one key in the file.
///
/// # Errors
/// When there is no such key, the value is not one it takes, or the file cannot be changed.
pub fn set(path: &Path, key: &str, value: &str) -> Result<Edited, SettingsError> {
    let key = Key::find(key)?;
    let value = key.value_of(value)?;
    key.apply(&value, &mut Settings::default())?;
    edit(path, &key, |document| {
        let names = key.path();
        let (last, tables) = names.split_last().expect("every key has a name");
        let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
        for name in tables {
            let item = table.entry(name).or_insert_with(|| Item::Table(implicit_table()));
            table = item.as_table_like_mut().ok_or_else(|| SettingsError::BadValue {
                key: key.name(),
                problem: format!("`{name}` is a value in the file, not a table"),
            })?;
        }
        match table.get_mut(last).and_then(Item::as_value_mut) {
            // The comment behind the value belongs to the line, not to the value.
            Some(old) => {
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            None => {
                table.insert(last, Item::Value(value));
            }
        }
        Ok(())
    })
}

/// Removes one key from the file, so that its default holds again.
///
/// # Errors
/// When there is no such key or the file cannot be changed.
pub fn unset(path: &Path, key: &str) -> Result<Edited, SettingsError> {
    let key = Key::find(key)?;
    edit(path, &key, |document| {
        let names = key.path();
        let (last, tables) = names.split_last().expect("every key has a name");
        let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
        for name in tables {
            match table.get_mut(name).and_then(Item::as_table_like_mut) {
                Some(inner) => table = inner,
                None => return Ok(()),
            }
        }
        table.remove(last);
        Ok(())
    })
}

fn edit(
    path: &Path,
    key: &Key,
    change: impl FnOnce(&mut DocumentMut) -> Result<(), SettingsError>,
) -> Result<Edited, SettingsError> {
    let text = read(path)?;
    let before = Settings::parse(&text)?;
    let mut document: DocumentMut = text.parse().map_err(|error| SettingsError::syntax(&error))?;
    change(&mut document)?;
    let text = document.to_string();
    let settings = Settings::parse(&text)?;
    replace(path, &text).map_err(|error| file_error(path, &error))?;
    Ok(Edited { key: key.name(), before: key.get(&before), after: key.get(&settings), settings })
}

/// `[lanes]` need not be written above `[lanes.gpu]`.
fn implicit_table() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

fn read(path: &Path) -> Result<String, SettingsError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(file_error(path, &error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| file_error(path, &error))?;
    if text.len() as u64 > MAX_FILE {
        return Err(SettingsError::File {
            path: path.display().to_string(),
            problem: "it is larger than 1 MiB".into(),
        });
    }
    Ok(text)
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
        Err(error) => return Err(error),
    };
    if let Some(parent) = target.parent() {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let beside = beside(&target);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &target)
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    target.with_file_name(name)
}

fn file_error(path: &Path, error: &io::Error) -> SettingsError {
    SettingsError::File { path: path.display().to_string(), problem: error.to_string() }
}
