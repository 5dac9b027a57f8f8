//! The simulated machine: processes, sockets, owner files, and what happens next.
//!
//! ```text
//!   daemon ──Down──► connection ──► supervisor ──signals──► tree of processes
//!      ▲────Up──────    (FIFO)  ◄──        │ writes
//!   verdict ◄──────────────────────── owner file
//! ```
//!
//! Owns everything that outlives the daemon's process but the store. A supervisor's behaviour is in
//! `supervisor.rs`. Never knows what the daemon believes.

use std::collections::{BTreeMap, VecDeque};

use meanwhile_core::TaskId;
use meanwhile_core::event::Exit;

use super::plan::Plan;
use super::random::mix;
use super::supervisor::Supervisor;
use super::wire::{ConnId, Down, Holder, Job, Key, OwnerFile, SupId, Up};

/// Something that will happen.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A supervisor reads the next message of a connection.
    SupRead(ConnId),
    /// A supervisor accepts a connection of the daemon.
    SupAccept(ConnId),
    /// The daemon's end of a connection becomes readable.
    DaemonRead(ConnId),
    /// A supervisor looks at its deadlines and children.
    Sup(SupId),
    /// The main process of a tree ends by itself.
    MainEnds(usize),
    /// What is left of a tree goes.
    RestEnds(usize),
    /// A signal takes effect.
    Dies(usize, i32),
    /// The daemon's loop is woken.
    Turn,
    /// Somebody starts a daemon.
    DaemonStart,
    /// A helper thread of one incarnation of the daemon looks whether what it killed is gone.
    Remains { incarnation: u32, job: Job, since: u64, told: bool },
    /// A readiness check of one incarnation succeeds.
    Ready { incarnation: u32, job: Job },
    /// A client sends its request (again).
    Send(usize),
    /// A client's wait is asked for (again).
    Ask(usize),
    /// What a client was sent by the daemon reaches it.
    Answered(usize),
}

/// The tree of processes of one execution.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) job: Job,
    pub(super) sup: SupId,
    pub(super) boot: u32,
    pub(super) plan: Plan,
    pub(super) main: Option<Exit>,
    pub(super) main_lives: bool,
    pub(super) rest_lives: bool,
    /// Its program waits inside a client of ours: it ends by itself only after that.
    pub(super) blocked: u32,
    overdue: bool,
    killed: bool,
    /// Its supervisor died before it.
    pub(super) orphaned: bool,
    /// Its supervisor let it live on as asked.
    pub(super) kept: bool,
}

impl Tree {
    pub(super) const fn is_empty(&self) -> bool {
        !self.main_lives && !self.rest_lives
    }
}

/// A connection between the daemon and a supervisor.
#[derive(Clone, Debug)]
pub(super) struct Conn {
    pub(super) sup: SupId,
    pub(super) down: VecDeque<Down>,
    pub(super) up: VecDeque<Up>,
    pub(super) daemon_open: bool,
    pub(super) sup_open: bool,
    sent: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) files: BTreeMap<Key, OwnerFile>,
    pub(super) sups: BTreeMap<SupId, Supervisor>,
    pub(super) trees: Vec<Tree>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    agenda: BTreeMap<(u64, u64), Happening>,
    next_seq: u64,
    next_conn: ConnId,
    next_sup: SupId,
    pub(super) plans: BTreeMap<TaskId, Plan>,
    /// Executions that were not looked at yet.
    pub(super) executed: Vec<usize>,
    /// Trees whose main process has ended, and that were not looked at yet.
    pub(super) ended: Vec<usize>,
    /// A supervisor misses its daemon and starts one.
    pub(super) daemon_wanted: bool,
    pub(super) daemon_lives: bool,
    pub(super) daemon_died: bool,
    /// No new process can be made until then.
    pub(super) crowded_until: u64,
    pub(super) boot: u32,
    salt: u64,
}

impl Machine {
    pub(super) fn new(salt: u64) -> Self {
        Self {
            files: BTreeMap::new(),
            sups: BTreeMap::new(),
            trees: Vec::new(),
            conns: BTreeMap::new(),
            agenda: BTreeMap::new(),
            next_seq: 0,
            next_conn: 1,
            next_sup: 1,
            plans: BTreeMap::new(),
            executed: Vec::new(),
            ended: Vec::new(),
            daemon_wanted: false,
            daemon_lives: false,
            daemon_died: false,
            crowded_until: 0,
            boot: 1,
            salt,
        }
    }

