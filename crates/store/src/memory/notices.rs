//! Notices in memory, with what it takes to undo a batch.

use std::collections::BTreeMap;

use meanwhile_core::{Notice, NoticeId, NoticeKind, SessionId, State, TaskId, Wall};

use super::disk::{Disk, Undo};
use crate::limits;
use crate::notice::{Delivery, Mark, NoticeMark, NoticeRecord};

impl Disk {
    pub(super) fn write_notice(
        &mut self,
        about: NoticeId,
        at: Wall,
        state: State,
        notice: &Notice,
        undo: &mut Undo,
    ) {
        // Said again, it is there already and stays as it is. Of a task that is not kept nothing is said.
        if self.task(about.task).is_none() || self.notices.contains_key(&about) {
            return;
        }
        let Notice { scope, notify } = notice.clone();
        let record =
            NoticeRecord { id: about, scope, notify, state, at, delivery: Delivery::Unread };
        undo.remember(about, None);
        self.notices.insert(about, record);
    }

    /// What was said of a task and is chosen is old news.
    pub(super) fn supersede(
        &mut self,
        task: TaskId,
        chosen: impl Fn(&NoticeId) -> bool,
        undo: &mut Undo,
    ) {
        self.change_open(task, undo, |record| {
            if chosen(&record.id) {
                record.delivery = Delivery::Superseded;
            }
        });
    }

    pub(super) fn rebind_notices(&mut self, task: TaskId, session: &SessionId, undo: &mut Undo) {
        self.change_open(task, undo, |record| record.scope.session = session.clone());
    }

    fn change_open(&mut self, task: TaskId, undo: &mut Undo, change: impl Fn(&mut NoticeRecord)) {
        for (id, record) in self.notices.range_mut(all_of(task)) {
            if record.delivery.is_open() {
                undo.remember(*id, Some(record));
                change(record);
            }
        }
    }

    pub(super) fn forget_notices(&mut self, task: TaskId, undo: &mut Undo) {
        let ids: Vec<NoticeId> = self.notices.range(all_of(task)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(record) = self.notices.remove(&id) {
                undo.remember(id, Some(&record));
            }
        }
    }

    pub(super) fn put_notices_back(&mut self, before: BTreeMap<NoticeId, Option<NoticeRecord>>) {
        for (id, before) in before {
            match before {
                Some(record) => drop(self.notices.insert(id, record)),
                None => drop(self.notices.remove(&id)),
            }
        }
    }

    pub(super) fn mark(&mut self, mark: &NoticeMark) {
        let NoticeMark { id, mark } = mark;
        let Some(record) = self.notices.get_mut(id) else { return };
        record.delivery = match (mark.clone(), record.delivery.is_open()) {
            (Mark::Lease { holder, until }, true) => Delivery::Leased { holder, until },
            (Mark::Acknowledge, true) => Delivery::Acknowledged,
            (Mark::Unread, false) if record.delivery == Delivery::Acknowledged => Delivery::Unread,
            (Mark::Lease { .. } | Mark::Acknowledge | Mark::Unread, _) => return,
        };
    }

    pub(super) fn open_notices(
        &self,
        session: Option<&SessionId>,
        limit: usize,
    ) -> Vec<NoticeRecord> {
        let wanted = |r: &&NoticeRecord| {
            r.delivery.is_open() && session.is_none_or(|session| r.scope.session == *session)
        };
        let mut open: Vec<_> = self.notices.values().filter(wanted).collect();
        open.sort_by_key(|r| (r.at, self.numbers.get(&r.id.task)));
        open.into_iter().take(limit.min(limits::LIST)).cloned().collect()
    }

    pub(super) fn notices_of(&self, task: TaskId) -> Vec<NoticeRecord> {
        self.notices.range(all_of(task)).map(|(_, record)| record.clone()).collect()
    }

    pub(super) fn bound_notices(&mut self, per_session: usize) -> usize {
        let mut kept: BTreeMap<SessionId, usize> = BTreeMap::new();
        let mut given_up = 0;
        for record in self.open_notices(None, usize::MAX).into_iter().rev() {
            let kept = kept.entry(record.scope.session).or_default();
            *kept += 1;
            if *kept > per_session {
                given_up += 1;
                if let Some(record) = self.notices.get_mut(&record.id) {
                    record.delivery = Delivery::Superseded;
                }
            }
        }
        given_up
    }
}

/// Every id that a notice of this task may have.
fn all_of(task: TaskId) -> std::ops::RangeInclusive<NoticeId> {
    let [first, last] = [NoticeKind::Done, NoticeKind::Deadline];
    NoticeId { task, attempt: 0, kind: first, episode: 0 }..=NoticeId {
        task,
        attempt: u32::MAX,
        kind: last,
        episode: u64::MAX,
    }
}

impl Undo {
    fn remember(&mut self, id: NoticeId, before: Option<&NoticeRecord>) {
        self.notices.entry(id).or_insert_with(|| before.cloned());
    }
}
