//! Who asked for what: an entry for every request that is to change something, in a file of its own.
//!
//! ```text
//!   request ─► evidence (process, its tree, door) ─► handler names the tasks ─► answer ─► one line of logs/audit.log
//! ```
//!
//! Owns the file and its rotation (one old file is kept). The line is written when the request is answered or given up,
//! whatever came of it; what then happened to a task is in the event log. Never holds what was asked in full: no command,
//! argument, variable or message. A disk that is full stops no request.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use meanwhile_api::audit::{AuditEntry, AuditQuery, AuditReply, LIMIT_DEFAULT, LIMIT_MAX};
use meanwhile_api::routes::RouteId;
use meanwhile_api::sanitise;
use meanwhile_core::{Actor, TaskId};
use meanwhile_host::clock;
use meanwhile_host::dir::Dir;
use meanwhile_host::proc;

use super::exchange::Asked;
use crate::view::{time, wire_id};

const FILE: &str = "audit.log";
const OLD: &str = "audit.log.1";
/// A file is replaced at this size: about 30,000 entries.
const FILE_BYTES: u64 = 8 << 20;
/// Tasks that an entry names.
const TASKS: usize = 1_000;
/// Processes that an entry names: each is a file to read while somebody waits for an answer.
const TREE: usize = 6;
/// Bytes at the end of the file among which the last number is looked for: more than the longest line.
const TAIL_BYTES: u64 = 64 << 10;

/// The file of entries.
#[derive(Debug)]
pub(super) struct Trail(Mutex<Pen>);

#[derive(Debug)]
struct Pen {
    logs: Dir,
    open: Option<(File, u64)>,
    /// The last one given; none before it was looked for.
    number: Option<u64>,
}

/// The tasks that a request turns out to be about.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched(Arc<Mutex<Vec<TaskId>>>);

/// An entry under way. Dropped, it is written.
pub(super) struct Entry<'a> {
    trail: &'a Trail,
    entry: AuditEntry,
    touched: Touched,
}

impl Touched {
    fn add(&self, tasks: &[TaskId]) {
        let mut touched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks {
            if touched.len() < TASKS && !touched.contains(task) {
                touched.push(*task);
            }
        }
    }
}

impl Asked {
    /// For the audit: the request is about these.
    pub(super) fn touches(&self, tasks: &[TaskId]) {
        self.touched.add(&tasks[..tasks.len().min(TASKS)]);
    }

    fn door(&self) -> &'static str {
        self.shows().map_or("http", meanwhile_api::inbox::Route::name)
    }
}

impl Trail {
    /// Below the directory of logs.
    pub(super) fn new(logs: Dir) -> Self {
        Self(Mutex::new(Pen { logs, open: None, number: None }))
    }

    /// A request that is to change something: what is known of whoever asks, while it is there.
    pub(super) fn begin(&self, asked: &Asked, route: RouteId, pid: Option<u32>) -> Entry<'_> {
        let by = match asked.caller.actor() {
            Actor::Person => "user".to_owned(),
            Actor::Session(session) => format!("session {session}"),
            Actor::Task(task) => format!("task {task}"),
            Actor::Rule(text) => text.to_owned(),
            Actor::Other(text) => text,
        };
        let entry = AuditEntry {
            number: 0,
            at: time(clock::wall()),
            asked: name_of(route),
            by: sanitise::line(&by),
            session: sanitise::line(asked.caller.session().as_str()),
            claim: asked.claim.as_ref().map(|claim| sanitise::line(&claim.source)),
            door: asked.door().to_owned(),
            pid,
            tree: pid.map(|pid| proc::names(pid, TREE)).unwrap_or_default(),
            tasks: Vec::new(),
            outcome: "unanswered".into(),
        };
        Entry { trail: self, entry, touched: asked.touched.clone() }
    }

    /// The entries that match, oldest first.
    pub(super) fn read(&self, query: &AuditQuery) -> std::io::Result<AuditReply> {
        let AuditQuery { after, task, session, asked, limit } = query;
        let limit = limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX) as usize;
        let wanted = |entry: &AuditEntry| {
            after.is_none_or(|after| entry.number > after)
                && task.as_ref().is_none_or(|task| entry.tasks.contains(task))
                && session.as_ref().is_none_or(|session| entry.session == *session)
                && asked.as_ref().is_none_or(|asked| entry.asked == *asked)
        };
        let (old, new) = {
            // Only opened under the lock: whoever asks for something is not kept waiting by whoever reads.
            let pen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (pen.logs.open_file(OLD), pen.logs.open_file(FILE))
        };
        let mut found = Vec::new();
        for file in [old, new].into_iter().flatten() {
            let mut text = String::new();
            file.take(2 * FILE_BYTES).read_to_string(&mut text)?;
            // The last line may be half written.
            let entries = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            found.extend(entries.filter(wanted));
        }
        let more = found.len() > limit;
        match after {
            Some(_) => found.truncate(limit),
            None => drop(found.drain(..found.len().saturating_sub(limit))),
        }
        Ok(AuditReply { entries: found, more })
    }
}

impl Entry<'_> {
    /// What came of it.
    pub(super) fn answered<T>(&mut self, answer: &Result<T, meanwhile_api::ApiError>) {
        self.entry.outcome = match answer {
            Ok(_) => "done".into(),
            Err(error) => word(error.code),
        };
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let touched = self.touched.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.entry.tasks = touched.iter().map(|task| wire_id(*task)).collect();
        drop(touched);
        self.entry.at = time(clock::wall());
        self.trail.0.lock().unwrap_or_else(PoisonError::into_inner).write(&mut self.entry);
    }
}

