//! What each step does.
//!
//! Owns the choice among what there is, and the making of tasks and requests. Never looks inside the daemon.

use std::time::Duration;

use meanwhile_core::input::Until;
use meanwhile_core::spec::Placement;
use meanwhile_core::spec::{
    Command, Condition, Dependency, EnvSpec, ProcessContext, Readiness, ResourceLimits,
    RetryPolicy, Stdin, Timing,
};
use meanwhile_core::{Actor, LaneName, SessionId, State, TaskId, TaskSpec};
use meanwhile_store::MemoryFault;

use super::clients::{Draft, Reply, Request, Standing, WaitClient, WaitStanding, Want};
use super::env::Gone;
use super::machine::Happening;
use super::plan::Plan;
use super::shell::letters::{Ask, Letter, Prepared, WaitFor};
use super::step::{Launch, Setting, Step};
use super::wire::Up;
use super::world::{LANES, World};

/// How long a client that found no daemon waits before it asks again.
const ASK_AGAIN: u64 = 200;

/// The chosen one of some.
fn pick<T: Clone>(from: &[T], n: u8) -> Option<T> {
    (!from.is_empty()).then(|| from[usize::from(n) % from.len()].clone())
}

impl World {
    pub(super) fn act(&mut self, setting: &Setting, step: &Step) {
        match step {
            Step::Submit(launches) => self.submit(setting, launches),
            Step::Resend { who } => {
                let known: Vec<usize> = self.requests(|s| *s != Standing::Gone);
                if let Some(at) = pick(&known, *who) {
                    self.send(at, true);
                }
            }
            Step::Cancel { who, cascade } => {
                if let Some(task) = pick(&self.kept(|_| true), *who) {
                    self.request(Want::Cancel { targets: vec![task], cascade: *cascade }, None);
                }
            }
            Step::Retry { who } => {
                if let Some(task) = pick(&self.kept(State::is_terminal), *who) {
                    self.request(Want::Retry(task), None);
                }
            }
            Step::Complete { who, failed } => {
                if let Some(task) = pick(&self.kept(|s| !s.is_terminal()), *who) {
                    self.request(Want::Complete { task, failed: *failed }, None);
                }
            }
            Step::Extend { who, secs } => {
                if let Some(task) = pick(&self.kept(|s| !s.is_terminal()), *who) {
                    let more_ms = u64::from(*secs) * 1000;
                    self.request(Want::Extend { task, more_ms }, None);
                }
            }
            Step::Prune => self.request(Want::Prune, None),
            Step::Forget { who, twice } => {
                if let Some(task) = pick(&self.kept(State::is_terminal), *who) {
                    self.request(Want::Forget(vec![task]), None);
                    if *twice {
                        self.request(Want::Forget(vec![task]), None);
                    }
                }
            }
            Step::Nest { near, launch } => self.nest(setting, *near, launch),
            Step::Wait { inside, targets, kind, secs } => self.wait(*inside, targets, *kind, *secs),
            Step::Vanish { who } => self.vanish(*who),
            Step::Pass { ms } => self.pass(*ms),
            Step::Limits { lane, limit, starts } => self.limits(*lane, *limit, *starts),
            other => self.trouble(other),
        }
    }

