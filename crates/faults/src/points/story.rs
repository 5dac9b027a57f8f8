//! The story that is told at every place: everything the product does, once or twice, in a few seconds.
//!
//! Submissions, a batch, a dependency, retries, a cancel, a timeout, a start that fails, a full log, standard
//! input, a supervisor killed, a daemon killed and one stopped, and the deletion of it all. Nobody in it knows
//! whether or where something is killed. Afterwards the checker looks, and the store, files and processes agree.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use meanwhile_core::State;
use meanwhile_core::event::Exit;
use meanwhile_supervisor::limits::SPARE_TMPDIR;
use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::{Value, json};

use crate::check::PATIENCE;
use crate::record;
use crate::staging::supervisor_of;
use crate::work::{End, Work};
use crate::{Load, Promise, Stage};

const LIMIT: usize = 2;
/// More than a log of the smallest cap holds.
const FLOOD: usize = 300_000;

/// A task that the checker's own promises do not cover.
struct Special {
    id: String,
    name: &'static str,
    state: State,
    cause: &'static str,
}

struct Story {
    home: TestHome,
    load: Load,
    /// The directory of the places.
    places: PathBuf,
    specials: Vec<Special>,
    next: u64,
}

/// Tells it in this process. The directory of the places is in the environment.
#[must_use]
pub fn main() -> ExitCode {
    let directory =
        std::env::var_os(super::VARIABLE).expect("the driver says where the places are");
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {LIMIT}")).build();
    let load = Load::new(&home, &[("commands", LIMIT)]);
    let places = PathBuf::from(directory);
    let mut story = Story { home, load, places, specials: Vec::new(), next: 0 };
    story.submissions();
    story.ends_of_all_kinds();
    story.daemons_come_and_go();
    story.home.wait_for_all(&story.load, &story.specials);
    let mut stage = Stage::default();
    story.check(&mut stage);
    story.clean(&mut stage);
    ExitCode::from(u8::from(!stage.complaints().is_empty()))
}

trait WaitForAll {
    fn wait_for_all(&self, load: &Load, specials: &[Special]);
}

impl WaitForAll for TestHome {
    fn wait_for_all(&self, load: &Load, specials: &[Special]) {
        load.wait(self);
        let line = ["wait"].into_iter().chain(specials.iter().map(|special| special.id.as_str()));
        let ran = self.invoke(line).deadline(PATIENCE).run();
        assert!(matches!(ran.code(), 0 | 1), "wait exited {}: {}", ran.code(), ran.complaint());
    }
}

impl Story {
    fn work(&mut self, end: End) -> Work {
        self.next += 1;
        let nap = Duration::from_millis(20);
        Work { end, bytes: 3000, parts: 2, nap, ..Work::short(self.next) }
    }

    /// A task of the checker's kind.
    fn launch(&mut self, work: Work, options: &[&str], promise: Promise) -> String {
        self.load.launch(&self.home, work, options, promise)
    }

