//! The supervisor's loop: one `poll`, then everything that is ready, then what is due, then the answers.
//!
//! ```text
//!   poll -> signals -> peers -> the task's streams -> what is due -> answers -> leave or again
//! ```
//!
//! Owns the peers, the listening socket and the one task. Wakes for events and deadlines only; an idle
//! supervisor has one deadline, its own end.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::limits::{CONNECTIONS_MAX, IDLE_MS, MAX_TASKS, PROTOCOL};
use crate::process;
use crate::wire::{
    Connection, DaemonResult, FromSupervisor, Incoming, Init, Received, RefusedWhy, StartSpec,
    ToSupervisor, Token, WireError,
};

use super::attempt::{Attempt, Messages};
use super::clock::{Moment, timespec};
use super::listener::Listener;
use super::os::{self, Reaped};
use super::prepare::Base;
use super::revive::{self, Need, Reviver};

/// A reading of the machine's memory-killer count is good for tasks that start so soon after it.
const OOM_COUNT_GOOD: Duration = Duration::from_secs(1);

/// Messages that may wait for a peer before it gets no more hints.
const HINTS_MAX: usize = 32;

/// One connection.
#[derive(Debug)]
struct Peer {
    connection: Connection,
    /// Numbers connections, so that a message can change the list while it is walked.
    id: u64,
    gone: bool,
}

/// Everything a supervisor is.
#[derive(Debug)]
pub(super) struct Supervisor {
    start_time: u64,
    run_dir: OwnedFd,
    base: Base,
    signals: OwnedFd,
    listener: Option<Listener>,
    peers: Vec<Peer>,
    peers_seen: u64,
    /// Which peer is the daemon.
    daemon: Option<u64>,
    daemon_stopping: bool,
    asked_to_leave: bool,
    init: Option<Init>,
    task: Option<Attempt>,
    /// No child is left: set by the reaper alone.
    alone: bool,
    tasks_run: u32,
    idle_since: Moment,
    reviver: Reviver,
    buffer: Vec<u8>,
    oom_count: Option<(Moment, u64)>,
}

/// What a poll entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Peer(u64),
    ExecReport,
    Output,
    Input,
}

impl Supervisor {
    pub(super) fn new(
        daemon: Connection,
        run_dir: OwnedFd,
        null: OwnedFd,
        signals: OwnedFd,
    ) -> std::io::Result<Self> {
        let start_time = process::start_time(std::process::id())
            .ok_or_else(|| std::io::Error::other("read our own start time"))?;
        let mut supervisor = Self {
            start_time,
            run_dir,
            base: Base::new(null),
            signals,
            listener: None,
            peers: Vec::new(),
            peers_seen: 0,
            daemon: None,
            daemon_stopping: false,
            asked_to_leave: false,
            init: None,
            task: None,
            alone: true,
            tasks_run: 0,
            idle_since: Moment::now(),
            reviver: Reviver::new(),
            buffer: Vec::new(),
            oom_count: None,
        };
        // Who started us is our daemon from the first moment.
        supervisor.daemon = Some(supervisor.greet(daemon));
        Ok(supervisor)
    }

    /// Runs until there is no reason to stay.
    pub(super) fn run(&mut self) {
        self.flush();
        while !self.may_leave() {
            let ready = self.poll();
            for source in &ready {
                match source {
                    Source::Signals => self.on_signals(),
                    Source::Listener => self.on_listener(),
                    Source::Peer(id) => self.on_peer(*id),
                    Source::ExecReport | Source::Output | Source::Input => {}
                }
            }
            self.serve_task(&ready);
            self.revive();
            self.flush();
        }
    }

