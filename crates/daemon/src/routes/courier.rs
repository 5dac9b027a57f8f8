//! The courier: a process that delivers what is due, and ends.
//!
//! ```text
//!   lock the ledger ─► take news ─► what is due ─► write ─► per way, side by side: write the try ─► try ─► write
//!                                                     └── soon due? wait and begin anew : say when, end
//! ```
//!
//! Owns the order that makes delivery at least once: a try is written down before it is made, its success after. A courier
//! that is killed leaves a ledger from which the next one goes on; one that cannot write does not deliver, so that a full
//! disk repeats nothing without end. Reads the store and never writes it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use meanwhile_api::inbox::Notice;
use meanwhile_core::{NoticeId, TaskId};
use meanwhile_host::clock;
use meanwhile_host::home::{Home, HomePaths};
use meanwhile_routes::{Failure, Terminal};
use meanwhile_store::{Delivery as Reading, Reader, SqliteReader, StoreError, TaskRecord};
use serde::{Deserialize, Serialize};

use super::body::Kind;
use super::ledger::{Book, Ledger};
use super::send::{Message, fresh_id, send};
use super::way::{Way, longest_wait, wait_after};
use super::{audience, due};
use crate::settings::{self, RouteSettings};
use crate::tell;

/// A courier does not begin anything after so long: another one goes on, with fresh settings.
const SHIFT: Duration = Duration::from_secs(40);
/// What is due this soon is waited for.
const SOON: Duration = Duration::from_secs(3);
/// Without room on the disk, or without a readable store.
const AFTER_TROUBLE: Duration = Duration::from_secs(60);
/// What could not be delivered for a day is no news any more.
const OLDEST: Duration = Duration::from_secs(24 * 3_600);
/// Lines of a report: they must fit into a pipe that nobody reads yet.
const LINES: usize = 100;

/// What a courier is started with.
#[derive(Debug)]
pub struct CourierOptions {
    /// Where everything is.
    pub paths: HomePaths,
    /// The last event that is not to be told, if there is no ledger.
    pub after: u64,
    /// Where the daemon listens.
    pub report: Option<File>,
}

/// What a courier tells the daemon, a line each.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Report {
    /// One try.
    Tried { way: String, notices: usize, tries: u32, ok: bool, text: String },
    /// It is not tried again.
    GivenUp { way: String, notices: usize, text: String },
    /// Why nothing could be done.
    Trouble { text: String },
    /// When another courier is needed though nothing happens.
    Next { ms: u64 },
}

/// Delivers what is due.
pub fn deliver(options: CourierOptions) {
    let CourierOptions { paths, after, report } = options;
    let reports = Mutex::new(Reports { to: report, lines: 0 });
    let next = match shift(&paths, after, &reports) {
        Ok(next) => next,
        Err(error) => {
            tell_daemon(&reports, &Report::Trouble { text: error.to_string() });
            Some(AFTER_TROUBLE)
        }
    };
    if let Some(next) = next {
        let ms = u64::try_from(next.as_millis()).unwrap_or(u64::MAX);
        tell_daemon(&reports, &Report::Next { ms });
    }
}

struct Reports {
    to: Option<File>,
    lines: usize,
}

fn tell_daemon(reports: &Mutex<Reports>, report: &Report) {
    let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
    reports.lines += 1;
    let last = matches!(report, Report::Next { .. });
    if reports.lines > LINES && !last {
        return;
    }
    if let Some(to) = &mut reports.to {
        let mut line = serde_json::to_vec(report).expect("a report is text and numbers");
        line.push(b'\n');
        // A daemon that is gone has left the rest to the next one.
        let _gone = to.write_all(&line);
    }
}

