//! Row 13: the kernel's memory killer takes a task, and takes the daemon.
//!
//! Owns the memory cgroup (of version 1, beside the one the product uses) in which it happens: the kernel
//! kills among its members only, and only what the row put there is one. Nothing allocates before it has seen
//! itself in there.

use std::fs;
use std::path::{Path, PathBuf};

use meanwhile_testkit::{DEADLINE, TestHome, mode};
use serde_json::json;

use crate::check::PATIENCE;
use crate::tally::Count;
use crate::work::Work;
use crate::{Load, Modes, Promise, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[Row {
    number: 13,
    name: "out-of-memory",
    title: "OOM kill of a task and of the daemon",
    expected: "task: failed (oom), with evidence; daemon: as row 1",
    modes: Modes::Every,
    slow: false,
    stage: "a task of 150 MiB under --memory 48MiB; one in a memory cgroup of 48 MiB, killed by the kernel; the daemon \
            put into one of 64 KiB, killed by the kernel in the middle of a submission of 500 tasks (the last two as root, where the \
            machine has memory cgroups of version 1)",
    run: out_of_memory,
}];

/// Takes 150 MiB for good; half a minute of life at most.
const GREEDY: &str = "import time; x = b'x' * (150 << 20); time.sleep(30)";

/// So many tasks in one submission are a megabyte or so.
const MUCH: usize = 500;

/// A memory cgroup with a limit that is known to hold.
struct Limited(PathBuf);

impl Limited {
    /// `None` where there is no such thing. That a file can be written proves nothing: the limit is read back.
    fn new(name: &str, bytes: u64) -> Option<Self> {
        let parent = Path::new("/sys/fs/cgroup/memory");
        if !parent.join("memory.limit_in_bytes").is_file() {
            return None;
        }
        let path = parent.join(format!("mw-faults-{name}-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let limited = Self(path);
        let file = limited.0.join("memory.limit_in_bytes");
        fs::write(&file, bytes.to_string()).ok()?;
        let held = fs::read_to_string(&file).ok()?;
        (held.trim() == bytes.to_string()).then_some(limited)
    }

    /// Whether the kernel says that this process is in there.
    fn has(&self, pid: u32) -> bool {
        let name = self.0.file_name().map(|name| name.to_string_lossy().into_owned());
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        name.is_some_and(|name| groups.lines().any(|line| line.ends_with(&format!("/{name}"))))
    }

    fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("memory.oom_control")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|number| number.parse().ok()).unwrap_or_default()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn out_of_memory(stage: &mut Stage) -> Seen {
    let mut said = vec![over_the_limit(stage)];
    if mode::is_root() {
        said.push(
            task_killed(stage).unwrap_or_else(|| "no memory cgroup for the kernel's killer".into()),
        );
        said.extend(daemon_killed(stage));
    } else {
        said.push("the kernel's killer only as root".into());
    }
    Seen::pass(said.join("; "))
}

fn check_oom(stage: &mut Stage, home: &TestHome, id: &str) {
    let task = home.wait(id);
    let told = (&task["state"], &task["cause"]["kind"]);
    stage.count(Count::Ends, 1);
    let truth = told == (&json!("failed"), &json!("oom"));
    stage.count(Count::FalseEnds, usize::from(!truth));
    stage.demand(truth, format!("told as {told:?}"));
    stage.killed_tree(&meanwhile_testkit::marked(&home.marker()));
}

fn over_the_limit(stage: &mut Stage) -> String {
    let home = TestHome::new();
    let line = ["python3", "-c", GREEDY, &home.marker()];
    let id = home.launch_with(["--memory", "48MiB"], line);
    check_oom(stage, &home, &id);
    let held = home.status(&id)["limits"]["memory"]["held"].clone();
    home.finish();
    format!("--memory: oom ({})", held.as_str().unwrap_or("held by nobody"))
}

fn task_killed(stage: &mut Stage) -> Option<String> {
    let group = Limited::new("task", 48 << 20)?;
    let name = group.0.file_name()?.to_string_lossy().into_owned();
    let home = TestHome::new();
    let line = format!(
        "echo $$ > '{}/cgroup.procs' && grep -q '/{name}$' /proc/self/cgroup && exec python3 -c \"{GREEDY}\" {}",
        group.0.display(),
        home.marker()
    );
    let id = home.launch_shell(&line);
    check_oom(stage, &home, &id);
    stage.demand(group.kills() == 1, format!("the kernel counts {} kills", group.kills()));
    home.finish();
    Some("task killed by the kernel: oom".into())
}

fn daemon_killed(stage: &mut Stage) -> Option<String> {
    const TASKS: usize = 10;
    let group = Limited::new("daemon", 64 << 10)?;
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {TASKS}")).build();
    let mut load = Load::new(&home, &[("commands", TASKS)]);
    let works: Vec<Work> = (0..TASKS as u64)
        .map(|number| Work {
            bytes: 20_000,
            parts: 80,
            nap: std::time::Duration::from_millis(100),
            ..Work::short(number)
        })
        .collect();
    load.submit(&home, &works, &json!({}), Promise::TrueEnd);
    load.wait_begun(TASKS);
    let daemon = home.daemon().expect("it runs");
    fs::write(group.0.join("cgroup.procs"), daemon.pid().to_string()).ok()?;
    let inside = group.has(daemon.pid()) || !daemon.is_alive();
    stage.demand(inside, "the daemon is not in the memory cgroup");
    submit_much(&home);
    daemon.wait_end(DEADLINE);
    stage.count(Count::DaemonKills, 1);
    stage.demand(group.kills() >= 1, "something else than the kernel ended the daemon");
    let alive = load.alive().len();
    stage.demand(alive == TASKS, format!("{alive} of {TASKS} tasks ran on"));
    home.cli(["daemon", "start"]).ok();
    load.wait(&home);
    home.invoke(["wait"]).deadline(PATIENCE).run().ok();
    let kept = home.json(["list", "--summary"])["states"]["completed"].clone();
    let all = MUCH + TASKS;
    stage.demand(kept == json!(all), format!("{kept} of {all} tasks completed"));
    stage.check(&home, &load);
    home.finish();
    Some(format!("daemon killed by the kernel: {alive} of {TASKS} tasks ran on, true ends"))
}

/// Wants memory of the daemon, which dies of it; the client starts the next one and sends it all again.
fn submit_much(home: &TestHome) {
    let entry = json!({ "command": ["true"], "lane": "other" }).to_string() + "\n";
    let ran = home.invoke(["run", "--from", "-"]).stdin(entry.repeat(MUCH)).run();
    assert_eq!(ran.ok().lines().count(), MUCH, "one id per line is promised");
}