    // The agenda.

    pub(super) fn at(&mut self, time: u64, what: Happening) {
        self.agenda.insert((time, self.next_seq), what);
        self.next_seq += 1;
    }

    pub(super) fn next_time(&self) -> Option<u64> {
        self.agenda.first_key_value().map(|((time, _), _)| *time)
    }

    pub(super) fn pop(&mut self) -> Option<Happening> {
        self.agenda.pop_first().map(|(_, what)| what)
    }

    /// A few milliseconds, now and then many.
    fn latency(&self, conn: ConnId, sent: u64) -> u64 {
        let hash = mix(self.salt ^ u64::from(conn) << 24 ^ sent);
        match hash % 64 {
            0 => 20 + (hash >> 8) % 2000,
            1..6 => (hash >> 8) % 40,
            _ => (hash >> 8) % 3,
        }
    }

    // Supervisors and connections.

    /// A fresh supervisor, connected to the daemon that starts it.
    pub(super) fn spawn_supervisor(&mut self, now: u64) -> (SupId, ConnId) {
        let id = self.next_sup;
        self.next_sup += 1;
        let conn = self.new_conn(id);
        let mut sup = Supervisor::new(id, now);
        sup.daemon = Some(conn);
        sup.peers.push(conn);
        self.sups.insert(id, sup);
        self.say(conn, now, Up::Hello { current: None });
        self.at(now + super::supervisor::IDLE_MS, Happening::Sup(id));
        (id, conn)
    }

    fn new_conn(&mut self, sup: SupId) -> ConnId {
        let id = self.next_conn;
        self.next_conn += 1;
        let (down, up) = (VecDeque::new(), VecDeque::new());
        self.conns.insert(id, Conn { sup, down, up, daemon_open: true, sup_open: true, sent: 0 });
        id
    }

    /// Connects to the listening socket of a supervisor; none when nobody listens.
    pub(super) fn connect(&mut self, sup: SupId, now: u64) -> Option<ConnId> {
        self.sups.get(&sup).filter(|s| s.listening)?;
        let conn = self.new_conn(sup);
        self.at(now, Happening::SupAccept(conn));
        Some(conn)
    }

