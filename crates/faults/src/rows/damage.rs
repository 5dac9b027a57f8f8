//! Rows 19 and 20: files that hold other bytes than were written.
//!
//! Owns the damage: bits flipped and ends cut off, at places that a seed chooses, in copies or in homes of its
//! own. What counts is that nothing is silently empty and nothing becomes a success.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use meanwhile_testkit::{DEADLINE, Dice, TestHome, until};
use serde_json::{Value, json};

use crate::record;
use crate::staging::{heard, supervisor_of};
use crate::tally::Count;
use crate::{Modes, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 19,
        name: "damaged-store",
        title: "bit flips in the database, a torn or flipped write-ahead log",
        expected: "found and refused with code 6, or every task is listed with its true end; never silently empty, \
                   never replaced; a torn log loses at most what was not synced",
        modes: Modes::Once,
        slow: false,
        stage: "60 seeded bit flips in pages of the file and 20 in a log with later commits behind them, 20 cuts of the \
                log, each in a fresh copy of one home",
        run: damaged_store,
    },
    Row {
        number: 20,
        name: "damaged-exit-record",
        title: "a corrupt, half, longer or missing owner file",
        expected: "damage reads as absent: `interrupted`, never a success; the undamaged one gives its true end",
        modes: Modes::Every,
        slow: false,
        stage: "a task ends while no daemon lives, its supervisor is killed, the record is damaged, a daemon starts",
        run: damaged_record,
    },
];

const TASKS: usize = 60;

