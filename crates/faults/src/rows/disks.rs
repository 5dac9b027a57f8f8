//! Rows 15 to 18 and 21: a disk that is full, that fails, that turns read-only, that loses what was not synced.
//!
//! Owns the small file systems it mounts below its own homes (root only): tmpfs of a size, and ext4 in a file on
//! a loop device, of which a copy is what a power cut leaves.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use meanwhile_store::Reader;
use meanwhile_testkit::{DEADLINE, Dice, Process, TestHome, mode, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::check::PATIENCE;
use crate::load::Loaded;
use crate::record;
use crate::staging::{after_a_reboot, can_mount, heard, succeeds, survivors};
use crate::tally::Count;
use crate::work::{End, Work};
use crate::{Load, Modes, Promise, Row, Seen, Stage};

const MIB: u64 = 1 << 20;
const NEEDS_ROOT: &str = "only root may mount a file system";

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 15,
        name: "disk-full",
        title: "ENOSPC on the whole home",
        expected: "new work refused with a code and a hint, running tasks end and are recorded from the reserve, all \
                   goes on when space returns",
        modes: Modes::Every,
        slow: false,
        stage: "a tmpfs of 24 MiB as the home, filled to the last byte while eight tasks run",
        run: full_home,
    },
    Row {
        number: 16,
        name: "log-disk-full",
        title: "ENOSPC where logs are written",
        expected: "the task is neither blocked nor killed, dropped bytes are counted to the byte, the daemon lives",
        modes: Modes::Every,
        slow: false,
        stage: "a tmpfs of 2 MiB mounted at tasks/ of the home; the database is elsewhere",
        run: full_logs,
    },
    Row {
        number: 17,
        name: "sync-fails",
        title: "EIO from fsync of the store, at each of the first 12 calls",
        expected: "what was not synced is not acknowledged, every acknowledged task is kept, no client sees another \
                   task than its own",
        modes: Modes::Once,
        slow: false,
        stage: "strace injects EIO into the k-th fsync of each thread of the release binary's daemon",
        run: sync_fails,
    },
    Row {
        number: 18,
        name: "power-cut",
        title: "power cut: writes that were not synced are gone",
        expected: "every acknowledged task is there, every end that was told is the same, what ran is `reboot`",
        modes: Modes::Once,
        slow: false,
        stage: "the home is ext4 on a loop device; all processes are stopped and the device's file is copied, without \
                a sync: dirty pages are not in the copy; the copy is mounted and started under another boot id",
        run: power_cut,
    },
    Row {
        number: 21,
        name: "read-only-home",
        title: "the home turns read-only, then is deleted, while tasks run",
        expected: "clean errors with a hint, tasks run to their end, doctor says why, nothing acknowledged is lost",
        modes: Modes::Once,
        slow: false,
        stage: "ext4 on a loop device with errors=remount-ro, told by /sys/fs/ext4 that it has an error; and rm -r",
        run: read_only,
    },
];

/// Writes until the file system takes nothing more.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file can be made");
    for size in [1 << 20, 4096, 1] {
        let block = vec![b'f'; size];
        while file.write(&block).is_ok_and(|written| written > 0) {}
    }
}

/// Works that end by themselves some time after a fault.
fn works(numbers: std::ops::Range<u64>, nap_ms: u64) -> Vec<Work> {
    let end = |number: u64| {
        if number.is_multiple_of(3) { End::Term } else { End::Exit((number % 3) as u8 * 2) }
    };
    let nap = Duration::from_millis(nap_ms);
    numbers.map(|n| Work { end: end(n), parts: 2, nap, ..Work::short(n) }).collect()
}