    fn trouble(&mut self, step: &Step) {
        let now = self.env.mono();
        let env = &mut self.env;
        match step {
            Step::Crash { points } => env.crash_in = Some((*points).into()),
            Step::CommitFails { how } => {
                let faults = [MemoryFault::Full, MemoryFault::IoLost, MemoryFault::IoKept];
                env.disk.arm(faults[usize::from(how % 3)]);
            }
            Step::Stop { hand_over } => {
                if self.daemon.is_some() {
                    let ask = Ask::Stop { hand_over: *hand_over };
                    env.letters.push(Letter { ask, request: None, from: None });
                    env.wake();
                }
            }
            Step::Start => self.want_daemon(5),
            Step::Stall { ms } => env.stalled_until = now + ms,
            Step::KillSupervisor { who } => {
                let sups: Vec<_> = env.machine.sups.keys().copied().collect();
                if let Some(sup) = pick(&sups, *who) {
                    env.figures.supervisors_killed += 1;
                    env.machine.kill_supervisor(sup, now);
                }
            }
            Step::Freeze { who, ms } => {
                let sups: Vec<_> = env.machine.sups.keys().copied().collect();
                if let Some(sup) = pick(&sups, *who).and_then(|id| env.machine.sups.get_mut(&id)) {
                    env.figures.supervisors_frozen += 1;
                    sup.frozen_until = now + ms;
                }
            }
            Step::Break { who } => {
                let open = env.machine.conns.iter();
                let open: Vec<_> =
                    open.filter(|(_, c)| c.daemon_open && c.sup_open).map(|(id, _)| *id).collect();
                if let Some(conn) = pick(&open, *who) {
                    env.figures.reports_lost += env.machine.break_conn(conn, now) as u64;
                }
            }
            Step::Repeat { who, which } => self.repeat(*who, *which),
            Step::Crowd { ms } => env.machine.crowded_until = now + ms,
            Step::Jump { ms } => {
                env.figures.clock_jumps += 1;
                env.unrest += ms.unsigned_abs();
                env.clock.jump(*ms);
            }
            Step::Suspend { ms } => {
                env.figures.suspends += 1;
                env.clock.suspend(*ms);
                env.timer_at = None;
                if let Some(shell) = &self.daemon {
                    shell.plan(env);
                }
            }
            Step::Reboot { down_ms, cut } => self.reboot(*down_ms, *cut),
            Step::FillDisk { room, seen } => {
                env.figures.full_disks += u64::from(env.disk.fill((*room).into(), *seen));
            }
            Step::FreeDisk => env.disk.make_space(),
            _ => unreachable!("done before"),
        }
    }

    fn repeat(&mut self, who: u8, which: u8) {
        let now = self.env.mono();
        let said: Vec<_> = self
            .env
            .machine
            .sups
            .values()
            .filter_map(|s| Some((s.daemon?, pick(&Vec::from(s.said.clone()), which)?)))
            .collect();
        if let Some((conn, message)) = pick(&said, who) {
            self.env.figures.reports_doubled += 1;
            self.env.tell(|_| format!("said again: {message:?}"));
            let message: Up = message;
            self.env.machine.say(conn, now, message);
        }
    }

    fn reboot(&mut self, down_ms: u64, cut: Option<u64>) {
        let now = self.env.mono();
        self.env.figures.reboots += 1;
        self.env.figures.power_cuts += u64::from(cut.is_some());
        if self.daemon.is_some() {
            self.daemon_gone(Gone::Stopped);
        }
        let env = &mut self.env;
        env.machine.go_down(now, cut);
        env.clock.reboot(down_ms);
        // Every client was a process of this machine.
        for request in &mut env.clients.requests {
            if request.standing == Standing::Open {
                request.standing = Standing::Gone;
            }
        }
        for wait in &mut env.clients.waits {
            wait.standing = WaitStanding::Over;
        }
        self.daemon_is_not_coming();
        if !down_ms.is_multiple_of(3) {
            self.want_daemon(2000);
        }
    }

    fn limits(&mut self, lane: u8, limit: u8, starts: u8) {
        let env = &mut self.env;
        let name = LaneName::new(LANES[usize::from(lane) % LANES.len()]);
        env.config.lane_limits.insert(name, [1, 1, 2, 2, 3, 5, 0][usize::from(limit) % 7]);
        env.config.starts = [1, 2, 3, 10, 0][usize::from(starts) % 5];
        if self.daemon.is_some() {
            let ask = Ask::Configure(Box::new(env.config.clone()));
            env.letters.push(Letter { ask, request: None, from: None });
            env.wake();
        }
    }

