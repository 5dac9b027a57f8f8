//! A supervisor as the daemon meets it: follows `run/supervisor.rs` and `run/attempt.rs` of the real one.
//!
//! Owns one attempt at a time: fence, mark, deadlines, ladder, records, reports. Left out is what decides
//! nothing about an attempt: output, limits of resources, standard input. Never knows lanes or states.

use std::collections::VecDeque;

use super::machine::{Happening, Machine};
use super::wire::{
    ConnId, Down, Holder, Job, Phase, Record, Running, Start, SupId, TreeState, Up, Why, Write,
};

/// The real ones, in milliseconds: `limits` of the supervisor, `start` of the daemon.
pub(super) const IDLE_MS: u64 = 10_000;
const MAX_TASKS: u32 = 1000;
const LEAK_TIME: u64 = 200;
const LEAK_GRACE: u64 = 1000;
const UNKILLABLE_AFTER: u64 = 60_000;
const REVIVE_FIRST: u64 = 1000;
const REVIVE_LAST: u64 = 60_000;
/// The report pipe of an exec.
const EXEC_MS: u64 = 1;
/// Reports that a script can have said again.
const SAID_KEPT: usize = 4;

/// One process.
#[derive(Debug)]
pub(super) struct Supervisor {
    id: SupId,
    pub(super) daemon: Option<ConnId>,
    pub(super) peers: Vec<ConnId>,
    initialised: bool,
    pub(super) listening: bool,
    stopping: bool,
    pub(super) task: Option<Attempt>,
    tasks_run: u32,
    idle_since: u64,
    /// When to look for a daemon, and the pause after that.
    revive: Option<(u64, u64)>,
    pub(super) frozen_until: u64,
    pub(super) said: VecDeque<Up>,
    /// What it has just read takes it down.
    dying: bool,
}

/// What it has.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) job: Job,
    pub(super) tree: Option<usize>,
    start: Start,
    started: u64,
    /// The exec has not been reported yet.
    executing: bool,
    no_exec: bool,
    why: Why,
    ladder: Option<Ladder>,
    unkillable: bool,
    ended: Option<u64>,
    record: Option<Record>,
    pending_written: bool,
    recorded: bool,
    released: bool,
}

#[derive(Clone, Copy, Debug)]
enum Ladder {
    Asked { kill_at: u64 },
    Killing { since: u64, told: bool },
}

impl Supervisor {
    pub(super) const fn new(id: SupId, now: u64) -> Self {
        Self {
            id,
            daemon: None,
            peers: Vec::new(),
            initialised: false,
            listening: false,
            stopping: false,
            task: None,
            tasks_run: 0,
            idle_since: now,
            revive: None,
            frozen_until: 0,
            said: VecDeque::new(),
            dying: false,
        }
    }

    fn may_leave(&self, now: u64) -> bool {
        if self.daemon.is_none() && self.task.as_ref().is_some_and(Attempt::is_on_file) {
            return self.stopping || self.revive.is_none();
        }
        self.task.is_none()
            && ((self.daemon.is_none() && self.revive.is_none())
                || self.stopping
                || self.tasks_run >= MAX_TASKS
                || now >= self.idle_since + IDLE_MS)
    }

    fn lose(&mut self, conn: ConnId, now: u64) {
        self.peers.retain(|peer| *peer != conn);
        if self.daemon == Some(conn) {
            self.daemon = None;
            if self.initialised && !self.stopping {
                self.revive =
                    Some((now + REVIVE_FIRST + u64::from(self.id) * 7 % 400, REVIVE_FIRST));
            }
        }
    }

    fn say(&mut self, machine: &mut Machine, now: u64, message: Up) {
        match message {
            Up::Started { .. } | Up::Ended(_) | Up::Unkillable { .. } => {
                self.said.push_back(message.clone());
                if self.said.len() > SAID_KEPT {
                    self.said.pop_front();
                }
            }
            Up::Hello { .. } | Up::Refused { .. } | Up::End { .. } => {}
        }
        if let Some(daemon) = self.daemon {
            machine.say(daemon, now, message);
        }
    }

    fn repeat_end(&self, machine: &mut Machine, to: ConnId, now: u64) {
        if let Some(record) = self.task.as_ref().and_then(Attempt::unrecorded) {
            machine.say(to, now, Up::Ended(record));
        }
    }

    fn on_init(&mut self, machine: &mut Machine, from: ConnId, now: u64) {
        if let Some(old) = self.daemon.replace(from)
            && old != from
        {
            self.peers.retain(|peer| *peer != old);
            machine.close_by_supervisor(old, now);
        }
        self.stopping = false;
        self.revive = None;
        self.listening = true;
        self.initialised = true;
        self.repeat_end(machine, from, now);
    }

