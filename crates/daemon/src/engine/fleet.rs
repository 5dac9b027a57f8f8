//! The supervisors this daemon talks to: their sockets, which task each has, which are free.
//!
//! Owns the connections and their place in the loop's epoll. Knows nothing of states or lanes: it says
//! which supervisor said what, and hands out starts. A supervisor that is lost is only reported; what
//! became of its task is read from the owner file by `verdict`.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use meanwhile_core::{AttemptToken, TaskId};
use meanwhile_supervisor::wire::{
    Connection, FromSupervisor, Received, StartSpec, ToSupervisor, WireError,
};
use rustix::event::epoll;

/// One connection; also its number in the epoll set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MemberKey(pub(super) u64);

/// The attempt a supervisor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Which task.
    pub(super) task: TaskId,
    /// Which of its attempts.
    pub(super) attempt: u32,
    /// The attempt's token.
    pub(super) token: AttemptToken,
}

/// Who a supervisor is: what the owner file's header says of it.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// Its process.
    pub(super) pid: u32,
    /// Field 22 of its `/proc/PID/stat`.
    pub(super) start_time: u64,
    /// The name of its listening socket in the run directory.
    pub(super) socket_name: Vec<u8>,
    /// Its protocol, once it has said so.
    pub(super) protocol: u16,
}

#[derive(Debug)]
struct Member {
    who: Who,
    connection: Connection,
    job: Option<Job>,
    /// Its pidfd if it is our child, to be reaped when it is gone.
    child: Option<OwnedFd>,
    /// Whether the epoll set also waits for writability.
    writing: bool,
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// It said this.
    Said(FromSupervisor),
    /// It is gone, with the job it had.
    Gone {
        /// What it had.
        job: Option<Job>,
        /// Its pidfd, if it is a child of ours.
        child: Option<OwnedFd>,
        /// Why, if not by closing.
        error: Option<WireError>,
    },
}

/// All connections.
#[derive(Debug)]
pub(super) struct Fleet {
    epoll: OwnedFd,
    members: HashMap<MemberKey, Member>,
    by_token: HashMap<AttemptToken, MemberKey>,
    idle: Vec<MemberKey>,
    /// Members with something to write.
    unflushed: Vec<MemberKey>,
    next_key: u64,
}

impl Fleet {
    /// No supervisors yet; their sockets will be waited for in `epoll`, numbered from `first_key`.
    #[must_use]
    pub(super) fn new(epoll: OwnedFd, first_key: u64) -> Self {
        Self {
            epoll,
            members: HashMap::new(),
            by_token: HashMap::new(),
            idle: Vec::new(),
            unflushed: Vec::new(),
            next_key: first_key,
        }
    }

    /// Takes over a connection and greets it.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking or watched.
    pub(super) fn add(
        &mut self,
        socket: OwnedFd,
        who: Who,
        child: Option<OwnedFd>,
        init: &ToSupervisor,
    ) -> Result<MemberKey, WireError> {
        let mut connection = Connection::new(socket)?;
        connection.tell(init);
        let key = MemberKey(self.next_key);
        self.next_key += 1;
        epoll::add(&self.epoll, &connection, data(key), epoll::EventFlags::IN)?;
        let member = Member { who, connection, job: None, child, writing: false };
        self.members.insert(key, member);
        self.unflushed.push(key);
        Ok(key)
    }

    /// A supervisor without a task, the most recently used first: the others may then go.
    #[must_use]
    pub(super) fn take_idle(&mut self) -> Option<MemberKey> {
        while let Some(key) = self.idle.pop() {
            if self.members.get(&key).is_some_and(|m| m.job.is_none()) {
                return Some(key);
            }
        }
        None
    }

    /// One that was taken and is not needed after all.
    pub(super) fn give_back(&mut self, key: MemberKey) {
        self.idle.push(key);
    }

    /// Who a member is.
    #[must_use]
    pub(super) fn who(&self, key: MemberKey) -> Option<&Who> {
        self.members.get(&key).map(|m| &m.who)
    }

    /// Learns a member's protocol from its greeting.
    pub(super) fn set_protocol(&mut self, key: MemberKey, protocol: u16) {
        if let Some(member) = self.members.get_mut(&key) {
            member.who.protocol = protocol;
        }
    }

    /// Says that a member has this job (found there after a restart of the daemon).
    pub(super) fn assign(&mut self, key: MemberKey, job: Job) {
        if let Some(member) = self.members.get_mut(&key) {
            member.job = Some(job);
            self.by_token.insert(job.token, key);
        }
    }

    /// The job of a member.
    #[must_use]
    pub(super) fn job(&self, key: MemberKey) -> Option<Job> {
        self.members.get(&key).and_then(|m| m.job)
    }

    /// The member that has this attempt, if one is connected.
    #[must_use]
    pub(super) fn holder(&self, token: AttemptToken) -> Option<MemberKey> {
        self.by_token.get(&token).copied()
    }