    /// Waits for the next event or deadline and tells what is ready.
    fn poll(&self) -> Vec<Source> {
        let watched = self.watched();
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let now = Moment::now();
        let timeout = self.next(now).map(|next| timespec(next.since(now)));
        if rustix::event::poll(&mut fds, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        watched.iter().zip(ready).filter(|(_, ready)| *ready).map(|((s, ..), _)| *s).collect()
    }

    fn watched(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut watched = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        if let Some(listener) = &self.listener {
            watched.push((Source::Listener, listener.as_fd(), PollFlags::IN));
        }
        for Peer { connection, id, .. } in &self.peers {
            let write = if connection.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
            watched.push((Source::Peer(*id), connection.as_fd(), PollFlags::IN | write));
        }
        let Some(task) = &self.task else { return watched };
        if let Some(report) = task.exec_report() {
            watched.push((Source::ExecReport, report.as_fd(), PollFlags::IN));
        }
        for output in task.outputs.iter().filter_map(|output| output.source()) {
            watched.push((Source::Output, output, PollFlags::IN));
        }
        if let Some(input) = task.input.as_ref().and_then(|input| input.wants_write()) {
            watched.push((Source::Input, input, PollFlags::OUT));
        }
        watched
    }

    /// The next deadline of anything.
    fn next(&self, now: Moment) -> Option<Moment> {
        let idle = self.task.is_none().then(|| self.idle_since.after(self.idle_time()));
        let task = self.task.as_ref().and_then(|task| task.next(now));
        [idle, task, self.reviver.next().filter(|_| !self.asked_to_leave)]
            .into_iter()
            .flatten()
            .min()
    }

    fn idle_time(&self) -> Duration {
        let idle_ms = self.init.as_ref().map_or(IDLE_MS, |init| init.idle_ms);
        Duration::from_millis(u64::from(idle_ms))
    }

    /// Without a task for any of these reasons; with one when its files say everything and nobody is to come.
    fn may_leave(&self) -> bool {
        if self.daemon.is_none() && self.task.as_ref().is_some_and(Attempt::is_on_file) {
            return self.daemon_stopping
                || self.asked_to_leave
                || self.reviver.next().is_none()
                || self.home_is_gone();
        }
        let max_tasks = self.init.as_ref().map_or(MAX_TASKS, |init| init.max_tasks);
        self.task.is_none()
            && ((self.daemon.is_none() && self.reviver.next().is_none())
                || self.daemon_stopping
                || self.asked_to_leave
                || self.tasks_run >= max_tasks
                || Moment::now() >= self.idle_since.after(self.idle_time()))
    }

    /// The cgroup that we and the daemon live in, if the daemon has left it: then we may be the last.
    pub(super) fn leaf_without_daemon(&self) -> Option<PathBuf> {
        let gone = self.daemon.is_none() || self.daemon_stopping;
        let leaf = self.init.as_ref().filter(|_| gone)?.daemon_cgroup.as_ref()?;
        Some(PathBuf::from(OsStr::from_bytes(leaf)))
    }

    /// Then no daemon will ever ask for what is here.
    fn home_is_gone(&self) -> bool {
        let home = self.init.as_ref().map(|init| rustix::fs::stat(init.home.as_slice()));
        matches!(home, Some(Err(rustix::io::Errno::NOENT)))
    }

    fn on_signals(&mut self) {
        let arrived = os::arrived(&self.signals);
        // While a task runs this is only remembered: ending a task has its own command, and a supervisor that is
        // gone leaves nobody who knows how the task ends.
        self.asked_to_leave |= arrived.leave;
        if arrived.child {
            self.reap();
        }
    }

    fn reap(&mut self) {
        loop {
            match os::reap() {
                Reaped::Child { pid, status, usage } => {
                    if let Some(task) = &mut self.task {
                        task.on_reaped(pid, status, usage);
                    }
                }
                Reaped::Nothing => {
                    self.alone = false;
                    return;
                }
                Reaped::Alone => {
                    self.alone = true;
                    return;
                }
            }
        }
    }

    fn on_listener(&mut self) {
        while let Some(socket) = self.listener.as_ref().and_then(Listener::accept) {
            if self.peers.len() >= CONNECTIONS_MAX {
                // The one that has been silent for longest gives way: it must not keep a daemon out.
                let daemon = self.daemon;
                if let Some(at) = self.peers.iter().position(|peer| Some(peer.id) != daemon) {
                    self.peers.remove(at);
                }
            }
            if let Ok(connection) = Connection::new(socket) {
                self.greet(connection);
            }
        }
    }

    /// Takes a connection in and says who we are.
    fn greet(&mut self, connection: Connection) -> u64 {
        self.peers_seen += 1;
        let id = self.peers_seen;
        let mut peer = Peer { connection, id, gone: false };
        peer.connection.say(&self.hello());
        self.peers.push(peer);
        id
    }

    fn hello(&self) -> FromSupervisor {
        FromSupervisor::Hello {
            protocol: PROTOCOL,
            pid: std::process::id(),
            start_time: self.start_time,
            current: self.task.as_ref().map(Attempt::describe),
        }
    }

    fn peer(&mut self, id: u64) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }

