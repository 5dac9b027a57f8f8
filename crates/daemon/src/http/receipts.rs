//! What sessions have been shown, and what they have not read.
//!
//! Owns the memory of what was shown a moment ago: it is written down with the next commit, and until then the store
//! still calls it unread. Never waits for that commit: whoever was shown the end of a task is not held up by it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use meanwhile_api::inbox::Route;
use meanwhile_api::{ApiError, headers, limits};
use meanwhile_core::{NoticeId, SessionId, TaskId};
use meanwhile_store::{NoticeRecord, Reader};

use super::caller::Caller;
use super::context::Context;
use super::exchange::Asked;
use crate::letters::Ask;

/// Longer than what may wait for the next commit does wait.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Tasks of one answer that are looked up: more are a list, and nobody reads all of it.
const SHOWN_MAX: usize = 10_000;

/// Notices that were shown a moment ago.
#[derive(Debug, Default)]
pub(super) struct Receipts(Mutex<Vec<(NoticeId, Instant)>>);

impl Receipts {
    fn add(&self, ids: &[NoticeId]) {
        let now = Instant::now();
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|(_, at)| at.elapsed() < REMEMBERED);
        shown.extend(ids.iter().map(|id| (*id, now)));
    }

    fn recent(&self) -> HashSet<NoticeId> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|(_, at)| at.elapsed() < REMEMBERED);
        shown.iter().map(|(id, _)| *id).collect()
    }
}

impl Asked {
    /// By which way the answer is shown to the caller's session, if it is.
    pub(super) fn shows(&self) -> Option<Route> {
        Route::from_name(self.headers.get(headers::SHOWS)?.to_str().ok()?)
    }
}

impl Context {
    /// The answer says how these tasks have ended, and the caller's session reads it: it need not be told again.
    pub(super) fn seen(&self, asked: &Asked, ended: &[TaskId]) {
        if asked.shows().is_none() || ended.is_empty() || asked.caller.may_change().is_err() {
            return;
        }
        // What cannot be looked up stays unread: told twice is better than not at all.
        if let Ok(ids) = self.unread_of(&asked.caller, ended)
            && !ids.is_empty()
        {
            self.acknowledged(&ids);
            self.postbox.tell(Ask::Acknowledge { ids, at_once: false, reader: None });
        }
    }

    /// What the caller's session has not read of these tasks.
    pub(super) fn unread_of(
        &self,
        caller: &Caller,
        tasks: &[TaskId],
    ) -> Result<Vec<NoticeId>, ApiError> {
        let session = caller.session();
        let (tasks, _) = tasks.split_at(tasks.len().min(SHOWN_MAX));
        self.read(|reader| {
            let records = if tasks.len() <= 1 {
                reader.notices_of(tasks)?
            } else {
                reader.open_notices(Some(&session), SHOWN_MAX)?
            };
            let wanted: HashSet<TaskId> = tasks.iter().copied().collect();
            let of_these =
                |notice: &NoticeRecord| is_of(notice, &session) && wanted.contains(&notice.id.task);
            let mut open: Vec<NoticeId> =
                records.into_iter().filter(of_these).map(|notice| notice.id).collect();
            if let Some(inside) = caller.task() {
                // A task is told of what it has launched; the rest is for its session.
                let ids: Vec<TaskId> = open.iter().map(|id| id.task).collect();
                let records = reader.tasks(&ids)?;
                let below: HashSet<TaskId> = records
                    .into_iter()
                    .flatten()
                    .filter(|record| record.placement.ancestors.contains(&inside))
                    .map(|record| record.id)
                    .collect();
                open.retain(|id| below.contains(&id.task));
            }
            Ok(open)
        })
    }

    /// From now on these are not unread.
    pub(super) fn acknowledged(&self, ids: &[NoticeId]) {
        self.receipts.add(ids);
    }

    /// What is unread of a session (or of all), the oldest first.
    pub(super) fn unread(
        &self,
        session: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<NoticeRecord>, ApiError> {
        let recent = self.receipts.recent();
        let mut open =
            self.read(|reader| reader.open_notices(session, limit.saturating_add(recent.len())))?;
        open.retain(|notice| !recent.contains(&notice.id));
        open.truncate(limit);
        Ok(open)
    }

    /// How many those are, counted up to 1,000.
    pub(super) fn count_unread(&self, session: Option<&SessionId>) -> Result<usize, ApiError> {
        if self.receipts.recent().is_empty() {
            return self.read(|reader| reader.count_open_notices(session, limits::UNREAD_MAX));
        }
        self.unread(session, limits::UNREAD_MAX).map(|unread| unread.len())
    }
}

fn is_of(notice: &NoticeRecord, session: &SessionId) -> bool {
    notice.delivery.is_open() && notice.scope.session == *session
}
