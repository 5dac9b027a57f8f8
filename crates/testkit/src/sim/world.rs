//! A whole run: the machine, the daemon when it lives, the clients, and time.
//!
//! ```text
//!   step ─► acts ─► letters, signals, faults
//!   time ─► agenda ─► supervisors, processes, the daemon's turns ─► checks
//! ```
//!
//! Owns the order in which things happen. What a step does is in `acts.rs`.

use meanwhile_core::{Answer, Config, LaneName, WaitId};
use std::time::Duration;

use super::check;
use super::clients::{Reply, Standing, WaitStanding};
use super::disk::{Backend, Disk};
use super::env::{Env, Figures, Gone, Violation};
use super::machine::Happening;
use super::shell::Shell;
use super::shell::letters::{Ask, Letter};
use super::step::{Setting, Step};
use super::wire::{Job, Key};

/// Lanes of the scripts.
pub(super) const LANES: [&str; 3] = ["a", "b", "c"];
/// Happenings after the last step: a run that needs more does not come to rest.
const AT_MOST: u32 = 200_000;
/// How long the helper threads of the daemon look after what is left before they call it unkillable.
const GIVE_UP: u64 = 60_000;
/// Simulated time after the last step, likewise: a week.
const AT_LONGEST: u64 = 7 * 24 * 3_600_000;

pub(super) struct World {
    pub(super) env: Env,
    pub(super) daemon: Option<Shell>,
    daemon_coming: bool,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// The step at which it was found.
    pub at_step: usize,
    /// Figures of it.
    pub figures: Figures,
    /// Hash of every fact, effect and moment.
    pub trace: u64,
    /// What happened, when it was asked for.
    pub story: Vec<String>,
}

impl World {
    pub(super) fn new(salt: u64, setting: &Setting, backend: Backend) -> Self {
        let limits = LANES.iter().zip(setting.limits);
        let config = Config {
            lane_limits: limits.map(|(name, limit)| (LaneName::new(*name), limit)).collect(),
            default_lane_limit: 2,
            starts: setting.starts,
            depth: setting.depth,
            descendants: setting.descendants,
            queued: 40,
            max_backoff: Duration::from_secs(30),
            stale_queued: Duration::from_secs(1800),
        };
        let disk = Disk::new(backend);
        // The file has to be there before anybody can read it.
        drop(disk.open(1));
        let reader = disk.reader();
        Self { env: Env::new(salt, disk, reader, config), daemon: None, daemon_coming: false }
    }

    /// Plays a script to its end, or to the first violation.
    pub(super) fn play(&mut self, setting: &Setting, steps: &[Step]) -> usize {
        self.start_daemon();
        for (at, step) in steps.iter().enumerate() {
            self.env.figures.steps += 1;
            self.env.tell(|_| format!("step {at}: {step}"));
            self.act(setting, step);
            self.pass(1);
            if self.env.violation.is_some() {
                return at;
            }
        }
        self.come_to_rest();
        steps.len()
    }

    pub(super) fn finish(mut self, at_step: usize) -> Run {
        let mut figures = self.env.figures;
        figures.simulated_ms = self.env.clock.total();
        figures.transitions = self.env.books.facts;
        figures.tasks = self.env.books.names.len() as u64;
        figures.starts = self.env.books.starts;
        figures.ends = self.env.books.ends.len() as u64;
        figures.executions = self.env.machine.trees.len() as u64;
        figures.answers = self.env.clients.answers;
        figures.resent = self.env.clients.resent;
        Run {
            violation: self.env.violation.clone(),
            at_step,
            figures,
            trace: self.env.trace.value(),
            story: self.env.take_story(),
        }
    }

    // Time.

