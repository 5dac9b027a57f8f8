//! The supervisors this daemon talks to. Follows `engine/fleet.rs`.
//!
//! Owns what waits to be written: it is lost, locks and all, when the daemon dies before it is flushed.

use std::collections::BTreeMap;

use meanwhile_core::AttemptToken;

use crate::sim::env::Env;
use crate::sim::wire::{ConnId, Down, Job, Start, SupId};

#[derive(Debug)]
struct Member {
    sup: SupId,
    job: Option<Job>,
    out: Vec<Down>,
}

#[derive(Debug, Default)]
pub(super) struct Fleet {
    members: BTreeMap<ConnId, Member>,
    by_token: BTreeMap<[u8; 16], ConnId>,
    idle: Vec<ConnId>,
}

impl Fleet {
    pub(super) fn add(&mut self, conn: ConnId, sup: SupId) {
        self.members.insert(conn, Member { sup, job: None, out: vec![Down::Init] });
    }

    pub(super) fn take_idle(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.idle.pop() {
            if self.members.get(&conn).is_some_and(|m| m.job.is_none()) {
                return Some(conn);
            }
        }
        None
    }

    pub(super) fn give_back(&mut self, conn: ConnId) {
        self.idle.push(conn);
    }

    pub(super) fn sup(&self, conn: ConnId) -> Option<SupId> {
        self.members.get(&conn).map(|m| m.sup)
    }

    pub(super) fn assign(&mut self, conn: ConnId, job: Job) {
        if let Some(member) = self.members.get_mut(&conn) {
            member.job = Some(job);
            self.by_token.insert(job.token.0, conn);
        }
    }

    pub(super) fn job(&self, conn: ConnId) -> Option<Job> {
        self.members.get(&conn).and_then(|m| m.job)
    }

    pub(super) fn holder(&self, token: AttemptToken) -> Option<ConnId> {
        self.by_token.get(&token.0).copied()
    }

    pub(super) fn start(&mut self, conn: ConnId, start: Start) {
        if let Some(member) = self.members.get_mut(&conn) {
            member.out.push(Down::Start(start));
        }
        self.assign(conn, start.job);
    }

    /// False when no supervisor of this attempt is connected.
    pub(super) fn tell(&mut self, token: AttemptToken, message: Down) -> bool {
        let Some(conn) = self.by_token.get(&token.0) else { return false };
        let Some(member) = self.members.get_mut(conn) else { return false };
        member.out.push(message);
        true
    }

    pub(super) fn tell_all(&mut self, message: &Down) {
        for member in self.members.values_mut() {
            member.out.push(message.clone());
        }
    }

    pub(super) fn release(&mut self, token: AttemptToken, stays: bool) {
        let Some(conn) = self.by_token.remove(&token.0) else { return };
        let Some(member) = self.members.get_mut(&conn) else { return };
        member.job = None;
        if !stays {
            self.idle.push(conn);
        }
    }

    pub(super) fn forget_job(&mut self, conn: ConnId) {
        if let Some(member) = self.members.get_mut(&conn)
            && let Some(job) = member.job.take()
        {
            self.by_token.remove(&job.token.0);
        }
    }

    pub(super) fn flush(&mut self, env: &mut Env) {
        for (conn, member) in &mut self.members {
            for message in std::mem::take(&mut member.out) {
                env.machine.tell(*conn, env.clock.mono, message);
            }
        }
    }

    pub(super) fn flush_one(&mut self, env: &mut Env, conn: ConnId) {
        if let Some(member) = self.members.get_mut(&conn) {
            for message in std::mem::take(&mut member.out) {
                env.machine.tell(conn, env.clock.mono, message);
            }
        }
    }

    /// Lets go of a supervisor; says which job it had.
    pub(super) fn remove(&mut self, env: &mut Env, conn: ConnId) -> Option<Job> {
        let member = self.members.remove(&conn)?;
        for message in &member.out {
            env.machine.drop_message(message);
        }
        env.machine.close_by_daemon(conn, env.clock.mono);
        if let Some(job) = member.job {
            self.by_token.remove(&job.token.0);
        }
        member.job
    }

    /// The process is gone.
    pub(super) fn close(self, env: &mut Env) {
        for (conn, member) in self.members {
            for message in &member.out {
                env.machine.drop_message(message);
            }
            env.machine.close_by_daemon(conn, env.clock.mono);
        }
    }
}
