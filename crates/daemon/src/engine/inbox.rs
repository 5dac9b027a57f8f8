//! Telling sessions: who listens, what each is handed, and when.
//!
//! ```text
//!   turn: apply ─ commit ─ perform ─ answer ─► tell: for whoever listens and is concerned
//!         read what is open ─► core::inbox::wake_at ─► lease ─ commit ─► answer
//! ```
//!
//! Owns the listeners, what sessions have said of themselves, and marks that wait for the next commit. All of it is gone
//! with the process: notices are in the store, and clients ask again. Runs after the answers of a turn, so that
//! nobody's answer waits for it.

use std::collections::{BTreeMap, HashSet};

use meanwhile_api::{ApiError, limits};
use meanwhile_core::inbox::{Doing, Manner, Presence, Unread, wake_at};
use meanwhile_core::sessions::AgentProcess;
use meanwhile_core::{
    Boot, Event, Fact, Input, NoticeId, Now, SessionId, TaskId, Turn, WaitId, Wall,
};
use meanwhile_store::{Delivery, Mark, NoticeMark, NoticeRecord};
use tokio::sync::oneshot;

use super::refusals::store_error;
use super::{Ending, Engine};
use crate::letters::{DeliverFor, Handed, Reply, Told, process_of_holder};
use crate::sessions::is_there;

/// How long whoever was handed a notice may take to say that it has arrived. A client that lives does so at once.
const LEASE: std::time::Duration = std::time::Duration::from_secs(30);
/// Sessions whose presence is remembered: those heard of last.
const PRESENCES: usize = 1_000;
/// Open notices of one session; older ones are given up. A session that nobody reads would fill the disk else.
const OPEN_PER_SESSION: usize = 1_000;
/// So many notices are written before sessions are looked through for too many open ones.
const BOUND_AFTER: usize = 1_000;

/// What the loop knows of sessions.
#[derive(Default)]
pub(super) struct Inbox {
    /// One per session; none is for everything.
    listeners: BTreeMap<Option<SessionId>, Listener>,
    /// What came in this turn and takes what there is.
    taking: Vec<Listener>,
    presences: BTreeMap<SessionId, (Presence, Boot)>,
    /// What a hook has told last, and whom.
    told: BTreeMap<SessionId, (AgentProcess, Vec<NoticeId>)>,
    /// To go with the next commit.
    pub(super) marks: Vec<NoticeMark>,
    /// Since sessions were last looked through.
    written: usize,
}

/// A client that wants to be told.
struct Listener {
    id: WaitId,
    to: oneshot::Sender<Result<Reply, ApiError>>,
    want: DeliverFor,
    /// When its own time is up.
    until: Option<Boot>,
    /// When to look again though nothing happens.
    again_at: Option<Boot>,
}

/// Who is concerned by a turn.
#[derive(Default)]
pub(super) struct Concerned {
    sessions: HashSet<SessionId>,
    all: bool,
}

impl Inbox {
    /// When a listener is looked at next though nothing happens.
    pub(super) fn due(&self) -> Option<Boot> {
        let moments = |l: &Listener| [l.until, l.again_at].into_iter().flatten().min();
        self.listeners.values().filter_map(moments).min()
    }

    /// Everybody is concerned.
    pub(super) fn look_at_all(&mut self, now: Now) {
        self.listeners.values_mut().for_each(|listener| listener.again_at = Some(now.boot));
    }

    /// The client of this wait is gone.
    pub(super) fn hang_up(&mut self, id: WaitId) {
        self.listeners.retain(|_, listener| listener.id != id);
        self.taking.retain(|listener| listener.id != id);
    }

    /// Whom the facts of a turn concern.
    pub(super) fn concerned(&mut self, events: &[Event]) -> Concerned {
        let mut concerned = Concerned::default();
        for event in events {
            let notice = match &event.fact {
                Fact::Ended { notice: Some(notice), .. } | Fact::DeadlineNear { notice, .. } => {
                    notice
                }
                // It may have been the last of a scope all the same.
                Fact::Ended { notice: None, .. } | Fact::Rebound { .. } => {
                    concerned.all = true;
                    continue;
                }
                _ => continue,
            };
            self.written += 1;
            if !self.listeners.is_empty() {
                concerned.sessions.insert(notice.scope.session.clone());
            }
        }
        concerned
    }

    fn presence(&self, session: Option<&SessionId>) -> Presence {
        session.and_then(|s| self.presences.get(s)).map(|(p, _)| *p).unwrap_or_default()
    }

    fn remember(&mut self, session: SessionId, now: Now, change: impl FnOnce(&mut Presence)) {
        let entry = self.presences.entry(session).or_insert((Presence::default(), now.boot));
        change(&mut entry.0);
        entry.1 = now.boot;
        if self.presences.len() > PRESENCES {
            let oldest = self.presences.iter().min_by_key(|(_, (_, at))| *at);
            let oldest = oldest.map(|(session, _)| session.clone());
            if let Some(oldest) = oldest {
                self.presences.remove(&oldest);
            }
        }
    }
}

impl Listener {
    fn answer(self, handed: Handed) {
        let _gone = self.to.send(Ok(Reply::Handed(handed)));
    }
}

