//! Starting the courier: our own executable again, which delivers what is due and ends.
//!
//! Owns its descriptor 3, on which it reports. What it waits for (names, connections, programs of the user's) it waits
//! for in a process of its own: the daemon neither blocks nor keeps what it needed for that.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::process::Signal;

use crate::environment::{Environment, daemon_environment};
use crate::home::HomePaths;
use crate::launch::{FIRST_INHERITED, Launch, Lineage, launch, take_inherited};
use crate::spawn_supervisor::{Executable, PROGRAM, c_string};

/// A courier that is under way, our child.
#[derive(Debug)]
pub struct Courier {
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// What it reports, to its end.
    pub report: OwnedFd,
}

/// Starts one for this home. `after` is the number of the last event that it must not tell of, if nothing is written
/// down about that.
///
/// # Errors
/// What the system says: too many processes or descriptors, no memory.
pub fn start(executable: &Executable, paths: &HomePaths, after: u64) -> io::Result<Courier> {
    let (reader, writer) = io::pipe()?;
    let mut arguments: Vec<OsString> = vec![PROGRAM.into()];
    if paths.explicit {
        arguments.extend([OsString::from("--home"), paths.state.clone().into_os_string()]);
    }
    arguments.extend(["notify", "deliver"].map(OsString::from));
    arguments.push(format!("--after={after}").into());
    arguments.push(format!("--report-fd={FIRST_INHERITED}").into());
    let arguments: Vec<_> = arguments.into_iter().map(|a| c_string(a.into_vec())).collect();
    let launched = launch(&Launch {
        executable: executable.as_fd(),
        arguments: &arguments,
        environment: &own_environment().entries().into_iter().map(c_string).collect::<Vec<_>>(),
        stderr: None,
        inherited: &[writer.as_fd()],
        lineage: Lineage::Child,
    })?;
    let pidfd = launched.pidfd.expect("a child has one");
    Ok(Courier { pidfd, report: reader.into() })
}

/// What a daemon passes on of its own environment.
fn own_environment() -> Environment {
    let mut environment = Environment::new();
    for (name, value) in std::env::vars_os() {
        environment.set(name.as_bytes(), value.as_bytes());
    }
    daemon_environment(&environment)
}

/// The courier's end of the pipe to the daemon.
///
/// # Errors
/// When there is no such descriptor. Call it once.
pub fn report_to(number: RawFd) -> io::Result<File> {
    take_inherited(number).map(File::from)
}

impl Courier {
    /// Ends one that takes too long. What it had under way is due still.
    pub fn kill(&self) {
        // It has ended if this fails.
        let _ended = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}
