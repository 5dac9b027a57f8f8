//! Rows 32 to 34: output that floods, that has no lines, that nobody takes.
//!
//! Owns nothing beyond its homes. Memory is what the kernel says of the processes, sampled while it happens.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, Process, TestHome};
use rustix::process::Signal;

use crate::check::PATIENCE;
use crate::record;
use crate::staging::supervisor_of;
use crate::{Modes, Row, Samples, Seen, Stage};

/// Resident memory that no flood may make a daemon or supervisor exceed: what they have at rest, twice.
const MOST_KIB: u64 = 40 << 10;

/// The same beside six readers: each has a page of output and a full socket.
const MOST_WITH_READERS_KIB: u64 = MOST_KIB + 6 * (4 << 10);

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 32,
        name: "log-flood",
        title: "a task that writes as fast as it can for 10 s",
        expected: "the cap holds to the block, the daemon's and the supervisor's memory stays flat, other tasks' p99 \
                   is that of a busy machine",
        modes: Modes::Once,
        slow: false,
        stage: "`timeout 10 cat /dev/zero` in a task; meanwhile small tasks are run and timed; VmRSS sampled",
        run: flood,
    },
    Row {
        number: 33,
        name: "no-newline",
        title: "a line of 500 MB, NUL, invalid UTF-8, ANSI and OSC 52",
        expected: "bounded memory, what is shown is harmless, what is kept is raw",
        modes: Modes::Once,
        slow: false,
        stage: "500 MB of `x` without a newline; a file of hostile bytes printed by a task",
        run: no_newline,
    },
    Row {
        number: 34,
        name: "stuck-readers",
        title: "followers that take nothing: stopped clients, a pipe nobody reads",
        expected: "no effect on the task, on others or on memory; on waking they get the rest or a mark",
        modes: Modes::Once,
        slow: false,
        stage: "four `output --follow` and two `audit --follow` stopped by SIGSTOP while a task prints 100 MB",
        run: stuck_readers,
    },
];

/// The most that a process had while `work` was done.
fn most_memory<T>(pids: &[u32], work: impl FnOnce() -> T) -> (T, u64) {
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for pid in pids {
                    most.fetch_max(resident_kib(*pid), Ordering::Relaxed);
                }
                // sleep: memory is sampled; nothing tells when it grows
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let answer = work();
        over.store(true, Ordering::Relaxed);
        answer
    });
    (answer, most.into_inner())
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn flood(stage: &mut Stage) -> Seen {
    const CAP: u64 = 64 << 20;
    let home = TestHome::builder().config("lanes.commands.limit = 2").build();
    let quiet: Samples = (0..20).map(|_| one_task(&home)).collect();
    let id = home.launch(["timeout", "10", "cat", "/dev/zero"]);
    let supervisor = supervisor_of(&home, &id);
    let daemon = home.daemon().expect("it runs");
    let (busy, most) = most_memory(&[daemon.pid(), supervisor.pid()], || {
        let until = Instant::now() + Duration::from_secs(9);
        let mut taken = Vec::new();
        while Instant::now() < until {
            taken.push(one_task(&home));
        }
        taken
    });
    let task = home.wait(&id);
    let (bytes, dropped) = (figure(&task["log"]["bytes"]), figure(&task["log"]["dropped_bytes"]));
    let kept: u64 = fs::read_dir(record::attempt_directory(&home, &id, 1))
        .expect("its directory is there")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("output"))
        .map(|entry| entry.metadata().map_or(0, |about| about.len()))
        .sum();
    stage.demand(kept <= CAP + 4096, format!("{kept} bytes are on disk, over the cap of {CAP}"));
    stage.demand(
        bytes - dropped == kept,
        format!("{bytes} written - {dropped} dropped is not {kept} kept"),
    );
    stage.demand(most < MOST_KIB, format!("{most} KiB of memory in the flood"));
    stage.demand(bytes > 1 << 30, format!("only {bytes} bytes: that is no flood"));
    let count = busy.len();
    let busy: Samples = busy.into_iter().collect();
    stage.figure("a small task beside a log flood", busy.clone());
    stage.figure("a small task on the quiet machine", quiet.clone());
    home.finish();
    Seen::pass(format!(
        "{} MB/s for 10 s, {kept} bytes kept (cap {CAP}), at most {most} KiB resident; {count} small tasks beside it, \
         slowest {} ms, {} ms without it",
        bytes / 10_000_000,
        slowest(&busy),
        slowest(&quiet)
    ))
}

fn figure(value: &serde_json::Value) -> u64 {
    value.as_u64().expect("a count of bytes")
}

fn slowest(samples: &Samples) -> String {
    let most = samples.milliseconds().iter().copied().fold(0.0, f64::max);
    format!("{most:.0}")
}