    /// Lets so many milliseconds pass.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.env.mono() + ms;
        while self.env.violation.is_none()
            && self.env.machine.next_time().is_some_and(|at| at <= until)
        {
            self.happens();
        }
        self.env.clock.mono = self.env.clock.mono.max(until);
    }

    fn happens(&mut self) {
        let Some(at) = self.env.machine.next_time() else { return };
        let Some(what) = self.env.machine.pop() else { return };
        self.env.clock.mono = self.env.clock.mono.max(at);
        let now = self.env.mono();
        let machine = &mut self.env.machine;
        match what {
            Happening::SupRead(conn) => machine.sup_read(conn, now),
            Happening::SupAccept(conn) => machine.sup_accept(conn, now),
            Happening::Sup(sup) => machine.sup_wakes(sup, now),
            Happening::MainEnds(tree) => machine.main_ends(tree, now),
            Happening::RestEnds(tree) => machine.rest_ends(tree, now),
            Happening::Dies(tree, signal) => machine.dies(tree, signal, now),
            Happening::DaemonRead(conn) => {
                if machine.daemon_lives && machine.conns.get(&conn).is_some_and(|c| c.daemon_open) {
                    self.env.readable.push(conn);
                    self.env.wake();
                }
            }
            Happening::Turn => self.turn(at),
            Happening::DaemonStart => self.start_daemon(),
            Happening::Remains { incarnation, job, since, told } => {
                self.remains(incarnation, job, since, told);
            }
            Happening::Ready { incarnation, job } => {
                if self.env.machine.living(job.key).is_some() {
                    self.own_letter(incarnation, Ask::Ready(job));
                }
            }
            Happening::Send(request) => {
                self.env.clients.requests[request].planned = false;
                self.send(request, false);
            }
            Happening::Ask(wait) => {
                self.env.clients.waits[wait].planned = false;
                self.ask_wait(wait);
            }
            Happening::Answered(tree) => self.env.machine.unblock(tree, now),
        }
        self.look();
    }

    /// A helper thread looks: what is gone is told, and after a minute that it is not.
    fn remains(&mut self, incarnation: u32, job: Job, since: u64, mut told: bool) {
        let now = self.env.mono();
        if self.env.machine.living(job.key).is_none() {
            return self.own_letter(incarnation, Ask::RemainsGone { job, emptied: true });
        }
        if now >= since + GIVE_UP && !std::mem::replace(&mut told, true) {
            self.own_letter(incarnation, Ask::RemainsGone { job, emptied: false });
        }
        let pause = ((now - since) / 2).clamp(2, 1000);
        if self.daemon.is_some() && incarnation == self.env.incarnation {
            let again = Happening::Remains { incarnation, job, since, told };
            self.env.machine.at(now + pause, again);
        }
    }

    /// A letter of one of the daemon's own threads; gone with its process.
    fn own_letter(&mut self, incarnation: u32, ask: Ask) {
        if self.daemon.is_some() && incarnation == self.env.incarnation {
            self.env.letters.push(Letter { ask, request: None, from: None });
            self.env.wake();
        }
    }

    /// What follows at once from what has happened.
    fn look(&mut self) {
        for at in std::mem::take(&mut self.env.machine.executed) {
            executed(&mut self.env, at);
        }
        for at in std::mem::take(&mut self.env.machine.ended) {
            self.env.tell(|e| {
                let tree = &e.machine.trees[at];
                format!("main process of {} ends: {:?}", e.job_label(tree.job), tree.main)
            });
            self.die_with(at);
        }
        if std::mem::take(&mut self.env.machine.daemon_wanted) {
            self.want_daemon(30);
        }
    }

    // The daemon.

    fn turn(&mut self, at: u64) {
        let env = &mut self.env;
        if env.timer_at.is_some_and(|armed| armed <= at) {
            env.timer_at = None;
        }
        env.turn_planned = false;
        let Some(shell) = &mut self.daemon else { return };
        if env.stalled_until > env.clock.mono {
            env.turn_planned = true;
            return env.machine.at(env.stalled_until, Happening::Turn);
        }
        if let Err(gone) = shell.turn(env) {
            self.daemon_gone(gone);
        }
    }

    /// Somebody starts a daemon, unless one lives.
    pub(super) fn want_daemon(&mut self, after_ms: u64) {
        if self.daemon.is_none() && !std::mem::replace(&mut self.daemon_coming, true) {
            let at = self.env.mono() + after_ms;
            self.env.machine.at(at, Happening::DaemonStart);
        }
    }

    /// A start that was under way went down with the machine.
    pub(super) const fn daemon_is_not_coming(&mut self) {
        self.daemon_coming = false;
    }

    pub(super) fn start_daemon(&mut self) {
        self.daemon_coming = false;
        if self.daemon.is_some() {
            return;
        }
        match Shell::start(&mut self.env) {
            Ok(shell) => {
                self.env.machine.daemon_lives = true;
                shell.plan(&mut self.env);
                self.daemon = Some(shell);
            }
            Err(gone) => self.daemon_gone(gone),
        }
    }

    pub(super) fn daemon_gone(&mut self, gone: Gone) {
        let env = &mut self.env;
        env.tell(|_| format!("the daemon is gone: {gone:?}"));
        if gone == Gone::Killed {
            env.figures.crashes += 1;
            env.crash_in = None;
        }
        if let Some(shell) = self.daemon.take() {
            shell.die(env);
        }
        env.letters.clear();
        env.readable.clear();
        (env.turn_planned, env.timer_at, env.stalled_until) = (false, None, 0);
        env.machine.daemon_lives = false;
        env.machine.daemon_died = gone != Gone::Stopped;
        let (requests, waits) = env.clients.disconnected();
        for (n, request) in requests.into_iter().enumerate() {
            env.machine.at(env.clock.mono + 100 + 7 * n as u64, Happening::Send(request));
        }
        for (n, wait) in waits.into_iter().enumerate() {
            env.machine.at(env.clock.mono + 120 + 9 * n as u64, Happening::Ask(wait));
        }
        check::nothing_lost(env);
    }

    // The end.

    /// Nothing is disturbed any more: everything comes to its end.
    fn come_to_rest(&mut self) {
        let env = &mut self.env;
        env.tell(|_| "no more steps: what is left comes to its end".into());
        env.crash_in = None;
        env.disk.make_space();
        env.machine.crowded_until = 0;
        self.compare();
        let began = self.env.clock.total();
        let mut left = AT_MOST;
        loop {
            if self.env.violation.is_some() {
                return;
            }
            if self.daemon.is_none() {
                self.want_daemon(1000);
            }
            self.stop_services();
            let late = self.env.clock.total() - began > AT_LONGEST;
            if left == 0 || late || self.env.machine.next_time().is_none() {
                break;
            }
            left -= 1;
            self.happens();
        }
        if self.env.violation.is_none() && left == 0 {
            self.env.broken("everything comes to its end", "it goes on and on");
        }
        self.compare();
        check::log_is_whole(&mut self.env);
        if let Some(shell) = &self.daemon {
            check::at_rest(&mut self.env, shell);
        }
    }

    /// The whole store and the whole log against what lives.
    fn compare(&mut self) {
        check::nothing_lost(&mut self.env);
        if let Some(shell) = &mut self.daemon {
            shell.check_load(&mut self.env);
            check::replay(&mut self.env, shell);
        }
    }

    /// A service never ends by itself.
    fn stop_services(&mut self) {
        let asked = |e: &Env| {
            e.clients.requests.iter().any(|r| r.standing == Standing::Open) || !e.letters.is_empty()
        };
        if asked(&self.env) {
            return;
        }
        let books = &self.env.books;
        let running = |id: &meanwhile_core::TaskId| {
            let standing = self.daemon.as_ref().and_then(|d| d.core.standing(*id));
            books.is_service(*id) && standing.is_some_and(|s| !s.stopping && !s.state.is_terminal())
        };
        let targets: Vec<_> = books.tasks.keys().copied().filter(running).collect();
        if !targets.is_empty() {
            let want = super::clients::Want::Cancel { targets, cascade: false };
            self.request(want, None);
        }
    }
}

