//! One attempt, from its start message to the record of its end.
//!
//! ```text
//!   begin (started mark, fork) -> executing? -> running -> main ended -> leftovers -> record -> recorded
//! ```
//!
//! Owns the task's process tree, its streams and its owner file. Driven by the loop: events come in through
//! `on_*`, time through [`Attempt::advance`]; both answer with what the daemon shall hear. Never waits.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::exit::{
    EndWhy, ExitRecord, Leaked, LeakedProcess, OomEvidence, SpawnError, TreeState, Usage,
};
use crate::limits::{LEAK_GRACE, LEAK_TIME, LEAKED_NAMED, PROGRESS_EVERY};
use crate::owner::{Lock, MainProcess, Owner, StartedMark};
use crate::process;
use crate::wire::{FromSupervisor, Phase, RefusedWhy, Running, StartSpec, StopWhy};

use super::cgroup::Cgroup;
use super::clock::{self, Moment, millis};
use super::deadlines::Deadlines;
use super::input::Input;
use super::ladder::{self, Ladder, Step};
use super::output::Output;
use super::prepare;
use super::sample::Sampler;
use super::spawn::{Exec, Failure};
use super::tmpdir::Spare;

/// Between two looks at a cgroup that should be empty.
const RECHECK: Duration = Duration::from_millis(1);

/// The main process.
#[derive(Debug)]
enum Main {
    /// It could not be made; there is nothing to wait for.
    Never,
    /// It runs (or is about to execute its program).
    Alive(MainProcess),
    /// It ended and its status is read.
    Ended(MainProcess, MainEnd),
}

/// What is known at the main process's end.
#[derive(Debug, Clone, Copy)]
struct MainEnd {
    status: i32,
    usage: Usage,
}

/// When what ended, by both clocks.
#[derive(Debug, Clone, Copy)]
struct EndTime {
    at: Moment,
    wall_ms: u64,
}

/// One attempt and everything of it.
#[derive(Debug)]
pub(super) struct Attempt {
    spec: Box<StartSpec>,
    owner: Owner,
    main: Main,
    /// Reports a failed exec; `None` once the program runs or failed.
    exec_report: Option<OwnedFd>,
    spawn_error: Option<SpawnError>,
    pub(super) outputs: Vec<Output>,
    pub(super) input: Option<Input>,
    cgroup: Option<Cgroup>,
    born_in_cgroup: bool,
    started_wall_ms: u64,
    deadlines: Deadlines,
    why: EndWhy,
    ladder: Option<Ladder>,
    unkillable: bool,
    ended: Option<EndTime>,
    leaked: Leaked,
    record: Option<Box<ExitRecord>>,
    pending_written: bool,
    /// The final record is in the owner file.
    on_file: bool,
    recorded: bool,
    /// Kept leftovers are gone.
    released: bool,
    /// Nothing of the tree was left at the last look.
    empty: bool,
    /// The cgroup did not look empty yet though no child is left.
    recheck: Option<Moment>,
    progress_due: Option<Moment>,
    told_bytes: u64,
    oom_kills_before: u64,
    tmpdir: Rc<Spare>,
}

/// What the daemon shall hear.
pub(super) type Messages = Vec<FromSupervisor>;

