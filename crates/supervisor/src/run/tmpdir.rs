//! The task's private temporary directory: made before the start, removed after the end.
//!
//! Removal opens every directory relative to its parent and follows no symbolic link, so what a task left
//! there cannot point it elsewhere. Owns nothing between the two.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// How deep a task's directories are followed; each level holds one descriptor.
const DEPTH: u32 = 512;

/// Makes the directory, for its owner only. One that is there already is taken over if it is a real directory.
pub(super) fn create(path: &[u8]) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Err(Errno::EXIST) => {
            let dir = open(rustix::fs::CWD, path)?;
            rustix::fs::fchmod(&dir, Mode::RWXU)
        }
        other => other,
    }
}

/// Removes it with all it holds.
pub(super) fn remove(path: &[u8]) -> Result<(), Errno> {
    let emptied = match open(rustix::fs::CWD, path) {
        Ok(dir) => empty(&dir, DEPTH),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => Err(errno),
    };
    emptied.and(rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::REMOVEDIR))
}

fn open(at: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Empties a directory; goes on past what cannot be removed and tells the first error.
fn empty(dir: &OwnedFd, depth: u32) -> Result<(), Errno> {
    if depth == 0 {
        return Err(Errno::NAMETOOLONG);
    }
    // Caches are often kept read-only (Go's modules), which also forbids removing what is in them.
    let _ = rustix::fs::fchmod(dir, Mode::RWXU);
    let mut result = Ok(());
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let removed = if entry.file_type() == FileType::Directory {
            remove_directory(dir, name, depth)
        } else {
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                // Some file systems do not tell the type.
                Err(Errno::ISDIR) => remove_directory(dir, name, depth),
                other => other,
            }
        };
        result = result.and(removed);
    }
    result
}

fn remove_directory(parent: &OwnedFd, name: &std::ffi::CStr, depth: u32) -> Result<(), Errno> {
    let below = match open(parent, name.to_bytes()) {
        Err(Errno::ACCESS) => {
            // The entry was a directory a moment ago and nothing of the task lives that could replace it.
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            open(parent, name.to_bytes())?
        }
        other => other?,
    };
    let emptied = empty(&below, depth - 1);
    drop(below);
    emptied.and(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn removal_follows_no_link_and_opens_closed_directories() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("precious"), "1").unwrap();
        let tmp = home.path().join("tmp");
        create(tmp.as_os_str().as_bytes()).unwrap();
        assert_eq!(std::fs::metadata(&tmp).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::create_dir_all(tmp.join("a/b")).unwrap();
        std::fs::write(tmp.join("a/b/file"), "x").unwrap();
        symlink(&outside, tmp.join("link")).unwrap();
        std::fs::set_permissions(tmp.join("a/b"), std::fs::Permissions::from_mode(0o000)).unwrap();
        remove(tmp.as_os_str().as_bytes()).unwrap();
        assert!(!tmp.exists());
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn a_link_in_the_directorys_own_place_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("precious"), "1").unwrap();
        let tmp = home.path().join("tmp");
        symlink(&outside, &tmp).unwrap();
        assert!(create(tmp.as_os_str().as_bytes()).is_err());
        assert!(remove(tmp.as_os_str().as_bytes()).is_err());
        assert!(outside.join("precious").exists());
    }
}