impl Engine {
    /// Somebody wants what is unread, or to be told once there is something to tell.
    pub(super) fn listen(
        &mut self,
        now: Now,
        id: WaitId,
        mut want: DeliverFor,
        to: oneshot::Sender<Result<Reply, ApiError>>,
    ) {
        // It may go on under another name since this was asked.
        want.session = want.session.map(|session| self.known.sessions.current(&session));
        let until = want.timeout.map(|timeout| now.boot.after(timeout));
        let listener = Listener { id, to, until, again_at: Some(now.boot), want };
        if !listener.want.wait {
            self.inbox.taking.push(listener);
            return;
        }
        let key = listener.want.session.clone();
        if let (Manner::Wakes, Some(session)) = (listener.want.manner, key.clone()) {
            // A hook that waits is started when its session has nothing more to do.
            self.inbox.remember(session, now, |presence| {
                if presence.doing == Doing::Busy {
                    presence.doing = Doing::Idle { since: now.boot };
                }
            });
        }
        if let Some(before) = self.inbox.listeners.insert(key, listener) {
            before.answer(Handed::TakenOver);
        }
    }

    /// These have arrived: written down with whatever is committed next, within 200 ms.
    pub(super) fn acknowledge(
        &mut self,
        now: Now,
        ids: Vec<NoticeId>,
        at_once: bool,
        reader: Option<Told>,
    ) {
        if let Some(Told { session, process }) = reader {
            self.inbox.told.insert(session, (process, ids.clone()));
            if self.inbox.told.len() > PRESENCES {
                self.inbox.told.pop_first();
            }
        }
        let marks = ids.into_iter().map(|id| NoticeMark { id, mark: Mark::Acknowledge });
        self.inbox.marks.extend(marks);
        if at_once {
            self.flush_at = Some(now.boot);
        }
    }

    /// An agent is in this session. What a hook had told one that was killed since cannot be known to have been read: it is
    /// told again. Whoever calls a hook again has read what the last one said.
    pub(super) fn tell_again(&mut self, now: Now, session: &SessionId, process: AgentProcess) {
        let Some((told, ids)) = self.inbox.told.remove(session) else { return };
        if told != process && !is_there(told) {
            let marks = ids.into_iter().map(|id| NoticeMark { id, mark: Mark::Unread });
            self.inbox.marks.extend(marks);
            self.flush_at = Some(now.boot);
        }
    }

    /// A session says what it does.
    pub(super) fn heard_of(&mut self, now: Now, session: SessionId, what: Heard) {
        let key = Some(session.clone());
        self.inbox.remember(session, now, |presence| match what {
            Heard::Typed => {
                (presence.typed_at, presence.doing) = (Some(now.boot), Doing::Busy);
            }
            Heard::Busy => presence.doing = Doing::Busy,
            Heard::Idle if matches!(presence.doing, Doing::Idle { .. }) => {}
            Heard::Idle => presence.doing = Doing::Idle { since: now.boot },
        });
        if let Some(listener) = self.inbox.listeners.get_mut(&key) {
            listener.again_at = Some(now.boot);
        }
    }

    /// What a session that goes on under another name has running and has not heard follows it.
    pub(super) fn move_over(
        &mut self,
        now: Now,
        from: SessionId,
        to: SessionId,
        turn: &mut Turn,
    ) -> Result<(), ApiError> {
        let open = self.store.open_notices(Some(&from), OPEN_PER_SESSION);
        let mut ended: Vec<TaskId> =
            open.map_err(|e| store_error(&e))?.into_iter().map(|notice| notice.id.task).collect();
        ended.sort_unstable();
        ended.dedup();
        ended.retain(|task| !self.just_forgotten.contains(task));
        if let Some((presence, _)) = self.inbox.presences.remove(&from) {
            self.inbox.remember(to.clone(), now, |kept| *kept = presence);
        }
        if let Some(listener) = self.inbox.listeners.remove(&Some(from.clone())) {
            listener.answer(Handed::TakenOver);
        }
        self.apply(now, Input::Rebind { from, to, ended }, turn);
        Ok(())
    }

    /// After the answers of a turn: hands out what is to be told now.
    pub(super) fn tell(&mut self, now: Now, concerned: &Concerned) -> Result<(), Ending> {
        let taking = std::mem::take(&mut self.inbox.taking);
        let keys: Vec<Option<SessionId>> = self
            .inbox
            .listeners
            .iter()
            .filter(|(key, listener)| {
                let of_turn = concerned.all
                    || match key {
                        Some(session) => concerned.sessions.contains(session),
                        None => !concerned.sessions.is_empty(),
                    };
                let due = |at: Option<Boot>| at.is_some_and(|at| at <= now.boot);
                of_turn || due(listener.until) || due(listener.again_at)
            })
            .map(|(key, _)| key.clone())
            .collect();
        let mut answers = Vec::new();
        for listener in taking {
            let open = self.for_holder(now, &listener.want)?.0;
            let handed = self.hand_out(now, &listener.want, open);
            answers.push((listener, handed));
        }
        for key in keys {
            if let Some(handed) = self.look_for(now, &key)?
                && let Some(listener) = self.inbox.listeners.remove(&key)
            {
                answers.push((listener, handed));
            }
        }
        if !answers.is_empty() {
            // What is handed out is leased on disk first.
            self.flush_at = Some(now.boot);
            self.commit(now, Vec::new(), &[])?;
        }
        for (listener, handed) in answers {
            listener.answer(handed);
        }
        self.bound_sessions()
    }