impl Attempt {
    /// Fences and starts: the owner file must be locked by the descriptor that came, belong to this attempt
    /// and have no mark. The mark is written before anything of the task exists. A shortage is no fault of the task:
    /// the mark is taken back and the start refused, so that it can be tried again.
    pub(super) fn begin(
        spec: Box<StartSpec>,
        owner: OwnedFd,
        dir: &OwnedFd,
        base: &prepare::Base,
        oom_kills_before: u64,
    ) -> Result<(Self, Messages), RefusedWhy> {
        let owner = Owner::from_fd(owner);
        fence(&owner, &spec)?;
        let mark = StartedMark { wall_ms: clock::wall_ms(), boottime_ms: clock::boottime_ms() };
        meanwhile_faultpoint::fault_point!("attempt.fenced");
        owner.write_started(mark).map_err(|_| RefusedWhy::OwnerFile)?;
        meanwhile_faultpoint::fault_point!("attempt.marked");
        let mut attempt = Self {
            owner,
            main: Main::Never,
            exec_report: None,
            spawn_error: None,
            outputs: Vec::new(),
            input: None,
            cgroup: None,
            born_in_cgroup: false,
            started_wall_ms: mark.wall_ms,
            deadlines: Deadlines::new(&spec, Moment::now(), clock::suspended()),
            spec,
            why: EndWhy::Exited,
            ladder: None,
            unkillable: false,
            ended: None,
            leaked: Leaked::default(),
            record: None,
            pending_written: false,
            on_file: false,
            recorded: false,
            released: false,
            empty: false,
            recheck: None,
            progress_due: None,
            told_bytes: 0,
            oom_kills_before,
            tmpdir: Rc::clone(&base.tmpdir),
        };
        let messages = match prepare::start(&attempt.spec, dir, base) {
            Ok(prepared) => attempt.take(prepared),
            Err(error) if prepare::is_shortage(&error) && attempt.owner.clear_started().is_ok() => {
                // Made by this start, so there is nothing in it.
                let _ = attempt.spec.tmpdir.as_ref().map(|path| base.tmpdir.remove(path));
                return Err(RefusedWhy::Shortage(error.errno));
            }
            Err(error) => attempt.fail(error),
        };
        Ok((attempt, messages))
    }

    fn take(&mut self, prepared: prepare::Prepared) -> Messages {
        meanwhile_faultpoint::fault_point!("attempt.forked");
        let pid = prepared.spawned.pid;
        // Our own child keeps its number until we read its status.
        let main = MainProcess { pid, start_time: process::start_time(pid).unwrap_or(0) };
        // A mark that cannot be written costs a daemon that recovers the main process's number, no more.
        let _ = self.owner.write_main(main);
        meanwhile_faultpoint::fault_point!("attempt.main-written");
        self.main = Main::Alive(main);
        // The child has its copy; what may be megabytes is not kept for as long as the task runs.
        self.spec.env = Vec::new();
        self.spec.argv.truncate(1);
        self.spec.argv.shrink_to_fit();
        self.born_in_cgroup = prepared.spawned.born_in_cgroup;
        self.outputs = prepared.outputs;
        self.input = prepared.input;
        self.cgroup = prepared.cgroup;
        let sampler = Sampler::new(&self.spec, prepared.enforced, self.deadlines.started);
        self.deadlines.sampler = sampler;
        let notes = prepared.notes.into_iter().map(|text| FromSupervisor::Note { text });
        let mut messages: Messages = notes.collect();
        match prepared.spawned.exec {
            Exec::Reports(report) => self.exec_report = Some(report),
            Exec::Done(done) => messages.extend(self.executed(done)),
        }
        messages
    }

    /// The program did not come to run.
    fn fail(&mut self, error: SpawnError) -> Messages {
        let SpawnError { errno, stage, what } = error.clone();
        self.spawn_error = Some(error);
        if matches!(self.main, Main::Never) {
            self.mark_end();
        }
        vec![FromSupervisor::SpawnFailed { token: self.spec.token, errno, stage, what }]
    }

    pub(super) fn token(&self) -> crate::wire::Token {
        self.spec.token
    }

    /// What to poll for the outcome of the exec.
    pub(super) fn exec_report(&self) -> Option<&OwnedFd> {
        self.exec_report.as_ref()
    }

    /// The exec's outcome is there, or nothing yet.
    pub(super) fn on_exec_report(&mut self) -> Messages {
        let Some(report) = &self.exec_report else { return Vec::new() };
        let mut bytes = [0; 8];
        let read = match rustix::io::read(report, &mut bytes) {
            Ok(read) => read,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Vec::new(),
            Err(_) => 0,
        };
        self.exec_report = None;
        self.executed(Failure::read(&bytes[..read]).map_or(Ok(()), Err))
    }

