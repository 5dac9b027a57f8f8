//! Deleting the files of tasks that were forgotten.
//!
//! Owns which files a task has below a home: the attempts, the private temporary directories and the
//! spooled standard input. Which tasks are forgotten is said by the store (age and bytes) and done by
//! the loop. Never follows a symbolic link: a task can leave one anywhere below its directories.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use meanwhile_core::TaskId;
use meanwhile_host::home::Home;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// Levels below which a tree is not walked: deeper ones are a task's mistake, and each level holds a
/// descriptor open.
const DEEPEST: usize = 256;

/// Deletes everything a task has on disk. What cannot be deleted stays and is logged: the task is
/// forgotten already, and `doctor` finds files that belong to nobody.
pub fn delete_files(home: &Home, task: TaskId) {
    meanwhile_faultpoint::fault_point!("forget.before-deleting");
    let name = task.to_string();
    if let Ok(tasks) = open_directory(&home.state, OsStr::new("tasks")) {
        note(task, "tasks", remove_tree(tasks.as_fd(), OsStr::new(&name), 0));
    }
    meanwhile_faultpoint::fault_point!("forget.half-deleted");
    if let Ok(stdin) = open_directory(&home.state, OsStr::new("stdin")) {
        note(task, "stdin", remove_tree(stdin.as_fd(), OsStr::new(&name), 0));
    }
    let Ok(tmp) = open_directory(&home.state, OsStr::new("tmp")) else { return };
    let prefix = format!("{name}.");
    for entry in names(tmp.as_fd()).unwrap_or_default() {
        if entry.as_bytes().starts_with(prefix.as_bytes()) {
            note(task, "tmp", remove_tree(tmp.as_fd(), &entry, 0));
        }
    }
}

/// Deletes the private temporary directory of one attempt, which its supervisor did not come to do.
pub fn delete_tmp(home: &Home, task: TaskId, attempt: u32) {
    if let Ok(tmp) = open_directory(&home.state, OsStr::new("tmp")) {
        let name = format!("{task}.{attempt}");
        note(task, "tmp", remove_tree(tmp.as_fd(), OsStr::new(&name), 0));
    }
}

/// Deletes the emptied temporary directories that supervisors kept for their next task and did not come to delete. One
/// that lives makes itself another.
pub fn delete_spares(home: &Home) {
    use meanwhile_supervisor::limits::SPARE_TMPDIR;
    let Ok(tmp) = open_directory(&home.state, OsStr::new("tmp")) else { return };
    for entry in names(tmp.as_fd()).unwrap_or_default() {
        if entry.as_bytes().starts_with(SPARE_TMPDIR.as_bytes()) {
            // Only an empty one: nothing else has that name.
            let _ = unlinkat(&tmp, &*entry, AtFlags::REMOVEDIR);
        }
    }
}

/// Bytes that a task's files take on disk, as far as they can be seen.
#[must_use]
pub fn bytes_of(home: &Home, task: TaskId) -> u64 {
    let Ok(tasks) = open_directory(&home.state, OsStr::new("tasks")) else { return 0 };
    size_of(tasks.as_fd(), OsStr::new(&task.to_string()), 0)
}

