//! Rows 43 and 48, and nested waits: tasks that hang, machines that lack something, work that waits for work.
//!
//! Owns private mount namespaces in which a part of the system is missing (root only).

use std::time::{Duration, Instant};

use meanwhile_testkit::{TestHome, marked, mode};
use serde_json::json;

use crate::check::PATIENCE;
use crate::staging::{can_mount, survivors};
use crate::{Modes, Row, Samples, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 43,
        name: "silent-tasks",
        title: "silent sleep, silent spin, a deadlock, a stalled connection",
        expected: "each is ended by its idle timeout at the threshold; what prints now and then is left alone \
                   (finding hangs without a declared timeout belongs to a later release)",
        modes: Modes::Once,
        slow: false,
        stage: "`--idle-timeout 1s` on four ways to hang, and on one that prints every 300 ms",
        run: silent,
    },
    Row {
        number: 48,
        name: "less-of-a-system",
        title: "no cgroup to write to; a /proc that hides others",
        expected: "works all the same: 0 survivors of a cancel; doctor says which promise is weaker",
        modes: Modes::Once,
        slow: false,
        stage: "daemon and client in a private mount namespace: tmpfs over /sys/fs/cgroup; hidepid=2 as another user",
        run: less,
    },
    Row {
        number: 0,
        name: "nested-waits",
        title: "tasks that launch tasks and wait for them, at every depth, in lanes with one seat",
        expected: "no deadlock at any depth; the level beyond the limit is refused with code 4; also across a kill of \
                   the daemon",
        modes: Modes::Every,
        slow: false,
        stage: "`run --wait` inside `run --wait` down to the deepest level, lanes.commands.limit = 1; the daemon is \
                killed when the innermost runs",
        run: nested,
    },
];

fn silent(stage: &mut Stage) -> Seen {
    let home = TestHome::builder().config("lanes.commands.limit = 8").build();
    let hangs = [
        ("sleep", "exec sleep 1000"),
        ("spin", "while :; do :; done"),
        ("deadlock", "mkfifo \"$TMPDIR/f\"; read -r x < \"$TMPDIR/f\""),
        ("stall", "exec python3 -c 'import socket; a, b = socket.socketpair(); a.recv(1)'"),
    ];
    let options = ["--idle-timeout", "1s", "--kill-after", "500ms"];
    let began = Instant::now();
    let ids: Vec<String> =
        hangs.iter().map(|(_, line)| home.launch_shell_with(options, line)).collect();
    let busy = home
        .launch_shell_with(options, "for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.3; done");
    let mut after = Samples::default();
    for (id, (name, _)) in ids.iter().zip(hangs) {
        let task = home.wait(id);
        let cause = &task["cause"];
        let ended = (task["state"] == "failed") && cause["kind"] == "idle_timeout";
        stage.demand(ended, format!("{name}: {} {cause}", task["state"]));
        let ran = Duration::from_millis(task["duration_ms"].as_u64().unwrap_or(0));
        stage.demand(ran >= Duration::from_secs(1), format!("{name}: ended early, after {ran:?}"));
        after.add(ran);
    }
    let all = began.elapsed();
    stage.demand(home.wait(&busy)["state"] == "completed", "one that prints was ended");
    home.finish();
    Seen::pass(format!(
        "4 of 4 ended after {}, all within {} ms; 0 of 1 false",
        after.words(),
        all.as_millis()
    ))
}

fn less(stage: &mut Stage) -> Seen {
    if !can_mount() {
        return Seen::not_here("a private mount namespace needs root");
    }
    let told = [
        without(stage, "no cgroup", "mount -t tmpfs none /sys/fs/cgroup", None, "cgroup"),
        without(
            stage,
            "hidden processes",
            "mount -t proc -o hidepid=2 proc /proc",
            Some(meanwhile_testkit::free_uid()),
            "",
        ),
    ];
    Seen::pass(told.join("; "))
}

