//! Tasks of the workload in a home, with what was promised about each.
//!
//! Owns the submission of many at once and of single ones, and the journal they write to.

use std::path::PathBuf;

use meanwhile_testkit::{TestHome, marked};
use serde_json::{Map, Value, json};

use crate::work::Work;

/// What must come of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Its end as it was, once, with every byte.
    TrueEnd,
    /// The same, or `interrupted` by this cause (`lost`, `reboot`): its supervisor was killed.
    OrInterrupted(&'static str),
    /// `cancelled`, or its end as it was when that came first.
    OrCancelled,
}

/// One submitted task.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its id, as acknowledged.
    pub id: String,
    /// What it does.
    pub work: Work,
    /// What must come of it.
    pub promise: Promise,
}

/// The tasks of one home.
#[derive(Clone, Debug)]
pub struct Load {
    /// What the programs write to.
    pub journal: PathBuf,
    /// In every command line of it.
    pub mark: String,
    /// In the order of submission.
    pub tasks: Vec<Loaded>,
    /// Seats of each lane that is checked.
    pub limits: Vec<(String, usize)>,
}

impl Load {
    /// None yet. `limits` names the lanes to be checked with their seats, as the home is configured.
    #[must_use]
    pub fn new(home: &TestHome, limits: &[(&str, usize)]) -> Self {
        Self {
            journal: home.path("journal"),
            // Not the home's own marker, which rows use for processes besides the load. A number, so that `sleep` takes it,
            // too.
            mark: home.marker().replace("1000.", "2000."),
            tasks: Vec::new(),
            limits: limits.iter().map(|(lane, limit)| ((*lane).to_owned(), *limit)).collect(),
        }
    }

    /// Submits all in one transaction, each with `options` (`{"retries": 2}`).
    #[track_caller]
    pub fn submit(&mut self, home: &TestHome, works: &[Work], options: &Value, promise: Promise) {
        let entries: String = works
            .iter()
            .map(|work| {
                let mut entry: Map<String, Value> =
                    options.as_object().cloned().unwrap_or_default();
                entry.insert("command".into(), json!(work.command(&self.journal, &self.mark)));
                Value::Object(entry).to_string() + "\n"
            })
            .collect();
        let ran = home.invoke(["run", "--from", "-"]).stdin(entries).run();
        let ids: Vec<String> = ran.ok().lines().map(str::to_owned).collect();
        assert_eq!(ids.len(), works.len(), "one id per line is promised");
        for (id, work) in ids.into_iter().zip(works) {
            self.tasks.push(Loaded { id, work: *work, promise });
        }
    }

    /// Submits one by a call of its own; answers its id.
    #[track_caller]
    pub fn launch(
        &mut self,
        home: &TestHome,
        work: Work,
        options: &[&str],
        promise: Promise,
    ) -> String {
        let command = work.command(&self.journal, &self.mark);
        let id = home.launch_with(options.iter().copied(), command);
        self.tasks.push(Loaded { id: id.clone(), work, promise });
        id
    }

    /// All ids.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.tasks.iter().map(|task| task.id.as_str()).collect()
    }

    /// The journal's lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.journal).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many programs have begun.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.lines().iter().filter(|line| line.starts_with("begin")).count()
    }

    /// Waits until as many programs have begun in all.
    #[track_caller]
    pub fn wait_begun(&self, how_many: usize) {
        meanwhile_testkit::wait_for_file(&self.journal, crate::check::PATIENCE, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            text.lines().filter(|line| line.starts_with("begin")).count() >= how_many
        });
    }

    /// Waits for the end of every task.
    #[track_caller]
    pub fn wait(&self, home: &TestHome) {
        let line = ["wait"].into_iter().chain(self.ids());
        let ran = home.invoke(line).deadline(crate::check::PATIENCE).run();
        assert!(matches!(ran.code(), 0 | 1), "wait exited {}: {}", ran.code(), ran.complaint());
    }

    /// Living processes of the workload.
    #[must_use]
    pub fn alive(&self) -> Vec<u32> {
        let mut found = marked(&self.mark);
        // A supervisor that still carries the command line it was forked with is none of the task's.
        found.retain(|pid| *pid != std::process::id());
        found
    }
}
