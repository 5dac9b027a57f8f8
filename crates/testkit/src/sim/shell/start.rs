//! From "this attempt has a seat" to a start message with a lock in it. Follows `engine/start.rs`.
//!
//! Owns the claim of the owner file. Never decides that something starts.

use std::time::Duration;

use meanwhile_core::Input;
use meanwhile_core::cause::SpawnStage;
use meanwhile_core::input::Report;

use super::Shell;
use crate::sim::env::Env;
use crate::sim::wire::{Down, Header, Holder, Job, OwnerFile, Start, SupId, Write};

/// What there was too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Space,
    Other,
}

/// Why a start could not be prepared: for want of something, or at all.
type Failed = Option<Want>;

impl Shell {
    pub(super) fn start_attempt(&mut self, env: &mut Env, job: Job, timeout: Option<Duration>) {
        self.try_start(env, job, timeout, true);
    }

    /// Hands an attempt that an idle supervisor did not take to a new one.
    pub(super) fn start_fresh(&mut self, env: &mut Env, job: Job) {
        let timeout = self.reused.remove(&job.token.0).flatten();
        self.try_start(env, job, timeout, false);
    }

    fn try_start(&mut self, env: &mut Env, job: Job, timeout: Option<Duration>, idle: bool) {
        match self.prepare_start(env, job, timeout, idle) {
            Ok(()) => {}
            Err(Some(want)) => self.postpone(env, job, timeout, want),
            Err(None) => self.cannot_prepare(job),
        }
    }

    fn prepare_start(
        &mut self,
        env: &mut Env,
        job: Job,
        timeout: Option<Duration>,
        idle: bool,
    ) -> Result<(), Failed> {
        let now = env.mono();
        // Its directory needs a block of the disk.
        if env.disk.full && !env.machine.files.contains_key(&job.key) {
            return Err(Some(Want::Space));
        }
        let taken = if idle { self.fleet.take_idle() } else { None };
        let conn = match taken {
            Some(conn) => conn,
            None if now < env.machine.crowded_until => return Err(Some(Want::Other)),
            None => {
                let (sup, conn) = env.machine.spawn_supervisor(now);
                self.fleet.add(conn, sup);
                conn
            }
        };
        let sup = self.fleet.sup(conn).expect("it was just given or made");
        if let Err(failed) = claim(env, job, sup) {
            self.fleet.give_back(conn);
            return Err(failed);
        }
        let plan = env.machine.plans[&job.key.task];
        let timeout_ms = timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        let start =
            Start { job, timeout_ms, grace_ms: plan.grace_ms, keep_leaked: plan.keep_leaked };
        self.fleet.start(conn, start);
        if taken.is_some() {
            self.reused.insert(job.token.0, timeout);
        } else {
            self.fresh.insert(job.token.0);
        }
        Ok(())
    }

    /// A start that could not be prepared: the core hears of it as of any failed start.
    pub(super) fn cannot_prepare(&mut self, job: Job) {
        let (stage, what) = (SpawnStage::Prepare, "no room".into());
        let report = Report::SpawnFailed { stage, errno: 11, what };
        self.follow_ups.push_back(Input::Report { task: job.key.task, token: job.token, report });
    }

    pub(super) fn tell_stop(&mut self, env: &Env, job: Job) {
        let grace_ms = env.machine.plans[&job.key.task].grace_ms;
        let stop = Down::Stop { token: job.token, grace_ms };
        if !self.fleet.tell(job.token, stop) {
            self.hasten_postponed(job.token);
        }
    }
}

/// Makes the owner file (or takes over one whose attempt never started), locks it, writes the header.
fn claim(env: &mut Env, job: Job, sup: SupId) -> Result<(), Failed> {
    let (now, boot) = (env.mono(), env.clock.boot);
    let file = env.machine.files.entry(job.key).or_insert_with(OwnerFile::new);
    if file.holder != Holder::Nobody {
        return Err(Some(Want::Other));
    }
    if file.view().started {
        return Err(None);
    }
    file.holder = Holder::Flight;
    file.write(now, Write::Header(Header { token: job.token, boot, sup }));
    Ok(())
}