/// Deletes uploads of standard input that no submission used.
pub fn delete_stale_uploads(home: &Home, older_than: std::time::Duration) {
    let Ok(stdin) = open_directory(&home.state, OsStr::new("stdin")) else { return };
    let now = meanwhile_host::clock::now().wall;
    for entry in names(stdin.as_fd()).unwrap_or_default() {
        if !entry.as_bytes().starts_with(UPLOAD_PREFIX.as_bytes()) {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&stdin, &entry, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let written = meanwhile_core::Wall(stat.st_mtime.saturating_mul(1000));
        if now.since(written) > older_than {
            let _gone_already = unlinkat(&stdin, &entry, AtFlags::empty());
        }
    }
}

/// How the names of uploads begin that no task owns yet; task ids never do.
pub const UPLOAD_PREFIX: &str = "upload-";

fn note(task: TaskId, place: &'static str, removed: Result<(), Errno>) {
    match removed {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => tracing::warn!(%task, place, %error, "files that nobody needs stay"),
    }
}

fn open_directory(base: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(base, name, flags, Mode::empty())
}

fn names(directory: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn remove_tree(base: rustix::fd::BorrowedFd<'_>, name: &OsStr, depth: usize) -> Result<(), Errno> {
    let directory = match open_directory(base, name) {
        Ok(directory) => directory,
        // Not a directory, or a link to one: the name itself goes.
        Err(Errno::NOTDIR | Errno::LOOP) => return unlinkat(base, name, AtFlags::empty()),
        // A directory that its task closed to everybody is opened for us, who own it.
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(base, name, Mode::RWXU, AtFlags::empty())?;
            open_directory(base, name)?
        }
        Err(error) => return Err(error),
    };
    if depth >= DEEPEST {
        return Err(Errno::NAMETOOLONG);
    }
    let mut failed = Ok(());
    for entry in names(&directory)? {
        match unlinkat(&directory, &entry, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => {
                failed = failed.and(remove_tree(directory.as_fd(), &entry, depth + 1));
            }
            Err(Errno::ACCESS) => {
                let _reported_by_the_second_try = rustix::fs::fchmod(&directory, Mode::RWXU);
                failed = failed.and(remove_tree(directory.as_fd(), &entry, depth + 1));
            }
            Err(error) => failed = failed.and(Err(error)),
        }
    }
    failed?;
    unlinkat(base, name, AtFlags::REMOVEDIR)
}

fn size_of(base: rustix::fd::BorrowedFd<'_>, name: &OsStr, depth: usize) -> u64 {
    let Ok(stat) = rustix::fs::statat(base, name, AtFlags::SYMLINK_NOFOLLOW) else { return 0 };
    // Blocks of 512 bytes: what the disk gives back.
    let own = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || depth >= DEEPEST {
        return own;
    }
    let Ok(directory) = open_directory(base, name) else { return own };
    let entries = names(&directory).unwrap_or_default();
    own + entries.iter().map(|entry| size_of(directory.as_fd(), entry, depth + 1)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use meanwhile_host::home::{HomeInputs, HomePaths};

    use super::*;

    fn home(base: &Path) -> Home {
        let inputs = HomeInputs {
            flag: Some(base.as_os_str()),
            meanwhile_home: None,
            home: None,
            xdg_state_home: None,
            xdg_config_home: None,
            xdg_runtime_dir: None,
            cwd: Path::new("/"),
        };
        Home::open_or_create(HomePaths::resolve(&inputs).unwrap()).unwrap()
    }

    #[test]
    fn forgetting_a_task_deletes_its_files_and_nothing_that_a_link_points_to() {
        let base = tempfile::tempdir().unwrap();
        let outside = base.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        let home = home(&base.path().join("home"));
        let (task, other) = (TaskId::from_random(1), TaskId::from_random(2));
        for id in [task, other] {
            home.attempt(id, 1).unwrap();
            let attempt = home.paths.attempt(id, 1);
            fs::write(attempt.join("output.log"), "text").unwrap();
            symlink(&outside, attempt.join("link")).unwrap();
            home.attempt_tmp(id, 1).unwrap();
            let tmp = home.paths.attempt_tmp(id, 1);
            fs::create_dir_all(tmp.join("a/closed")).unwrap();
            fs::write(tmp.join("a/closed/f"), "x").unwrap();
            symlink(&outside, tmp.join("a/link")).unwrap();
            fs::set_permissions(tmp.join("a/closed"), fs::Permissions::from_mode(0o000)).unwrap();
            home.stdin().unwrap();
            fs::write(home.paths.state.join("stdin").join(id.to_string()), "in").unwrap();
        }
        assert!(bytes_of(&home, task) > 0);
        delete_files(&home, task);
        let state = &home.paths.state;
        assert!(!state.join("tasks").join(task.to_string()).exists());
        assert!(!home.paths.attempt_tmp(task, 1).exists());
        assert!(!state.join("stdin").join(task.to_string()).exists());
        assert!(outside.join("precious").exists());
        assert!(home.paths.attempt(other, 1).join("output.log").exists());
        assert!(home.paths.attempt_tmp(other, 1).exists());
        delete_files(&home, task);
    }

    #[test]
    fn a_planted_link_in_place_of_a_tasks_directory_is_removed_and_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let outside = base.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        let home = home(&base.path().join("home"));
        let task = TaskId::from_random(3);
        home.state.subdir("tasks").unwrap();
        let planted = home.paths.state.join("tasks").join(task.to_string());
        symlink(&outside, &planted).unwrap();
        delete_files(&home, task);
        assert!(planted.symlink_metadata().is_err());
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn only_uploads_that_nobody_used_for_long_are_deleted() {
        let base = tempfile::tempdir().unwrap();
        let home = home(&base.path().join("home"));
        home.stdin().unwrap();
        let stdin = home.paths.state.join("stdin");
        let old = stdin.join("upload-old");
        let owned = stdin.join(TaskId::from_random(4).to_string());
        let fresh = stdin.join("upload-new");
        for path in [&old, &owned, &fresh] {
            fs::write(path, "x").unwrap();
        }
        let long_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        for path in [&old, &owned] {
            fs::File::options().write(true).open(path).unwrap().set_times(long_ago).unwrap();
        }
        delete_stale_uploads(&home, std::time::Duration::from_secs(3600));
        assert!(!old.exists() && owned.exists() && fresh.exists());
    }
}