    fn executed(&mut self, done: Result<(), Failure>) -> Messages {
        if let Err(Failure { stage, errno }) = done {
            meanwhile_faultpoint::fault_point!("attempt.exec-failed");
            return self.fail(prepare::child_error(&self.spec, stage, errno));
        }
        let (Main::Alive(main) | Main::Ended(main, _)) = &self.main else { return Vec::new() };
        vec![FromSupervisor::Started {
            token: self.spec.token,
            pid: main.pid,
            start_time: main.start_time,
            wall_ms: self.started_wall_ms,
            in_cgroup: self.is_in_cgroup(main.pid),
        }]
    }

    fn is_in_cgroup(&self, pid: u32) -> bool {
        self.born_in_cgroup
            || self.cgroup.as_ref().is_some_and(|cgroup| cgroup.pids().contains(&pid))
    }

    /// A child of this supervisor ended; the main one or an orphan of the task.
    pub(super) fn on_reaped(&mut self, pid: u32, status: i32, usage: Usage) {
        if let Main::Alive(main) = self.main
            && main.pid == pid
        {
            meanwhile_faultpoint::fault_point!("attempt.reaped");
            self.main = Main::Ended(main, MainEnd { status, usage });
            self.mark_end();
        }
    }

    fn mark_end(&mut self) {
        self.ended = Some(EndTime { at: Moment::now(), wall_ms: clock::wall_ms() });
    }

    /// Takes output that is there.
    pub(super) fn drain(&mut self, buffer: &mut Vec<u8>, now: Moment) {
        let ended = self.ended.is_some();
        let outputs = self.outputs.iter_mut().filter(|output| ended || !output.is_gathering(now));
        let taken: u64 = outputs.map(|output| output.drain(buffer, now)).sum();
        if taken > 0 {
            self.deadlines.on_output(now);
            // The first is told at once, the following at most so often.
            self.progress_due = self.progress_due.or(Some(now));
        }
    }

    /// Ends the task on request. Before the end was seen it is the reason; after, it only hastens.
    pub(super) fn stop(&mut self, why: StopWhy, grace: Duration, now: Moment) {
        if self.record.as_ref().is_some_and(|record| record.tree != TreeState::Kept) {
            return;
        }
        if self.ended.is_none() && !matches!(self.why, EndWhy::Stopped(_)) {
            self.why = EndWhy::Stopped(why);
        }
        self.end_tree(grace, now);
    }

    pub(super) fn extend(&mut self, timeout_ms: Option<u64>) {
        self.deadlines.timeout = timeout_ms.map(Duration::from_millis);
    }

    fn end_tree(&mut self, grace: Duration, now: Moment) {
        match &mut self.ladder {
            Some(ladder) => ladder.hasten(now.after(grace)),
            None => self.ladder = Some(Ladder::begin(self.cgroup.as_ref(), now, grace)),
        }
    }

    /// Does what time and the tree's state ask for. `alone`: this process has no children, so nothing that
    /// descends from the task is left.
    pub(super) fn advance(&mut self, alone: bool, buffer: &mut Vec<u8>, now: Moment) -> Messages {
        let mut messages = Vec::new();
        if self.record.is_none() {
            messages.extend(self.progress(now));
        }
        if self.ended.is_none() {
            self.enforce_limits(now);
        }
        if self.ended.is_some() || self.outputs.iter().any(|output| output.next().is_some()) {
            self.drain(buffer, now);
        }
        // While there is a child there is no need to ask.
        let populated = alone && self.cgroup.as_ref().is_some_and(Cgroup::is_populated);
        let empty = alone && !populated;
        self.empty = empty;
        // Since Linux 6.18 a cgroup counts a process a moment longer than its parent's wait does.
        self.recheck = (alone && populated).then(|| now.after(RECHECK));
        match self.ended {
            Some(ended) if self.record.is_none() => {
                messages.extend(self.on_exec_report());
                messages.extend(self.settle(empty, ended.at, buffer, now));
            }
            _ => {}
        }
        if !empty
            && let Some(ladder) = &mut self.ladder
            && ladder.advance(self.cgroup.as_ref(), now) == Step::Unkillable
        {
            self.unkillable = true;
            let left = ladder::members(self.cgroup.as_ref());
            let pids = left.iter().map(|member| member.identity.pid).take(LEAKED_NAMED).collect();
            messages.push(FromSupervisor::Unkillable { token: self.spec.token, pids });
        }
        if empty && self.tree() == Some(TreeState::Kept) && !self.released {
            // Kept leftovers have ended by themselves or were stopped.
            messages.extend(self.release(buffer, now));
        }
        messages
    }

