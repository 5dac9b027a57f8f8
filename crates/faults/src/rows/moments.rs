//! Rows 2 to 6: the daemon dies between two of its steps.
//!
//! The release binary has no places to die at, so the moment is found by looking: stop the daemon
//! (SIGSTOP) at a random instant, look at the store, the owner file and the client, and kill it
//! (SIGKILL) where the moment is the one that is wanted; else let it go on. What is looked at is on disk
//! and does not change while the daemon stands still.

use std::time::{Duration, Instant};

use meanwhile_core::State;
use meanwhile_store::{Logged, Reader};
use meanwhile_testkit::{DEADLINE, Dice, Running, TestHome};
use rustix::process::Signal;

use crate::load::Loaded;
use crate::record;
use crate::tally::Count;
use crate::work::Work;
use crate::{Load, Modes, Promise, Row, Samples, Seen, Stage};

/// How many times the moment is met.
const HITS: usize = 8;
/// And how long it is looked for at most.
const PATIENCE: Duration = Duration::from_secs(25);
/// What is in flight when the daemon stops arrives within this: messages between processes, no I/O.
const ARRIVES: Duration = Duration::from_millis(15);

const STAGED: &str = "SIGSTOP at a random instant; store, owner file and client are looked at; where the \
                      moment is the wanted one, SIGKILL; else SIGCONT";

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 2,
        name: "killed-before-reply",
        title: "SIGKILL daemon between the commit of a submission and its reply",
        expected: "the client gets the same id from the next daemon, a second call with the same \
                   idempotency key too; one run",
        modes: Modes::Every,
        slow: false,
        stage: STAGED,
        run: |stage| hunt(stage, &["run"], |seen| aim(seen.state.is_none(), !seen.waits)),
    },
    Row {
        number: 3,
        name: "killed-before-spawn",
        title: "SIGKILL daemon between taking a task from its queue and its start",
        expected: "queued again at the head, started exactly once",
        modes: Modes::Every,
        slow: false,
        stage: STAGED,
        run: |stage| {
            let early = |seen: &Look| seen.state.is_none_or(|state| state == State::Queued);
            hunt(stage, &["run"], move |seen| aim(early(seen), seen.started))
        },
    },
    Row {
        number: 4,
        name: "killed-before-pid",
        title: "SIGKILL daemon between the start of a task and the record of its pid",
        expected: "the supervisor is found by its lock and adopted; not started twice",
        modes: Modes::Every,
        slow: false,
        stage: STAGED,
        run: |stage| {
            let late = |seen: &Look| seen.state != Some(State::Starting);
            hunt(stage, &["run"], move |seen| aim(!seen.started, late(seen)))
        },
    },
    Row {
        number: 5,
        name: "killed-before-end",
        title: "SIGKILL daemon between the exit of a task and the commit of its end",
        expected: "the exit record is read; the true code",
        modes: Modes::Every,
        slow: false,
        stage: STAGED,
        run: |stage| {
            let call = &["run", "--wait"];
            hunt(stage, call, |seen| aim(!seen.exited, seen.state.is_some_and(State::is_terminal)))
        },
    },
    Row {
        number: 6,
        name: "killed-before-answer",
        title: "SIGKILL daemon between the commit of an end and telling those who wait",
        expected: "every waiting client is told by the next daemon, once",
        modes: Modes::Every,
        slow: false,
        stage: STAGED,
        run: |stage| {
            let early = |seen: &Look| !seen.state.is_some_and(State::is_terminal);
            hunt(stage, &["run", "--wait"], move |seen| aim(early(seen), !seen.waits))
        },
    },
];

/// What is there while the daemon stands still.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// As the store has it; `None` for a task it does not know.
    state: Option<State>,
    /// The client has had no answer.
    waits: bool,
    /// The supervisor's mark is set: the program may run.
    started: bool,
    /// The exit record is there.
    exited: bool,
}

/// Where an instant lies, seen from the moment that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Early,
    Hit,
    Late,
}

fn aim(early: bool, late: bool) -> Aim {
    match (early, late) {
        (true, _) => Aim::Early,
        (false, true) => Aim::Late,
        (false, false) => Aim::Hit,
    }
}

/// When to stop: around the instant at which too early and too late are equally frequent.
struct Sight {
    centre: f64,
    span: f64,
}