    // Clients.

    fn kept(&self, wanted: impl Fn(State) -> bool) -> Vec<TaskId> {
        let tasks = self.env.books.tasks.iter().filter(|(_, t)| wanted(t.state));
        let mut tasks: Vec<TaskId> = tasks.map(|(id, _)| *id).collect();
        // The newest first: what happens now is more often about them.
        tasks.sort_by_key(|id| std::cmp::Reverse(self.env.machine.plans[id].label));
        tasks.truncate(24);
        tasks
    }

    fn requests(&self, wanted: impl Fn(&Standing) -> bool) -> Vec<usize> {
        let all = self.env.clients.requests.iter().enumerate();
        all.filter(|(_, r)| r.sent > 0 && wanted(&r.standing)).map(|(at, _)| at).collect()
    }

    /// Trees in which a client can be.
    fn hosts(&self) -> Vec<usize> {
        let trees = self.env.machine.trees.iter().enumerate();
        trees.filter(|(_, t)| t.main_lives).map(|(at, _)| at).collect()
    }

    fn submit(&mut self, setting: &Setting, launches: &[Launch]) {
        let first = &launches[0];
        let hosts = self.hosts();
        let inside = (first.kind & 3 == 3).then(|| pick(&hosts, first.near)).flatten();
        let number = self.env.clients.requests.len();
        let drafts = launches
            .iter()
            .enumerate()
            .map(|(at, launch)| self.draft(setting, launch, inside, (number, at)))
            .collect();
        self.request(Want::Submit(drafts), inside);
    }

    fn draft(
        &self,
        setting: &Setting,
        launch: &Launch,
        inside: Option<usize>,
        (number, at): (usize, usize),
    ) -> Draft {
        let bits = |from: u32, n: u32| launch.kind >> from & ((1 << n) - 1);
        let parent = inside.map(|tree| self.env.machine.trees[tree].job.key.task);
        let mut ancestors: Vec<TaskId> = parent.into_iter().collect();
        let above = parent.and_then(|p| self.env.books.tasks.get(&p));
        ancestors.extend(above.iter().flat_map(|entry| entry.ancestors.clone()));
        let by_person = parent.is_none() && bits(2, 1) == 0;
        let lane = LANES[bits(3, 4) as usize % usize::from(setting.lanes)];
        let service = bits(7, 6) == 0;
        // What is below a task is after others of its family alone: whoever blocks on it must be able to
        // lend it a seat for all that it needs.
        let family = |id: &TaskId| match parent {
            Some(parent) => {
                self.env.books.tasks.get(id).is_some_and(|t| t.ancestors.contains(&parent))
            }
            None => !self.env.books.is_service(*id),
        };
        let mut candidates = self.kept(|_| true);
        candidates.retain(family);
        let condition =
            [Condition::Ok, Condition::Any, Condition::Fail][usize::from(launch.after) % 3];
        let target = if launch.after < 70 { pick(&candidates, launch.after / 3) } else { None };
        let batch = launch.after >= 200 && at > 0;
        TaskDraft { launch, service, by_person, lane, ancestors, name: format!("{number}.{at}") }
            .build(target.map(|task| Dependency { task, condition }), batch.then(|| at - 1))
    }

    pub(super) fn request(&mut self, want: Want, inside: Option<usize>) {
        let at = self.env.clients.requests.len();
        let id = self.env.request_id();
        let standing = Standing::Open;
        self.env.clients.requests.push(Request {
            id,
            want,
            inside,
            standing,
            sent: 0,
            planned: false,
        });
        self.env.clients.since.push(self.env.unrest + self.env.clock.total());
        self.send(at, false);
    }

