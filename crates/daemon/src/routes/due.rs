//! Which notices are due: read from the event log, held back as long as the inbox would hold them back.
//!
//! Owns the way from an event to a notice, the filters of the settings, and the moment. The moment is that of a session
//! which is idle and asks ([`meanwhile_core::inbox::wake_at`]): failures after 2 s, successes with the last of their group or
//! turn, and whatever else within 3 minutes. Changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use meanwhile_core::inbox::{Doing, Manner, Presence, Unread, Waking, wake_at};
use meanwhile_core::notice::{Notify, Part, Scope, is_failure};
use meanwhile_core::{Boot, NoticeId, NoticeKind, Now, SessionId, State, TaskId};
use meanwhile_store::{
    Delivery, EventFilter, Filter, Logged, NoticeRecord, Reader, StoreError, TaskRecord,
};

use super::ledger::Ledger;
use crate::settings::{RouteSettings, Telling};

/// Events read at once.
const PAGE: usize = 1_000;
/// Unfinished tasks of a session that are looked through for one of the same scope. Where there are more, there is one.
const LOOKED_AT: usize = 500;

/// What is due now, and when to look again.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) now: Vec<NoticeRecord>,
    pub(super) next: Option<Boot>,
}

/// Whether something has happened after this event that a route may have to tell.
pub(super) fn is_news(reader: &mut dyn Reader, after: u64) -> Result<bool, StoreError> {
    let mut cursor = after;
    loop {
        let page = reader.events_since(cursor, PAGE, &EventFilter::default())?;
        if page.iter().any(|event| about(&event.what, event.task, event.attempt).is_some()) {
            return Ok(true);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => cursor = last.seq,
            _ => return Ok(false),
        }
    }
}

/// Takes what has happened since into the ledger.
pub(super) fn take(reader: &mut dyn Reader, ledger: &mut Ledger) -> Result<(), StoreError> {
    loop {
        let page = reader.events_since(ledger.cursor, PAGE, &EventFilter::default())?;
        let Some(last) = page.last() else { return Ok(()) };
        let (last, full) = (last.seq, page.len() == PAGE);
        let candidates: Vec<NoticeId> =
            page.iter().filter_map(|e| about(&e.what, e.task, e.attempt)).collect();
        // An end that another attempt follows has no notice, and neither has one that nobody is to hear of.
        let written = notices(reader, &candidates)?;
        // A deadline is said again after a restart, under the same id.
        let known: HashSet<String> = ledger.stored.iter().cloned().collect();
        for id in candidates.iter().filter(|id| written.contains_key(id)) {
            let id = id.to_string();
            if !known.contains(&id) {
                ledger.store(id);
            }
        }
        ledger.cursor = last;
        if !full {
            return Ok(());
        }
    }
}

fn about(what: &Logged, task: TaskId, attempt: u32) -> Option<NoticeId> {
    match what {
        Logged::Ended { .. } => Some(NoticeId::of_end(task, attempt)),
        Logged::DeadlineNear { deadline } => Some(NoticeId::of_deadline(task, attempt, *deadline)),
        _ => None,
    }
}

/// Those of these notices that are written.
pub(super) fn notices(
    reader: &mut dyn Reader,
    ids: &[NoticeId],
) -> Result<BTreeMap<NoticeId, NoticeRecord>, StoreError> {
    let mut tasks: Vec<TaskId> = ids.iter().map(|id| id.task).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let found = reader.notices_of(&tasks)?;
    Ok(found.into_iter().map(|record| (record.id, record)).collect())
}