/// Works until nothing is due soon; when something is due next.
fn shift(paths: &HomePaths, after: u64, reports: &Mutex<Reports>) -> io::Result<Option<Duration>> {
    let home = Home::open(paths.clone()).map_err(|e| io::Error::other(e.to_string()))?;
    let begun = Instant::now();
    let book = Book::open(&home.state)?;
    let mut ledger = book.read()?.unwrap_or(Ledger { cursor: after, ..Ledger::default() });
    let mut reader = SqliteReader::open(&paths.database()).map_err(unreadable)?;
    loop {
        let routes = settings::load(&paths.config).map_err(io::Error::other)?.routes;
        let ways = Way::all(&routes);
        if ways.is_empty() {
            return Ok(None);
        }
        let before = ledger.clone();
        let stored_next = plan(&mut reader, &mut ledger, &routes, &ways)?;
        give_up_old(&mut ledger, &ways, reports);
        if ledger != before {
            book.write(&ledger)?;
        }
        let round = Round { home: &home, book: &book, routes: &routes, begun, reports };
        ledger = round.go(ledger, &ways)?;
        let now = clock::wall().0;
        let due_next = ledger.due.iter().map(|d| milliseconds(d.next_at.saturating_sub(now))).min();
        let Some(next) = [stored_next, due_next].into_iter().flatten().min() else {
            return Ok(None);
        };
        if next > SOON || begun.elapsed() + next > SHIFT {
            return Ok(Some(next));
        }
        // sleep: the moment itself is what is waited for.
        std::thread::sleep(next.max(Duration::from_millis(10)));
    }
}

