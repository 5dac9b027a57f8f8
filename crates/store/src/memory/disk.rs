//! What the store in memory keeps: the same truth as the tables, and folding with undo.

use std::collections::{BTreeMap, BTreeSet};

use meanwhile_core::cause::{Actor, Cause};
use meanwhile_core::event::{End, Stop};
use meanwhile_core::spec::{Placement, TaskSpec};
use meanwhile_core::time::Due;
use meanwhile_core::{
    Event, Fact, LaneName, NoticeId, NoticeKind, Now, RequestId, SessionId, State, TaskId, Wall,
};

use crate::batch::{Batch, LaneCheck, SavedReply};
use crate::identity::Identity;
use crate::limits;
use crate::notice::NoticeRecord;
use crate::record::{AttemptRecord, EventRecord, Extension, ReadyRecord, TaskRecord};
use crate::stored::log::logged;

/// Everything that outlives a crash.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) identity: Identity,
    /// By submission order.
    pub(super) tasks: BTreeMap<u64, TaskRecord>,
    pub(super) numbers: BTreeMap<TaskId, u64>,
    pub(super) events: BTreeMap<u64, EventRecord>,
    pub(super) replies: BTreeMap<RequestId, (Wall, Vec<u8>)>,
    pub(super) lanes: BTreeMap<LaneName, u64>,
    pub(super) notices: BTreeMap<NoticeId, NoticeRecord>,
    pub(super) sessions: Option<String>,
}

/// Why a batch cannot be kept.
#[derive(Debug)]
pub(super) enum Refused {
    Contradiction(String),
    Conflict(LaneName),
}

/// The rows a batch has touched, as they were before it.
#[derive(Debug, Default)]
pub(super) struct Undo {
    tasks: BTreeMap<u64, Option<TaskRecord>>,
    pub(super) notices: BTreeMap<NoticeId, Option<NoticeRecord>>,
}