    /// Sends a request, for the first time or again.
    pub(super) fn send(&mut self, at: usize, anyway: bool) {
        if self.env.clients.requests[at].standing != Standing::Open && !anyway {
            return;
        }
        // An answer is kept for a day; nobody asks again after that.
        let age = self.env.unrest + self.env.clock.total() - self.env.clients.since[at];
        if age > 20 * 3_600_000 {
            if self.env.clients.requests[at].standing == Standing::Open {
                self.env.clients.requests[at].standing = Standing::Gone;
            }
            return;
        }
        let now = self.env.mono();
        if self.daemon.is_none() {
            self.want_daemon(40);
            if !std::mem::replace(&mut self.env.clients.requests[at].planned, true) {
                self.env.machine.at(now + ASK_AGAIN, Happening::Send(at));
            }
            return;
        }
        let request = self.env.clients.requests[at].clone();
        self.env.clients.resent += u64::from(request.sent > 0);
        self.env.clients.requests[at].sent += 1;
        let by = Actor::Session(SessionId::new(format!("client {at}")));
        let ask = match request.want {
            Want::Submit(drafts) => Ask::Submit(self.prepare(drafts)),
            Want::Cancel { targets, cascade } => Ask::Cancel { targets, cascade, by },
            Want::Retry(task) => Ask::Retry { task, by },
            Want::Complete { task, failed } => Ask::Complete { task, failed, by },
            Want::Extend { task, more_ms } => Ask::Extend { task, more_ms, by },
            Want::Prune => Ask::Prune,
            Want::Forget(tasks) => Ask::Forget(tasks),
        };
        self.env.letters.push(Letter { ask, request: Some(request.id), from: Some(at) });
        self.env.wake();
    }

    /// Every request that comes in is given fresh ids, a resent one too.
    fn prepare(&mut self, drafts: Vec<Draft>) -> Vec<Prepared> {
        let ids: Vec<(TaskId, u32)> = drafts.iter().map(|_| self.env.fresh_task()).collect();
        let mut prepared = Vec::new();
        for (draft, (id, label)) in drafts.into_iter().zip(&ids) {
            let mut plan = Plan::new(*label, draft.run, draft.fate);
            (plan.service, plan.keep_leaked) = (draft.spec.service, draft.spec.keep_leaked);
            self.env.machine.plans.insert(*id, plan);
            let mut spec = draft.spec;
            for entry in draft.after_entries {
                let dependency = Dependency { task: ids[entry].0, condition: Condition::Any };
                spec.after.push(dependency);
            }
            let (spec, placement) = (Box::new(spec), Box::new(draft.placement));
            prepared.push(Prepared { id: *id, spec, placement });
        }
        prepared
    }

    /// A child, and a wait for it without an end: it must come to run, whatever its lane.
    fn nest(&mut self, setting: &Setting, near: u8, launch: &Launch) {
        let Some(inside) = pick(&self.hosts(), near) else { return };
        let parent = self.env.machine.trees[inside].job.key.task;
        let number = self.env.clients.requests.len();
        let mut draft = self.draft(setting, launch, Some(inside), (number, 0));
        draft.spec.service = false;
        self.request(Want::Submit(vec![draft]), Some(inside));
        self.pass(8);
        let Standing::Answered(Reply::Submitted(ids)) = &self.env.clients.requests[number].standing
        else {
            return;
        };
        let ids: Vec<TaskId> = ids.clone();
        let below = |id: &TaskId| {
            self.env.books.tasks.get(id).is_some_and(|t| t.ancestors.contains(&parent))
        };
        // An idempotency key may have answered with a stranger.
        if self.env.machine.trees[inside].main_lives && ids.iter().all(below) {
            self.block(Some((parent, inside)), ids, (false, Until::Done), None);
        }
    }