impl Sight {
    /// Microseconds after the client's start.
    fn next(&self, dice: &mut Dice) -> Duration {
        let spread = f64::from(u32::try_from(dice.number(0..2001)).expect("it is small")) / 1000.0;
        let micros = self.centre + (spread - 1.0) * self.span * 0.08;
        Duration::from_secs_f64(micros.max(0.0) / 1e6)
    }

    fn learn(&mut self, aim: Aim) {
        let step = match aim {
            Aim::Early => 0.02,
            Aim::Hit => 0.0,
            Aim::Late => -0.02,
        };
        self.centre = (self.centre + step * self.span).clamp(0.0, self.span * 2.0);
    }
}

/// None when the daemon was stopped in the middle of a write to the store, which nobody can read then.
fn look(home: &TestHome, name: &str, client: &mut Running<'_>) -> Option<Look> {
    let mut reader = record::try_reader(home)?;
    let id = reader.by_name(name, 1).expect("the store can be read").first().copied();
    let kept = id.and_then(|id| reader.task(id).expect("the store can be read"));
    let owner = id.and_then(|id| record::owner(home, &id.to_string(), 1));
    Some(Look {
        state: kept.map(|task| task.state),
        waits: client.is_running(),
        started: owner.as_ref().is_some_and(|owner| owner.started.is_some()),
        exited: owner.is_some_and(|owner| owner.exit.is_some()),
    })
}

fn hunt(stage: &mut Stage, call: &[&str], wanted: impl Fn(&Look) -> Aim) -> Seen {
    let mut dice = Dice::new();
    let home = TestHome::builder().config("lanes.commands.limit = 2").build();
    home.cli(["daemon", "start"]).ok();
    let mut load = Load::new(&home, &[("commands", 2)]);
    let span = usual_time(&home, call);
    let mut sight = Sight { centre: span * 0.5, span };
    let started = Instant::now();
    let (mut hits, mut tries) = (0, 0);
    while hits < HITS && started.elapsed() < PATIENCE {
        tries += 1;
        let work = Work { nap: Duration::from_millis(2), ..Work::short(tries) };
        let name = format!("t{tries}");
        let command = work.command(&load.journal, &load.mark);
        let mut line: Vec<&str> = call.to_vec();
        line.extend(["--name", &name, "--idempotency-key", &name, "--"]);
        line.extend(command.iter().map(String::as_str));
        let daemon = home.daemon().expect("there is a daemon before each try");
        let mut client = home.invoke(&line).start();
        // sleep: no state is waited for; the moment of the stop is what is random here
        std::thread::sleep(sight.next(&mut dice));
        daemon.signal(Signal::STOP);
        // sleep: what is under way between processes announces no arrival
        std::thread::sleep(ARRIVES);
        let seen = look(&home, &name, &mut client);
        let aim = seen.as_ref().map_or(Aim::Early, &wanted);
        sight.learn(aim);
        println!("try {tries}: {aim:?} {seen:?}");
        let hit = aim == Aim::Hit;
        if hit {
            hits += 1;
            daemon.kill();
            stage.count(Count::DaemonKills, 1);
        } else {
            daemon.signal(Signal::CONT);
        }
        let ran = client.wait(DEADLINE);
        let id = ran.text().lines().next().unwrap_or_default().to_owned();
        stage.demand(ran.code() == 0, format!("try {tries} ({seen:?}) exited {}", ran.code()));
        if hit {
            let again = home.cli(&line);
            let same = again.text().lines().next() == Some(&id);
            stage.demand(same, format!("the same key gave {} and {id}", again.text()));
        }
        load.tasks.push(Loaded { id, work, promise: Promise::TrueEnd });
    }
    load.wait(&home);
    let events = record::events(&home);
    let requeued = events.iter().filter(|one| matches!(one.what, Logged::Requeued { .. })).count();
    stage.check(&home, &load);
    home.finish();
    if hits == 0 {
        return Seen::fail(format!("the moment was not met in {tries} tries"));
    }
    Seen::pass(format!(
        "met and killed {hits} times in {tries} tries; {tries} tasks ran once each; {requeued} were \
         put back into the queue by recovery"
    ))
}

/// Within how many microseconds such a call is over, when nobody stops anything.
fn usual_time(home: &TestHome, call: &[&str]) -> f64 {
    let mut all = Samples::default();
    for _ in 0..9 {
        let began = Instant::now();
        home.cli(call.iter().copied().chain(["--", "true"])).ok();
        all.add(began.elapsed());
    }
    all.percentile(50).as_secs_f64() * 1e6
}