impl Pen {
    fn write(&mut self, entry: &mut AuditEntry) {
        let number = self.number.unwrap_or_else(|| last_number(&self.logs)) + 1;
        self.number = Some(number);
        entry.number = number;
        let mut line = serde_json::to_vec(entry).expect("an entry is text and numbers");
        line.push(b'\n');
        if self.open.as_ref().is_some_and(|(_, bytes)| *bytes >= FILE_BYTES) {
            self.open = None;
            let _kept_growing = self.logs.rename_file(FILE, OLD);
        }
        if self.open.is_none() {
            let Ok(file) = self.logs.append_file(FILE) else { return };
            let bytes = file.metadata().map_or(0, |metadata| metadata.size());
            self.open = Some((file, bytes));
        }
        let Some((file, bytes)) = &mut self.open else { return };
        match file.write_all(&line) {
            Ok(()) => *bytes += line.len() as u64,
            Err(_disk_full) => self.open = None,
        }
    }
}

fn last_number(logs: &Dir) -> u64 {
    use std::io::{Seek as _, SeekFrom};
    let last = |name: &str| {
        let mut file = logs.open_file(name).ok()?;
        let length = file.metadata().ok()?.size();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        let entry = |line| serde_json::from_str::<AuditEntry>(line).ok();
        text.lines().rev().find_map(entry).map(|entry| entry.number)
    };
    last(FILE).or_else(|| last(OLD)).unwrap_or(0)
}

/// Whether a request is worth an entry. Uploads, and what hooks and listeners say of themselves many times a minute, change
/// nothing that anybody would ask about.
pub(super) const fn is_kept(route: RouteId) -> bool {
    matches!(
        route,
        RouteId::Submit
            | RouteId::Cancel
            | RouteId::Retry
            | RouteId::Complete
            | RouteId::Extend
            | RouteId::Prune
            | RouteId::Clean
            | RouteId::ConfigSet
            | RouteId::DaemonStop
    )
}

/// A code as it is on the wire.
fn word(code: meanwhile_api::ErrorCode) -> String {
    let word = serde_json::to_value(code).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_else(|| "refused".into())
}

/// The route's name as programs write it.
fn name_of(route: RouteId) -> String {
    let mut name = String::new();
    for letter in format!("{route:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(task: u64) -> AuditEntry {
        AuditEntry {
            number: 0,
            at: time(clock::wall()),
            asked: "cancel".into(),
            by: "user".into(),
            session: if task.is_multiple_of(2) { "even" } else { "odd" }.into(),
            claim: None,
            door: "cli".into(),
            pid: Some(1),
            tree: vec!["x".repeat(4_000)],
            tasks: vec![wire_id(TaskId::from_random(task))],
            outcome: "done".into(),
        }
    }

    fn trail(base: &std::path::Path) -> Trail {
        Trail::new(Dir::open_or_create(&base.join("logs"), &[]).unwrap())
    }

    fn write(trail: &Trail, n: u64) {
        trail.0.lock().unwrap().write(&mut entry(n));
    }

    #[test]
    fn entries_are_numbered_on_across_files_and_daemons_and_two_files_are_kept() {
        let base = tempfile::tempdir().unwrap();
        let first = trail(base.path());
        (1..=3_000).for_each(|n| write(&first, n));
        let second = trail(base.path());
        (3_001..=5_000).for_each(|n| write(&second, n));
        let newest = second.read(&AuditQuery { limit: Some(2), ..AuditQuery::default() }).unwrap();
        assert_eq!(newest.entries.iter().map(|e| e.number).collect::<Vec<_>>(), [4_999, 5_000]);
        assert!(newest.more);
        let files = std::fs::read_dir(base.path().join("logs")).unwrap();
        let sizes: Vec<u64> = files.map(|file| file.unwrap().metadata().unwrap().size()).collect();
        assert!(
            sizes.len() == 2 && sizes.iter().all(|size| *size < FILE_BYTES + 8_192),
            "{sizes:?}"
        );
    }

    #[test]
    fn entries_are_found_by_task_session_and_number_a_page_at_a_time() {
        let base = tempfile::tempdir().unwrap();
        let trail = trail(base.path());
        (1..=10).for_each(|n| write(&trail, n));
        let numbers = |query: &AuditQuery| {
            let reply = trail.read(query).unwrap();
            (reply.entries.iter().map(|e| e.number).collect::<Vec<_>>(), reply.more)
        };
        let of_task =
            AuditQuery { task: Some(wire_id(TaskId::from_random(4))), ..AuditQuery::default() };
        assert_eq!(numbers(&of_task), (vec![4], false));
        let page = AuditQuery {
            session: Some("odd".into()),
            after: Some(3),
            limit: Some(2),
            ..AuditQuery::default()
        };
        assert_eq!(numbers(&page), (vec![5, 7], true));
        assert_eq!(numbers(&AuditQuery { after: Some(7), ..page }), (vec![9], false));
        let none = AuditQuery { asked: Some("submit".into()), ..AuditQuery::default() };
        assert_eq!(numbers(&none), (vec![], false));
    }

    #[test]
    fn a_route_is_named_as_programs_write_it() {
        assert_eq!(name_of(RouteId::ConfigSet), "config_set");
        assert_eq!(name_of(RouteId::Submit), "submit");
    }
}