/// Takes out of what is stored what is due now, and what is no longer to be told.
pub(super) fn ready(
    reader: &mut dyn Reader,
    ledger: &mut Ledger,
    settings: &RouteSettings,
    now: Now,
) -> Result<Ready, StoreError> {
    let ids: Vec<NoticeId> = ledger.stored.iter().filter_map(|id| id.parse().ok()).collect();
    let records = notices(reader, &ids)?;
    let mut tasks: HashMap<TaskId, TaskRecord> = HashMap::new();
    let wanted: Vec<TaskId> = records.values().map(|record| record.id.task).collect();
    for task in reader.tasks(&wanted)?.into_iter().flatten() {
        tasks.insert(task.id, task);
    }
    let mut scopes = HashMap::new();
    let mut held: BTreeMap<SessionId, Vec<(&NoticeRecord, Option<Boot>)>> = BTreeMap::new();
    for id in ids {
        let Some((notice, task)) = records.get(&id).zip(tasks.get(&id.task)) else { continue };
        if !is_wanted(notice, task, settings) {
            continue;
        }
        let open = scope_open(reader, &mut scopes, &notice.scope)?;
        let moment = moment(notice, settings.telling, open, now);
        held.entry(notice.scope.session.clone()).or_default().push((notice, moment));
    }
    let mut ready = Ready::default();
    let mut kept = Vec::new();
    for of_session in held.into_values() {
        let next = of_session.iter().filter_map(|(_, moment)| *moment).min();
        let notices = of_session.into_iter().map(|(notice, _)| notice);
        // Whoever is told of one is told of all that there is, as by the inbox: not one by one as each gets old.
        if next.is_some_and(|next| next <= now.boot) {
            ready.now.extend(notices.cloned());
        } else {
            ready.next = [ready.next, next].into_iter().flatten().min();
            kept.extend(notices.map(|notice| notice.id.to_string()));
        }
    }
    ledger.stored = kept.into();
    Ok(ready)
}

fn is_wanted(notice: &NoticeRecord, task: &TaskRecord, settings: &RouteSettings) -> bool {
    let named = |names: &[String], name: Option<&str>| {
        names.is_empty() || names.iter().any(|known| Some(known.as_str()) == name)
    };
    let group = task.placement.group.as_ref().map(|group| group.as_str());
    // What was tried again, extended or has ended since is old news.
    notice.delivery != Delivery::Superseded
        && named(&settings.sessions, Some(notice.scope.session.as_str()))
        && named(&settings.groups, group)
        && (settings.telling != Telling::Failures || is_bad(notice))
}

pub(super) fn is_bad(notice: &NoticeRecord) -> bool {
    match notice.id.kind {
        NoticeKind::Deadline => true,
        NoticeKind::Done => is_failure(notice.state),
    }
}

fn moment(notice: &NoticeRecord, telling: Telling, scope_open: bool, now: Now) -> Option<Boot> {
    let age = u64::try_from(now.wall.since(notice.at).as_millis()).unwrap_or(u64::MAX);
    let notify = match telling {
        Telling::Policy | Telling::Failures => notice.notify,
        Telling::Each => Notify::Each,
    };
    let unread = Unread {
        kind: notice.id.kind,
        notify,
        state: notice.state,
        since: Boot(now.boot.0.saturating_sub(age)),
        scope_open,
    };
    let idle = Presence { doing: Doing::Idle { since: Boot(0) }, ..Presence::default() };
    wake_at(&[unread], &idle, Waking::Auto, Manner::Asked)
}

fn scope_open(
    reader: &mut dyn Reader,
    known: &mut HashMap<Scope, bool>,
    scope: &Scope,
) -> Result<bool, StoreError> {
    if let Some(open) = known.get(scope) {
        return Ok(*open);
    }
    let filter = Filter {
        states: State::ALL.into_iter().filter(|state| !state.is_terminal()).collect(),
        session: Some(scope.session.clone()),
        group: match &scope.part {
            Part::Group(group) => Some(group.clone()),
            Part::Rest | Part::Turn(_) => None,
        },
        ..Filter::default()
    };
    let unfinished = reader.list(&filter, LOOKED_AT)?;
    let waits = |task: &TaskRecord| {
        !task.spec.service
            && Notify::of(&task.spec) != Notify::Never
            && Scope::of(&task.spec, &task.placement) == *scope
    };
    let open = unfinished.len() == LOOKED_AT || unfinished.iter().any(waits);
    known.insert(scope.clone(), open);
    Ok(open)
}