fn full_home(stage: &mut Stage) -> Seen {
    if !mode::is_root() {
        return Seen::not_here(NEEDS_ROOT);
    }
    let home =
        TestHome::builder().on_small_disk(24 * MIB).config("lanes.commands.limit = 8").build();
    let mut load = Load::new(&home, &[("commands", 8)]);
    load.submit(&home, &works(0..16, 1200), &json!({}), Promise::TrueEnd);
    load.wait_begun(8);
    let daemon = home.daemon().expect("it took the tasks");
    let filler = home.path("filler");
    // The tasks' own journal is on the same disk, and written to be believed: it has its blocks before.
    reserve(&load.journal);
    fill(&filler);
    let mut refused = 0;
    for _ in 0..5 {
        let ran = home.cli(["run", "--", "true"]);
        let said = ran.complaint();
        stage.demand(ran.code() == 6 && said.contains("hint:"), format!("{}: {said}", ran.code()));
        refused += 1;
    }
    let ended = until("running tasks to end on the full disk", PATIENCE, || {
        let ended = load.tasks.iter().filter(|task| {
            record::task(&home, &task.id).is_some_and(|kept| kept.state.is_terminal())
        });
        Some(ended.count()).filter(|count| *count >= 8)
    });
    stage.demand(daemon.is_alive(), "the daemon died of it");
    fs::remove_file(&filler).expect("a file of ours can be removed");
    let freed = Instant::now();
    load.launch(&home, Work::short(100), &[], Promise::TrueEnd);
    let again = freed.elapsed();
    load.wait(&home);
    stage.check(&home, &load);
    home.finish();
    Seen::pass(format!(
        "{refused} of {refused} submissions refused with code 6; {ended} ends recorded while full; accepted again \
         {} ms after space returned",
        again.as_millis()
    ))
}

/// Gives a file blocks that later appends use.
fn reserve(path: &Path) {
    use rustix::fs::{FallocateFlags, fallocate};
    let file = File::options().append(true).create(true).open(path).expect("it can be opened");
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 64 << 10).expect("tmpfs can reserve");
}

fn full_logs(stage: &mut Stage) -> Seen {
    const WROTE: u64 = 20_000_000;
    if !mode::is_root() {
        return Seen::not_here(NEEDS_ROOT);
    }
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    let tasks = Mounted::tmpfs(&home.state().join("tasks"), 2 * MIB);
    let other = home.launch_shell("sleep 3; exit 5");
    let began = Instant::now();
    let flood = home.launch_shell(&format!("head -c {WROTE} /dev/zero; exit 3"));
    let task = home.wait(&flood);
    let took = began.elapsed();
    let daemon = home.daemon().expect("it lives");
    let (bytes, dropped) = (&task["log"]["bytes"], task["log"]["dropped_bytes"].as_u64());
    stage.demand(task["exit_code"] == 3, format!("not its true end: {}", task["cause"]));
    stage.demand(*bytes == WROTE, format!("{bytes} of {WROTE} bytes counted"));
    stage.demand(dropped > Some(WROTE - 3 * MIB), format!("only {dropped:?} are called dropped"));
    stage.demand(home.wait(&other)["exit_code"] == 5, "another task's end is untrue");
    // The next start has no room for its owner file: it waits for room, and is not failed for want of it.
    let next = home.launch(["true"]);
    let waits = until("the start to be tried", DEADLINE, || {
        let view = home.status(&next);
        (view["state"] != "queued").then(|| view["state"].clone())
    });
    home.cli(["clean", "--older-than", "0s"]).ok();
    stage.demand(
        home.wait(&next)["state"] == "completed",
        "the start that had to wait for room failed",
    );
    stage.demand(daemon.is_alive(), "the daemon died of it");
    home.cli(["daemon", "stop", "--cancel-all"]).ok();
    drop(tasks);
    Seen::pass(format!(
        "20 MB in {} ms, {} dropped and counted, true exit code; the next start was {waits} until there was room",
        took.as_millis(),
        dropped.unwrap_or_default()
    ))
}