    /// Takes everything a peer has said. What arrived whole before it went is still done.
    fn on_peer(&mut self, id: u64) {
        let Some(peer) = self.peer(id) else { return };
        let received = peer.connection.receive();
        loop {
            let Some(peer) = self.peer(id) else { return };
            match peer.connection.next_to_supervisor() {
                Ok(Some(incoming)) => self.on_incoming(id, incoming),
                Ok(None) => break,
                Err(WireError::Decode(_)) => {}
                Err(_) => return self.lose(id),
            }
        }
        if !matches!(received, Ok(Received::Open)) {
            self.lose(id);
        }
    }

    /// A peer is gone. If it was the daemon, another is wanted: by the task that is here, or by the queue,
    /// of which an idle supervisor knows nothing.
    fn lose(&mut self, id: u64) {
        self.peers.retain(|peer| peer.id != id);
        if self.daemon == Some(id) {
            self.daemon = None;
            if self.init.is_some() && !self.daemon_stopping {
                self.reviver.arm(Moment::now());
            }
        }
    }

    fn on_incoming(&mut self, from: u64, incoming: Incoming) {
        match incoming {
            Incoming::Message(ToSupervisor::Init(init)) => self.on_init(from, init),
            Incoming::Message(ToSupervisor::StartDaemon) => {
                let result = match &self.init {
                    Some(init) => revive::start(init),
                    None => DaemonResult::Failed(libc::ENOENT),
                };
                self.say_to(from, &FromSupervisor::DaemonStarted { result });
            }
            Incoming::Message(ToSupervisor::Report) => {
                let hello = self.hello();
                self.say_to(from, &hello);
                self.repeat_end(from);
            }
            // The rest is the daemon's alone.
            _ if self.daemon != Some(from) => {}
            Incoming::Message(ToSupervisor::DaemonStopping) => self.daemon_stopping = true,
            Incoming::Message(message) => self.on_task_message(message),
            Incoming::Start { spec, owner, dir } => self.on_start(spec, owner, &dir),
            Incoming::BadStart { token, error } => {
                self.say(&FromSupervisor::Note { text: error.to_string() });
                if let Some(token) = token {
                    self.say(&FromSupervisor::Refused { token, why: RefusedWhy::Malformed });
                }
            }
        }
    }

    fn on_init(&mut self, from: u64, init: Init) {
        if let Some(old) = self.daemon.replace(from)
            && old != from
        {
            self.peers.retain(|peer| peer.id != old);
        }
        self.daemon_stopping = false;
        self.reviver.met(Moment::now());
        if self.listener.is_none() && !init.socket_name.is_empty() {
            match Listener::bind(&self.run_dir, &init.socket_name) {
                Ok(listener) => self.listener = Some(listener),
                Err(errno) => {
                    let text = format!("listen as {}: {errno}", init.socket_name.escape_ascii());
                    self.say(&FromSupervisor::Note { text });
                }
            }
        }
        meanwhile_faultpoint::fault_point!("supervisor.init");
        self.init = Some(init);
        self.repeat_end(from);
    }

    /// An end that no daemon has recorded yet is told to every new one.
    fn repeat_end(&mut self, to: u64) {
        if let Some(ended) = self.task.as_ref().and_then(Attempt::unrecorded) {
            self.say_to(to, &ended);
        }
    }

    fn on_start(&mut self, spec: Box<StartSpec>, owner: OwnedFd, dir: &OwnedFd) {
        meanwhile_faultpoint::fault_point!("supervisor.start-read");
        let token = spec.token;
        // The record of the task before may have come in the same read.
        self.put_away();
        if self.task.is_some() {
            return self.say(&FromSupervisor::Refused { token, why: RefusedWhy::Busy });
        }
        if self.may_leave() {
            return self.say(&FromSupervisor::Refused { token, why: RefusedWhy::Leaving });
        }
        let oom_count = self.oom_count();
        match Attempt::begin(spec, owner, dir, &self.base, oom_count) {
            Ok((task, messages)) => {
                self.task = Some(task);
                self.alone = false;
                // A start that made no child leaves us alone, and no signal will tell.
                self.reap();
                self.say_all(messages);
            }
            Err(why) => self.say(&FromSupervisor::Refused { token, why }),
        }
    }

