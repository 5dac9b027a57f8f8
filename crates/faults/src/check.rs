//! The checker: nothing lost, nothing doubled, no false end, no survivors, every byte, limits kept.
//!
//! Owns the definition of "nothing lost", as code. It compares three accounts of the same tasks: the
//! journal that the programs wrote themselves, the event log and rows in SQLite, and the log files. What
//! does not agree is a complaint of the row and a count in the tally.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meanwhile_core::event::Exit;
use meanwhile_core::{State, TaskId};
use meanwhile_store::{AttemptRecord, EventRecord, Logged, Reader, TaskRecord};
use meanwhile_testkit::TestHome;
use serde_json::json;

use crate::load::{Load, Loaded, Promise};
use crate::record;
use crate::row::Stage;
use crate::tally::Count;
use crate::work::End;

/// How long all tasks of a row may take to end, on a machine that has other things to do. Reached by
/// failing rows only.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// What the programs themselves wrote.
#[derive(Default)]
struct Journal {
    /// (number, attempt) with how often it began.
    begins: BTreeMap<(u64, u32), u32>,
    ends: BTreeSet<(u64, u32)>,
}

impl Journal {
    fn read(load: &Load) -> Self {
        let mut journal = Self::default();
        for line in load.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let key = |at: usize| words.get(at).and_then(|word| word.parse().ok());
            let (Some(number), Some(attempt)) =
                (key(1), key(2).and_then(|n| u32::try_from(n).ok()))
            else {
                continue;
            };
            if words[0] == "begin" {
                *journal.begins.entry((number, attempt)).or_default() += 1;
            } else {
                journal.ends.insert((number, attempt));
            }
        }
        journal
    }
}

impl Stage {
    /// Checks every task of a load, whose ends have been waited for.
    pub fn check(&mut self, home: &TestHome, load: &Load) {
        let journal = Journal::read(load);
        let events = record::events(home);
        for task in &load.tasks {
            self.check_task(home, task, &journal, &events);
        }
        self.check_limits(home, load, &events);
        self.check_seats(home);
        let alive = load.alive();
        self.demand(alive.is_empty(), format!("processes of ended tasks are alive: {alive:?}"));
    }

    fn check_task(
        &mut self,
        home: &TestHome,
        task: &Loaded,
        journal: &Journal,
        events: &[EventRecord],
    ) {
        self.count(Count::Tasks, 1);
        let id = &task.id;
        let number = task.work.number;
        let Some(record) = record::task(home, id) else {
            self.count(Count::Lost, 1);
            return self.complain(format!("task {number} ({id}) was acknowledged and is not kept"));
        };
        if !record.state.is_terminal() {
            self.count(Count::Lost, 1);
            return self.complain(format!("task {number} ({id}) is {:?} for ever", record.state));
        }
        for ((_, attempt), times) in journal.begins.range((number, 0)..=(number, u32::MAX)) {
            self.count(Count::Begins, *times as usize);
            self.count(Count::Doubled, *times as usize - 1);
            let what = format!("attempt {attempt} of task {number} ({id}) began {times} times");
            self.demand(*times == 1, what);
        }
        for attempt in &record.attempts {
            self.check_end(home, task, attempt, journal);
            self.check_one_end(&record, attempt, events);
        }
    }

    /// One attempt's end against the program's own account.
    fn check_end(
        &mut self,
        home: &TestHome,
        task: &Loaded,
        attempt: &AttemptRecord,
        journal: &Journal,
    ) {
        self.count(Count::Ends, 1);
        let key = (task.work.number, attempt.number);
        let began = journal.begins.contains_key(&key);
        let ended = journal.ends.contains(&key);
        let cause = attempt.cause.as_ref().map_or("none", |cause| cause.kind());
        let allowed = match (attempt.state, task.promise) {
            (State::Interrupted, Promise::OrInterrupted(word)) => cause == word,
            (State::Cancelled, Promise::OrCancelled) => true,
            (State::Completed | State::Failed, _) => ended && tells(task.work.end, attempt),
            _ => false,
        };
        if !allowed {
            self.count(Count::FalseEnds, 1);
            let truth = format!("began: {began}, came to its end: {ended}, {:?}", task.work.end);
            self.complain(format!(
                "attempt {} of task {} ({}) is told as {:?} ({cause}, {:?}); the truth: {truth}",
                key.1, key.0, task.id, attempt.state, attempt.exit
            ));
        }
        if ended {
            self.check_log(home, task, attempt.number);
        }
    }

