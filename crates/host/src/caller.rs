//! Who is calling: the process at the other end of a socket, and the task it is in, if any.
//!
//! Owns the evidence and its order: the cgroup of the peer, else its ancestors up to a live
//! supervisor. Says what it found; what a caller may do is the daemon's decision. Never believes a
//! number: what it reads about a process counts only if the process was there before and after.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use meanwhile_core::TaskId;
use meanwhile_supervisor::owner::Owner;
use meanwhile_supervisor::process::is_alive;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cgroup;
use crate::home::Home;
use crate::peer_credentials::{credentials, pidfd};
use crate::proc::{self, Identity};
use crate::spawn_supervisor::socket_name;

/// The process that connected a unix socket, as the kernel recorded it then.
#[derive(Debug)]
pub struct Peer {
    /// Its number in our pid namespace; `None` when it cannot be seen from here.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    pidfd: Option<OwnedFd>,
}

/// One attempt of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The task.
    pub task: TaskId,
    /// The attempt's number, from 1.
    pub number: u32,
}

/// What is known of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Another user's process: it has no business here.
    Foreign {
        /// Whose.
        uid: u32,
    },
    /// Ours, but its processes cannot be seen (another pid namespace), or it is gone: nothing says
    /// what it is part of, so it may read and wait only.
    Unseen,
    /// A process inside a task.
    InTask {
        /// Which.
        attempt: Attempt,
        /// How we know.
        evidence: Evidence,
        /// The process.
        process: Identity,
    },
    /// A process outside of every task: a person's shell, an agent, a program.
    Outside {
        /// The process; its ancestors tell the rest.
        process: Identity,
    },
}

/// How a process was found to be inside a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It is in the task's cgroup, which nobody leaves unasked.
    Cgroup,
    /// The task's supervisor is among its ancestors.
    Ancestry,
}

/// What a process finds out about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// It is in no task of this home.
    NoTask,
    /// It is in a task, whose supervisor listens on this socket of the run directory.
    Task {
        /// The name below the run directory.
        socket_name: String,
        /// The supervisor.
        supervisor: Identity,
    },
    /// It is in a task that has lost its supervisor and is about to be ended.
    Orphaned(Attempt),
}

impl Peer {
    /// Asks the kernel who connected this socket.
    ///
    /// # Errors
    /// When it is not a connected unix socket.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let who = credentials(socket.as_fd())?;
        let pid = u32::try_from(who.pid).ok().filter(|pid| *pid != 0);
        Ok(Self { pid, uid: who.uid, gid: who.gid, pidfd: pidfd(socket.as_fd()) })
    }

    /// Whether the process is still the one that connected.
    fn is_there(&self, identity: Identity) -> bool {
        match &self.pidfd {
            // A pidfd becomes readable when its process ends, whatever has its number then.
            Some(pidfd) => !has_ended(pidfd),
            None => proc::identity(identity.pid) == Some(identity),
        }
    }
}

/// What there is to know of a peer. `task_of` says which attempt a live supervisor is running.
#[must_use]
pub fn identify(
    peer: &Peer,
    home_hash: &str,
    task_of: &dyn Fn(Identity) -> Option<Attempt>,
) -> Caller {
    if peer.uid != rustix::process::geteuid().as_raw() {
        return Caller::Foreign { uid: peer.uid };
    }
    let Some(process) = peer.pid.and_then(proc::identity) else { return Caller::Unseen };
    let found = find_attempt(process, home_hash, task_of);
    if !peer.is_there(process) {
        return Caller::Unseen;
    }
    match found {
        Some((attempt, evidence)) => Caller::InTask { attempt, evidence, process },
        None => Caller::Outside { process },
    }
}

/// Whether this process is inside a task of this home, and how to reach its supervisor. For a client
/// that needs a daemon: inside a task it must not start one itself.
#[must_use]
pub fn inside(home: &Home, home_hash: &str) -> Inside {
    let own = std::process::id();
    let by_cgroup = proc::cgroup(own).and_then(|path| cgroup::task_of_path(&path, home_hash));
    let by_cgroup = by_cgroup.map(|(task, number)| Attempt { task, number });
    if let Some((socket_name, supervisor)) = by_cgroup.and_then(|a| supervisor_of(home, a)) {
        return Inside::Task { socket_name, supervisor };
    }
    if let Some((socket_name, supervisor)) = supervisor_among_ancestors(home, own) {
        return Inside::Task { socket_name, supervisor };
    }
    by_cgroup.map_or(Inside::NoTask, Inside::Orphaned)
}

fn find_attempt(
    process: Identity,
    home_hash: &str,
    task_of: &dyn Fn(Identity) -> Option<Attempt>,
) -> Option<(Attempt, Evidence)> {
    let by_cgroup = proc::cgroup(process.pid).and_then(|p| cgroup::task_of_path(&p, home_hash));
    if let Some((task, number)) = by_cgroup {
        return Some((Attempt { task, number }, Evidence::Cgroup));
    }
    // A supervisor is not inside its own task, so the caller itself is not asked about.
    let ancestors = proc::ancestry(process.pid);
    let attempt = ancestors.iter().skip(1).find_map(|ancestor| task_of(*ancestor))?;
    Some((attempt, Evidence::Ancestry))
}

fn supervisor_of(home: &Home, attempt: Attempt) -> Option<(String, Identity)> {
    let directory = home.existing_attempt(attempt.task, attempt.number)?;
    let header = Owner::open(&directory).ok()?.read().ok()?.header?;
    let supervisor = Identity { pid: header.pid, start_time: header.start_time };
    let name = String::from_utf8(header.socket_name).ok()?;
    is_alive(supervisor).then_some((name, supervisor))
}

/// A supervisor's socket is named after it, so its name tells an ancestor that is one.
fn supervisor_among_ancestors(home: &Home, own: u32) -> Option<(String, Identity)> {
    let run = home.existing_run()?;
    proc::ancestry(own).into_iter().skip(1).find_map(|ancestor| {
        let name = socket_name(ancestor);
        (run.is_socket(&name).ok()? == Some(true)).then_some((name, ancestor))
    })
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    // An error of poll(2) tells nothing; a peer nothing is known of counts as gone.
    poll(&mut fds, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
}

#[cfg(test)]
mod tests;