    fn oom_count(&mut self) -> u64 {
        let now = Moment::now();
        match self.oom_count {
            Some((read, count)) if now.since(read) < OOM_COUNT_GOOD => count,
            _ => {
                let count = super::oom_kills();
                self.oom_count = Some((now, count));
                count
            }
        }
    }

    fn on_task_message(&mut self, message: ToSupervisor) {
        let now = Moment::now();
        // What is about another token is late: its attempt is over.
        let Some(task) = &mut self.task else { return };
        let ours = |token: Token| token == task.token();
        match message {
            ToSupervisor::Stop { token, why, grace_ms } if ours(token) => {
                task.stop(why, Duration::from_millis(grace_ms), now);
            }
            ToSupervisor::Extend { token, timeout_ms } if ours(token) => task.extend(timeout_ms),
            ToSupervisor::Input { token, bytes } if ours(token) => {
                let lost = match &mut task.input {
                    Some(input) => input.push(&bytes),
                    None => bytes.len(),
                };
                if lost > 0 {
                    let text = format!("{lost} bytes of input were not taken");
                    self.say(&FromSupervisor::Note { text });
                }
            }
            ToSupervisor::CloseInput { token } if ours(token) => {
                if let Some(input) = &mut task.input {
                    input.close();
                }
            }
            ToSupervisor::Recorded { token } if ours(token) => task.on_recorded(),
            _ => {}
        }
    }

    /// Everything about the task that is ready or due.
    fn serve_task(&mut self, ready: &[Source]) {
        let now = Moment::now();
        let Some(task) = &mut self.task else { return };
        if ready.contains(&Source::Input)
            && let Some(input) = &mut task.input
        {
            input.flush();
        }
        let mut messages = Messages::new();
        if ready.contains(&Source::ExecReport) {
            messages.extend(task.on_exec_report());
        }
        if ready.contains(&Source::Output) {
            task.drain(&mut self.buffer, now);
        }
        messages.extend(task.advance(self.alone, &mut self.buffer, now));
        self.say_all(messages);
        if self.put_away() && !self.may_leave() {
            self.say(&FromSupervisor::Idle);
        }
    }

    /// Lets go of a task that is over. Closing its owner file frees the lock.
    fn put_away(&mut self) -> bool {
        if !self.task.as_ref().is_some_and(Attempt::is_over) {
            return false;
        }
        meanwhile_faultpoint::fault_point!("supervisor.putting-away");
        self.task = None;
        self.tasks_run += 1;
        self.idle_since = Moment::now();
        self.buffer = Vec::new();
        self.reviver.disarm();
        true
    }

    fn revive(&mut self) {
        if let (Some(init), None, false) = (&self.init, self.daemon, self.asked_to_leave) {
            // An end that is on file is read there by any daemon; it may have been read already, by one that
            // was gone before it could say so.
            let waits = self.task.as_ref().is_some_and(Attempt::wants_daemon);
            let need = if waits { Need::Task } else { Need::Queue };
            self.reviver.advance(init, &self.run_dir, Moment::now(), need);
        }
    }

    fn say_all(&mut self, messages: Messages) {
        for message in messages {
            self.say(&message);
        }
    }

    /// To the daemon, if there is one. What it misses is in the files and in the next `Hello`.
    fn say(&mut self, message: &FromSupervisor) {
        if let Some(daemon) = self.daemon {
            self.say_to(daemon, message);
        }
    }

    fn say_to(&mut self, id: u64, message: &FromSupervisor) {
        let Some(peer) = self.peer(id) else { return };
        // A peer that does not read gets no hints, so that what waits for it stays small.
        let hint = matches!(message, FromSupervisor::Progress { .. } | FromSupervisor::Note { .. });
        if !(hint && peer.connection.backlog() >= HINTS_MAX) {
            peer.connection.say(message);
        }
    }

    /// Writes what the peers take; one that takes nothing more is gone, once what it said is read.
    fn flush(&mut self) {
        for peer in &mut self.peers {
            peer.gone = peer.connection.flush().is_err();
        }
        let gone: Vec<u64> = self.peers.iter().filter(|peer| peer.gone).map(|p| p.id).collect();
        for id in gone {
            self.on_peer(id);
            self.lose(id);
        }
    }
}