fn unreadable(error: StoreError) -> io::Error {
    io::Error::other(error.to_string())
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Moves what is due from the event log to the ways; when to look again for what is held back.
fn plan(
    reader: &mut SqliteReader,
    ledger: &mut Ledger,
    routes: &RouteSettings,
    ways: &[Way],
) -> io::Result<Option<Duration>> {
    due::take(reader, ledger).map_err(unreadable)?;
    let now = clock::now();
    let ready = due::ready(reader, ledger, routes, now).map_err(unreadable)?;
    for notice in &ready.now {
        let id = notice.id.to_string();
        let read = notice.delivery == Reading::Acknowledged;
        for way in ways.iter().filter(|way| !(way.is_for_eyes() && read)) {
            let key = way.key();
            let spaced = ledger.worked_at.get(&key).map_or(0, |at| at + ms_of(way.spacing()));
            // A clock that was set back must not silence it.
            let next_at = spaced.clamp(now.wall.0, now.wall.0 + ms_of(way.spacing()));
            ledger.add(&key, &id, now.wall.0, next_at, &mut fresh_id);
        }
    }
    let left = |at: meanwhile_core::Boot| Duration::from_millis(at.0.saturating_sub(now.boot.0));
    Ok(ready.next.map(left))
}

fn ms_of(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What is of no way that is set, or too old, is given up; a time far ahead is of a clock that was set back.
fn give_up_old(ledger: &mut Ledger, ways: &[Way], reports: &Mutex<Reports>) {
    let now = clock::wall().0;
    let keys: Vec<String> = ways.iter().map(Way::key).collect();
    ledger.due.retain(|delivery| keys.contains(&delivery.way));
    ledger.worked_at.retain(|way, _| keys.contains(way));
    for delivery in &mut ledger.due {
        delivery.next_at = delivery.next_at.min(now + ms_of(longest_wait()));
    }
    let old = |made_at: i64| now.saturating_sub(made_at) > ms_of(OLDEST);
    while let Some(index) = ledger.due.iter().position(|delivery| old(delivery.made_at)) {
        ledger.give_up(index, now, "a day has gone by");
        report_given_up(ledger, ways, reports);
    }
}

fn report_given_up(ledger: &Ledger, ways: &[Way], reports: &Mutex<Reports>) {
    let Some(last) = ledger.given_up.back() else { return };
    let way = ways.iter().find(|way| way.key() == last.way);
    let way = way.map_or_else(|| last.way.clone(), Way::label);
    let text = last.problem.clone();
    tell_daemon(reports, &Report::GivenUp { way, notices: last.notices, text });
}

/// What the ways of one round share.
struct Round<'a> {
    home: &'a Home,
    book: &'a Book,
    routes: &'a RouteSettings,
    begun: Instant,
    reports: &'a Mutex<Reports>,
}

impl Round<'_> {
    /// Every way does what it has to do, none waits for another; the ledger as it is then.
    fn go(&self, ledger: Ledger, ways: &[Way]) -> io::Result<Ledger> {
        let ledger = Mutex::new(ledger);
        let results: Vec<io::Result<()>> = std::thread::scope(|scope| {
            let started: Vec<_> =
                ways.iter().map(|way| scope.spawn(|| self.serve(way, ways, &ledger))).collect();
            let joined = started.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a bug ended a delivery")))
            });
            joined.collect()
        });
        results.into_iter().collect::<io::Result<()>>()?;
        Ok(ledger.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Delivers by one way what is due, in order, until something fails or the shift is over.
    fn serve(&self, way: &Way, ways: &[Way], ledger: &Mutex<Ledger>) -> io::Result<()> {
        let key = way.key();
        while self.begun.elapsed() < SHIFT {
            let Some((id, notices, tries)) = self.begin(&key, ledger)? else { return Ok(()) };
            let loaded = self.load(&notices)?;
            let result = match &loaded {
                // Its tasks were deleted since: there is nothing to tell.
                None => Ok("nothing is left to tell".into()),
                Some((notices, terminals)) => {
                    let message = Message {
                        kind: Kind::Notices,
                        id: &id,
                        attempt: tries,
                        notices,
                        terminals,
                        home: self.home.paths.explicit.then_some(&self.home.paths.state),
                    };
                    send(way, self.routes, &message)
                }
            };
            let (ok, text) = match &result {
                Ok(text) => (true, text.clone()),
                Err(failure) => (false, meanwhile_api::sanitise::line(failure.text())),
            };
            let report =
                Report::Tried { way: way.label(), notices: notices.len(), tries, ok, text };
            tell_daemon(self.reports, &report);
            self.settle(way, ways, &id, result, ledger)?;
        }
        Ok(())
    }

    /// The next delivery of a way, its try written down; none where nothing is due.
    fn begin(
        &self,
        key: &str,
        ledger: &Mutex<Ledger>,
    ) -> io::Result<Option<(String, Vec<String>, u32)>> {
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = ledger.head(key) else { return Ok(None) };
        let delivery = &mut ledger.due[index];
        if delivery.next_at > clock::wall().0 {
            return Ok(None);
        }
        delivery.tries += 1;
        let begun = (delivery.id.clone(), delivery.notices.clone(), delivery.tries);
        self.book.write(&ledger)?;
        Ok(Some(begun))
    }

    /// What came of a try, written down.
    fn settle(
        &self,
        way: &Way,
        ways: &[Way],
        id: &str,
        result: Result<String, Failure>,
        ledger: &Mutex<Ledger>,
    ) -> io::Result<()> {
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::wall().0;
        let Some(index) = ledger.due.iter().position(|delivery| delivery.id == id) else {
            return Ok(());
        };
        match result {
            Ok(_) => {
                ledger.due.remove(index);
                ledger.worked_at.insert(way.key(), now);
            }
            Err(failure) => {
                let delivery = &mut ledger.due[index];
                let problem = meanwhile_api::sanitise::line(failure.text());
                delivery.problem = Some(problem.clone());
                let lasting = matches!(failure, Failure::Lasting(_));
                if lasting || delivery.tries >= way.tries() {
                    ledger.give_up(index, now, &problem);
                    report_given_up(&ledger, ways, self.reports);
                } else {
                    let dice = getrandom::u64().unwrap_or_default();
                    let wait = wait_after(delivery.tries, self.routes.backoff, dice);
                    delivery.next_at = now + ms_of(wait);
                }
            }
        }
        self.book.write(&ledger)
    }

    /// The notices of a delivery in words, and where their tasks were launched; none where no task is left.
    fn load(&self, ids: &[String]) -> io::Result<Option<(Vec<Notice>, BTreeSet<Terminal>)>> {
        let ids: Vec<NoticeId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut reader = SqliteReader::open(&self.home.paths.database()).map_err(unreadable)?;
        let records = due::notices(&mut reader, &ids).map_err(unreadable)?;
        let tasks: Vec<TaskId> = ids.iter().map(|id| id.task).collect();
        let tasks: Vec<TaskRecord> =
            reader.tasks(&tasks).map_err(unreadable)?.into_iter().flatten().collect();
        let printed = self.routes.webhook_output.then_some(self.home);
        let mut notices = Vec::new();
        for id in &ids {
            let task = tasks.iter().find(|task| task.id == id.task);
            if let Some((record, task)) = records.get(id).zip(task) {
                notices.push(tell::notice(printed, task, record));
            }
        }
        let terminals = tasks.iter().filter_map(|task| audience::of_task(&task.spec)).collect();
        Ok((!notices.is_empty()).then_some((notices, terminals)))
    }
}
