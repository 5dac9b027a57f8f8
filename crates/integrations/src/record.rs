//! What an installation did, kept for the way back.
//!
//! Owns: one file per agent and scope in our own state directory, readable by its owner alone: it holds the agents'
//! files as they were, and those may hold secrets. Never decides anything.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::agent::{Agent, Scope};
use crate::trouble::Trouble;

/// What was done to one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) path: PathBuf,
    /// As it was before anything of ours was in it; none if it was not there.
    pub(crate) before: Option<String>,
    /// As we left it.
    pub(crate) after: String,
    /// Containers that were made for what is ours.
    pub(crate) made: Vec<Vec<String>>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of this layout; a later release may know others.
    v: u32,
    pub(crate) files: Vec<Done>,
    /// Directories that were made, the outer ones first.
    pub(crate) directories: Vec<PathBuf>,
}

const LAYOUT: u32 = 1;

impl Record {
    pub(crate) fn of(&self, path: &Path) -> Option<&Done> {
        self.files.iter().find(|done| done.path == path)
    }

    /// Reads it; one that is not there is empty.
    pub(crate) fn read(place: &Path) -> Result<Self, Trouble> {
        let bytes = match fs::read(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(|error| Trouble::io("read", place, &error))?,
        };
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|error| Trouble::damaged(place, error))?;
        if record.v != LAYOUT {
            return Err(Trouble::damaged(place, format!("layout {} is not known", record.v)));
        }
        Ok(record)
    }

    /// Writes it whole, or takes it away when nothing is left to remember.
    pub(crate) fn write(mut self, place: &Path) -> io::Result<()> {
        if self.files.is_empty() {
            return match fs::remove_file(place) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        self.v = LAYOUT;
        let directory = place.parent().expect("it has a directory");
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let new = place.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let text = serde_json::to_vec(&self).expect("texts and paths of texts");
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, place)
    }
}

/// Where the record of an agent and a scope is, below our state directory.
pub(crate) fn place(state: &Path, agent: Agent, scope: &Scope) -> PathBuf {
    let name = match scope {
        Scope::User => format!("{}.json", agent.name()),
        Scope::Project(root) => format!("{}@{}.json", agent.name(), file_name(root)),
    };
    state.join("integrations").join(name)
}

/// A path as one name of a file: reversible, so that no two are the same.
fn file_name(path: &Path) -> String {
    let mut name = String::new();
    for character in path.to_string_lossy().chars() {
        match character {
            '/' => name.push_str("%2f"),
            '%' => name.push_str("%25"),
            other => name.push(other),
        }
    }
    name
}
