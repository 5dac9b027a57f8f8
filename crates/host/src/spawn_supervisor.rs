//! Starting supervisors: our own executable, in our own cgroup leaf, at the far end of a socket.
//!
//! Owns the executable's descriptor, the supervisor's arguments and the names of their sockets. The
//! daemon is in the leaf when it calls this, so its children are born there. Never speaks the wire
//! protocol: the daemon does.
//!
//! ```text
//!   daemon --socketpair--> 3 supervisor          4: the run directory, for its listening socket
//! ```

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use meanwhile_supervisor::process::is_alive;
use meanwhile_supervisor::supervise_args;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{WaitId, WaitIdOptions};

use crate::dir::Dir;
use crate::environment::Environment;
use crate::launch::{FIRST_INHERITED, Launch, Lineage, launch};
use crate::proc::{self, Identity};

/// The name a process of ours has in a process list, whatever it was started as.
pub(crate) const PROGRAM: &str = "meanwhile";

/// The program that this process runs, held open: an upgrade on disk mixes no versions.
#[derive(Debug)]
pub struct Executable {
    fd: OwnedFd,
    path: PathBuf,
}

/// Everything that starting a supervisor needs, prepared once.
#[derive(Debug)]
pub struct SupervisorStarter<'a> {
    executable: &'a Executable,
    run: &'a Dir,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// A supervisor that has been started and is our child.
#[derive(Debug)]
pub struct StartedSupervisor {
    /// Who it is.
    pub identity: Identity,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// Our end of its socket.
    pub socket: OwnedFd,
}

impl Executable {
    /// Opens the program that this process runs. Call it first: later it may have been replaced.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn own() -> io::Result<Self> {
        let fd = rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let path = std::fs::read_link("/proc/self/exe")?;
        // The kernel's mark of a file that has been replaced; what replaced it has the plain name.
        let bytes = path.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes).to_vec();
        Ok(Self { fd, path: PathBuf::from(std::ffi::OsString::from_vec(bytes)) })
    }

    /// Another program in our place.
    #[cfg(test)]
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_path_buf() })
    }

    /// Where it was; for `MEANWHILE_BIN` and for starting the next release.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Executable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<'a> SupervisorStarter<'a> {
    /// Prepares arguments and environment. `environment` is the daemon's own
    /// ([`crate::environment::daemon_environment`]).
    #[must_use]
    pub fn new(executable: &'a Executable, run: &'a Dir, environment: &Environment) -> Self {
        let arguments = supervise_args(FIRST_INHERITED, FIRST_INHERITED + 1);
        let arguments = std::iter::once(PROGRAM.into()).chain(arguments);
        let arguments = arguments.map(|a| c_string(a.into_vec())).collect();
        let environment = environment.entries().into_iter().map(c_string).collect();
        Self { executable, run, arguments, environment }
    }

    /// Starts one.
    ///
    /// # Errors
    /// What the system says: too many processes or descriptors, no memory.
    pub fn start(&self) -> io::Result<StartedSupervisor> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let launched = launch(&Launch {
            executable: self.executable.as_fd(),
            arguments: &self.arguments,
            environment: &self.environment,
            stderr: None,
            inherited: &[theirs.as_fd(), self.run.as_fd()],
            lineage: Lineage::Child,
        })?;
        meanwhile_faultpoint::fault_point!("supervisor.spawned");
        let pidfd = launched.pidfd.expect("a child has one");
        // Not reaped before we ask, so it is there even if it has ended already.
        let identity = proc::identity(launched.pid)
            .ok_or_else(|| io::Error::other("a child of ours is not to be seen in /proc"))?;
        Ok(StartedSupervisor { identity, pidfd, socket: ours })
    }
}

/// The name of a supervisor's listening socket in the run directory. It says whose it is, so that a
/// process which finds the supervisor among its ancestors finds the socket too, and a stale one is
/// nobody's.
#[must_use]
pub fn socket_name(supervisor: Identity) -> String {
    format!("{}-{:x}.sock", supervisor.pid, supervisor.start_time)
}