    /// The main process has ended: its leftovers and its streams decide when the attempt is over.
    fn settle(
        &mut self,
        empty: bool,
        ended: Moment,
        buffer: &mut Vec<u8>,
        now: Moment,
    ) -> Messages {
        if empty {
            let streams_ended = self.outputs.iter().all(Output::has_ended);
            // Somebody outside of the tree may hold a stream open; he is not waited for longer.
            if streams_ended || now >= ended.after(LEAK_TIME) {
                return self.finish(TreeState::Empty, buffer, now);
            }
            return Vec::new();
        }
        if self.ladder.is_none() {
            if now < ended.after(LEAK_TIME) {
                self.write_pending();
                return Vec::new();
            }
            self.count_leaked();
            if self.spec.keep_leaked {
                return self.finish(TreeState::Kept, buffer, now);
            }
            self.end_tree(LEAK_GRACE, now);
        } else if now >= ended.after(LEAK_TIME) {
            // A stop was under way: what outlives the main process gets no more than any leftover.
            let limit = ended.after(LEAK_TIME).after(LEAK_GRACE);
            if let Some(ladder) = &mut self.ladder {
                ladder.hasten(limit);
            }
        }
        self.write_pending();
        Vec::new()
    }

    /// The next moment at which [`Attempt::advance`] has something to do.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        let mut next: Vec<Moment> = self.outputs.iter().filter_map(Output::next).collect();
        next.extend(self.recheck);
        // An empty tree is not climbed any further.
        next.extend(self.ladder.as_ref().filter(|_| !self.empty).map(Ladder::next));
        if self.record.is_none() {
            next.extend(self.progress_due);
            match self.ended {
                Some(ended) => {
                    next.extend(Some(ended.at.after(LEAK_TIME)).filter(|over| *over > now));
                }
                None if self.ladder.is_none() => next.extend(self.deadlines.next()),
                None => {}
            }
        }
        next.into_iter().min()
    }

    /// Ends a running task that is past a deadline or over a limit.
    fn enforce_limits(&mut self, now: Moment) {
        if self.ladder.is_some() {
            return;
        }
        let cgroup = self.cgroup.as_ref();
        if let Some(why) = self.deadlines.look(cgroup, now, clock::suspended()) {
            // Memory does not wait for a polite end: it is given back at once.
            let grace = match why {
                EndWhy::MemoryLimit { .. } | EndWhy::PidsLimit { .. } => Duration::ZERO,
                _ => Duration::from_millis(self.spec.grace_ms),
            };
            self.why = why;
            self.end_tree(grace, now);
        }
    }

    fn progress(&mut self, now: Moment) -> Option<FromSupervisor> {
        self.progress_due.filter(|due| now >= *due)?;
        let bytes = self.log_bytes();
        self.progress_due = if bytes == self.told_bytes {
            None
        } else {
            // Armed once more after each telling, so that the last bytes are told too.
            Some(now.after(PROGRESS_EVERY))
        };
        if bytes == self.told_bytes {
            return None;
        }
        self.told_bytes = bytes;
        Some(FromSupervisor::Progress {
            token: self.spec.token,
            log_bytes: bytes,
            dropped_bytes: self.dropped_bytes(),
        })
    }

    /// The kernel's memory killer needs evidence: a count of its own, and an end that fits.
    fn find_oom(&mut self) {
        let Main::Ended(_, end) = &self.main else { return };
        if self.why != EndWhy::Exited || end.status == 0 {
            return;
        }
        let in_cgroup = self.cgroup.as_ref().map_or(0, Cgroup::oom_kills);
        if in_cgroup > 0 {
            self.why = EndWhy::OutOfMemory(OomEvidence::CgroupEvents(in_cgroup));
        } else if libc::WIFSIGNALED(end.status) && libc::WTERMSIG(end.status) == libc::SIGKILL {
            let struck = super::oom_kills().saturating_sub(self.oom_kills_before);
            if struck > 0 {
                self.why = EndWhy::OutOfMemory(OomEvidence::SystemCounter(struck));
            }
        }
    }

    /// The daemon has the record.
    pub(super) fn on_recorded(&mut self) {
        meanwhile_faultpoint::fault_point!("attempt.recorded");
        self.recorded = self.record.is_some();
    }

    /// Whether the owner file holds the whole truth: nothing is lost if this process leaves.
    pub(super) fn is_on_file(&self) -> bool {
        // Of kept leftovers that are gone there is nothing more to tell: the daemon that recorded the end may
        // have died before it said so, and no other comes for it.
        self.on_file && (self.released || self.tree() == Some(TreeState::Empty))
    }

    /// Whether a daemon has yet to come for it: what is on file is read there, and of kept leftovers there is nothing
    /// more to tell.
    pub(super) fn wants_daemon(&self) -> bool {
        !self.recorded && !self.is_on_file()
    }

    /// Whether nothing is left to do or to tell: the next task may come.
    pub(super) fn is_over(&self) -> bool {
        self.recorded && (self.released || self.tree() == Some(TreeState::Empty))
    }

    /// The record, while the daemon does not have it.
    pub(super) fn unrecorded(&self) -> Option<FromSupervisor> {
        self.record.as_ref().filter(|_| !self.recorded).cloned().map(FromSupervisor::Ended)
    }

    fn tree(&self) -> Option<TreeState> {
        self.record.as_ref().map(|record| record.tree)
    }

    pub(super) fn describe(&self) -> Running {
        let phase = match (&self.record, self.recorded) {
            (Some(_), true) => Phase::Kept,
            (Some(_), false) => Phase::Ended,
            (None, _) if self.unkillable => Phase::Unkillable,
            (None, _) if self.ladder.is_some() || self.ended.is_some() => Phase::Stopping,
            (None, _) => Phase::Running,
        };
        Running {
            token: self.spec.token,
            task: self.spec.task,
            attempt: self.spec.attempt,
            main: match &self.main {
                Main::Never => None,
                Main::Alive(main) | Main::Ended(main, _) => Some((main.pid, main.start_time)),
            },
            started_wall_ms: self.started_wall_ms,
            phase,
            log_bytes: self.log_bytes(),
            dropped_bytes: self.dropped_bytes(),
        }
    }

    /// Kept leftovers are gone.
    fn release(&mut self, buffer: &mut Vec<u8>, now: Moment) -> Messages {
        self.released = true;
        self.ladder = None;
        for output in &mut self.outputs {
            output.close(buffer, now);
        }
        self.clean()
    }

    fn count_leaked(&mut self) {
        let left = ladder::members(self.cgroup.as_ref());
        self.leaked = Leaked {
            count: u32::try_from(left.len()).unwrap_or(u32::MAX),
            named: left
                .into_iter()
                .take(LEAKED_NAMED)
                .map(|member| LeakedProcess { pid: member.identity.pid, comm: member.comm })
                .collect(),
        };
    }

    /// Should this process die before its tree is empty, the true status is on record.
    fn write_pending(&mut self) {
        if self.pending_written {
            return;
        }
        meanwhile_faultpoint::fault_point!("attempt.before-pending");
        self.pending_written = true;
        let record = self.make_record(TreeState::Pending);
        let _ = self.owner.write_exit_pending(&record);
        meanwhile_faultpoint::fault_point!("attempt.pending-written");
    }

    fn finish(&mut self, tree: TreeState, buffer: &mut Vec<u8>, now: Moment) -> Messages {
        if tree == TreeState::Empty {
            for output in &mut self.outputs {
                output.close(buffer, now);
            }
        }
        let mut messages = Vec::new();
        self.find_oom();
        let record = Box::new(self.make_record(tree));
        if tree == TreeState::Empty {
            messages.extend(self.clean());
        }
        meanwhile_faultpoint::fault_point!("attempt.before-record");
        let written = self.owner.write_exit_final(&record);
        meanwhile_faultpoint::fault_point!("attempt.record-written");
        self.on_file = written.is_ok();
        if let Err(errno) = written {
            let text =
                format!("no exit record for {}.{}: {errno}", self.spec.task, self.spec.attempt);
            messages.push(FromSupervisor::Note { text });
        }
        messages.push(FromSupervisor::Ended(record.clone()));
        self.record = Some(record);
        self.ladder = None;
        messages
    }

    fn make_record(&self, tree: TreeState) -> ExitRecord {
        let (at, ended_wall_ms) = match self.ended {
            Some(ended) => (ended.at, ended.wall_ms),
            None => (Moment::now(), clock::wall_ms()),
        };
        let end = match &self.main {
            // A child that never executed the program has a status that means nothing.
            Main::Ended(_, end) if self.spawn_error.is_none() => Some(*end),
            _ => None,
        };
        ExitRecord {
            token: self.spec.token,
            wait_status: end.map(|end| end.status),
            spawn_error: self.spawn_error.clone(),
            why: self.why.clone(),
            tree,
            run_ms: millis(at.since(self.deadlines.started)),
            started_wall_ms: self.started_wall_ms,
            ended_wall_ms,
            usage: end.map_or_else(Usage::default, |end| end.usage),
            log_bytes: self.log_bytes(),
            dropped_bytes: self.dropped_bytes(),
            leaked: self.leaked.clone(),
        }
    }

    /// Removes the cgroup and the private directory.
    fn clean(&mut self) -> Messages {
        let mut notes = Vec::new();
        if let Some(cgroup) = self.cgroup.take()
            && let Err(errno) = cgroup.remove()
        {
            notes.push(format!("the cgroup of {} stays: {errno}", self.spec.task));
        }
        meanwhile_faultpoint::fault_point!("attempt.cgroup-removed");
        if let Some(path) = &self.spec.tmpdir
            && !self.spec.keep_tmp
            && let Err(errno) = self.tmpdir.remove(path)
        {
            notes.push(format!("the temporary directory of {} stays: {errno}", self.spec.task));
        }
        notes.into_iter().map(|text| FromSupervisor::Note { text }).collect()
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.outputs.iter().map(Output::written).sum()
    }

    fn dropped_bytes(&self) -> u64 {
        self.outputs.iter().map(Output::dropped).sum()
    }
}

/// The descriptor that came must hold the lock, and the file must be of this attempt and unstarted.
fn fence(owner: &Owner, spec: &StartSpec) -> Result<(), RefusedWhy> {
    // On the description that holds it, locking again changes nothing; on another it tells that we lost.
    match owner.try_lock() {
        Ok(Lock::Taken) => {}
        Ok(Lock::Held) | Err(_) => return Err(RefusedWhy::OwnerFile),
    }
    let view = owner.read().map_err(|_| RefusedWhy::OwnerFile)?;
    let may_have_started = view.damaged || view.started.is_some();
    match view.header {
        Some(header) if header.token == spec.token && !may_have_started => Ok(()),
        _ => Err(RefusedWhy::Malformed),
    }
}