/// A file system that goes with us.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, bytes: u64) -> Self {
        fs::create_dir_all(at).expect("a directory can be made");
        let size = format!("size={bytes},mode=0700");
        let done =
            succeeds("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &at.display().to_string()]);
        assert!(done, "mount a tmpfs at {}", at.display());
        Self(at.to_owned())
    }

    /// A new ext4 in this file, or what is in it already.
    fn ext4(image: &Path, at: &Path, size: Option<u64>) -> Self {
        let (file, place) = (image.display().to_string(), at.display().to_string());
        if let Some(size) = size {
            File::create(image).and_then(|file| file.set_len(size)).expect("a file can be made");
            assert!(succeeds("mkfs.ext4", &["-q", "-F", &file]), "mkfs.ext4");
        }
        fs::create_dir_all(at).expect("a directory can be made");
        let done = succeeds("mount", &["-o", "loop,errors=remount-ro,commit=300", &file, &place]);
        assert!(done, "mount {file} at {place}");
        let _only_with_a_new_one = fs::remove_dir(at.join("lost+found"));
        assert!(succeeds("chmod", &["0700", &place]), "chmod");
        Self(at.to_owned())
    }

    /// The block device's name below /sys/fs/ext4.
    fn device(&self) -> String {
        let mounts = fs::read_to_string("/proc/mounts").expect("it can be read");
        let place = self.0.display().to_string();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&place));
        let device = line.and_then(|line| line.split(' ').next()).expect("it is mounted");
        device.trim_start_matches("/dev/").to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _told_by_the_leftovers = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A home whose state is ext4 on a loop device.
fn loop_home(image: &Path, size: Option<u64>, config: &str) -> (TestHome, Mounted) {
    let home = TestHome::builder().config(config).build();
    home.cli(["daemon", "stop"]);
    let kept = fs::read(home.state().join("config.toml")).unwrap_or_default();
    let disk = Mounted::ext4(image, home.state(), size);
    fs::write(home.state().join("config.toml"), kept).expect("a file can be written");
    (home, disk)
}

fn sync_fails(stage: &mut Stage) -> Seen {
    if !succeeds("strace", &["-V"]) {
        return Seen::not_here(
            "strace(1), which makes a chosen system call fail, is not installed",
        );
    }
    let (mut failed, mut acknowledged, mut refused) = (0, 0, 0);
    for k in 1..=12 {
        let home = TestHome::builder().config("lanes.commands.limit = 3").build();
        home.cli(["daemon", "stop"]);
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={k}");
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            &inject,
        ];
        let mut first = home.invoke(["daemon", "run"]).wrapped(strace).start();
        until("the traced daemon, or its end", DEADLINE, || {
            let up = home.state().join("daemon.sock").exists();
            (up || !first.is_running()).then_some(())
        });
        let mut load = Load::new(&home, &[("commands", 3)]);
        for number in 0..8 {
            refused += launch_in_the_end(stage, &home, &mut load, number);
        }
        acknowledged += load.tasks.len();
        load.wait(&home);
        stage.check(&home, &load);
        let listed = home.json(["list", "--limit", "100"]).as_array().map_or(0, Vec::len);
        stage.demand(listed == 8, format!("8 submissions made {listed} tasks (k = {k})"));
        let log = fs::read_to_string(home.state().join("logs/daemon.log")).unwrap_or_default();
        failed += usize::from(log.contains("I/O error") || log.contains("disk I/O"));
        home.cli(["daemon", "stop"]);
        let _ = first.wait(DEADLINE);
    }
    stage.demand(
        failed + refused >= 8,
        format!("only {failed} + {refused} of 12 failures were noticed"),
    );
    Seen::pass(format!(
        "a sync failed in 12 homes: {failed} daemons ended of it, {refused} submissions were refused with a code; \
         {acknowledged} of {acknowledged} acknowledged tasks kept, each once"
    ))
}

/// Submits one, again if it is refused; answers how often it was. A refusal has a code and a hint, and leaves nothing.
fn launch_in_the_end(stage: &mut Stage, home: &TestHome, load: &mut Load, number: u64) -> usize {
    for refused in 0..3 {
        let work = Work::short(number);
        let line = ["run", "--"]
            .into_iter()
            .map(str::to_owned)
            .chain(work.command(&load.journal, &load.mark));
        let ran = home.cli(line);
        if ran.code() == 0 {
            load.tasks.push(Loaded { id: ran.text(), work, promise: Promise::TrueEnd });
            return refused;
        }
        let said = ran.complaint();
        stage.demand(ran.code() == 6 && said.contains("hint:"), format!("{}: {said}", ran.code()));
    }
    stage.complain(format!("task {number} was refused three times"));
    3
}