    fn on_start(&mut self, machine: &mut Machine, start: Start, now: u64) {
        self.put_away(machine, now);
        let Job { key, token } = start.job;
        if machine.plans[&key.task].poison {
            self.dying = true;
            return machine.drop_message(&Down::Start(start));
        }
        if self.task.is_some() || self.may_leave(now) {
            machine.drop_message(&Down::Start(start));
            return self.say(machine, now, Up::Refused { token });
        }
        let file = machine.files.get_mut(&key).filter(|f| {
            let view = f.view();
            let ours = view.header.is_some_and(|h| h.token == token) && !view.started;
            f.holder == Holder::Flight && ours
        });
        let Some(file) = file else {
            machine.drop_message(&Down::Start(start));
            return self.say(machine, now, Up::Refused { token });
        };
        file.holder = Holder::Supervisor(self.id);
        file.write(now, Write::Started);
        let no_exec = machine.plans[&key.task].no_exec;
        let tree = (!no_exec).then(|| machine.execute(start.job, self.id, now));
        self.task = Some(Attempt {
            job: start.job,
            tree,
            start,
            started: now,
            executing: !no_exec,
            no_exec,
            why: Why::Exited,
            ladder: None,
            unkillable: false,
            ended: no_exec.then_some(now),
            record: None,
            pending_written: false,
            recorded: false,
            released: false,
        });
        machine.at(now + EXEC_MS, Happening::Sup(self.id));
    }

    fn on_message(&mut self, machine: &mut Machine, from: ConnId, message: Down, now: u64) {
        match message {
            Down::Init => self.on_init(machine, from, now),
            Down::End => {
                // What the daemon closed, we close too.
                machine.close_by_supervisor(from, now);
                self.lose(from, now);
            }
            other if self.daemon != Some(from) => machine.drop_message(&other),
            Down::Stopping => self.stopping = true,
            Down::Start(start) => self.on_start(machine, start, now),
            Down::Stop { token, grace_ms } => {
                if let Some(task) = self.task.as_mut().filter(|t| t.job.token == token) {
                    task.stop(machine, grace_ms, now);
                }
            }
            Down::Extend { token, timeout_ms } => {
                if let Some(task) = self.task.as_mut().filter(|t| t.job.token == token) {
                    task.start.timeout_ms = timeout_ms;
                }
            }
            Down::Recorded { token } => {
                if let Some(task) = self.task.as_mut().filter(|t| t.job.token == token) {
                    task.recorded = task.record.is_some();
                }
            }
        }
    }

    /// Lets go of a task that is over. Closing its owner file frees the lock.
    fn put_away(&mut self, machine: &mut Machine, now: u64) {
        let Some(task) = self.task.take_if(|t| t.is_over()) else { return };
        free(machine, task.job, self.id);
        self.tasks_run += 1;
        self.idle_since = now;
        self.revive = None;
    }

    /// Looks for a daemon when it is time.
    fn revive(&mut self, machine: &mut Machine, now: u64) {
        let Some((next, pause)) = self.revive.filter(|_| self.daemon.is_none()) else { return };
        if now < next {
            return;
        }
        let waits = self.task.as_ref().is_some_and(Attempt::wants_daemon);
        if !waits && (machine.daemon_lives || !machine.daemon_died) {
            self.revive = None;
            return;
        }
        let pause = (pause * 2).min(REVIVE_LAST);
        self.revive = Some((now + pause, pause));
        if !machine.daemon_lives {
            machine.daemon_wanted = true;
        }
    }

    fn next(&self, now: u64) -> Option<u64> {
        let idle = self.task.is_none().then_some(self.idle_since + IDLE_MS);
        let task = self.task.as_ref().and_then(|task| task.next(now));
        [idle, task, self.revive.map(|(next, _)| next)].into_iter().flatten().min()
    }

    /// Everything that is due, then the answer to whether it stays.
    fn serve(&mut self, machine: &mut Machine, now: u64) -> bool {
        if let Some(mut task) = self.task.take() {
            let messages = task.advance(machine, now);
            self.task = Some(task);
            for message in messages {
                self.say(machine, now, message);
            }
            self.put_away(machine, now);
        }
        self.revive(machine, now);
        !self.may_leave(now)
    }
}

impl Attempt {
    const fn is_on_file(&self) -> bool {
        self.released || matches!(self.record, Some(Record { tree: TreeState::Empty, .. }))
    }

    const fn wants_daemon(&self) -> bool {
        !self.recorded && !self.is_on_file()
    }