    fn wait(&mut self, inside: u8, targets: &[u8], kind: u8, secs: u16) {
        let inside = if inside > 60 { pick(&self.hosts(), inside) } else { None };
        let task = inside.map(|tree| self.env.machine.trees[tree].job.key.task);
        let tasks = &self.env.books.tasks;
        let own = self.kept(|s| !s.is_terminal());
        let below = |id: &TaskId| {
            task.is_some_and(|w| tasks.get(id).is_some_and(|t| t.ancestors.contains(&w)))
        };
        let own: Vec<TaskId> = own.into_iter().filter(|id| below(id)).collect();
        // More often for its own: that is what lends.
        let from = if own.is_empty() || kind > 220 { self.kept(|_| true) } else { own };
        let mut targets: Vec<TaskId> = targets.iter().filter_map(|n| pick(&from, *n)).collect();
        targets.retain(|id| !self.env.books.is_service(*id));
        targets.dedup();
        if targets.is_empty() {
            return;
        }
        // Whoever waits inside a task for strangers may wait for one that needs this task's seat: as a
        // person would, it gives up at some time.
        let strangers = task.is_some() && !targets.iter().all(below);
        let until = if kind.is_multiple_of(16) { Until::Ready } else { Until::Done };
        let limited = strangers || kind % 4 == 1;
        let gives_up = limited.then(|| self.env.mono() + 1 + u64::from(secs) * 700);
        self.block(task.zip(inside), targets, (kind % 8 == 2, until), gives_up);
    }

    fn block(
        &mut self,
        inside: Option<(TaskId, usize)>,
        targets: Vec<TaskId>,
        (any, until): (bool, Until),
        gives_up: Option<u64>,
    ) {
        if let Some((_, tree)) = inside {
            self.env.machine.trees[tree].blocked += 1;
        }
        let (standing, pending) = (WaitStanding::Idle, Vec::new());
        self.env.clients.waits.push(WaitClient {
            inside,
            targets,
            pending,
            any,
            until,
            gives_up,
            standing,
            planned: false,
        });
        self.ask_wait(self.env.clients.waits.len() - 1);
    }

    /// A client blocks, or blocks again after it lost the daemon.
    pub(super) fn ask_wait(&mut self, at: usize) {
        if self.env.clients.waits[at].standing != WaitStanding::Idle {
            return;
        }
        let now = self.env.mono();
        if self.daemon.is_none() {
            self.want_daemon(40);
            if !std::mem::replace(&mut self.env.clients.waits[at].planned, true) {
                self.env.machine.at(now + ASK_AGAIN, Happening::Ask(at));
            }
            return;
        }
        let wait = self.env.clients.waits[at].clone();
        let id = self.env.fresh_wait();
        let tasks = &self.env.books.tasks;
        let open = |id: &TaskId| {
            tasks.get(id).filter(|t| !t.state.is_terminal()).map(|t| (*id, t.attempt))
        };
        let pending = wait.targets.iter().filter_map(open).collect();
        self.env.clients.waits[at].pending = pending;
        self.env.clients.waits[at].standing = WaitStanding::Asked(id);
        let inside = wait.inside.map(|(task, _)| task);
        let timeout_ms = wait.gives_up.map(|at| at.saturating_sub(now));
        let WaitClient { targets, any, until, .. } = wait;
        self.env.tell(|e| format!("wait {at} for {} inside {inside:?}", e.labels(&targets)));
        let wait = WaitFor { inside, targets, any, until, timeout_ms };
        self.env.letters.push(Letter { ask: Ask::Wait { id, wait }, request: None, from: None });
        self.env.wake();
    }

    fn vanish(&mut self, who: u8) {
        let waits = self.env.clients.waits.iter().enumerate();
        let asked = |s: WaitStanding| matches!(s, WaitStanding::Asked(_) | WaitStanding::Idle);
        let waits: Vec<usize> =
            waits.filter(|(_, w)| asked(w.standing)).map(|(at, _)| at).collect();
        if let Some(at) = pick(&waits, who) {
            self.env.figures.vanished += 1;
            return self.hang_up(at);
        }
        let open = self.requests(|s| *s == Standing::Open);
        if let Some(at) = pick(&open, who) {
            self.env.figures.vanished += 1;
            self.env.clients.requests[at].standing = Standing::Gone;
        }
    }

