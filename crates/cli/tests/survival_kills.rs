//! `kill -9` of the daemon, again and again, at random moments: what was accepted runs once, under its
//! limit, to its true end, with every byte of its output.
//!
//! Owns the workload whose tasks keep a journal of their own, so that nothing is believed because the
//! daemon says it. Never types a command between two kills: the queue has to go on by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use meanwhile_testkit::{Dice, Process, TestHome, marked, until, wait_for_file};
use serde_json::{Value, json};

const TASKS: u64 = 50;
const KILLS: u32 = 20;
const LIMIT: usize = 4;
/// Long enough for all tasks to end after the last kill, with two slow cores shared by other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// One task of the workload: what it prints, how long it takes, how it ends.
struct Work {
    number: u64,
    lines: u64,
    nap_ms: u64,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Exit(u64),
    Term,
}

impl Work {
    fn roll(number: u64, dice: &mut Dice) -> Self {
        let lines = *dice.pick(&[1, 10, 100, 1000]);
        // So long in all that the kills fall into the work, so short that the test has an end.
        let nap_ms = dice.number(500..1000);
        let end = if dice.number(0..8) == 0 { End::Term } else { End::Exit(dice.number(0..4)) };
        Self { number, lines, nap_ms, end }
    }

    /// A line in the journal is one `write` to a file opened with O_APPEND: the order is the truth.
    fn script(&self, journal: &Path) -> String {
        let (n, lines, journal) = (self.number, self.lines, journal.display());
        let nap = format!("sleep 0.{:03}", self.nap_ms);
        let print = format!(
            "i=0; while [ $i -lt {lines} ]; do echo \"task {n} part $1 line $i\"; i=$((i+1)); done"
        );
        let end = match self.end {
            End::Exit(code) => format!("exit {code}"),
            End::Term => "kill -TERM $$".to_owned(),
        };
        format!(
            "echo 'begin {n}' >> '{journal}'; part() {{ {print}; }}; \
             part 1; {nap}; part 2; {nap}; part 3; {nap}; echo 'end {n}' >> '{journal}'; {end}"
        )
    }

    fn output(&self) -> String {
        let mut text = String::new();
        for part in 1..=3 {
            for line in 0..self.lines {
                writeln!(text, "task {} part {part} line {line}", self.number)
                    .expect("writing to a string cannot fail");
            }
        }
        text
    }

    /// Whether the task object tells the truth about the end.
    #[track_caller]
    fn check(&self, home: &TestHome, task: &Value) {
        let seen = (&task["state"], &task["exit_code"], &task["signal"]);
        let state = if matches!(self.end, End::Exit(0)) { "completed" } else { "failed" };
        let expected = match self.end {
            End::Exit(code) => (json!(state), json!(code), Value::Null),
            End::Term => (json!(state), Value::Null, json!("SIGTERM")),
        };
        assert_eq!(seen, (&expected.0, &expected.1, &expected.2), "{task:#}");
        assert_eq!(task["attempt"], 1, "{task:#}");
        let id = task["id"].as_str().expect("an id is a string");
        let output = home.cli(["output", id, "--raw"]);
        assert!(
            output.stdout == self.output().as_bytes(),
            "task {} wrote {} bytes, {} can be read\n{task:#}",
            self.number,
            self.output().len(),
            output.stdout.len()
        );
    }
}

/// Submits all in one transaction; answers the ids in order.
#[track_caller]
fn submit(home: &TestHome, work: &[Work], journal: &Path) -> Vec<String> {
    let entries: String = work
        .iter()
        .map(|work| {
            let name = format!("w{}", work.number);
            json!({ "shell": work.script(journal), "name": name }).to_string() + "\n"
        })
        .collect();
    let ran = home.invoke(["run", "--from", "-"]).stdin(entries).run();
    ran.ok().lines().map(str::to_owned).collect()
}

/// No task began twice, none was left out, and never were more between begin and end than allowed.
/// Answers how many were at most.
#[track_caller]
fn check_journal(journal: &Path, tasks: u64, limit: usize) -> usize {
    let text = fs::read_to_string(journal).expect("the journal was written");
    let mut began: BTreeMap<u64, u32> = BTreeMap::new();
    let mut active: Vec<u64> = Vec::new();
    let mut most = 0;
    for line in text.lines() {
        let (word, number) = line.split_once(' ').expect("a line is a word and a number");
        let number: u64 = number.parse().expect("a line is a word and a number");
        if word == "begin" {
            *began.entry(number).or_default() += 1;
            active.push(number);
            most = most.max(active.len());
            assert!(active.len() <= limit, "more than {limit} at once: {active:?}\n{text}");
        } else {
            active.retain(|one| *one != number);
        }
    }
    assert!(active.is_empty(), "began and did not come to their end: {active:?}\n{text}");
    let twice: Vec<_> = began.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "ran more than once: {twice:?}\n{text}");
    let numbers: Vec<u64> = began.keys().copied().collect();
    assert_eq!(numbers, (0..tasks).collect::<Vec<u64>>());
    most
}

