//! Not in the list: a reader that holds a transaction open while the daemon works.
//!
//! SQLite cannot rewind the write-ahead log while somebody still reads the state before it. Owns the reader, a
//! small program with SQLite built in (Python's).

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use meanwhile_testkit::TestHome;
use serde_json::json;

use crate::staging::succeeds;
use crate::work::Work;
use crate::{Load, Modes, Promise, Row, Samples, Seen, Stage};

const READER: &str = "
import sqlite3, sys
db = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True, isolation_level=None)
db.execute('BEGIN')
before = db.execute('SELECT count(*) FROM tasks').fetchone()[0]
print('holds', flush=True)
sys.stdin.readline()
after = db.execute('SELECT count(*) FROM tasks').fetchone()[0]
print(before == after, flush=True)
";

const EXPECTED: &str = "nothing waits for the reader; it sees its own state; the log of writes is bounded or a warning \
                        names it; afterwards the log is rewound";
const STAGED: &str = "another process begins a read transaction on the database and holds it while batches of tasks \
                      with long command lines are submitted and run without pause";

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 0,
        name: "held-reader",
        title: "a reader holds a transaction for 40 s under load",
        expected: EXPECTED,
        modes: Modes::Once,
        slow: false,
        stage: STAGED,
        run: |stage| held(stage, Duration::from_secs(40)),
    },
    Row {
        number: 0,
        name: "held-reader-10-min",
        title: "a reader holds a transaction for 10 minutes under load",
        expected: EXPECTED,
        modes: Modes::Once,
        slow: true,
        stage: STAGED,
        run: |stage| held(stage, Duration::from_secs(600)),
    },
];

fn held(stage: &mut Stage, long: Duration) -> Seen {
    if !succeeds("python3", &["-c", "import sqlite3"]) {
        return Seen::not_here("python3 with sqlite3 is not installed");
    }
    let home = TestHome::builder().config("lanes.commands.limit = 4").build();
    let first = home.launch(["true"]);
    home.wait(&first);
    let database = home.state().join("meanwhile.db");
    let wal = home.state().join("meanwhile.db-wal");
    let size = || std::fs::metadata(&wal).map_or(0, |about| about.len());
    let mut reader = Command::new("python3")
        .args(["-c", READER])
        .arg(&database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut said = BufReader::new(reader.stdout.take().expect("it is piped")).lines();
    assert_eq!(said.next().and_then(Result::ok).as_deref(), Some("holds"));
    let until = Instant::now() + long;
    let mut load = Load::new(&home, &[("commands", 4)]);
    let (mut calls, mut number, mut most) = (Samples::default(), 0, 0);
    while Instant::now() < until {
        let works: Vec<Work> = (number..number + 4).map(Work::short).collect();
        number += 4;
        load.submit(&home, &works, &json!({}), Promise::TrueEnd);
        ballast(&home);
        let began = Instant::now();
        home.cli(["list", "--limit", "20"]).ok();
        calls.add(began.elapsed());
        most = most.max(size());
    }
    load.wait(&home);
    let log = std::fs::read_to_string(home.state().join("logs/daemon.log")).unwrap_or_default();
    let warned = log.contains("a reader holds a transaction open");
    reader.stdin.take().expect("it is piped").write_all(b"\n").expect("it listens");
    let same = said.next().and_then(Result::ok);
    stage
        .demand(same.as_deref() == Some("True"), format!("the reader saw another state: {same:?}"));
    let _ended = reader.wait();
    // The daemon looks once a minute, and a look may just be over when the limit is passed.
    let too_short_to_be_told = long < Duration::from_secs(120);
    stage.demand(
        most < 64 << 20 || warned || too_short_to_be_told,
        format!("the log of writes grew to {most} bytes and nobody was told"),
    );
    // A log of gigabytes is moved beside the commits, and begins anew with one of those after that.
    let patience = Instant::now() + crate::check::PATIENCE;
    while size() > 16 << 20 && Instant::now() < patience {
        home.launch(["true"]);
        ballast(&home);
    }
    let after = size();
    stage.demand(after <= 16 << 20, format!("the log of writes still has {after} bytes"));
    home.invoke(["cancel", "--all", "--yes"]).deadline(crate::check::PATIENCE).run();
    stage.check(&home, &load);
    stage.figure(
        format!("list beside a reader that holds on for {} s", long.as_secs()),
        calls.clone(),
    );
    home.finish();
    Seen::pass(format!(
        "{number} tasks in {} s; the log of writes reached {} MiB (warned: {warned}) and has {} MiB afterwards; list {}",
        long.as_secs(),
        most >> 20,
        after >> 20,
        calls.words()
    ))
}

/// A task that only fills the log of writes: a command of 100 kB that is not started.
fn ballast(home: &TestHome) {
    let long = "x".repeat(100_000);
    home.cli(["run", "--delay", "24h", "--", "true", &long]).ok();
}