/// Removes the sockets of supervisors that are gone: one that is killed leaves its own behind.
///
/// # Errors
/// When the directory cannot be read or written.
pub fn remove_dead_sockets(run: &Dir) -> io::Result<()> {
    for name in run.names()? {
        let Some(name) = name.to_str() else { continue };
        let dead = owner_of(name).is_some_and(|supervisor| !is_alive(supervisor));
        if dead && run.is_socket(name)? == Some(true) {
            run.remove_file(name)?;
        }
    }
    Ok(())
}

/// The supervisor that a socket is named after.
fn owner_of(name: &str) -> Option<Identity> {
    let (pid, start_time) = name.strip_suffix(".sock")?.split_once('-')?;
    let start_time = u64::from_str_radix(start_time, 16).ok()?;
    Some(Identity { pid: pid.parse().ok()?, start_time })
}

/// Reaps a child by its pidfd, if it has ended.
///
/// # Errors
/// `ECHILD` when it is not our child: it was started by an earlier daemon.
pub fn reap(pidfd: &OwnedFd) -> io::Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let Some(status) = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options)? else {
        return Ok(None);
    };
    // As wait(2) packs it: the exit code in the second byte, or the signal in the first.
    let packed = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => signal,
        (None, None) => return Ok(None),
    };
    Ok(Some(std::os::unix::process::ExitStatusExt::from_raw(packed)))
}

pub(crate) fn c_string(bytes: Vec<u8>) -> CString {
    // Values come from the environment and the command line, where the kernel lets no zero through.
    CString::new(bytes).expect("the kernel hands out no strings with a zero byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_names_tell_supervisors_with_reused_pids_apart() {
        let name = |pid, start_time| socket_name(Identity { pid, start_time });
        assert_eq!(name(42, 0xabc), "42-abc.sock");
        assert_ne!(name(42, 1), name(42, 2));
    }

    #[test]
    fn only_sockets_of_supervisors_that_are_gone_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let run = Dir::open(base.path(), &[]).unwrap();
        let own = proc::own_identity().unwrap();
        let alive = socket_name(own);
        let dead = socket_name(Identity { start_time: own.start_time + 1, ..own });
        for name in [&alive, &dead, "other.sock"] {
            drop(run.bind_socket(name).unwrap());
        }
        let no_socket = socket_name(Identity { start_time: own.start_time + 2, ..own });
        drop(run.create_new_file(&no_socket).unwrap());
        remove_dead_sockets(&run).unwrap();
        let there = |name: &str| base.path().join(name).exists();
        assert!(there(&alive) && there("other.sock") && there(&no_socket) && !there(&dead));
    }

    #[test]
    fn our_own_executable_is_the_file_we_run() {
        use std::os::unix::fs::MetadataExt;
        let own = Executable::own().unwrap();
        let by_path = std::fs::metadata(own.path()).unwrap();
        let by_fd = rustix::fs::fstat(&own).unwrap();
        assert_eq!((by_path.dev(), by_path.ino()), (by_fd.st_dev, by_fd.st_ino));
    }

    /// The test binary is no supervisor and ends at once on these arguments; what is shown is that
    /// it is started, is ours to reap, and holds the other end of the socket until it ends.
    #[test]
    fn a_supervisor_is_our_child_at_the_other_end_of_the_socket() {
        let base = tempfile::tempdir().unwrap();
        let run = Dir::open(base.path(), &[]).unwrap();
        let executable = Executable::own().unwrap();
        let starter = SupervisorStarter::new(&executable, &run, &Environment::new());
        let started = starter.start().unwrap();
        assert_ne!(started.identity.pid, std::process::id());
        let mut end = [0];
        let read = rustix::io::read(&started.socket, &mut end).unwrap();
        assert_eq!(read, 0, "its end is closed when it has ended, and only it had it");
        let mut ready = [rustix::event::PollFd::new(&started.pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut ready, None).unwrap();
        let status = reap(&started.pidfd).unwrap().expect("ended");
        assert!(status.code().is_some(), "{status}");
        assert_eq!(reap(&started.pidfd).unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }
}