/// A daemon in a system that lacks something; what doctor says of it.
fn without(stage: &mut Stage, name: &str, mount: &str, uid: Option<u32>, named: &str) -> String {
    let home = match uid {
        Some(uid) => TestHome::builder().uid(uid).build(),
        None => TestHome::new(),
    };
    home.cli(["daemon", "stop"]);
    let nap = home.marker();
    let user = uid.map_or(String::new(), |uid| {
        format!("setpriv --reuid={uid} --regid={uid} --clear-groups ")
    });
    let inside = |words: &[&str]| {
        let script = format!("{mount} && exec {user}\"$@\"");
        let call = home
            .invoke(words.iter().copied())
            .wrapped(["unshare", "-m", "sh", "-c", &script, "sh"]);
        // The namespace is root's to make; the command in it is the user's.
        call.uid(0).run()
    };
    inside(&["daemon", "start"]).ok();
    let tree = format!("setsid sh -c 'sleep {nap} & sleep {nap}' & exec sleep {nap}");
    let id = inside(&["run", "--shell", &tree]).ok();
    let began = Instant::now();
    while marked(&nap).len() < 3 && began.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    let cancelled = inside(&["cancel", &id]);
    stage.demand(cancelled.code() == 0, format!("{name}: cancel {}", cancelled.complaint()));
    let left = survivors(&nap, Duration::ZERO);
    stage.demand(left.is_empty(), format!("{name}: {left:?} survived the cancel"));
    let code = inside(&["run", "--wait", "--shell", "exit 7"]).code();
    stage.demand(code == 7, format!("{name}: exit {code} for 7"));
    let doctor = inside(&["doctor"]).text();
    let weaker: Vec<&str> =
        doctor.lines().filter(|line| !line.starts_with("ok") && !line.starts_with(' ')).collect();
    stage.demand(
        weaker.iter().any(|line| line.contains(named)),
        format!("{name}: doctor does not name it: {doctor}"),
    );
    inside(&["daemon", "stop", "--cancel-all"]);
    format!(
        "{name}: 0 survivors, true codes, doctor names {} weaker: {}",
        weaker.len(),
        names(&weaker)
    )
}

fn names(lines: &[&str]) -> String {
    let words: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    words.join(" ")
}

fn nested(stage: &mut Stage) -> Seen {
    let mut seen = Vec::new();
    for (depth, killed) in [(1, false), (2, false), (3, false), (2, true), (3, true)] {
        let home = TestHome::builder().config("lanes.commands.limit = 1").build();
        let bin = home.binary();
        let inner = home.path("inner");
        // The innermost says that it runs, and goes on when it is let.
        let mut gate = home.gate("gate");
        let mut line =
            format!("echo in >> '{}'; {}; echo deepest; exit 5", inner.display(), gate.shell());
        for _ in 1..depth {
            line = format!("'{}' run --wait --shell {}", bin.display(), quoted(&line));
        }
        let outer = home.launch_shell(&line);
        meanwhile_testkit::wait_for_file(&inner, PATIENCE, |bytes| !bytes.is_empty());
        if killed {
            let old = home.kill_daemon();
            home.wait_for_other_daemon(old);
        }
        gate.open();
        let task = home.wait(&outer);
        let code = task["exit_code"].clone();
        stage.demand(
            code == json!(5),
            format!("depth {depth}, killed {killed}: {code} {}", task["cause"]),
        );
        let times = std::fs::read_to_string(&inner).unwrap_or_default().lines().count();
        stage.demand(times == 1, format!("depth {depth}: the innermost ran {times} times"));
        let all = home.json(["list"]).as_array().map_or(0, Vec::len);
        stage.demand(all == depth, format!("depth {depth}: {all} tasks"));
        stage.check_seats(&home);
        seen.push(format!("{depth}{}", if killed { " (killed)" } else { "" }));
        home.finish();
    }
    let refused = too_deep(stage);
    Seen::pass(format!("depths {} with one seat: true codes; {refused}", seen.join(", ")))
}

fn too_deep(stage: &mut Stage) -> String {
    let home = TestHome::builder().config("lanes.commands.limit = 1").build();
    let bin = home.binary();
    let mut line = "true".to_owned();
    for _ in 0..3 {
        line = format!("'{}' run --wait --shell {}; echo code $?", bin.display(), quoted(&line));
    }
    let outer = home.launch_shell(&line);
    home.wait(&outer);
    let tasks = home.json(["list"]).as_array().map_or(0, Vec::len);
    stage.demand(tasks == 3, format!("{tasks} tasks where the fourth level is refused"));
    let deepest = home.json(["list"]);
    let id = deepest.as_array().and_then(|all| all.first()?["id"].as_str().map(str::to_owned));
    let said = id.map_or_else(String::new, |id| home.output(&id));
    stage.demand(said.contains("depth"), format!("the refusal does not name its rule: {said}"));
    home.finish();
    format!(
        "the fourth level is refused ({})",
        if mode::has_cgroup() { "by cgroup" } else { "by ancestry" }
    )
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