    /// Hands a member its next task.
    ///
    /// # Errors
    /// When the spec cannot be sent; nothing was handed over then, and the lock is free.
    pub(super) fn start(
        &mut self,
        key: MemberKey,
        job: Job,
        spec: &StartSpec,
        owner: OwnedFd,
        dir: OwnedFd,
    ) -> Result<(), WireError> {
        let member = self.members.get_mut(&key).expect("callers hold a key they were just given");
        member.connection.queue_start(spec, owner, dir)?;
        member.job = Some(job);
        self.by_token.insert(job.token, key);
        self.unflushed.push(key);
        Ok(())
    }

    /// Queues a message to the supervisor of an attempt. False when none is connected.
    pub(super) fn tell(&mut self, token: AttemptToken, message: &ToSupervisor) -> bool {
        let Some(key) = self.by_token.get(&token).copied() else { return false };
        let Some(member) = self.members.get_mut(&key) else { return false };
        member.connection.tell(message);
        self.unflushed.push(key);
        true
    }

    /// Queues a message to one supervisor, whatever it does.
    pub(super) fn tell_member(&mut self, key: MemberKey, message: &ToSupervisor) {
        if let Some(member) = self.members.get_mut(&key) {
            member.connection.tell(message);
            self.unflushed.push(key);
        }
    }

    /// Whether any supervisor has a task.
    #[must_use]
    pub(super) fn is_busy(&self) -> bool {
        !self.by_token.is_empty()
    }

    /// Queues a message to every supervisor.
    pub(super) fn tell_all(&mut self, message: &ToSupervisor) {
        for (key, member) in &mut self.members {
            member.connection.tell(message);
            self.unflushed.push(*key);
        }
    }

    /// Its end is on disk: it may have the next task (unless it stays with what the task left).
    pub(super) fn release(&mut self, token: AttemptToken, stays: bool) {
        let Some(key) = self.by_token.remove(&token) else { return };
        let Some(member) = self.members.get_mut(&key) else { return };
        member.job = None;
        if !stays {
            self.idle.push(key);
        }
    }

    /// Forgets who has an attempt without calling the supervisor free.
    pub(super) fn forget_job(&mut self, key: MemberKey) {
        if let Some(member) = self.members.get_mut(&key)
            && let Some(job) = member.job.take()
        {
            self.by_token.remove(&job.token);
        }
    }

    /// Writes what waits, as far as the sockets take it. A broken one shows up as readable.
    pub(super) fn flush(&mut self) {
        for key in std::mem::take(&mut self.unflushed) {
            self.flush_one(key);
        }
    }

    /// Writes what waits for one supervisor and arms or disarms its writability.
    pub(super) fn flush_one(&mut self, key: MemberKey) {
        let Some(member) = self.members.get_mut(&key) else { return };
        // An error here is also an end of file for the reading side, which reports it.
        let _broken_is_read_as_gone = member.connection.flush();
        let writing = member.connection.wants_write();
        if writing != member.writing {
            member.writing = writing;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, writing);
            epoll::modify(&self.epoll, &member.connection, data(key), flags)
                .expect("a member's socket is in the set until it is removed");
        }
    }

    /// Reads what a readable supervisor has said.
    pub(super) fn hear(&mut self, key: MemberKey) -> Vec<Heard> {
        let Some(member) = self.members.get_mut(&key) else { return Vec::new() };
        let received = member.connection.receive();
        let mut heard = Vec::new();
        let error = loop {
            match member.connection.next_from_supervisor() {
                Ok(Some(message)) => heard.push(Heard::Said(message)),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if error.is_some() || !matches!(received, Ok(Received::Open)) {
            let error = error.or(received.err());
            heard.push(self.remove(key, error));
        }
        heard
    }

    /// Lets go of a supervisor.
    fn remove(&mut self, key: MemberKey, error: Option<WireError>) -> Heard {
        let member = self.members.remove(&key).expect("the caller has just used it");
        let _closing_removes_it_too = epoll::delete(&self.epoll, &member.connection);
        if let Some(job) = member.job {
            self.by_token.remove(&job.token);
        }
        Heard::Gone { job: member.job, child: member.child, error }
    }

    /// How many have a task, and how many have none.
    #[must_use]
    pub(super) fn counts(&self) -> (u32, u32) {
        let busy = self.members.values().filter(|m| m.job.is_some()).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (count(busy), count(self.members.len() - busy))
    }

    /// Has the loop woken when a child of ours ends; closing the pidfd ends that.
    pub(super) fn watch_child(&self, pidfd: &OwnedFd) {
        let key = epoll::EventData::new_u64(super::select::CHILD);
        if let Err(errno) = epoll::add(&self.epoll, pidfd, key, epoll::EventFlags::IN) {
            tracing::warn!(%errno, "a child that ends stays a zombie until the next one does");
        }
    }
}

fn data(key: MemberKey) -> epoll::EventData {
    epoll::EventData::new_u64(key.0)
}
