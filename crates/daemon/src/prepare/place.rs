//! Directories and programs: what certainly cannot start is refused at once.
//!
//! Owns the answers of one batch, so that ten thousand entries look at each program and each
//! directory once. What other tasks may still make (`--after`) is not looked at: nothing is certain.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use meanwhile_api::{ApiError, ErrorCode, ExitCode, OsText};
use meanwhile_host::program::{self, CannotStart};

use super::words::usage;

/// What was looked at already.
#[derive(Default)]
pub(super) struct Places {
    directories: HashMap<PathBuf, Result<(), CannotStart>>,
    programs: HashMap<Asked, Result<(), CannotStart>>,
}

/// A program, the `PATH` it is searched in, and the directory both are relative to.
type Asked = (Vec<u8>, Option<Vec<u8>>, PathBuf);

impl Places {
    /// Whether a process can be started in this directory.
    pub(super) fn check_cwd(&mut self, cwd: &Path) -> Result<(), ApiError> {
        let checked =
            self.directories.entry(cwd.to_owned()).or_insert_with(|| program::check_cwd(cwd));
        checked.as_ref().map_err(cannot_start).copied()
    }

    /// Whether a program can be started there.
    pub(super) fn check_program(
        &mut self,
        program: &[u8],
        path: Option<&[u8]>,
        cwd: &Path,
    ) -> Result<(), ApiError> {
        let asked = (program.to_vec(), path.map(<[u8]>::to_vec), cwd.to_owned());
        let checked = self
            .programs
            .entry(asked)
            .or_insert_with(|| program::resolve(program, path, cwd).map(|_where_it_is| ()));
        checked.as_ref().map_err(cannot_start).copied()
    }
}

fn cannot_start(reason: &CannotStart) -> ApiError {
    let error = ApiError::new(ErrorCode::CannotStart, reason.to_string())
        .detail("run_wait_exit", reason.exit_code());
    reason.hint().into_iter().fold(error, ApiError::hint)
}

/// The directory a task works in: absolute, a relative one below the caller's.
pub(super) fn working_directory(
    caller: &OsText,
    cwd: Option<&OsText>,
) -> Result<PathBuf, ApiError> {
    let Some(cwd) = cwd else { return Ok(caller.as_path().to_owned()) };
    if cwd.is_empty() || cwd.as_bytes().contains(&0) {
        return Err(usage(
            "name of the directory is empty or has a NUL byte".into(),
            "use --cwd DIR",
        ));
    }
    Ok(caller.as_path().join(cwd.as_path()))
}

/// The longest single argument that Linux takes, its end included: 32 pages (execve(2)).
fn longest_argument() -> usize {
    32 * rustix::param::page_size()
}

/// Arguments that no program can be given.
pub(super) fn check_arguments<'a>(
    arguments: impl Iterator<Item = &'a [u8]>,
) -> Result<(), ApiError> {
    for argument in arguments {
        if argument.contains(&0) {
            return Err(usage(
                "an argument has a NUL byte, which no program can be given".into(),
                "pass such data by a file or by --stdin",
            ));
        }
        if argument.len() >= longest_argument() {
            let message = format!(
                "start it with an argument of {} bytes: the system takes less than {}",
                argument.len(),
                longest_argument()
            );
            return Err(ApiError::new(ErrorCode::CannotStart, message)
                .hint("pass such data by a file or by --stdin")
                .detail("run_wait_exit", ExitCode::NotExecutable.code()));
        }
    }
    Ok(())
}