/// Every seat is free again.
#[track_caller]
fn check_seats(home: &TestHome) {
    let daemon = home.json(["daemon", "status"]);
    for lane in daemon["lanes"].as_array().expect("lanes are an array") {
        assert_eq!((&lane["running"], &lane["queued"]), (&json!(0), &json!(0)), "{lane:#}");
    }
}

fn pause(dice: &mut Dice, most_ms: u64) {
    let moment = Duration::from_millis(dice.number(0..most_ms));
    // sleep: no state is waited for; the moment of the kill is what is random here
    std::thread::sleep(moment);
}

#[test]
fn twenty_kills_of_the_daemon_lose_nothing_and_run_nothing_twice() {
    let mut dice = Dice::new();
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {LIMIT}")).build();
    let journal = home.path("journal");
    let work: Vec<Work> = (0..TASKS).map(|number| Work::roll(number, &mut dice)).collect();
    let ids = submit(&home, &work, &journal);
    assert_eq!(ids.len(), work.len());
    // From here on there is a supervisor, which has to bring the daemon back each time.
    wait_for_file(&journal, PATIENCE, |bytes| bytes.starts_with(b"begin"));

    for kill in 0..KILLS {
        pause(&mut dice, 600);
        let old = home.kill_daemon();
        let new = home.wait_for_other_daemon(old);
        let done = fs::read_to_string(&journal).unwrap_or_default().matches("end").count();
        println!("kill {kill}: {old} -> {}, {done} of {TASKS} tasks had ended", new.pid());
    }

    let line = ["wait"].into_iter().chain(ids.iter().map(String::as_str));
    let waited = home.invoke(line).deadline(PATIENCE).run();
    assert_eq!(waited.code(), 1, "some of them fail on purpose: {}", waited.complaint());
    let most = check_journal(&journal, TASKS, LIMIT);
    println!("{TASKS} tasks ran once each, at most {most} of {LIMIT} at once");
    let tasks = home.json(["list", "--limit", "100"]);
    let tasks = tasks.as_array().expect("a list is an array");
    assert_eq!(tasks.len(), work.len());
    for (work, id) in work.iter().zip(&ids) {
        let task = tasks.iter().find(|task| task["id"] == **id).expect("every id is listed");
        work.check(&home, task);
    }
    check_seats(&home);
    home.finish();
}

/// Sixty daemons that live for some hundredths of a second each: they die while they start, recover, hand
/// out tasks and record ends. Clients start them here, since nobody's patience is what is tested.
#[test]
fn daemons_that_die_young_lose_nothing_and_run_nothing_twice() {
    const SHORT: u64 = 200;
    const DEATHS: u32 = 60;
    let mut dice = Dice::new();
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {LIMIT}")).build();
    let journal = home.path("journal");
    let work: Vec<Work> = (0..SHORT)
        .map(|number| Work { nap_ms: dice.number(1..60), ..Work::roll(number, &mut dice) })
        .collect();
    let ids = submit(&home, &work, &journal);
    let begun = || fs::read_to_string(&journal).unwrap_or_default().matches("begin").count();
    let mut clients = Vec::new();
    let mut deaths = 0;
    while deaths < DEATHS {
        clients.push(home.invoke(["daemon", "start"]).start());
        // A start that is cut off five times in a row makes a task poison. On a busy machine no daemon would live long
        // enough to start anything, so each fourth lives until it has.
        if deaths % 4 == 3 {
            let before = begun();
            until("a task to begin", PATIENCE, || {
                let now = begun();
                (now > before || now as u64 == SHORT).then_some(())
            });
        }
        pause(&mut dice, 120);
        if let Some(daemon) = home.daemon() {
            daemon.kill();
            deaths += 1;
        }
    }
    let done = fs::read_to_string(&journal).unwrap_or_default().matches("end").count();
    println!("after {deaths} deaths {done} of {SHORT} tasks had ended");
    for client in clients {
        // One whose daemons all died may say so; what counts is below.
        client.wait(PATIENCE);
    }
    let line = ["wait"].into_iter().chain(ids.iter().map(String::as_str));
    home.invoke(line).deadline(PATIENCE).run().expect(1);
    check_journal(&journal, SHORT, LIMIT);
    for (work, id) in work.iter().zip(&ids) {
        work.check(&home, &home.status(id));
    }
    check_seats(&home);
    home.finish();
}