    /// The daemon writes.
    pub(super) fn tell(&mut self, id: ConnId, now: u64, message: Down) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| c.sup_open) else {
            self.drop_message(&message);
            return;
        };
        conn.down.push_back(message);
        conn.sent += 1;
        let sent = conn.sent;
        let at = now + self.latency(id, sent);
        self.at(at, Happening::SupRead(id));
    }

    /// A supervisor writes.
    pub(super) fn say(&mut self, id: ConnId, now: u64, message: Up) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| c.daemon_open) else { return };
        conn.up.push_back(message);
        conn.sent += 1;
        let sent = conn.sent;
        let at = now + self.latency(id, sent);
        self.at(at, Happening::DaemonRead(id));
    }

    /// A start that nobody will read closes the descriptor that holds the lock.
    pub(super) fn drop_message(&mut self, message: &Down) {
        if let Down::Start(start) = message
            && let Some(file) = self.files.get_mut(&start.job.key)
            && file.holder == Holder::Flight
            && file.view().header.is_some_and(|h| h.token == start.job.token)
        {
            file.holder = Holder::Nobody;
        }
    }

    /// The daemon closes its end: what it had written is still read.
    pub(super) fn close_by_daemon(&mut self, id: ConnId, now: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.daemon_open = false;
            conn.up.clear();
        }
        self.tell(id, now, Down::End);
    }

    /// A supervisor closes its end, by will or by dying; what it had written is still read.
    pub(super) fn close_by_supervisor(&mut self, id: ConnId, now: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| c.sup_open) else { return };
        conn.sup_open = false;
        for message in std::mem::take(&mut conn.down) {
            self.drop_message(&message);
        }
        self.say(id, now, Up::End { broken: false });
    }

    /// A connection breaks: what was under way is lost, and both ends hear of it.
    pub(super) fn break_conn(&mut self, id: ConnId, now: u64) -> usize {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| c.sup_open && c.daemon_open) else {
            return 0;
        };
        let lost = conn.up.len();
        conn.up.clear();
        for message in std::mem::take(&mut conn.down) {
            self.drop_message(&message);
        }
        self.say(id, now, Up::End { broken: true });
        self.tell(id, now, Down::End);
        lost
    }

    // Processes.

    /// Makes the tree of a task; its supervisor is the parent.
    pub(super) fn execute(&mut self, job: Job, sup: SupId, now: u64) -> usize {
        let plan = self.plans[&job.key.task];
        let at = self.trees.len();
        self.trees.push(Tree {
            job,
            sup,
            boot: self.boot,
            plan,
            main: None,
            main_lives: true,
            rest_lives: plan.leaves_ms > 0,
            blocked: 0,
            overdue: false,
            killed: false,
            orphaned: false,
            kept: false,
        });
        self.executed.push(at);
        if let Some(ms) = plan.runs_for(job.key.attempt) {
            self.at(now + ms, Happening::MainEnds(at));
        }
        at
    }

    pub(super) fn main_ends(&mut self, at: usize, now: u64) {
        let tree = &mut self.trees[at];
        if !tree.main_lives || tree.boot != self.boot {
            return;
        }
        if tree.blocked > 0 {
            tree.overdue = true;
            return;
        }
        let exit = tree.plan.exit(tree.job.key.attempt);
        self.main_ended(at, exit, now);
    }

    fn main_ended(&mut self, at: usize, exit: Exit, now: u64) {
        let tree = &mut self.trees[at];
        tree.main_lives = false;
        tree.main = Some(exit);
        self.ended.push(at);
        let tree = &self.trees[at];
        let (sup, rest, leaves) = (tree.sup, tree.rest_lives, tree.plan.leaves_ms);
        if rest {
            self.at(now + leaves, Happening::RestEnds(at));
        }
        self.at(now, Happening::Sup(sup));
    }

    pub(super) fn rest_ends(&mut self, at: usize, now: u64) {
        let tree = &mut self.trees[at];
        if !tree.main_lives && tree.rest_lives && tree.boot == self.boot {
            tree.rest_lives = false;
            let sup = tree.sup;
            self.at(now, Happening::Sup(sup));
        }
    }

    /// A client inside the task has its answer, or is gone.
    pub(super) fn unblock(&mut self, at: usize, now: u64) {
        let tree = &mut self.trees[at];
        tree.blocked = tree.blocked.saturating_sub(1);
        if tree.blocked == 0 && tree.overdue {
            tree.overdue = false;
            self.at(now + 3, Happening::MainEnds(at));
        }
    }

    /// SIGTERM to all of a tree.
    pub(super) fn terminate(&mut self, at: usize, now: u64) {
        if let Some(ms) = self.trees[at].plan.term_ms {
            self.at(now + ms, Happening::Dies(at, 15));
        }
    }

    /// SIGKILL to all of a tree. Says when it will be empty.
    pub(super) fn kill(&mut self, at: usize, now: u64) -> u64 {
        let end = now + self.trees[at].plan.kill_ms;
        if !std::mem::replace(&mut self.trees[at].killed, true) {
            self.at(end, Happening::Dies(at, 9));
        }
        end
    }

    pub(super) fn dies(&mut self, at: usize, signal: i32, now: u64) {
        let tree = &mut self.trees[at];
        if tree.is_empty() || tree.boot != self.boot {
            return;
        }
        tree.rest_lives = false;
        let sup = tree.sup;
        if tree.main_lives {
            self.main_ended(at, Exit::Signal(signal), now);
        }
        self.at(now, Happening::Sup(sup));
    }

    /// The living tree of an attempt.
    pub(super) fn living(&self, key: Key) -> Option<usize> {
        self.trees.iter().rposition(|t| t.job.key == key && t.boot == self.boot && !t.is_empty())
    }

    /// The machine goes down: every process ends, every connection is gone. A power cut also takes back
    /// writes of the last half minute that nothing had brought to the disk.
    pub(super) fn go_down(&mut self, now: u64, cut: Option<u64>) {
        self.agenda.retain(|_, what| matches!(what, Happening::Send(_) | Happening::Ask(_)));
        self.sups.clear();
        self.conns.clear();
        self.daemon_wanted = false;
        for (at, tree) in self.trees.iter_mut().enumerate() {
            if std::mem::replace(&mut tree.main_lives, false) {
                self.ended.push(at);
            }
            tree.rest_lives = false;
        }
        for file in self.files.values_mut() {
            file.holder = Holder::Nobody;
        }
        if let Some(bits) = cut {
            let since = now.saturating_sub(30_000);
            self.files.retain(|key, file| {
                let hash = mix(bits ^ key.task.to_bits() ^ u64::from(key.attempt));
                file.cut(since, (hash % 5) as usize)
            });
        }
        self.boot += 1;
    }
}