    /// What a listener is handed now; none if it waits on.
    fn look_for(&mut self, now: Now, key: &Option<SessionId>) -> Result<Option<Handed>, Ending> {
        let Some(listener) = self.inbox.listeners.get(key) else { return Ok(None) };
        if listener.to.is_closed() {
            return Ok(Some(Handed::Nothing));
        }
        let (want, until) = (listener.want.clone(), listener.until);
        let (open, leased_until) = self.for_holder(now, &want)?;
        let unread: Vec<Unread> = open.iter().map(|notice| self.unread(now, notice)).collect();
        let presence = self.inbox.presence(key.as_ref());
        let wake = wake_at(&unread, &presence, self.settings.waking, want.manner);
        if wake.is_some_and(|at| at <= now.boot) {
            if want.manner == Manner::Wakes
                && let Some(session) = key.clone()
            {
                self.inbox.remember(session, now, |p| {
                    (p.woken_at, p.doing) = (Some(now.boot), Doing::Busy);
                });
            }
            return Ok(Some(self.hand_out(now, &want, open)));
        }
        if until.is_some_and(|until| until <= now.boot) {
            return Ok(Some(Handed::TimedOut));
        }
        if let Some(listener) = self.inbox.listeners.get_mut(key) {
            listener.again_at = [wake, leased_until].into_iter().flatten().min();
        }
        Ok(None)
    }

    /// What is unread for this holder, and when the next lease of another one runs out.
    fn for_holder(
        &mut self,
        now: Now,
        want: &DeliverFor,
    ) -> Result<(Vec<NoticeRecord>, Option<Boot>), Ending> {
        let open = self.store.open_notices(want.session.as_ref(), OPEN_PER_SESSION);
        let mut open = open.map_err(Ending::Store)?;
        // On their way to the store: acknowledged, or leased in this very turn.
        let marked: HashSet<NoticeId> = self.inbox.marks.iter().map(|mark| mark.id).collect();
        open.retain(|notice| !marked.contains(&notice.id));
        let mut next: Option<Boot> = None;
        open.retain(|notice| match &notice.delivery {
            Delivery::Leased { holder, until }
                if *holder != want.holder
                    // Nobody will say that it has arrived where its holder is gone.
                    && process_of_holder(holder).is_none_or(is_there) =>
            {
                match left_of(*until, now) {
                    None => true,
                    Some(left) => {
                        let at = now.boot.after(left);
                        next = Some(next.map_or(at, |next| next.min(at)));
                        false
                    }
                }
            }
            _ => true,
        });
        Ok((open, next))
    }

    fn unread(&self, now: Now, notice: &NoticeRecord) -> Unread {
        let NoticeRecord { id, scope, notify, state, at, delivery: _ } = notice;
        let age = now.wall.since(*at);
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Unread {
            kind: id.kind,
            notify: *notify,
            state: *state,
            since: Boot(now.boot.0.saturating_sub(age)),
            scope_open: self.core.open_in(scope) > 0,
        }
    }

    fn hand_out(&mut self, now: Now, want: &DeliverFor, mut open: Vec<NoticeRecord>) -> Handed {
        let more = open.len().saturating_sub(want.at_most);
        open.truncate(want.at_most);
        if open.is_empty() {
            return Handed::Nothing;
        }
        let until = now.wall.after(LEASE);
        let lease = |notice: &NoticeRecord| {
            let mark = Mark::Lease { holder: want.holder.clone(), until };
            NoticeMark { id: notice.id, mark }
        };
        self.inbox.marks.extend(open.iter().map(lease));
        Handed::Notices { notices: open, more: more.min(limits::UNREAD_MAX) }
    }

    /// Gives up what nobody reads, now and then.
    fn bound_sessions(&mut self) -> Result<(), Ending> {
        if self.inbox.written < BOUND_AFTER {
            return Ok(());
        }
        self.inbox.written = 0;
        match self.store.bound_notices(OPEN_PER_SESSION) {
            Ok(0) | Err(meanwhile_store::StoreError::Busy { .. }) => Ok(()),
            Ok(given_up) => {
                tracing::info!(given_up, "notices that nobody has read: the oldest are given up");
                Ok(())
            }
            Err(error) => Err(Ending::Store(error)),
        }
    }
}

/// What a session says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Its user has typed.
    Typed,
    /// It works.
    Busy,
    /// It waits for its user.
    Idle,
}

/// What is left of a lease; none if it has run out. One that lasts longer than any was given when the clock was
/// another.
fn left_of(until: Wall, now: Now) -> Option<std::time::Duration> {
    let left = until.since(now.wall);
    (!left.is_zero() && left <= LEASE).then_some(left)
}