    /// A task with an end of its own. Its program carries the mark all the same.
    fn special(
        &mut self,
        name: &'static str,
        (state, cause): (State, &'static str),
        options: &[&str],
    ) -> String {
        let work = self.work(End::Never);
        let command = work.command(&self.load.journal, &self.load.mark);
        let options = options.iter().copied().chain(["--name", name]);
        let id = self.home.launch_with(options, command);
        self.specials.push(Special { id: id.clone(), name, state, cause });
        id
    }

    fn shell(
        &mut self,
        name: &'static str,
        end: (State, &'static str),
        options: &[&str],
        line: &str,
    ) -> String {
        let options = options.iter().copied().chain(["--name", name]);
        let id = self.home.launch_shell_with(options, line);
        self.specials.push(Special { id: id.clone(), name, state: end.0, cause: end.1 });
        id
    }

    fn submissions(&mut self) {
        let first = self.work(End::Exit(3));
        let first = self.launch(first, &["--idempotency-key", "story"], Promise::TrueEnd);
        let again = self.home.launch_with(["--idempotency-key", "story"], ["true"]);
        assert_eq!(first, again, "a second submission with the same key is the first");
        let batch = [self.work(End::Exit(1)), self.work(End::Term), self.work(End::Exit(0))];
        let options = json!({ "retries": 1, "backoff": "10ms" });
        self.load.submit(&self.home, &batch[..1], &options, Promise::TrueEnd);
        self.load.submit(&self.home, &batch[1..], &json!({}), Promise::TrueEnd);
        let after = self.work(End::Exit(0));
        self.launch(after, &["--after", &format!("{first}:any")], Promise::TrueEnd);
        self.home.wait(&first);
        self.home.cli(["retry", &first]).ok();
    }

    fn ends_of_all_kinds(&mut self) {
        let timeout = ["--timeout", "300ms", "--kill-after", "200ms"];
        self.special("timeout", (State::Failed, "timeout"), &timeout);
        // It does not hear the polite end, and has a child that left its session.
        let mark = self.load.mark.clone();
        let ready = self.home.path("stubborn");
        let line = format!(
            "trap '' TERM; setsid sh -c \"trap '' TERM; sleep {mark}\" & : > '{}'; while :; do sleep {mark}; done",
            ready.display()
        );
        let options = ["--kill-after", "100ms"];
        let stubborn = self.shell("stubborn", (State::Cancelled, "cancelled_by"), &options, &line);
        let flood = format!("head -c {FLOOD} /dev/zero");
        self.shell("flood", (State::Completed, "exit"), &["--max-log", "64KiB"], &flood);
        let leftover = format!("setsid sleep {mark} & exit 4");
        self.shell("leftover", (State::Failed, "exit"), &[], &leftover);
        let input = ["run", "--name", "input", "--stdin", "-", "--", "cat"];
        let input = self.home.invoke(input).stdin("what it reads").run().ok();
        let end = (State::Completed, "exit");
        self.specials.push(Special { id: input, name: "input", state: end.0, cause: end.1 });
        self.no_program();
        until("the stubborn task to be ready", DEADLINE, || {
            let ended = self.home.status(&stubborn)["ended_at"].is_string();
            (ready.exists() || ended).then_some(())
        });
        self.home.cli(["cancel", &stubborn]).ok();
        let queued = self.work(End::Never);
        let queued = self.launch(queued, &["--delay", "1h"], Promise::OrCancelled);
        self.home.cli(["cancel", &queued]).ok();
    }

    /// Its program is gone by the time it starts.
    fn no_program(&mut self) {
        let program = self.home.path("gone");
        fs::copy("/bin/true", &program).expect("a program can be copied");
        let line = ["run", "--name", "gone", "--delay", "200ms", "--"];
        let line = line.into_iter().map(Into::into).chain([program.clone().into_os_string()]);
        let id = self.home.cli(line).ok();
        fs::remove_file(&program).expect("a file of ours can be removed");
        let (state, cause) = (State::Failed, "spawn_error");
        self.specials.push(Special { id, name: "gone", state, cause });
    }

    /// A supervisor is lost, a daemon is lost and comes back by itself, a daemon is stopped and started.
    fn daemons_come_and_go(&mut self) {
        let lost = self.special("lost", (State::Interrupted, "lost"), &["--priority", "9"]);
        let running = until("the task that is to be lost to run", PATIENCE, || {
            let task = self.home.status(&lost);
            (task["supervisor_pid"].is_u64() || task["ended_at"].is_string()).then_some(task)
        });
        if running["ended_at"].is_null() {
            supervisor_of(&self.home, &lost).kill();
        }
        let long = Work { parts: 3, nap: Duration::from_millis(900), ..self.work(End::Exit(7)) };
        let id = self.launch(long, &["--priority", "9"], Promise::TrueEnd);
        until("the long task to run", PATIENCE, || {
            (self.home.status(&id)["state"] != "queued").then_some(())
        });
        self.lose_daemon(&id);
        self.home.cli(["daemon", "stop"]);
        self.home.cli(["daemon", "start"]).ok();
    }

    /// Where a task runs, its supervisor brings the daemon back, unless it is what was killed.
    fn lose_daemon(&self, running: &str) {
        let lock = self.home.state().join("daemon.lock");
        // Pid and start time: a pid alone may come again.
        let holder = || fs::read_to_string(&lock).unwrap_or_default();
        let before = holder();
        let Some(old) = self.home.daemon() else { return };
        old.kill();
        let over = record::task(&self.home, running).is_some_and(|kept| kept.state.is_terminal());
        let comes = !over && !self.killed().contains(" supervisor ");
        if comes {
            until("another daemon to come by itself", DEADLINE, || {
                (holder() != before || self.killed().contains(" supervisor ")).then_some(())
            });
        }
        // What was killed meanwhile is missed by nobody but us.
        self.home.cli(["daemon", "start"]).ok();
    }

    /// Who was killed so far.
    fn killed(&self) -> String {
        fs::read_to_string(self.places.join("killed")).unwrap_or_default()
    }

    fn check(&mut self, stage: &mut Stage) {
        // It may have been killed after its last answer; `daemon status` alone starts none.
        self.home.cli(["daemon", "start"]).ok();
        let killed = self.killed();
        println!("killed: {killed}");
        let by_supervisor = killed.contains(" supervisor ");
        let known = self.load.tasks.len() + self.specials.len();
        let mut interrupted = 0;
        if killed.contains(" child.") {
            interrupted += self.forget_killed_child();
        }
        for task in &mut self.load.tasks {
            let record = record::task(&self.home, &task.id);
            let mut attempts = record.iter().flat_map(|kept| &kept.attempts);
            if by_supervisor && attempts.any(|attempt| attempt.state == State::Interrupted) {
                task.promise = Promise::OrInterrupted("lost");
                interrupted += 1;
            }
        }
        for special in &self.specials {
            let task = self.home.status(&special.id);
            let lost = by_supervisor && task["cause"]["kind"] == "lost" && special.cause != "lost";
            interrupted += usize::from(lost);
            if !lost {
                check_special(stage, special, &task);
            }
        }
        stage.demand(
            interrupted <= 1,
            format!("one supervisor was killed, {interrupted} tasks are interrupted"),
        );
        stage.check(&self.home, &self.load);
        let listed = self.home.json(["list", "--limit", "200"]);
        let count = listed.as_array().map_or(0, Vec::len);
        stage.demand(count == known, format!("{known} tasks were submitted, {count} are listed"));
    }

    /// A child that was killed before it could execute anything is told as what it is: ended by signal 9. That is
    /// true, and no end that the checker foretold.
    fn forget_killed_child(&mut self) -> usize {
        let by_signal = |id: &str| {
            let kept = record::task(&self.home, id);
            kept.is_some_and(|kept| kept.attempts.iter().any(|a| a.exit == Some(Exit::Signal(9))))
        };
        let of_load = self.load.tasks.extract_if(.., |task| by_signal(&task.id)).count();
        let not_cancelled = |id: &str| {
            record::task(&self.home, id).is_some_and(|kept| kept.state != State::Cancelled)
        };
        let of_specials = self
            .specials
            .extract_if(.., |one| by_signal(&one.id) && not_cancelled(&one.id))
            .count();
        of_load + of_specials
    }

    fn clean(self, stage: &mut Stage) {
        self.home.cli(["clean", "--older-than", "0s"]).ok();
        let left = self.home.json(["list", "--limit", "200"]);
        stage.demand(left == json!([]), format!("after clean there are still {left}"));
        let tasks = self.entries("tasks");
        stage.demand(tasks.is_empty(), format!("left in tasks/: {tasks:?}"));
        // An idle supervisor keeps an empty directory for its next task.
        let tmp = self.entries("tmp");
        let is_spare = |name: &String| name.starts_with(SPARE_TMPDIR);
        stage.demand(tmp.iter().all(is_spare), format!("left in tmp/: {tmp:?}"));
        // A daemon that dies while it stops is missed by those who serve it: it is stopped once more.
        for _ in 0..3 {
            self.home.cli(["daemon", "stop", "--cancel-all"]);
            if gone(&self.home, Duration::from_secs(3)) {
                break;
            }
        }
        stage.demand(gone(&self.home, DEADLINE), "processes of the home live after its end");
        // That of a supervisor that was killed is deleted by the next daemon.
        let tmp = self.entries("tmp");
        let as_it_was = tmp.is_empty() || self.killed().contains(" supervisor ");
        stage.demand(as_it_was, format!("left in tmp/ after the end of all: {tmp:?}"));
    }

    fn entries(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.home.state().join(directory)).into_iter().flatten();
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

fn gone(home: &TestHome, patience: Duration) -> bool {
    let end = std::time::Instant::now() + patience;
    loop {
        if home.processes().is_empty() {
            return true;
        }
        if std::time::Instant::now() > end {
            return false;
        }
        // sleep: the end of processes that are not ours is announced to nobody
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn check_special(stage: &mut Stage, special: &Special, task: &Value) {
    let seen = (task["state"].as_str(), task["cause"]["kind"].as_str());
    stage.demand(
        seen == (Some(special.state.name()), Some(special.cause)),
        format!(
            "`{}` ended as {seen:?}, not {} {}",
            special.name,
            special.state.name(),
            special.cause
        ),
    );
    match special.name {
        "flood" => {
            stage.demand(task["log"]["bytes"] == FLOOD, format!("`flood` wrote {}", task["log"]));
        }
        "leftover" => {
            stage.demand(task["exit_code"] == 4, format!("`leftover`: {}", task["exit_code"]))
        }
        _ => {}
    }
}