/// A supervisor that is killed takes the truth about its task along. That is said; nothing is invented, run
/// again or left alive, and all others end as they should.
#[test]
fn supervisors_killed_at_random_give_no_false_end() {
    const TASKS: u64 = 120;
    const ROUNDS: u32 = 25;
    let mut dice = Dice::new();
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {LIMIT}")).build();
    let journal = home.path("journal");
    let work: Vec<Work> = (0..TASKS)
        .map(|number| {
            let work = Work::roll(number, &mut dice);
            // The kills are the subject; a thousand lines of a shell's loop each only keep two slow cores busy.
            Work { nap_ms: dice.number(1..30), lines: work.lines.min(100), ..work }
        })
        .collect();
    let ids = submit(&home, &work, &journal);
    let mut killed = 0;
    for _ in 0..ROUNDS {
        pause(&mut dice, 120);
        let ours = home.processes();
        let mut supervisors = marked("meanwhile supervise");
        supervisors.retain(|pid| ours.contains(pid));
        if !supervisors.is_empty()
            && let Some(one) = Process::of(*dice.pick(&supervisors))
        {
            one.kill();
            killed += 1;
        }
    }
    let line = ["wait"].into_iter().chain(ids.iter().map(String::as_str));
    home.invoke(line).deadline(PATIENCE).run().expect(1);

    let text = fs::read_to_string(&journal).expect("the journal was written");
    let mut lost = 0;
    for (work, id) in work.iter().zip(&ids) {
        let task = home.status(id);
        let began = format!("begin {}", work.number);
        let began = text.lines().filter(|line| *line == began).count();
        if task["state"] == "interrupted" {
            assert_eq!(task["cause"], json!({ "kind": "lost" }), "{task:#}");
            assert!(began <= 1, "ran {began} times: {task:#}");
            lost += 1;
        } else {
            assert_eq!(began, 1, "{task:#}");
            work.check(&home, &task);
        }
    }
    println!("{killed} supervisors killed, {lost} of {TASKS} tasks interrupted");
    assert!(lost <= killed, "more tasks were lost than supervisors");
    check_seats(&home);
    home.finish();
}

/// All that lives when the daemon dies is a supervisor without a task. It cannot know that nothing is
/// queued, so it too brings the daemon back.
#[test]
fn a_queue_behind_an_idle_supervisor_goes_on_after_a_kill() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let first = home.launch(["true"]);
    assert_eq!(home.wait(&first)["state"], "completed");
    let later = home.launch_shell_with(["--delay", "1500ms"], &bell.shell("ran"));
    home.kill_daemon();
    assert_eq!(bell.wait(PATIENCE), "ran");
    assert_eq!(home.wait(&later)["state"], "completed");
    home.finish();
}

/// The client resends under the same request id; the effect happens once. Nobody is left without an
/// answer either: every client starts or finds a daemon.
#[test]
fn a_submission_during_which_the_daemon_dies_happens_once() {
    const CLIENTS: u64 = 40;
    let mut dice = Dice::new();
    let home = TestHome::builder().config("lanes.commands.limit = 4").build();
    let journal = home.path("journal");
    let mut ids = Vec::new();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let path = journal.display();
        let line = format!("echo 'begin {number}' >> '{path}'; echo 'end {number}' >> '{path}'");
        clients.push(home.invoke(["run", "--shell", &line]).start());
        if number % 4 == 3 {
            pause(&mut dice, 120);
            if let Some(daemon) = home.daemon() {
                daemon.kill();
            }
        }
    }
    for client in clients {
        ids.push(client.wait(PATIENCE).ok());
    }
    let line = ["wait"].into_iter().chain(ids.iter().map(String::as_str));
    home.invoke(line).deadline(PATIENCE).run().expect(0);
    check_journal(&journal, CLIENTS, 4);
    let listed = home.json(["list", "--limit", "200"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(ids.len()), "nothing was accepted twice");
    check_seats(&home);
    home.finish();
}