/// A program was executed: once per attempt, and only as the store says.
fn executed(env: &mut Env, at: usize) {
    let job = env.machine.trees[at].job;
    env.record(&("executed", job));
    env.tell(|e| format!("{} is executed", e.job_label(job)));
    let times = env.machine.trees.iter().filter(|t| t.job.key == job.key).count();
    let Key { task, attempt } = job.key;
    if times > 1 {
        env.broken("no attempt is started twice", format!("{task}/{attempt} was executed again"));
    }
    let as_told = env.books.tasks.get(&task).is_some_and(|entry| {
        entry.attempt == attempt
            && entry.token == Some(job.token)
            && entry.state == meanwhile_core::State::Starting
    });
    if !as_told {
        let what = format!("{task}/{attempt} was executed, the store says otherwise");
        env.broken("nothing runs but what the store says", what);
    }
}

/// A request's answer reaches its client.
pub(super) fn answered(env: &mut Env, at: usize, reply: Result<Reply, String>) {
    env.clients.answers += 1;
    let request = &env.clients.requests[at];
    if request.standing == Standing::Gone {
        return;
    }
    let before = request.standing.clone();
    env.tell(|e| format!("answer to request {at}: {}", reply_words(e, &reply)));
    match (&before, reply) {
        (Standing::Answered(first), Ok(again)) if *first != again => {
            let what = format!("request {at}: {first:?}, then {again:?}");
            env.broken("a request sent again gets its first answer", what);
        }
        (Standing::Answered(_), Err(what)) => {
            env.broken("a request sent again gets its first answer", format!("{at}: {what}"));
        }
        (Standing::Answered(_), Ok(_)) => {}
        (_, Ok(reply)) => {
            if let Reply::Submitted(ids) = &reply {
                let kept = ids.iter().filter(|id| !env.books.forgotten.contains(*id));
                let kept: Vec<_> = kept.copied().collect();
                let states = env.reader.states(&kept).expect("the store can be read");
                if states.iter().any(Option::is_none) {
                    let what = format!("request {at}: {}", env.labels(&kept));
                    env.broken("what is acknowledged is on disk", what);
                }
            }
            env.clients.requests[at].standing = Standing::Answered(reply);
        }
        (_, Err(what)) => {
            env.figures.refusals += 1;
            // A daemon that ends is asked again once another is there.
            if what != "stopping" {
                env.clients.requests[at].standing = Standing::Refused(what);
            }
        }
    }
}