    /// Every byte that was written before the end is in the file.
    fn check_log(&mut self, home: &TestHome, task: &Loaded, attempt: u32) {
        let wrote = task.work.output();
        let kept = record::log(home, &task.id, attempt);
        self.count(Count::LogBytes, wrote.len());
        let same = wrote.iter().zip(&kept).filter(|(one, other)| one == other).count();
        let lost = wrote.len() - same;
        self.count(Count::LogBytesLost, lost);
        self.demand(
            lost == 0 && kept.len() == wrote.len(),
            format!(
                "task {} ({}) wrote {} bytes, {} are kept, {lost} are not as written",
                task.work.number,
                task.id,
                wrote.len(),
                kept.len()
            ),
        );
    }

    fn check_one_end(&mut self, record: &TaskRecord, attempt: &AttemptRecord, log: &[EventRecord]) {
        let of_it =
            |event: &&EventRecord| event.task == record.id && event.attempt == attempt.number;
        let ends = log
            .iter()
            .filter(of_it)
            .filter(|event| matches!(event.what, Logged::Ended { .. }))
            .count();
        if ends != 1 {
            self.count(Count::FalseEnds, 1);
            self.complain(format!(
                "attempt {} of {} ended {ends} times",
                attempt.number, record.id
            ));
        }
    }

    /// Counts the seats of each lane after every transition that takes or frees one.
    pub fn check_limits(&mut self, home: &TestHome, load: &Load, events: &[EventRecord]) {
        let mut reader = record::reader(home);
        let mut lanes: BTreeMap<TaskId, Option<String>> = BTreeMap::new();
        let mut seated: BTreeMap<String, BTreeSet<TaskId>> = BTreeMap::new();
        for event in events {
            let lane = lanes.entry(event.task).or_insert_with(|| {
                let kept = reader.task(event.task).ok().flatten()?;
                Some(kept.placement.lane.as_str().to_owned())
            });
            let Some(lane) = lane.clone() else { continue };
            let seats = seated.entry(lane.clone()).or_default();
            match &event.what {
                Logged::Starting => seats.insert(event.task),
                Logged::Requeued { .. } | Logged::Emptied => seats.remove(&event.task),
                Logged::Ended { seat_kept, .. } => !seat_kept && seats.remove(&event.task),
                _ => continue,
            };
            let Some((_, limit)) = load.limits.iter().find(|(name, _)| *name == lane) else {
                continue;
            };
            let taken = seats.len();
            self.count(Count::Transitions, 1);
            if taken > *limit {
                self.count(Count::LimitViolations, 1);
                let at = event.seq;
                self.complain(format!(
                    "event {at}: {taken} of {limit} seats of `{lane}` are taken"
                ));
            }
        }
        for (lane, seats) in seated {
            self.demand(seats.is_empty(), format!("seats of `{lane}` never came back: {seats:?}"));
        }
    }

    /// Nobody sits and nobody waits, as the daemon counts.
    pub fn check_seats(&mut self, home: &TestHome) {
        // A fault point may take the daemon right now, and `daemon status` starts none.
        let mut told = home.cli(["--json", "daemon", "status"]);
        if told.code() != 0 {
            home.cli(["daemon", "start"]).ok();
            told = home.cli(["--json", "daemon", "status"]);
        }
        let daemon = told.json();
        for lane in daemon["lanes"].as_array().into_iter().flatten() {
            let idle = (&lane["running"], &lane["queued"]) == (&json!(0), &json!(0));
            self.demand(idle, format!("a lane is not empty in the end: {lane}"));
        }
    }
}

/// Whether the record says the end as it was.
fn tells(end: End, attempt: &AttemptRecord) -> bool {
    let state = if matches!(end, End::Exit(0)) { State::Completed } else { State::Failed };
    let exit = match end {
        End::Exit(code) => Exit::Code(i32::from(code)),
        End::Term => Exit::Signal(15),
        End::Never => return false,
    };
    attempt.state == state && attempt.exit == Some(exit)
}
