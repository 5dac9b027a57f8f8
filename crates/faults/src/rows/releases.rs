//! Row 46, and an upgrade while work runs: programs and layouts of other releases.
//!
//! Owns copies of the binary, installed as a package manager does it. There is no older release yet: another
//! release's layout is made by hand, and the newer program is the same bytes in another file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use meanwhile_testkit::{Dice, TestHome, wait_for_file};
use serde_json::json;

use crate::tally::Count;
use crate::work::{End, Work};
use crate::{Load, Modes, Promise, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 46,
        name: "other-layout",
        title: "a database of a newer release, of another program, of nobody",
        expected: "refused with code 6 and a hint, the file kept to the byte; with the right one all tasks are there",
        modes: Modes::Once,
        slow: false,
        stage: "user_version and application_id of the file's header are overwritten; an empty file in its place",
        run: other_layout,
    },
    Row {
        number: 0,
        name: "upgrade-mid-run",
        title: "the binary is replaced while 20 tasks run and 20 wait",
        expected: "tasks run on, the new program's daemon adopts them, the queue goes on, true ends",
        modes: Modes::Every,
        slow: false,
        stage: "rename over the file; the daemon killed, then SIGTERMed, each time the next one is of the new file",
        run: upgrade,
    },
];

fn other_layout(stage: &mut Stage) -> Seen {
    let home = TestHome::new();
    let id = home.launch_shell("exit 3");
    home.wait(&id);
    home.cli(["daemon", "stop"]).ok();
    let file = home.state().join("meanwhile.db");
    let whole = fs::read(&file).expect("the store is a file");
    // https://www.sqlite.org/fileformat.html: user_version at 60, application_id at 68, both big-endian.
    let newer = patched(&whole, 60, 99_u32);
    let foreign = patched(&whole, 68, 0x1234_5678_u32);
    let mut told = Vec::new();
    for (name, bytes) in [("newer", newer), ("foreign", foreign), ("empty", Vec::new())] {
        fs::write(&file, &bytes).expect("our own file can be written");
        for words in [&["run", "--", "true"][..], &["list"], &["daemon", "start"]] {
            let ran = home.cli(words);
            let said = ran.complaint();
            let clear = ran.code() == 6 && said.contains("hint:");
            stage.demand(clear, format!("{name}, {words:?}: exit {} {said}", ran.code()));
        }
        let kept = fs::read(&file).is_ok_and(|now| now == bytes);
        stage.demand(kept, format!("{name}: the file was changed"));
        let doctor = home.cli(["doctor"]).text();
        let first =
            doctor.lines().find(|line| line.contains("store")).unwrap_or("nothing").to_owned();
        told.push(format!(
            "{name}: refused, doctor: {}",
            first.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
        assert!(home.daemon().is_none(), "a daemon runs on a store that it must refuse");
    }
    fs::write(&file, &whole).expect("our own file can be written");
    stage.demand(home.status(&id)["exit_code"] == 3, "the old store is not what it was");
    let next = home.launch(["true"]);
    stage.demand(home.wait(&next)["state"] == "completed", "the old store takes no work");
    home.finish();
    Seen::pass(told.join("; "))
}

fn patched(whole: &[u8], at: usize, value: u32) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    meanwhile_testkit::sum_pages(&mut bytes);
    bytes
}

/// Another file, then a rename over the old one.
fn install(home: &TestHome, at: &Path) {
    let fresh = at.with_extension("new");
    fs::copy(home.binary(), &fresh).expect("the binary can be copied");
    fs::rename(&fresh, at).expect("the copy can be moved");
}

fn upgrade(stage: &mut Stage) -> Seen {
    const LIMIT: usize = 20;
    let mut dice = Dice::new();
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {LIMIT}")).build();
    home.cli(["daemon", "stop"]);
    let installed = home.root().join("meanwhile");
    install(&home, &installed);
    home.invoke(["daemon", "start"]).program(&installed).run().ok();
    let mut load = Load::new(&home, &[("commands", LIMIT)]);
    let works: Vec<Work> = (0..40)
        .map(|number| Work {
            parts: 8,
            nap: Duration::from_millis(dice.number(200..400)),
            bytes: 20_000,
            end: *dice.pick(&[End::Exit(0), End::Exit(9), End::Term]),
            ..Work::short(number)
        })
        .collect();
    load.submit(&home, &works, &json!({}), Promise::TrueEnd);
    load.wait_begun(LIMIT);
    let before = load.alive();
    install(&home, &installed);
    let new = fs::metadata(&installed).expect("it is installed").ino();
    let old = home.kill_daemon();
    stage.count(Count::DaemonKills, 1);
    let after = home.wait_for_other_daemon(old);
    let inode = |pid: u32| fs::metadata(format!("/proc/{pid}/exe")).map_or(0, |about| about.ino());
    stage.demand(inode(after.pid()) == new, "the daemon that came back is of the old file");
    let still = load.alive().iter().filter(|pid| before.contains(pid)).count();
    // And once more in the polite way: a package's script sends SIGTERM.
    install(&home, &installed);
    after.signal(rustix::process::Signal::TERM);
    after.wait_end(meanwhile_testkit::DEADLINE);
    home.invoke(["daemon", "start"]).program(&installed).run().ok();
    wait_for_file(&home.state().join("daemon.lock"), meanwhile_testkit::DEADLINE, |bytes| {
        !bytes.is_empty()
    });
    load.wait(&home);
    stage.check(&home, &load);
    home.finish();
    Seen::pass(format!(
        "{still} of {} tasks ran on through the first; 40 true ends over three programs",
        before.len()
    ))
}
