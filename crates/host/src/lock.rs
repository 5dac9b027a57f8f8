//! One daemon per home: the lock, and what only its holder may do.
//!
//! Owns `daemon.lock`: an flock that the kernel frees with its last holder, and inside it who holds
//! it and where it listens. The file is never removed: two daemons could then hold two locks of one
//! name. A stale socket is replaced through [`DaemonLock::bind_socket`], so nobody without the lock
//! can take a living daemon's socket away.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meanwhile_supervisor::process::is_alive;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::dir::Dir;
use crate::home::LOCK;
use crate::proc::{self, Identity};

/// How long an unknown holder is given to show itself or to let go.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often.
const TRY_EVERY: Duration = Duration::from_millis(2);
/// Longest content of the lock file; a path has at most 4096 bytes.
const LONGEST: usize = 8192;

/// The right to be the daemon of a home, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct DaemonLock {
    file: File,
    /// Whether the name in it goes with us, which says that the daemon is not to be missed.
    tidy: bool,
}

/// Who holds the lock, as it wrote itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The daemon.
    pub daemon: Identity,
    /// Where it listens: a client with another runtime directory learns it here.
    pub socket: PathBuf,
}

/// Why the lock was not had.
#[derive(Debug)]
pub enum LockError {
    /// Another daemon holds it; who, as far as the file says already.
    Held(Option<Holder>),
    /// The file could not be opened, locked or written.
    Io(io::Error),
}

impl DaemonLock {
    /// Takes the lock of this home and writes down who we are and where we will listen.
    ///
    /// A lock whose holder is not known to live is tried again for [`PATIENCE`]: it may be a daemon
    /// that has not written yet, or a supervisor that looks whether there is one.
    ///
    /// # Errors
    /// [`LockError::Held`] when another daemon has it.
    pub fn acquire(state: &Dir, socket: &Path) -> Result<Self, LockError> {
        let deadline = Instant::now() + PATIENCE;
        Self::acquire_trying(state, socket, || {
            // sleep: whoever has it for a moment tells nobody, and waiting in the kernel for the
            // lock would wait for a daemon that stays.
            std::thread::sleep(TRY_EVERY);
            Instant::now() < deadline
        })
    }

    /// `again` is asked, and may wait, before every further try.
    fn acquire_trying(
        state: &Dir,
        socket: &Path,
        mut again: impl FnMut() -> bool,
    ) -> Result<Self, LockError> {
        let file = state.open_or_create_file(LOCK).map_err(LockError::Io)?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => {}
                Err(e) => return Err(LockError::Io(e.into())),
            }
            let holder = read_holder(&file).filter(|holder| is_alive(holder.daemon));
            if holder.is_some() || !again() {
                return Err(LockError::Held(holder));
            }
        }
        let lock = Self { file, tidy: true };
        lock.write_holder(socket).map_err(LockError::Io)?;
        Ok(lock)
    }

    /// Binds the daemon's socket, removing what a dead daemon left there.
    ///
    /// # Errors
    /// When something that is not a socket has the name, or binding fails.
    pub fn bind_socket(&self, dir: &Dir, name: &str) -> io::Result<UnixListener> {
        match dir.is_socket(name)? {
            None => {}
            Some(true) => dir.remove_file(name)?,
            Some(false) => {
                let path = dir.path().join(name);
                let text = format!("{} is in the way and is not a socket", path.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
        }
        meanwhile_faultpoint::fault_point!("socket.before-bind");
        dir.bind_socket(name)
    }

    /// Frees the lock and leaves our name in it, as a daemon that is killed does: this end was not meant, and whoever
    /// looks whether there is a daemon is to see that one is missing.
    pub fn leave_as_if_killed(mut self) {
        self.tidy = false;
    }

    fn write_holder(&self, socket: &Path) -> io::Result<()> {
        let Identity { pid, start_time } = proc::own_identity()?;
        let mut text = format!("{pid} {start_time}\n").into_bytes();
        text.extend_from_slice(socket.as_os_str().as_bytes());
        text.push(b'\n');
        // Written in one piece and cut after: a reader in between sees a text that ends in the old
        // one's tail, which its two lines tell apart.
        meanwhile_faultpoint::fault_point!("lock.taken");
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }
}

impl Drop for DaemonLock {
    fn drop(&mut self) {
        if !self.tidy {
            return;
        }
        // Nobody is the daemon any more; closing the descriptor frees the lock right after. When
        // this fails the file names a dead process, which readers check.
        let _ = self.file.set_len(0);
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(Some(holder)) => {
                write!(f, "take {LOCK}: the daemon with pid {} holds it", holder.daemon.pid)
            }
            Self::Held(None) => write!(f, "take {LOCK}: another daemon holds it"),
            Self::Io(e) => write!(f, "take {LOCK}: {e}"),
        }
    }
}

impl std::error::Error for LockError {}