    fn hang_up(&mut self, at: usize) {
        let wait = &mut self.env.clients.waits[at];
        let inside = wait.inside;
        match wait.standing {
            WaitStanding::Asked(id) => {
                wait.standing = WaitStanding::Vanished(id);
                let ask = Ask::Hangup(id);
                self.env.letters.push(Letter { ask, request: None, from: None });
                self.env.wake();
            }
            WaitStanding::Idle => wait.standing = WaitStanding::Over,
            WaitStanding::Vanished(_) | WaitStanding::Over => return,
        }
        if let Some((_, tree)) = inside {
            let now = self.env.mono();
            self.env.machine.unblock(tree, now);
        }
    }

    /// The clients inside a task die with it.
    pub(super) fn die_with(&mut self, tree: usize) {
        for request in &mut self.env.clients.requests {
            if request.inside == Some(tree) && request.standing == Standing::Open {
                request.standing = Standing::Gone;
            }
        }
        for at in 0..self.env.clients.waits.len() {
            if self.env.clients.waits[at].inside.is_some_and(|(_, t)| t == tree) {
                self.hang_up(at);
            }
        }
    }
}

/// A task in the making.
struct TaskDraft<'a> {
    launch: &'a Launch,
    service: bool,
    by_person: bool,
    lane: &'a str,
    ancestors: Vec<TaskId>,
    name: String,
}

impl TaskDraft<'_> {
    fn build(self, after: Option<Dependency>, after_entry: Option<usize>) -> Draft {
        let Self { launch, service, by_person, lane, ancestors, name } = self;
        let bits = |from: u32, n: u32| launch.kind >> from & ((1 << n) - 1);
        let ms = |n: u64| Duration::from_millis(n);
        let timeout = [None, None, Some(ms(800)), Some(ms(20_000))][bits(13, 2) as usize];
        let plan = Plan::new(0, launch.run, launch.fate);
        let spec = TaskSpec {
            name: Some(name),
            command: Command::Argv(vec![b"simulated".to_vec()]),
            cwd: b"/".to_vec(),
            labels: Vec::new(),
            env: EnvSpec::default(),
            process: ProcessContext::default(),
            stdin: Stdin::Null,
            pty: None,
            limits: ResourceLimits::default(),
            timing: Timing {
                timeout: timeout.filter(|_| !service),
                idle_timeout: None,
                grace: ms(plan.grace_ms),
            },
            retry: RetryPolicy {
                retries: [0, 0, 1, 3][bits(15, 2) as usize],
                backoff: ms([0, 100, 4000, 20_000][bits(17, 2) as usize]),
                on_codes: if bits(19, 3) == 0 { vec![2] } else { Vec::new() },
            },
            after: after.into_iter().collect(),
            delay: (bits(22, 4) == 0).then(|| ms(1 << bits(26, 4))),
            ready: (bits(30, 2) == 0).then_some(Readiness::Port(1)),
            service,
            artifacts: Vec::new(),
            keep_tmp: false,
            keep_leaked: plan.keep_leaked,
            idempotent: launch.fate & 0x4000_0000 > 0,
            idempotency_key: (launch.key > 0).then(|| format!("key {}", launch.key)),
            extra: Vec::new(),
        };
        let placement = Placement {
            session: SessionId::new(if by_person { "user" } else { "agent" }),
            group: None,
            lane: LaneName::new(lane),
            priority: [0, 0, 0, 0, 1, -1, 5, 0][(launch.fate >> 27 & 7) as usize],
            ancestors,
            over_limit: by_person && launch.near < 12,
            by_person,
        };
        let after_entries = after_entry.into_iter().collect();
        Draft { spec, placement, after_entries, run: launch.run, fate: launch.fate }
    }
}