    const fn is_over(&self) -> bool {
        self.recorded && (self.released || self.is_on_file())
    }

    fn unrecorded(&self) -> Option<Record> {
        self.record.filter(|_| !self.recorded)
    }

    const fn describe(&self) -> Running {
        let phase = match &self.record {
            Some(_) => Phase::Over,
            None if self.unkillable => Phase::Unkillable,
            None => Phase::Runs,
        };
        Running { token: self.job.token, main: self.tree.is_some(), phase }
    }

    fn stop(&mut self, machine: &mut Machine, grace_ms: u64, now: u64) {
        if self.record.is_some_and(|r| r.tree != TreeState::Kept) {
            return;
        }
        if self.ended.is_none() {
            self.why = Why::Stopped;
        }
        self.end_tree(machine, grace_ms, now);
    }

    fn end_tree(&mut self, machine: &mut Machine, grace_ms: u64, now: u64) {
        match &mut self.ladder {
            Some(Ladder::Asked { kill_at }) => *kill_at = (*kill_at).min(now + grace_ms),
            Some(Ladder::Killing { .. }) => {}
            None => {
                if let Some(tree) = self.tree {
                    machine.terminate(tree, now);
                }
                self.ladder = Some(Ladder::Asked { kill_at: now + grace_ms });
            }
        }
    }

    fn next(&self, now: u64) -> Option<u64> {
        let ladder = self.ladder.as_ref().map(|ladder| match ladder {
            Ladder::Asked { kill_at } => *kill_at,
            Ladder::Killing { since, told: false } => since + UNKILLABLE_AFTER,
            Ladder::Killing { told: true, .. } => u64::MAX,
        });
        let exec = self.executing.then_some(self.started + EXEC_MS);
        let leak = self.ended.filter(|_| self.record.is_none()).map(|ended| ended + LEAK_TIME);
        let leak = leak.filter(|over| *over > now);
        let running = self.ended.is_none() && self.ladder.is_none();
        let timeout = self.start.timeout_ms.filter(|_| running).map(|ms| self.started + ms);
        [ladder, exec, leak, timeout].into_iter().flatten().min()
    }

    fn advance(&mut self, machine: &mut Machine, now: u64) -> Vec<Up> {
        let token = self.job.token;
        let mut messages = Vec::new();
        let tree = self.tree.map(|at| machine.trees[at].clone());
        let main_ended = tree.as_ref().is_some_and(|t| !t.main_lives);
        if self.executing && (main_ended || now >= self.started + EXEC_MS) {
            self.executing = false;
            messages.push(Up::Started { token });
        }
        if self.ended.is_none() && main_ended {
            self.ended = Some(now);
        }
        if let (None, None, Some(ms)) = (self.ended, &self.ladder, self.start.timeout_ms)
            && now >= self.started + ms
        {
            self.why = Why::TimedOut { after_ms: ms };
            self.end_tree(machine, self.start.grace_ms, now);
        }
        let empty = tree.as_ref().is_none_or(super::machine::Tree::is_empty);
        if let (Some(ended), None) = (self.ended, self.record) {
            messages.extend(self.settle(machine, empty, ended, now));
        }
        if !empty {
            messages.extend(self.climb(machine, now));
        }
        if empty && self.record.is_some_and(|r| r.tree == TreeState::Kept) {
            self.released = true;
            self.ladder = None;
        }
        messages
    }

    /// The main process has ended: its leftovers decide when the attempt is over.
    fn settle(&mut self, machine: &mut Machine, empty: bool, ended: u64, now: u64) -> Option<Up> {
        if empty {
            return Some(self.finish(machine, TreeState::Empty, now));
        }
        if self.ladder.is_none() && now >= ended + LEAK_TIME {
            if self.start.keep_leaked {
                return Some(self.finish(machine, TreeState::Kept, now));
            }
            self.end_tree(machine, LEAK_GRACE, now);
        } else if now >= ended + LEAK_TIME
            && let Some(Ladder::Asked { kill_at }) = &mut self.ladder
        {
            *kill_at = (*kill_at).min(ended + LEAK_TIME + LEAK_GRACE);
        }
        if !std::mem::replace(&mut self.pending_written, true) {
            let record = self.record(machine, TreeState::Pending, now);
            write(machine, self.job, now, Write::Pending(record));
        }
        None
    }

    fn climb(&mut self, machine: &mut Machine, now: u64) -> Option<Up> {
        let tree = self.tree?;
        match self.ladder? {
            Ladder::Asked { kill_at } if now >= kill_at => {
                machine.kill(tree, now);
                self.ladder = Some(Ladder::Killing { since: now, told: false });
                None
            }
            Ladder::Killing { since, told: false } if now >= since + UNKILLABLE_AFTER => {
                self.ladder = Some(Ladder::Killing { since, told: true });
                self.unkillable = true;
                Some(Up::Unkillable { token: self.job.token })
            }
            Ladder::Asked { .. } | Ladder::Killing { .. } => None,
        }
    }