/// Who is the daemon of this home now; `None` when there is none, when it has not written yet, or
/// when it cannot be seen from our pid namespace.
///
/// # Errors
/// When the lock file is there and cannot be read.
pub fn holder(state: &Dir) -> io::Result<Option<Holder>> {
    let file = match state.open_file(LOCK) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    // Not asked by trying the lock: a daemon that starts at that instant would be turned away.
    Ok(read_holder(&file).filter(|holder| is_alive(holder.daemon)))
}

fn read_holder(file: &File) -> Option<Holder> {
    let mut bytes = vec![0; LONGEST];
    let length = file.read_at(&mut bytes, 0).ok()?;
    parse_holder(&bytes[..length])
}

fn parse_holder(bytes: &[u8]) -> Option<Holder> {
    let mut lines = bytes.split(|b| *b == b'\n');
    let mut numbers = std::str::from_utf8(lines.next()?).ok()?.split(' ');
    let pid = numbers.next()?.parse().ok()?;
    let start_time = numbers.next()?.parse().ok()?;
    let socket = lines.next().filter(|line| !line.is_empty())?;
    // The second newline shows that the path is whole.
    lines.next()?;
    let socket = PathBuf::from(OsStr::from_bytes(socket));
    Some(Holder { daemon: Identity { pid, start_time }, socket })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Dir) {
        let base = tempfile::tempdir().unwrap();
        let dir = Dir::open(base.path(), &[]).unwrap();
        (base, dir)
    }

    #[test]
    fn of_many_daemons_exactly_one_holds_the_lock() {
        let (_base, dir) = home();
        let barrier = std::sync::Barrier::new(16);
        let winners: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                DaemonLock::acquire(&dir, Path::new("/s")).ok()
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(start)).collect();
            threads.into_iter().filter_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1);
    }

    #[test]
    fn somebody_who_only_looks_at_the_lock_turns_no_daemon_away() {
        let (_base, dir) = home();
        let probe = dir.open_or_create_file(LOCK).unwrap();
        rustix::fs::flock(&probe, FlockOperation::LockShared).unwrap();
        let mut probe = Some(probe);
        let lock = DaemonLock::acquire_trying(&dir, Path::new("/s"), || probe.take().is_some());
        lock.unwrap();
        // One that does not let go is taken for a daemon in the end.
        let stays = dir.open_or_create_file(LOCK).unwrap();
        rustix::fs::flock(&stays, FlockOperation::LockShared).unwrap();
        let mut tries = 3;
        let error = DaemonLock::acquire_trying(&dir, Path::new("/s"), || {
            tries -= 1;
            tries > 0
        });
        assert!(matches!(error, Err(LockError::Held(None))), "{error:?}");
    }

    #[test]
    fn the_loser_learns_who_holds_it_and_where_it_listens() {
        let (_base, dir) = home();
        assert_eq!(holder(&dir).unwrap(), None);
        let held = DaemonLock::acquire(&dir, Path::new("/run/x/daemon.sock")).unwrap();
        let Err(LockError::Held(Some(seen))) = DaemonLock::acquire(&dir, Path::new("/y")) else {
            panic!("must be held");
        };
        assert_eq!(seen.daemon, proc::own_identity().unwrap());
        assert_eq!(seen.socket, Path::new("/run/x/daemon.sock"));
        assert_eq!(holder(&dir).unwrap(), Some(seen));
        drop(held);
        assert_eq!(holder(&dir).unwrap(), None);
        DaemonLock::acquire(&dir, Path::new("/z")).unwrap();
    }

    #[test]
    fn an_end_that_was_not_meant_leaves_a_name_and_no_lock() {
        let (_base, dir) = home();
        let check = |end: fn(DaemonLock), named: bool| {
            end(DaemonLock::acquire(&dir, Path::new("/s")).unwrap());
            let mut file = dir.open_or_create_file(LOCK).unwrap();
            let mut text = String::new();
            io::Read::read_to_string(&mut file, &mut text).unwrap();
            assert_eq!(!text.is_empty(), named, "{text:?}");
        };
        check(DaemonLock::leave_as_if_killed, true);
        check(drop, false);
    }

    #[test]
    fn a_dead_daemons_socket_is_replaced_and_other_things_are_kept() {
        let (_base, dir) = home();
        let lock = DaemonLock::acquire(&dir, Path::new("/s")).unwrap();
        drop(dir.bind_socket("daemon.sock").unwrap());
        let _listener = lock.bind_socket(&dir, "daemon.sock").unwrap();
        dir.connect_socket("daemon.sock", Duration::from_secs(5)).unwrap();

        dir.create_new_file("other").unwrap();
        let error = lock.bind_socket(&dir, "other").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        dir.open_file("other").expect("it is still there");
    }

    #[test]
    fn a_half_written_holder_is_nobody() {
        let whole = b"12 345\n/a/b\n";
        assert!(parse_holder(whole).is_some());
        for cut in 0..whole.len() {
            assert_eq!(parse_holder(&whole[..cut]), None, "cut at {cut}");
        }
    }
}