/// State and cause by id.
fn listed(home: &TestHome) -> Option<Vec<(String, Value)>> {
    let ran = home.cli(["--json", "list", "--limit", "1000"]);
    if ran.code() != 0 {
        return None;
    }
    let list: Value = serde_json::from_slice(&ran.stdout).ok()?;
    let mut found: Vec<(String, Value)> = list
        .as_array()?
        .iter()
        .map(|task| {
            (
                task["id"].as_str().unwrap_or_default().to_owned(),
                json!([task["state"], task["cause"]]),
            )
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Some(found)
}

fn damaged_store(stage: &mut Stage) -> Seen {
    let mut dice = Dice::new();
    let home = TestHome::builder().config("lanes.commands.limit = 8").build();
    let entries: String = (0..TASKS)
        .map(|n| json!({ "shell": format!("exit {}", n % 3) }).to_string() + "\n")
        .collect();
    let ran = home.invoke(["run", "--from", "-"]).stdin(entries).run();
    let text = ran.ok();
    let line = ["wait"].into_iter().chain(text.lines());
    home.invoke(line).deadline(crate::check::PATIENCE).run().expect(1);
    home.cli(["daemon", "stop"]).ok();
    let truth = listed(&home).expect("an undamaged store can be listed");
    let whole = fs::read(home.state().join("meanwhile.db")).expect("the store is a file");
    let (mut refused, mut harmless) = (0, 0);
    for _ in 0..60 {
        let (at, bit) = (dice.number(0..whole.len() as u64), 1 << dice.number(0..8));
        let file = home.state().join("meanwhile.db");
        let mut damaged = whole.clone();
        damaged[usize::try_from(at).expect("files are smaller")] ^= bit;
        fs::write(&file, &damaged).expect("our own file can be written");
        match judge(stage, &home, &truth, &format!("flip at {at}")) {
            Judged::Refused => {
                refused += 1;
                let kept = fs::read(&file).is_ok_and(|now| now == damaged);
                stage.demand(kept, format!("a refused store was changed (flip at {at})"));
            }
            Judged::Whole => harmless += 1,
            Judged::Other => {}
        }
        home.cli(["daemon", "stop"]);
        clear(home.state());
    }
    fs::write(home.state().join("meanwhile.db"), &whole).expect("our own file can be written");
    let flips = flipped_logs(stage, &home, &mut dice);
    let (cuts, lost) = torn_logs(stage, &home, &mut dice);
    home.finish();
    Seen::pass(format!(
        "60 flips in pages: {refused} refused with code 6 and the file kept, {harmless} without effect on any answer; \
         {flips} flips in logs refused and kept; {cuts} torn logs opened, {lost} synced tasks lost"
    ))
}

/// Flips bits of the log that a killed daemon left, ahead of its last commit.
fn flipped_logs(stage: &mut Stage, home: &TestHome, dice: &mut Dice) -> usize {
    let (file, wal) = (home.state().join("meanwhile.db"), home.state().join("meanwhile.db-wal"));
    let first = home.launch(["true"]);
    home.wait(&first);
    let ahead = fs::metadata(&wal).map_or(0, |about| about.len());
    // Several commits behind every flip.
    for _ in 0..3 {
        let last = home.launch(["true"]);
        home.wait(&last);
    }
    home.kill_daemon();
    crate::staging::supervisors(home).iter().for_each(meanwhile_testkit::Process::kill);
    let (pages, log) =
        (fs::read(&file).expect("it is there"), fs::read(&wal).expect("it is there"));
    stage.demand(ahead > 4096, format!("the log has {ahead} bytes, {} at the end", log.len()));
    let mut refused = 0;
    for _ in 0..20 {
        let (at, bit) = (dice.number(0..ahead), 1 << dice.number(0..8));
        let mut damaged = log.clone();
        damaged[usize::try_from(at).expect("files are smaller")] ^= bit;
        fs::write(&wal, &damaged).expect("our own file can be written");
        let started = home.cli(["daemon", "start"]);
        let kept = fs::read(&wal).is_ok_and(|now| now == damaged)
            && fs::read(&file).is_ok_and(|now| now == pages);
        stage.demand(
            started.code() == 6 && kept,
            format!(
                "flip at {at} of the log: exit {}, kept {kept}: {}",
                started.code(),
                started.complaint()
            ),
        );
        refused += usize::from(started.code() == 6);
        if started.code() != 6 {
            home.cli(["daemon", "stop"]);
        }
        clear(home.state());
        fs::write(&file, &pages).expect("our own file can be written");
    }
    fs::write(&wal, &log).expect("our own file can be written");
    home.cli(["daemon", "start"]).ok();
    refused
}

enum Judged {
    Refused,
    Whole,
    Other,
}

fn judge(stage: &mut Stage, home: &TestHome, truth: &[(String, Value)], what: &str) -> Judged {
    let started = home.cli(["daemon", "start"]);
    if started.code() != 0 {
        let said = started.complaint();
        let clear = started.code() == 6 && said.contains("hint:");
        stage
            .demand(clear, format!("{what}: exit {} without a clear word: {said}", started.code()));
        return Judged::Refused;
    }
    let Some(list) = listed(home) else { return Judged::Refused };
    let same = list == truth;
    stage.count(Count::FalseEnds, usize::from(!same));
    stage.demand(
        same,
        format!("{what}: {} of {} tasks, or another end of one", list.len(), truth.len()),
    );
    if same { Judged::Whole } else { Judged::Other }
}

/// The log belongs to the file that was damaged.
fn clear(state: &Path) {
    for name in ["meanwhile.db-wal", "meanwhile.db-shm"] {
        let _absent = fs::remove_file(state.join(name));
    }
}

/// Cuts the log of a killed daemon somewhere in its last commit.
fn torn_logs(stage: &mut Stage, home: &TestHome, dice: &mut Dice) -> (usize, usize) {
    let (mut cuts, mut lost) = (0, 0);
    let wal = home.state().join("meanwhile.db-wal");
    for _ in 0..20 {
        let first = home.launch(["true"]);
        home.wait(&first);
        let last = home.launch_with(["--delay", "1h"], ["true"]);
        home.kill_daemon();
        crate::staging::supervisors(home).iter().for_each(meanwhile_testkit::Process::kill);
        let log = fs::read(&wal).expect("a killed daemon leaves its log");
        let Some(commit) = last_commit(&log) else {
            // It was just merged.
            home.cli(["cancel", &last]).ok();
            continue;
        };
        let end = dice.number(commit.start as u64 + 1..commit.end as u64 - NOISE.len() as u64);
        let file = fs::File::options().write(true).open(&wal).expect("our own file can be opened");
        if cuts % 2 == 0 {
            file.set_len(end).expect("our own file can be cut");
        } else {
            // As a disk that wrote the blocks in another order leaves it.
            file.write_all_at(&NOISE, end).expect("our own file can be written");
        }
        cuts += 1;
        home.cli(["daemon", "start"]).ok();
        let known = record::task(home, &first).is_some_and(|kept| kept.state.is_terminal());
        lost += usize::from(!known);
        stage.demand(known, format!("{first} was synced before the torn commit and is gone"));
        let problems = home.cli(["doctor"]).text();
        stage.demand(
            problems.contains("the store is sound"),
            format!("after a torn log: {problems}"),
        );
        home.cli(["cancel", &last]);
    }
    stage.demand(cuts >= 10, format!("only {cuts} of 20 logs could be torn"));
    (cuts, lost)
}

/// What stands where a block was not written.
const NOISE: [u8; 64] = [0x5a; 64];

/// Where the last commit of a log lies. The file may be longer: SQLite writes a merged log anew from its beginning, and
/// what is behind carries another salt (the WAL format: sqlite.org/fileformat2.html, section 4).
fn last_commit(log: &[u8]) -> Option<std::ops::Range<usize>> {
    /// The header of the log, that of a frame, and the page in it.
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4096;
    let salt = log.get(16..24)?;
    let (mut begin, mut last) = (HEADER, None);
    for (number, frame) in log[HEADER..].chunks_exact(FRAME).enumerate() {
        if &frame[8..16] != salt {
            break;
        }
        // The frame that ends a commit says how large the database is.
        if frame[4..8] != [0; 4] {
            let end = HEADER + (number + 1) * FRAME;
            last = Some(begin..end);
            begin = end;
        }
    }
    last
}

/// What is done to an owner file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    FlipInRecord,
    Half,
    Empty,
    Noise,
    Gone,
    /// A byte more than there must be.
    Longer,
}

fn damaged_record(stage: &mut Stage) -> Seen {
    use Damage::{Empty, FlipInRecord, Gone, Half, Longer, Noise, None};
    let mut told = Vec::new();
    for damage in [None, FlipInRecord, Half, Empty, Noise, Gone, Longer] {
        let home = TestHome::new();
        let (mut bell, mut gate) = (home.bell("bell"), home.gate("gate"));
        let id = home.launch_shell(&format!("{}; {}; exit 0", bell.shell("$$"), gate.shell()));
        let main = heard(&mut bell);
        let supervisor = supervisor_of(&home, &id);
        // What is shown as running may not be on disk yet; the next commit takes it along.
        home.wait(&home.launch(["true"]));
        home.kill_daemon();
        gate.open();
        main.wait_end(DEADLINE);
        until("the record", DEADLINE, || {
            record::owner(&home, &id, 1).filter(|view| view.exit.is_some())
        });
        supervisor.kill();
        // Who brought a daemon back meanwhile has recorded the end already.
        if home.daemon().is_some() {
            home.finish();
            continue;
        }
        apply(damage, &record::attempt_directory(&home, &id, 1).join("owner"));
        let task = home.wait(&id);
        let end = (task["state"].as_str(), task["cause"]["kind"].as_str());
        let wanted = match damage {
            None => (Some("completed"), Some("exit")),
            FlipInRecord | Half | Empty | Noise | Gone | Longer => {
                (Some("interrupted"), Some("lost"))
            }
        };
        stage.count(Count::Ends, 1);
        stage.count(Count::FalseEnds, usize::from(end != wanted));
        stage.demand(end == wanted, format!("{damage:?}: {end:?}"));
        stage.check_seats(&home);
        told.push(format!("{damage:?}: {}", end.0.unwrap_or("?")));
        home.finish();
    }
    stage.demand(told.len() >= 6, format!("only {told:?} could be staged"));
    Seen::pass(told.join(", "))
}

fn apply(damage: Damage, path: &Path) {
    let file = fs::File::options().read(true).write(true).open(path).expect("it is there");
    let done = match damage {
        Damage::None => Ok(()),
        Damage::FlipInRecord => {
            // Both places of the record: the one of the main process's end and the final one.
            [1330, 2740].iter().try_for_each(|at| {
                let mut byte = [0];
                file.read_exact_at(&mut byte, *at)?;
                file.write_all_at(&[byte[0] ^ 4], *at)
            })
        }
        Damage::Half => file.set_len(1280),
        Damage::Empty => file.set_len(0),
        Damage::Longer => file.set_len(4097),
        Damage::Noise => file.write_all_at(&crate::work::bytes(7, 4096), 0),
        Damage::Gone => fs::remove_file(path),
    };
    done.expect("our own file can be damaged");
}
