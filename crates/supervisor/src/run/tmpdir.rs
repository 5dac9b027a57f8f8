//! The task's private temporary directory: made before the start, removed after the end.
//!
//! Removal opens every directory relative to its parent and follows no symbolic link, so what a task left
//! there cannot point it elsewhere.
//!
//! A directory that a task left empty is kept for the supervisor's next one under another name: most tasks never use
//! theirs, and file systems are slow at making and removing many (ext4 looks at every directory that was removed in
//! the last seconds before it makes one). Owns that one directory; it goes with the supervisor.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::limits::SPARE_TMPDIR;

/// How deep a task's directories are followed; each level holds one descriptor.
const DEPTH: u32 = 512;

/// The directory that waits for the next task, if one does.
#[derive(Debug, Default)]
pub(super) struct Spare {
    path: RefCell<Option<Vec<u8>>>,
}

impl Spare {
    /// Gives a task its directory: the one that waits, else a new one.
    pub(super) fn create(&self, path: &[u8]) -> Result<(), Errno> {
        if let Some(spare) = self.path.take() {
            if rustix::fs::rename(&spare, path).is_ok() {
                return Ok(());
            }
            // Somebody tidied up, or something has the new name.
            let _ = rustix::fs::rmdir(&spare);
        }
        create(path)
    }

    /// Takes a task's directory away: it is removed with all it holds, or kept when it is as it was made.
    pub(super) fn remove(&self, path: &[u8]) -> Result<(), Errno> {
        if self.path.borrow().is_none() && is_as_made(path) {
            let spare = spare_path(path);
            if rustix::fs::rename(path, &spare).is_ok() {
                self.path.replace(Some(spare));
                return Ok(());
            }
        }
        remove(path)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = rustix::fs::rmdir(path);
        }
    }
}

/// Beside the tasks' directories, by a name that no other supervisor uses.
fn spare_path(path: &[u8]) -> Vec<u8> {
    let parent = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let mut spare = path[..parent].to_vec();
    spare.extend_from_slice(SPARE_TMPDIR.as_bytes());
    spare.extend_from_slice(std::process::id().to_string().as_bytes());
    spare
}

/// Whether it is empty, ours, closed to others, and lets nobody in by a list of rights.
fn is_as_made(path: &[u8]) -> bool {
    let look = || -> Result<bool, Errno> {
        let dir = open(CWD, path)?;
        let stat = rustix::fs::fstat(&dir)?;
        let ours = stat.st_uid == rustix::process::geteuid().as_raw();
        if !ours || stat.st_mode & 0o7777 != Mode::RWXU.as_raw_mode() {
            return Ok(false);
        }
        let mut names = [0_u8; 256];
        let listed = match rustix::fs::flistxattr(&dir, &mut names) {
            Err(Errno::OPNOTSUPP) => 0,
            other => other?,
        };
        if names[..listed].windows(ACL.len()).any(|window| window == ACL) {
            return Ok(false);
        }
        let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
        let mut entries = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = entries.next() {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    };
    look().unwrap_or(false)
}

/// How the names of access lists begin (acl(5)).
const ACL: &[u8] = b"system.posix_acl";

/// Makes the directory, for its owner only. One that is there already is taken over if it is a real directory.
fn create(path: &[u8]) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Err(Errno::EXIST) => {
            let dir = open(CWD, path)?;
            rustix::fs::fchmod(&dir, Mode::RWXU)
        }
        other => other,
    }
}

/// Removes it with all it holds.
fn remove(path: &[u8]) -> Result<(), Errno> {
    let emptied = match open(CWD, path) {
        Ok(dir) => empty(&dir, DEPTH),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => Err(errno),
    };
    emptied.and(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR))
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
    fn a_directory_left_as_it_was_made_serves_the_next_task_and_goes_with_its_keeper() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).as_os_str().as_bytes().to_vec();
        let inode = |name: &str| {
            std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(home.path().join(name)).unwrap())
        };
        let names = || std::fs::read_dir(home.path()).unwrap().count();
        let spare = Spare::default();
        spare.create(&path("a")).unwrap();
        let first = inode("a");
        spare.remove(&path("a")).unwrap();
        assert!(!home.path().join("a").exists(), "for everybody else it is gone");
        spare.create(&path("b")).unwrap();
        assert_eq!(inode("b"), first);
        // What is not as it was made is not given to another task.
        std::fs::set_permissions(home.path().join("b"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        spare.remove(&path("b")).unwrap();
        assert_eq!(names(), 0);
        spare.create(&path("c")).unwrap();
        std::fs::write(home.path().join("c/file"), "x").unwrap();
        spare.remove(&path("c")).unwrap();
        assert_eq!(names(), 0);
        spare.create(&path("d")).unwrap();
        spare.remove(&path("d")).unwrap();
        assert_eq!(names(), 1);
        drop(spare);
        assert_eq!(names(), 0);
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
