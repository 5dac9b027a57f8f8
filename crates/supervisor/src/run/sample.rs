//! Memory and process limits where the kernel does not enforce them: a slow sample of the tree.
//!
//! Memory is what processes do not share with files (resident minus shared pages), so a large mapped binary
//! does not count; pages shared between a parent and its forks count once for each. Processes are counted,
//! not threads. Owns the pace and the judgement. Never kills.

use std::time::Duration;

use crate::exit::EndWhy;
use crate::limits::SAMPLE_EVERY;
use crate::process::Member;
use crate::wire::StartSpec;

use super::cgroup::{Cgroup, Enforced};
use super::clock::Moment;
use super::ladder;

/// A tree far below its limits is looked at less often, up to this.
const SLOWEST: Duration = Duration::from_secs(1);

/// What is sampled for one attempt.
#[derive(Debug)]
pub(super) struct Sampler {
    memory_max: Option<u64>,
    pids_max: Option<u64>,
    next: Moment,
    page: u64,
}

impl Sampler {
    /// `None` when there is nothing to sample.
    pub(super) fn new(spec: &StartSpec, enforced: Enforced, now: Moment) -> Option<Self> {
        let memory_max = spec.memory_max.filter(|_| !enforced.memory);
        let pids_max = spec.pids_max.filter(|_| !enforced.pids);
        if memory_max.is_none() && pids_max.is_none() {
            return None;
        }
        let page = rustix::param::page_size() as u64;
        Some(Self { memory_max, pids_max, next: now.after(SAMPLE_EVERY), page })
    }

    pub(super) fn next(&self) -> Moment {
        self.next
    }

    /// Samples when it is time. Tells why the task must end, if it must.
    pub(super) fn look(&mut self, cgroup: Option<&Cgroup>, now: Moment) -> Option<EndWhy> {
        if now < self.next {
            return None;
        }
        let members = ladder::members(cgroup);
        let count = members.len() as u64;
        let used = match self.memory_max {
            Some(_) => members.iter().filter_map(own_pages).sum::<u64>() * self.page,
            None => 0,
        };
        let over = |value: u64, limit: Option<u64>| limit.is_some_and(|limit| value > limit);
        if over(used, self.memory_max) {
            return Some(EndWhy::MemoryLimit { used });
        }
        if over(count, self.pids_max) {
            return Some(EndWhy::PidsLimit { count });
        }
        let near = |value: u64, limit: Option<u64>| limit.is_some_and(|limit| value > limit / 2);
        let close = near(used, self.memory_max) || near(count, self.pids_max);
        self.next = now.after(if close { SAMPLE_EVERY } else { SLOWEST });
        None
    }
}

/// Resident minus shared pages: fields 2 and 3 of `/proc/PID/statm`.
fn own_pages(member: &Member) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", member.identity.pid)).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let resident = fields.next()?.ok()?;
    Some(resident.saturating_sub(fields.next()?.ok()?))
}