fn power_cut(stage: &mut Stage) -> Seen {
    const CUTS: usize = 8;
    if !can_mount() || !succeeds("mkfs.ext4", &["-V"]) {
        return Seen::not_here("a loop device with ext4 needs root and mkfs.ext4");
    }
    let mut dice = Dice::new();
    let scratch = tempfile::tempdir().expect("a temporary directory can be made");
    let image = scratch.path().join("disk");
    let (home, disk) = loop_home(&image, Some(64 * MIB), "lanes.commands.limit = 3");
    let journal = home.path("journal");
    let (mut told, mut ends, mut cuts) = (Vec::<String>::new(), Vec::<Value>::new(), Vec::new());
    for cut in 0..CUTS as u64 {
        let clients: Vec<_> = (0..6)
            .map(|n| {
                let work = Work { nap: Duration::from_millis(150), ..Work::short(cut * 6 + n) };
                let command = work.command(&journal, &home.marker());
                home.invoke(["run", "--"].into_iter().map(str::to_owned).chain(command)).start()
            })
            .collect();
        // sleep: the moment of the cut is what is random here
        std::thread::sleep(Duration::from_millis(dice.number(5..60)));
        let frozen: Vec<Process> = home.processes().into_iter().filter_map(Process::of).collect();
        send(&frozen, Signal::STOP);
        // What clients had been told by now is what counts: those that have ended.
        let mut running = Vec::new();
        for mut client in clients {
            if client.is_running() {
                running.push(client);
            } else {
                told.push(client.wait(DEADLINE).ok());
            }
        }
        let copy = scratch.path().join(format!("cut-{cut}"));
        let (from, to) = (image.display().to_string(), copy.display().to_string());
        assert!(
            succeeds("cp", &["--sparse=always", &from, &to]),
            "the device's file can be copied"
        );
        cuts.push((copy, told.clone(), ends.clone()));
        send(&frozen, Signal::CONT);
        told.extend(running.into_iter().map(|client| client.wait(DEADLINE).ok()));
        ends = told.iter().take(told.len() / 2).map(|id| home.wait(id)).collect();
    }
    for id in &told {
        home.wait(id);
    }
    home.finish();
    drop(disk);
    let mut promised = 0;
    for (copy, told, ends) in &cuts {
        promised += told.len();
        after_the_cut(stage, copy, told, ends);
    }
    Seen::pass(format!(
        "{CUTS} cuts; {promised} of {promised} acknowledged tasks kept; every told end the same"
    ))
}

/// What a machine that starts again has.
fn after_the_cut(stage: &mut Stage, image: &Path, told: &[String], ends: &[Value]) {
    let (home, disk) = loop_home(image, None, "lanes.commands.limit = 3");
    stage.count(Count::Tasks, told.len());
    for id in told {
        let kept = record::reader(&home).task(record::parse(id)).expect("the store can be read");
        if kept.is_none() {
            stage.count(Count::Lost, 1);
            stage.complain(format!("{id} was acknowledged and is gone"));
        }
    }
    after_a_reboot(&home, &["daemon", "start"]).run().ok();
    let mut running = 0;
    for id in told {
        let task = home.wait(id);
        let before = ends.iter().find(|end| end["id"] == **id);
        stage.count(Count::Ends, 1);
        let same = before
            .is_none_or(|end| (&end["state"], &end["cause"]) == (&task["state"], &task["cause"]));
        let fits = task["state"] == "completed" || task["cause"] == json!({ "kind": "reboot" });
        running += usize::from(task["state"] == "interrupted");
        if !same || !fits {
            stage.count(Count::FalseEnds, 1);
            stage.complain(format!("told {before:?}, now {} {}", task["state"], task["cause"]));
        }
    }
    println!(
        "{}: {} told, {} ends told, {running} interrupted",
        image.display(),
        told.len(),
        ends.len()
    );
    // What was committed and not told before the cut runs as well.
    for task in home.json(["list", "--limit", "200"]).as_array().into_iter().flatten() {
        home.wait(task["id"].as_str().expect("a task has an id"));
    }
    stage.check_seats(&home);
    home.finish();
    drop(disk);
}

