//! Programs where the unprivileged user can execute them.
//!
//! A checkout below a closed home directory, or built under a strict umask, cannot be used by anybody
//! else. Owns the copies that are made then, in the scratch directory of the mode. Never changes the
//! mode of a file it did not make.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// `program` itself where `uid` can execute it (or no other user is meant), else a copy in `stage`.
pub(super) fn executable_for(uid: Option<u32>, program: &Path, stage: &Path) -> Outcome<PathBuf> {
    if uid.is_none() || is_open_to_all(program) {
        return Ok(program.to_owned());
    }
    let name = program.file_name().ok_or("a program without a name")?;
    let copy = stage.join(name);
    if !copy.exists() {
        let fail = |error| format!("cannot copy {} for uid {uid:?}: {error}", program.display());
        // Several runners may do this at the same time: the last rename wins, all are whole.
        let partial = stage.join(format!("{}.{}", name.to_string_lossy(), std::process::id()));
        fs::copy(program, &partial).map_err(fail)?;
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o755)).map_err(fail)?;
        fs::rename(&partial, &copy).map_err(fail)?;
    }
    Ok(copy)
}

/// The part of a search path that `uid` can search. A user's PATH does not lead through root's home.
pub(super) fn path_for(uid: Option<u32>, path: &OsStr) -> OsString {
    let directories = std::env::split_paths(path);
    let open = directories.filter(|directory| uid.is_none() || is_open_to_all(directory));
    std::env::join_paths(open).expect("parts of a search path contain no separator")
}

fn is_open_to_all(path: &Path) -> bool {
    let has = |path: &Path, bits: u32| {
        fs::metadata(path).is_ok_and(|about| about.permissions().mode() & bits == bits)
    };
    has(path, 0o005) && path.ancestors().skip(1).all(|directory| has(directory, 0o001))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_a_closed_directory_is_copied_and_an_open_one_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let program = directory.path().join("program");
        fs::write(&program, "#!/bin/sh\n").expect("a file can be written");
        let stage = tempfile::tempdir().expect("a temporary directory can be made");
        // tempfile makes directories that only their owner may enter.
        let found = executable_for(Some(47_100), &program, stage.path()).expect("it is copied");
        assert!(found.starts_with(stage.path()));
        let found = executable_for(None, &program, stage.path()).expect("nothing is to be done");
        assert_eq!(found, program);
    }
}
