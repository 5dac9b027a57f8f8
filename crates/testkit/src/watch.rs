//! Waiting for a file to say something, and, where nothing announces itself, looking again.
//!
//! Owns the inotify loop. Reads whole files: it is meant for small ones (locks, marks, logs).

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

use crate::fifo::wait_readable;

/// Waits until the file at `path` exists and `condition` holds for its bytes; answers the bytes.
///
/// # Panics
/// When that does not come true within `deadline`; the message quotes the file as it is then.
#[track_caller]
pub fn wait_for_file(
    path: &Path,
    deadline: Duration,
    condition: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    let until = Instant::now() + deadline;
    loop {
        // A fresh watch per round: directories on the way may be made while we wait. It is set
        // before looking, so that no change falls between the look and the wait.
        let watch = watch(path);
        let content = std::fs::read(path).ok();
        if let Some(bytes) = content.as_ref().filter(|bytes| condition(bytes)) {
            return bytes.clone();
        }
        let left = until.saturating_duration_since(Instant::now());
        assert!(
            !left.is_zero(),
            "waited {deadline:?} for {}, which now is: {}",
            path.display(),
            content.map_or("absent".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        );
        wait_readable(&watch, left);
    }
}

fn watch(path: &Path) -> File {
    let descriptor = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("inotify works");
    let events = WatchFlags::CREATE
        | WatchFlags::MODIFY
        | WatchFlags::MOVED_TO
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB;
    for place in path.ancestors() {
        if add_watch(&descriptor, place, events).is_ok() && place != path {
            break;
        }
    }
    File::from(descriptor)
}

/// Looks every 5 ms until `look` answers something. Only for what the kernel announces to nobody,
/// such as the contents of `/proc`: everything else has an event to wait for.
///
/// # Panics
/// When it answers nothing within `deadline`; the message names `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {deadline:?} for {what}");
        // sleep: /proc and the like announce no change, so there is no event to wait for
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEADLINE;

    #[test]
    fn a_file_in_a_directory_that_does_not_exist_yet_is_waited_for() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("later/still/file");
        let writer = path.clone();
        let thread = std::thread::spawn(move || {
            std::fs::create_dir_all(writer.parent().expect("it has one")).expect("it can be made");
            std::fs::write(&writer, "almost").expect("it can be written");
            std::fs::write(&writer, "there").expect("it can be written");
        });
        let bytes = wait_for_file(&path, DEADLINE, |bytes| bytes == b"there");
        assert_eq!(bytes, b"there");
        thread.join().expect("the writer ends well");
    }
}