fn reply_words(env: &Env, reply: &Result<Reply, String>) -> String {
    match reply {
        Ok(Reply::Submitted(ids)) => format!("submitted {}", env.labels(ids)),
        Ok(other) => format!("{other:?}"),
        Err(what) => format!("refused: {what}"),
    }
}

/// A wait's answer reaches its client: what it says has been committed.
pub(super) fn wait_answered(env: &mut Env, id: WaitId, answer: Result<Answer, String>) {
    let Some(at) = env.clients.by_wait(id) else { return };
    let wait = env.clients.waits[at].clone();
    env.tell(|_| format!("answer to wait {at}: {answer:?}"));
    env.clients.waits[at].standing = WaitStanding::Over;
    if let Some((_, tree)) = wait.inside {
        let now = env.mono();
        env.machine.at(now + 1, Happening::Answered(tree));
    }
    let Ok(answer) = answer else {
        env.figures.refusals += 1;
        return;
    };
    env.figures.waits_answered += 1;
    for (task, state) in &answer.states {
        let Some(state) = state else { continue };
        let all = Key { task: *task, attempt: 0 }..=Key { task: *task, attempt: u32::MAX };
        if !env.books.ends.range(all).any(|(_, end)| end == state) {
            let what = format!("{task} was called {}, which it never was", state.name());
            env.broken("who waits is told the truth", what);
        }
    }
    let whole = answer.states.iter().all(|(_, state)| state.is_some());
    let done = wait.until == meanwhile_core::input::Until::Done;
    if answer.met && done && !wait.any && !whole {
        env.broken("who waits is told the truth", format!("wait {at} is met, not all have ended"));
    }
    if answer.timed_out && wait.gives_up.is_none() {
        env.broken("who waits is told the truth", format!("wait {at} has no time to run out of"));
    }
}

/// The daemon has heard that a client is gone.
pub(super) fn hung_up(env: &mut Env, id: WaitId) {
    if let Some(at) = env.clients.by_wait(id) {
        env.clients.waits[at].standing = WaitStanding::Over;
    }
}