    fn finish(&mut self, machine: &mut Machine, state: TreeState, now: u64) -> Up {
        let record = self.record(machine, state, now);
        write(machine, self.job, now, Write::Final(record));
        if let (TreeState::Kept, Some(tree)) = (state, self.tree) {
            machine.trees[tree].kept = true;
        }
        self.record = Some(record);
        self.ladder = None;
        Up::Ended(record)
    }

    fn record(&self, machine: &Machine, tree: TreeState, now: u64) -> Record {
        Record {
            token: self.job.token,
            exit: self.tree.and_then(|at| machine.trees[at].main),
            spawn_error: self.no_exec,
            why: self.why,
            tree,
            run_ms: self.ended.unwrap_or(now) - self.started,
        }
    }
}

fn write(machine: &mut Machine, job: Job, now: u64, what: Write) {
    if let Some(file) = machine.files.get_mut(&job.key) {
        file.write(now, what);
    }
}

fn free(machine: &mut Machine, job: Job, sup: SupId) {
    if let Some(file) = machine.files.get_mut(&job.key)
        && file.holder == Holder::Supervisor(sup)
    {
        file.holder = Holder::Nobody;
    }
}

impl Machine {
    /// A supervisor reads one message.
    pub(super) fn sup_read(&mut self, id: ConnId, now: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let sup = conn.sup;
        if let Some(frozen) = self.sups.get(&sup).map(|s| s.frozen_until).filter(|t| *t > now) {
            return self.at(frozen, Happening::SupRead(id));
        }
        if !conn.sup_open {
            return;
        }
        let Some(message) = conn.down.pop_front() else { return };
        match self.sups.get(&sup) {
            // Accepted after all that was written before it.
            Some(s) if !s.peers.contains(&id) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.down.push_front(message);
                }
                self.at(now + 1, Happening::SupRead(id));
            }
            Some(_) => self.with(sup, now, |s, machine| s.on_message(machine, id, message, now)),
            None => self.drop_message(&message),
        }
    }

    /// A supervisor accepts a connection and greets.
    pub(super) fn sup_accept(&mut self, id: ConnId, now: u64) {
        let Some(sup) = self.conns.get(&id).map(|c| c.sup) else { return };
        let Some(s) = self.sups.get_mut(&sup) else {
            return self.close_by_supervisor(id, now);
        };
        if s.frozen_until > now {
            let at = s.frozen_until;
            return self.at(at, Happening::SupAccept(id));
        }
        s.peers.push(id);
        let current = s.task.as_ref().map(Attempt::describe);
        self.say(id, now, Up::Hello { current });
    }

    /// A supervisor looks around.
    pub(super) fn sup_wakes(&mut self, sup: SupId, now: u64) {
        match self.sups.get(&sup).map(|s| s.frozen_until) {
            Some(frozen) if frozen > now => self.at(frozen, Happening::Sup(sup)),
            Some(_) => self.with(sup, now, |_, _| ()),
            None => {}
        }
    }

    /// Does something with a supervisor, then what every turn of its loop ends with.
    fn with(&mut self, sup: SupId, now: u64, act: impl FnOnce(&mut Supervisor, &mut Self)) {
        let Some(mut s) = self.sups.remove(&sup) else { return };
        act(&mut s, self);
        if !s.dying && s.serve(self, now) {
            if let Some(next) = s.next(now).filter(|next| *next < u64::MAX / 8) {
                self.at(next.max(now + 1), Happening::Sup(sup));
            }
            self.sups.insert(sup, s);
        } else {
            self.bury(s, now);
        }
    }

    /// The process is gone: its descriptors are closed.
    fn bury(&mut self, s: Supervisor, now: u64) {
        if let Some(task) = &s.task {
            free(self, task.job, s.id);
        }
        let conns = self.conns.iter().filter(|(_, c)| c.sup == s.id).map(|(id, _)| *id);
        for id in conns.collect::<Vec<_>>() {
            self.close_by_supervisor(id, now);
        }
    }

    /// SIGKILL to a supervisor.
    pub(super) fn kill_supervisor(&mut self, sup: SupId, now: u64) {
        let Some(s) = self.sups.remove(&sup) else { return };
        if let Some(tree) = s.task.as_ref().and_then(|t| t.tree) {
            self.trees[tree].orphaned = true;
        }
        self.bury(s, now);
    }
}