fn one_task(home: &TestHome) -> Duration {
    let began = Instant::now();
    home.cli(["run", "--wait", "--", "true"]).ok();
    began.elapsed()
}

fn no_newline(stage: &mut Stage) -> Seen {
    const LINE: u64 = 500_000_000;
    let home = TestHome::new();
    let id = home.launch_shell(&format!("head -c {LINE} /dev/zero | tr '\\0' x"));
    let supervisor = supervisor_of(&home, &id);
    let daemon = home.daemon().expect("it runs");
    let (task, most) = most_memory(&[daemon.pid(), supervisor.pid()], || {
        let line = home.invoke(["wait", &id]).deadline(PATIENCE).run();
        assert_eq!(line.code(), 0, "{}", line.complaint());
        for options in [&["--tail", "1"][..], &["--head", "1"], &["--grep", "x"], &[]] {
            let words = ["output", &id, "--max-bytes", "1000"].into_iter();
            let shown = home.cli(words.chain(options.iter().copied())).ok();
            assert!(!shown.is_empty() && shown.len() <= 1001, "{options:?}: {} bytes", shown.len());
        }
        home.status(&id)
    });
    stage.demand(task["log"]["bytes"] == LINE, format!("{} of {LINE} bytes counted", task["log"]));
    stage.demand(most < MOST_KIB, format!("{most} KiB of memory for one line"));
    let hostile =
        [&b"\x1b]52;c;ZXZpbA==\x07\x1b[31mred\x1b[0m\0nul \xff\xfe bad\x1bP1$r\x1b\\\r\n"[..]]
            .concat();
    let bytes = hostile.repeat(2000);
    let file = home.path("bytes");
    fs::write(&file, &bytes).expect("a file can be written");
    let id = home.launch(["cat".as_ref(), file.as_os_str()]);
    home.wait(&id);
    let raw = home.cli(["output", &id, "--raw"]).stdout;
    stage.demand(raw == bytes, format!("{} bytes kept of {}", raw.len(), bytes.len()));
    let shown = String::from_utf8(home.cli(["output", &id]).stdout);
    let text = shown.unwrap_or_default();
    let harmless = text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
    stage.demand(harmless && text.contains("red"), "what is shown is not harmless text");
    stage.demand(!text.contains("ZXZpbA"), "a clipboard sequence came through");
    home.finish();
    Seen::pass(format!(
        "at most {most} KiB resident for a line of 500 MB; {} hostile bytes raw and harmless",
        bytes.len()
    ))
}

fn stuck_readers(stage: &mut Stage) -> Seen {
    const WROTE: u64 = 100_000_000;
    let home = TestHome::builder().config("lanes.commands.limit = 2").build();
    let mut gate = home.gate("gate");
    let line = format!(
        "echo begin; {}; head -c {WROTE} /dev/zero | tr '\\0' x; echo; echo end",
        gate.shell()
    );
    let id = home.launch_shell_with(["--max-log", "300MiB"], &line);
    let followers: Vec<_> =
        (0..4).map(|_| home.invoke(["output", &id, "--follow"]).start()).collect();
    let auditors: Vec<_> = (0..2).map(|_| home.invoke(["audit", "--follow"]).start()).collect();
    let supervisor = supervisor_of(&home, &id);
    let daemon = home.daemon().expect("it runs");
    for one in followers.iter().chain(&auditors) {
        one.signal(Signal::STOP);
    }
    let ((took, small), most) = most_memory(&[daemon.pid(), supervisor.pid()], || {
        let began = Instant::now();
        gate.open();
        let small = one_task(&home);
        let waited = home.invoke(["wait", &id]).deadline(PATIENCE).run();
        assert_eq!(waited.code(), 0, "{}", waited.complaint());
        (began.elapsed(), small)
    });
    stage.demand(
        most < MOST_WITH_READERS_KIB,
        format!("{most} KiB of memory beside readers that take nothing"),
    );
    for one in followers.iter().chain(&auditors) {
        one.signal(Signal::CONT);
    }
    let mut whole = 0;
    for follower in followers {
        let ran = follower.wait(PATIENCE);
        let text = ran.text();
        let marked = text.trim_end().ends_with("end") || ran.complaint().contains("dropped");
        stage.demand(
            ran.code() == 0 && marked,
            format!("a follower: {} {}", ran.code(), ran.complaint()),
        );
        whole += usize::from(text.len() as u64 > WROTE);
    }
    for auditor in auditors {
        auditor.signal(Signal::TERM);
        let _ended = auditor.wait(DEADLINE);
    }
    stage.demand(Process::of(daemon.pid()).is_some(), "the daemon died of it");
    home.finish();
    Seen::pass(format!(
        "100 MB in {} ms beside six readers that took nothing, a small task in {} ms, at most {most} KiB resident; \
         {whole} of 4 followers had every byte afterwards",
        took.as_millis(),
        small.as_millis()
    ))
}
