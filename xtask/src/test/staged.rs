//! A program of ours in one mode: the same door that tests go through, for other commands.
//!
//! Owns the list of modes as somebody outside `test` may see it, and the call of the runner that
//! enters a mode. The cgroups and directories of a mode live as long as its `Stages`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cgroup;
use super::leftovers;
use super::mode::{self, Mode, Scratch};
use super::runner::RUNNER_COMMAND;
use super::suite::{self, orders};
use crate::Outcome;

/// Every mode of this machine, ready to be entered.
pub(crate) struct Stages {
    modes: Vec<Mode>,
    scratch: Scratch,
}

/// One mode: its name, and how to enter it or why that is not possible.
pub(crate) struct Staged {
    pub(crate) name: String,
    pub(crate) available: Result<Door, String>,
}

/// How a program is started in a mode.
pub(crate) struct Door {
    environment: Vec<(&'static str, String)>,
    directory: PathBuf,
    base: Option<PathBuf>,
    nonce: String,
}

impl Stages {
    pub(crate) fn new() -> Outcome<Self> {
        cgroup::sweep_dead_runs();
        let scratch = Scratch::new()?;
        Ok(Self { modes: mode::all(&scratch), scratch })
    }

    /// All modes, in the order of the report; `binary` is the `meanwhile` under test.
    pub(crate) fn doors(&self, binary: &Path) -> Outcome<Vec<Staged>> {
        let mut found = Vec::new();
        for mode in &self.modes {
            let available = match &mode.available {
                Err(reason) => Err(reason.clone()),
                Ok(place) => {
                    let directory = self.scratch.for_mode(mode)?;
                    Ok(Door::new(mode, place, &self.scratch, &directory, binary))
                }
            };
            found.push(Staged { name: mode.name(), available });
        }
        Ok(found)
    }
}

impl Door {
    pub(super) fn new(
        mode: &Mode,
        place: &cgroup::Place,
        scratch: &Scratch,
        directory: &Path,
        binary: &Path,
    ) -> Self {
        let base = place.base.clone();
        let uid = scratch.switch_to(mode.user).map_or_else(String::new, |uid| uid.to_string());
        let text = |path: &Path| path.display().to_string();
        let environment = vec![
            (orders::SCRATCH, text(directory)),
            (orders::ISOLATION, mode.isolation.word().to_owned()),
            (orders::CGROUP, base.as_deref().map_or_else(String::new, text)),
            (orders::NONCE, scratch.nonce.clone()),
            (orders::BINARY, text(binary)),
            (orders::ANNOUNCE, String::new()),
            (orders::UID, uid),
        ];
        Self { environment, directory: directory.to_owned(), base, nonce: scratch.nonce.clone() }
    }

    /// A directory that the user of the mode may write to.
    pub(crate) fn writable(&self) -> PathBuf {
        self.directory.join("tmp")
    }

    /// The call of a program in this mode.
    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Outcome<Command> {
        let mut command = Command::new(suite::own_executable()?);
        command.arg(RUNNER_COMMAND).arg(program).args(arguments).stdin(Stdio::null());
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        Ok(command)
    }

    /// Processes that outlived what was started here.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        leftovers::find(self.base.as_deref(), &self.directory, &self.nonce)
    }
}