fn read_only(stage: &mut Stage) -> Seen {
    if !can_mount() || !succeeds("mkfs.ext4", &["-V"]) {
        return Seen::not_here("a loop device with ext4 needs root and mkfs.ext4");
    }
    let scratch = tempfile::tempdir().expect("a temporary directory can be made");
    let image = scratch.path().join("disk");
    let (home, disk) = loop_home(&image, Some(64 * MIB), "");
    let done = home.launch_shell("exit 4");
    home.wait(&done);
    let mut bell = home.bell("bell");
    let out = home.path("out");
    let line = format!("{}; sleep 2; echo ran > '{}'; exit 3", bell.shell("$$"), out.display());
    let running = home.launch_shell(&line);
    let main = heard(&mut bell);
    let error = format!("/sys/fs/ext4/{}/trigger_fs_error", disk.device());
    fs::write(&error, "1").expect("the kernel lets an ext4 have an error");
    let refused = home.invoke(["run", "--", "true"]).run();
    let (code, said) = (refused.code(), refused.complaint());
    stage.demand(
        [5, 6].contains(&code) && said.contains("hint:"),
        format!("a read-only home: {code} {said}"),
    );
    let doctor = home.cli(["doctor"]);
    let diagnosis = format!("{}{}", doctor.text(), doctor.complaint());
    let explains = diagnosis.to_lowercase().contains("read-only");
    stage.demand(explains, format!("doctor does not say that it is read-only: {diagnosis}"));
    let listed = home.cli(["status", &done]);
    let readable = listed.code();
    main.wait_end(DEADLINE);
    stage.demand(out.exists(), "the task did not run to its end");
    kill_all(&home);
    drop(disk);
    until("the disk to be let go", DEADLINE, || {
        succeeds("e2fsck", &["-p", "-f", &image.display().to_string()]).then_some(())
    });
    let disk = Mounted::ext4(&image, home.state(), None);
    after_a_reboot(&home, &["daemon", "start"]).run().ok();
    stage.demand(home.status(&done)["exit_code"] == 4, "an end that was told is another now");
    let cause = home.wait(&running)["cause"].clone();
    stage.demand(cause == json!({ "kind": "reboot" }), format!("the task that ran is {cause}"));
    home.finish();
    drop(disk);
    let deleted = deleted_home(stage);
    Seen::pass(format!(
        "refused with code {code}, status while read-only: exit {readable}; doctor explains; the task ran to its end \
         and is {cause} after the repair; {deleted}"
    ))
}

fn send(processes: &[Process], signal: Signal) {
    for process in processes {
        let _gone_already = process.signal(signal);
    }
}

fn kill_all(home: &TestHome) {
    for _ in 0..5 {
        let found: Vec<Process> = home.processes().into_iter().filter_map(Process::of).collect();
        send(&found, Signal::KILL);
        found.iter().for_each(|process| process.wait_end(DEADLINE));
    }
}

/// The state directory is removed under everybody.
fn deleted_home(stage: &mut Stage) -> String {
    let home = TestHome::new();
    let mark = home.marker();
    let mut bell = home.bell("bell");
    let out = home.path("out");
    let line = format!("{}; sleep 1; : {mark}; echo ran > '{}'", bell.shell("$$"), out.display());
    home.launch_shell(&line);
    let main = heard(&mut bell);
    let daemon = home.daemon().expect("it took the task");
    fs::remove_dir_all(home.state()).expect("a directory of ours can be removed");
    main.wait_end(DEADLINE);
    stage.demand(out.exists(), "the task did not run to its end");
    let ran = home.cli(["run", "--wait", "--", "echo", "new"]);
    stage
        .demand(ran.code() == 0, format!("a command after it: {} {}", ran.code(), ran.complaint()));
    let left = survivors(&mark, Duration::from_secs(10));
    stage.demand(left.is_empty(), format!("processes are left: {left:?}"));
    let ended = daemon.ends_within(Duration::from_secs(10));
    home.cli(["daemon", "stop", "--cancel-all"]);
    format!("deleted: the task ran to its end, a new home was begun, the old daemon ended: {ended}")
}