impl Disk {
    pub(super) const fn new(identity: Identity) -> Self {
        Self {
            identity,
            tasks: BTreeMap::new(),
            numbers: BTreeMap::new(),
            events: BTreeMap::new(),
            replies: BTreeMap::new(),
            lanes: BTreeMap::new(),
            notices: BTreeMap::new(),
            sessions: None,
        }
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.events.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&TaskRecord> {
        self.tasks.get(self.numbers.get(&id)?)
    }

    pub(super) fn lane_epoch(&self, lane: &LaneName) -> u64 {
        self.lanes.get(lane).copied().unwrap_or(0)
    }

    /// Keeps all of the batch, or nothing of it.
    pub(super) fn keep(&mut self, batch: &Batch<'_>) -> Result<u64, Refused> {
        let Batch { now, events, notices, replies, sessions, here, lanes } = batch;
        self.check(lanes, replies)?;
        let mut undo = Undo::default();
        if let Err(what) = events.iter().try_for_each(|e| self.fold(e, &mut undo)) {
            self.undo(undo);
            return Err(Refused::Contradiction(what));
        }
        for event in *events {
            let Event { at, task, attempt, fact } = event;
            let seq = self.last_seq() + 1;
            let what = remembered_in_log(logged(fact));
            let entry = EventRecord { seq, at: *at, task: *task, attempt: *attempt, what };
            self.events.insert(seq, entry);
        }
        notices.iter().for_each(|mark| self.mark(mark));
        for LaneCheck { lane, epoch } in *lanes {
            self.lanes.insert(lane.clone(), epoch + 1);
        }
        for SavedReply { request, reply } in *replies {
            self.replies.insert((*request).clone(), (now.wall, reply.to_vec()));
        }
        self.replies.retain(|_, (at, _)| now.wall.since(*at) <= limits::REQUESTS_KEPT);
        if let Some(sessions) = sessions {
            self.sessions = Some((*sessions).to_owned());
        }
        if let Some(here) = here {
            self.move_to(here, *now);
        }
        Ok(self.last_seq())
    }

    fn check(&self, lanes: &[LaneCheck], replies: &[SavedReply<'_>]) -> Result<(), Refused> {
        if let Some(old) = lanes.iter().find(|c| self.lane_epoch(&c.lane) != c.epoch) {
            return Err(Refused::Conflict(old.lane.clone()));
        }
        let mut seen = BTreeSet::new();
        match replies
            .iter()
            .find(|r| self.replies.contains_key(r.request) || !seen.insert(r.request))
        {
            Some(twice) => Err(Refused::Contradiction(format!(
                "request {} was answered before",
                twice.request
            ))),
            None => Ok(()),
        }
    }

    fn move_to(&mut self, here: &Identity, now: Now) {
        if here.boot != self.identity.boot {
            for task in self.tasks.values_mut().filter(|t| t.state == State::Queued) {
                task.not_before = task.not_before.map(|due| due.after_reboot(now));
            }
        }
        self.identity = here.clone();
    }

    fn undo(&mut self, undo: Undo) {
        for (num, before) in undo.tasks {
            if let Some(after) = self.tasks.remove(&num) {
                self.numbers.remove(&after.id);
            }
            if let Some(before) = before {
                self.numbers.insert(before.id, num);
                self.tasks.insert(num, before);
            }
        }
        self.put_notices_back(undo.notices);
    }

    fn fold(&mut self, event: &Event, undo: &mut Undo) -> Result<(), String> {
        let Event { at, task, attempt, fact } = event;
        match fact {
            Fact::Refused { what: _ } => return Ok(()),
            Fact::Submitted { spec, placement, order, not_before } => {
                return self.submit(event, spec, placement, *order, *not_before, undo);
            }
            Fact::Forgotten => return self.forget(*task, undo),
            Fact::DeadlineNear { deadline, notice } => {
                let about = NoticeId::of_deadline(*task, *attempt, *deadline);
                self.write_notice(about, *at, State::Running, notice, undo);
                return Ok(());
            }
            Fact::Rebound { session } => return self.rebind(*task, session, undo),
            Fact::Starting { .. }
            | Fact::Started { .. }
            | Fact::Ready { .. }
            | Fact::Extended { .. }
            | Fact::StopRequested { .. }
            | Fact::Ended { .. }
            | Fact::Requeued { .. }
            | Fact::Retried { .. }
            | Fact::Emptied => {}
        }
        // A retry is about the attempt that it makes.
        let current = attempt.saturating_sub(u32::from(matches!(fact, Fact::Retried { .. })));
        let record = self
            .row(*task, undo)
            .filter(|t| t.current().number == current)
            .ok_or_else(|| stale(fact.name(), *attempt, *task))?;
        change(record, *at, fact);
        match fact {
            Fact::Ended { end, notice } => {
                self.supersede(*task, |id| id.kind == NoticeKind::Deadline, undo);
                if let Some(notice) = notice {
                    let about = NoticeId::of_end(*task, *attempt);
                    self.write_notice(about, *at, end.state, notice, undo);
                }
            }
            Fact::Extended { .. } => {
                self.supersede(*task, |id| id.kind == NoticeKind::Deadline, undo);
            }
            Fact::Retried { .. } => self.supersede(*task, |_| true, undo),
            _ => {}
        }
        Ok(())
    }

    fn rebind(&mut self, task: TaskId, session: &SessionId, undo: &mut Undo) -> Result<(), String> {
        let record = self.row(task, undo);
        let record = record.ok_or_else(|| format!("task {task} changes its session, unknown"))?;
        record.placement.session = session.clone();
        self.rebind_notices(task, session, undo);
        Ok(())
    }

    /// The row to change, remembered as it was.
    fn row(&mut self, task: TaskId, undo: &mut Undo) -> Option<&mut TaskRecord> {
        let num = *self.numbers.get(&task)?;
        let record = self.tasks.get_mut(&num)?;
        undo.tasks.entry(num).or_insert_with(|| Some(record.clone()));
        Some(record)
    }

    fn submit(
        &mut self,
        event: &Event,
        spec: &TaskSpec,
        placement: &Placement,
        order: u64,
        not_before: Option<Due>,
        undo: &mut Undo,
    ) -> Result<(), String> {
        let id = event.task;
        if self.numbers.contains_key(&id) {
            return Err(format!("task {id} is there already"));
        }
        if let Some(key) = &spec.idempotency_key
            && self.tasks.values().any(|t| t.spec.idempotency_key.as_ref() == Some(key))
        {
            return Err(format!("the idempotency key {key:?} is taken"));
        }
        let num = self.tasks.last_key_value().map_or(1, |(num, _)| num + 1);
        if let Some(parent) = placement.ancestors.first()
            && let Some(record) = self.row(*parent, undo)
        {
            record.children.push(id);
        }
        undo.tasks.entry(num).or_insert(None);
        self.numbers.insert(id, num);
        self.tasks.insert(
            num,
            TaskRecord {
                id,
                spec: spec.clone(),
                placement: placement.clone(),
                created_at: event.at,
                state: State::Queued,
                order,
                not_before,
                stop: None,
                retries_used: 0,
                lost_retries: 0,
                seat_kept: false,
                children: Vec::new(),
                attempts: vec![queued(event.attempt, event.at)],
            },
        );
        Ok(())
    }

    fn forget(&mut self, task: TaskId, undo: &mut Undo) -> Result<(), String> {
        let parent = self
            .row(task, undo)
            .map(|record| record.placement.ancestors.first().copied())
            .ok_or_else(|| format!("task {task} is to be forgotten and unknown"))?;
        if let Some(parent) = parent.and_then(|p| self.row(p, undo)) {
            parent.children.retain(|child| *child != task);
        }
        if let Some(num) = self.numbers.remove(&task) {
            self.tasks.remove(&num);
        }
        self.forget_notices(task, undo);
        Ok(())
    }
}

fn stale(fact: &str, attempt: u32, task: TaskId) -> String {
    format!("{fact} is about attempt {attempt} of task {task}, which is not its current one here")
}

const fn queued(number: u32, at: Wall) -> AttemptRecord {
    AttemptRecord {
        number,
        state: State::Queued,
        queued_at: at,
        cause: None,
        exit: None,
        token: None,
        pid: None,
        supervisor_pid: None,
        started_at: None,
        ended_at: None,
        deadline: None,
        extended: None,
        ready: None,
        crashes: 0,
        run: None,
    }
}

/// One fact about the current attempt of a task that is there.
fn change(task: &mut TaskRecord, at: Wall, fact: &Fact) {
    let current = task.attempts.last_mut().expect("a task has at least one attempt");
    match fact {
        Fact::Submitted { .. }
        | Fact::Refused { .. }
        | Fact::Forgotten
        | Fact::DeadlineNear { .. }
        | Fact::Rebound { .. } => {}
        Fact::Starting { token } => {
            current.state = State::Starting;
            current.token = Some(*token);
        }
        Fact::Started { pid, supervisor_pid, deadline } => {
            current.state = State::Running;
            current.pid = Some(*pid);
            current.supervisor_pid = Some(*supervisor_pid);
            current.started_at = Some(at);
            current.deadline = *deadline;
        }
        Fact::Ready { how } => current.ready = Some(ReadyRecord { at, how: how.clone() }),
        Fact::Extended { timeout, deadline, by } => {
            current.extended = Some(Extension { timeout: *timeout, by: remembered(by) });
            current.deadline = *deadline;
        }
        Fact::StopRequested { stop } => task.stop = Some(remembered_stop(stop)),
        Fact::Ended { end, .. } => {
            ended(current, at, end);
            task.stop = None;
            task.not_before = None;
            task.seat_kept = end.seat_kept;
        }
        Fact::Requeued { crashes } => {
            let AttemptRecord { number, queued_at, ref extended, .. } = *current;
            let extended = extended.clone();
            *current = AttemptRecord { extended, crashes: *crashes, ..queued(number, queued_at) };
            // It had passed when the attempt was started, and is not waited for again.
            task.not_before = None;
        }
        Fact::Retried { order, not_before, by: _, retries_used, lost_retries } => {
            let next = queued(current.number + 1, at);
            task.attempts.push(next);
            task.order = *order;
            task.not_before = *not_before;
            task.retries_used = *retries_used;
            task.lost_retries = *lost_retries;
            task.stop = None;
            task.seat_kept = false;
        }
        Fact::Emptied => task.seat_kept = false,
    }
    task.state = task.current().state;
}

fn ended(current: &mut AttemptRecord, at: Wall, end: &End) {
    let End { state, cause, exit, run, seat_kept: _ } = end;
    current.state = *state;
    current.cause = Some(remembered_cause(cause));
    current.exit = *exit;
    current.ended_at = Some(run.as_ref().map_or(at, |r| r.ended_at));
    if let Some(run) = run {
        current.started_at = Some(run.started_at);
    }
    current.run.clone_from(run);
}

/// Actors as they read back from any store: the text is kept, not the rule's address.
fn remembered(actor: &Actor) -> Actor {
    Actor::from_text(&actor.to_text())
}

fn remembered_stop(stop: &Stop) -> Stop {
    match stop {
        Stop::Cancel { by } => Stop::Cancel { by: remembered(by) },
        Stop::Report { by, failed, message } => {
            Stop::Report { by: remembered(by), failed: *failed, message: message.clone() }
        }
    }
}

fn remembered_cause(cause: &Cause) -> Cause {
    match cause {
        Cause::CancelledBy { who } => Cause::CancelledBy { who: remembered(who) },
        Cause::Reported { by, message } => {
            Cause::Reported { by: remembered(by), message: message.clone() }
        }
        other => other.clone(),
    }
}

fn remembered_in_log(entry: crate::record::Logged) -> crate::record::Logged {
    use crate::record::Logged;
    match entry {
        Logged::Extended { timeout, deadline, by } => {
            Logged::Extended { timeout, deadline, by: remembered(&by) }
        }
        Logged::StopRequested { stop } => Logged::StopRequested { stop: remembered_stop(&stop) },
        Logged::Ended { state, cause, exit, seat_kept } => {
            Logged::Ended { state, cause: remembered_cause(&cause), exit, seat_kept }
        }
        Logged::Retried { by: Some(by) } => Logged::Retried { by: Some(remembered(&by)) },
        other => other,
    }
}
