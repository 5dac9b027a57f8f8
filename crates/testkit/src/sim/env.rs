//! Everything around the daemon's process: what survives it, and what watches it.
//!
//! Owns the first violation found, the figures, the trace and the story. Never changes what is simulated.

use std::fmt::Write as _;

use meanwhile_core::{Config, Now, RequestId, TaskId};
use meanwhile_store::Reader;

use super::books::Books;
use super::clients::Clients;
use super::clock::Clock;
use super::disk::Disk;
use super::machine::Machine;
use super::random::{Trace, mix};
use super::shell::letters::Letter;
use super::wire::Job;

/// The daemon's process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Killed.
    Killed,
    /// It ended itself: the store could not be written.
    Store,
    /// It ended as asked.
    Stopped,
}

/// What was found to be broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise that was broken.
    pub promise: &'static str,
    /// In one sentence.
    pub what: String,
}

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What was done and looked at.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Figures {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Figures {
            /// Adds those of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Name and number of each.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

figures! {
    /// Steps of the scripts.
    steps,
    /// Milliseconds that passed on the simulated machines.
    simulated_ms,
    /// Turns of the daemon's loop.
    turns,
    /// Transactions.
    commits,
    /// Facts, each judged against the account and the machine: the transitions.
    transitions,
    /// Tasks accepted.
    tasks,
    /// Starts decided.
    starts,
    /// Programs executed.
    executions,
    /// Ends recorded.
    ends,
    /// Starts on the seat of a blocked task.
    borrowed_starts,
    /// Times a lane's limit was compared with what really ran.
    limit_checks,
    /// Times the machine was compared with what would be loaded from the store.
    load_checks,
    /// Times the whole log was replayed and compared.
    replay_checks,
    /// The daemon was killed, at any point of its loop.
    crashes,
    /// Of these, between the commit and its last effect or answer.
    crashes_after_commit,
    /// Commits that failed.
    failed_commits,
    /// The daemon was started.
    daemon_starts,
    /// Machine restarts.
    reboots,
    /// Of these, with writes lost.
    power_cuts,
    /// Jumps of the wall clock.
    clock_jumps,
    /// Suspends.
    suspends,
    /// Disks that were full for a while.
    full_disks,
    /// Supervisors killed.
    supervisors_killed,
    /// Supervisors stopped for a while: late reports.
    supervisors_frozen,
    /// Reports lost with their connection.
    reports_lost,
    /// Reports said again, early or late.
    reports_doubled,
    /// Requests answered.
    answers,
    /// Requests sent again.
    resent,
    /// Waits answered.
    waits_answered,
    /// Clients that vanished.
    vanished,
    /// Requests refused.
    refusals,
}

/// The surroundings.
pub(super) struct Env {
    pub(super) clock: Clock,
    pub(super) machine: Machine,
    pub(super) disk: Disk,
    pub(super) reader: Box<dyn Reader>,
    pub(super) books: Books,
    pub(super) clients: Clients,
    /// The settings file.
    pub(super) config: Config,
    /// Letters on their way to the daemon.
    pub(super) letters: Vec<Letter>,
    /// Connections the daemon can read from.
    pub(super) readable: Vec<super::wire::ConnId>,
    pub(super) figures: Figures,
    pub(super) trace: Trace,
    story: Option<Vec<String>>,
    pub(super) violation: Option<Violation>,
    /// Points of the loop until the daemon is killed.
    pub(super) crash_in: Option<u32>,
    /// By how much the wall clock was moved, in all.
    pub(super) unrest: u64,
    pub(super) turn_planned: bool,
    pub(super) sabotage: Option<super::Sabotage>,
    /// The daemon's timer.
    pub(super) timer_at: Option<u64>,
    pub(super) stalled_until: u64,
    pub(super) incarnation: u32,
    /// Which boot the store remembers.
    pub(super) books_boot: u32,
    entropy: u64,
    next_task: u32,
    next_wait: u64,
}

impl Env {
    pub(super) fn new(salt: u64, disk: Disk, reader: Box<dyn Reader>, config: Config) -> Self {
        Self {
            clock: Clock::new(),
            machine: Machine::new(salt),
            disk,
            reader,
            books: Books::default(),
            clients: Clients::default(),
            config,
            letters: Vec::new(),
            readable: Vec::new(),
            figures: Figures::default(),
            trace: Trace::new(),
            story: None,
            violation: None,
            crash_in: None,
            unrest: 0,
            turn_planned: false,
            sabotage: None,
            timer_at: None,
            stalled_until: 0,
            incarnation: 0,
            books_boot: 1,
            entropy: mix(salt),
            next_task: 1,
            next_wait: 1,
        }
    }

    pub(super) const fn mono(&self) -> u64 {
        self.clock.mono
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// A point at which the daemon may be killed.
    pub(super) fn point(&mut self, after_commit: bool) -> Result<(), Gone> {
        let Some(left) = &mut self.crash_in else { return Ok(()) };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        self.figures.crashes_after_commit += u64::from(after_commit);
        Err(Gone::Killed)
    }

    pub(super) const fn entropy(&mut self) -> u64 {
        self.entropy = mix(self.entropy);
        self.entropy
    }

    /// A fresh task id, and its number for people.
    pub(super) fn fresh_task(&mut self) -> (TaskId, u32) {
        let label = self.next_task;
        self.next_task += 1;
        // Spread, so that the order of ids is not that of submission.
        (TaskId::from_random(mix(u64::from(label))), label)
    }

    pub(super) const fn fresh_wait(&mut self) -> meanwhile_core::WaitId {
        self.next_wait += 1;
        meanwhile_core::WaitId(self.next_wait)
    }

    pub(super) fn request_id(&self) -> RequestId {
        RequestId::new(format!("request {}", self.clients.requests.len()))
    }

    /// Has the daemon's loop wake up.
    pub(super) fn wake(&mut self) {
        if self.machine.daemon_lives && !std::mem::replace(&mut self.turn_planned, true) {
            let at = self.mono().max(self.stalled_until) + mix(self.figures.turns) % 3;
            self.machine.at(at, super::machine::Happening::Turn);
        }
    }

    // What is seen.

    /// Notes that a promise was broken; the first one counts.
    pub(super) fn broken(&mut self, promise: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            let what = self.with_labels(&what.into());
            self.tell(|_| format!("!! {promise}: {what}"));
            self.violation = Some(Violation { promise, what });
        }
    }

    pub(super) fn keep_story(&mut self) {
        self.story = Some(Vec::new());
    }

    pub(super) fn take_story(&mut self) -> Vec<String> {
        self.story.take().unwrap_or_default()
    }

    /// Adds a line to the story, if one is kept.
    pub(super) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_none() {
            return;
        }
        let line = self.with_labels(&line(self));
        let ms = self.clock.total();
        let line = format!("{:>9}.{:03}s  {line}", ms / 1000, ms % 1000);
        self.story.get_or_insert_default().push(line);
    }

    /// Adds something to what a rerun must repeat to the bit.
    pub(super) fn record(&mut self, what: &impl std::fmt::Debug) {
        self.trace.add(self.clock.mono);
        write!(self.trace, "{what:?}").expect("a hash takes any text");
    }

    pub(super) fn label(&self, task: TaskId) -> String {
        self.machine.plans.get(&task).map_or_else(|| task.to_string(), |p| format!("T{}", p.label))
    }

    pub(super) fn job_label(&self, job: Job) -> String {
        format!("{}/{}", self.label(job.key.task), job.key.attempt)
    }

    pub(super) fn labels(&self, tasks: &[TaskId]) -> String {
        tasks.iter().map(|t| self.label(*t)).collect::<Vec<_>>().join(" ")
    }

    /// The same text with numbers for people instead of ids.
    fn with_labels(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, plan) in &self.machine.plans {
            let id = id.to_string();
            if text.contains(&id) {
                text = text.replace(&id, &format!("T{}", plan.label));
            }
        }
        text
    }
}
