//! Mutations of what is remembered and of what is on file: the core's reports and loading, the supervisor's
//! owner file and its way of bringing a daemon back.
//!
//! Owns the texts, which move with the code they are of. Never more than one branch per mutation.

use super::Mutation;

const REPORT: &str = "crates/core/src/machine/report.rs";
const LOAD: &str = "crates/core/src/machine/load.rs";
const OWNER: &str = "crates/supervisor/src/owner.rs";
const ATTEMPT: &str = "crates/supervisor/src/run/attempt.rs";
const REVIVE: &str = "crates/supervisor/src/run/revive.rs";
const LOOP: &str = "crates/supervisor/src/run/supervisor.rs";

const CORE_TESTS: &[&str] = &[
    "-p meanwhile-core --lib reports life queue retries stops lending dependencies waits",
    "-p meanwhile-core --lib random",
];
const OWNER_TESTS: &[&str] = &["-p meanwhile-supervisor --lib owner"];
const BEHAVIOUR: &[&str] = &["-p meanwhile-supervisor --test behaviour fence revive end start"];
const REVIVE_TESTS: &[&str] = &["-p meanwhile-supervisor --test behaviour revive fence"];

const fn core(
    name: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
) -> Mutation {
    Mutation::of(name, file, (old, new), CORE_TESTS)
}

pub(super) const CORE: &[Mutation] = &[
    core(
        "a report of another attempt counts",
        REPORT,
        "if row.token() != Some(token) {\n            let what = format!(\"{} of another attempt\"",
        "if false {\n            let what = format!(\"{} of another attempt\"",
    ),
    core(
        "an end that comes again is not receipted",
        REPORT,
        "            free_sender(task, token, &report, turn);\n            return;\n        };",
        "            return;\n        };",
    ),
    core(
        "an unkillable task's seat is free at once",
        REPORT,
        "run: Some(run), seat_kept: true };",
        "run: Some(run), seat_kept: false };",
    ),
    core(
        "the emptiness of an unkillable task changes nothing",
        REPORT,
        "                self.emit(now, turn, task, Fact::Emptied);\n",
        "",
    ),
    core(
        "whoever said that it is empty is never released",
        REPORT,
        "                turn.effects.push(Effect::Recorded { task, token });\n                turn.effects.push(Effect::Dropped { task });",
        "                turn.effects.push(Effect::Dropped { task });",
    ),
    core(
        "a restart of the machine ends what had ended before it",
        REPORT,
        "Some(row) if row.token() == Some(token) && !row.state.is_terminal() => {",
        "Some(row) if row.token() == Some(token) => {",
    ),
    core(
        "what a restart of the machine took is called lost",
        REPORT,
        "(State::Interrupted, Cause::Reboot)",
        "(State::Interrupted, Cause::Lost)",
    ),
    core(
        "a task that is found alive stays starting",
        REPORT,
        "(State::Starting, Some(pid)) => self.started(now, task, pid, supervisor_pid, turn),",
        "(State::Starting, Some(_)) => {}",
    ),
    core(
        "readiness is not looked for after a restart",
        REPORT,
        "if row.wants_ready && !row.ready => {",
        "if false && row.wants_ready && !row.ready => {",
    ),
    core(
        "an extension is not repeated after a restart",
        REPORT,
        "if row.rare().extended.is_some() {",
        "if false {",
    ),
    core(
        "a stop is not repeated after a restart",
        REPORT,
        "                turn.effects.push(Effect::Stop { task, token, why: why(stop) });",
        "                let _ = stop;",
    ),
    core(
        "a start that never ran is tried for ever",
        REPORT,
        "            && crashes < limits::MAX_START_CRASHES\n",
        "",
    ),
    core(
        "a start that never ran is tried again though it is to be stopped",
        REPORT,
        "            && row.stop().is_none()\n",
        "",
    ),
    Mutation {
        equivalent: Some(
            "the transition table refuses the fact, and the refusal is on record likewise",
        ),
        ..core(
            "a running task that never ran is queued again",
            REPORT,
            "        if row.state == State::Starting\n            && row.stop()",
            "        if row.state.is_active()\n            && row.stop()",
        )
    },
    core(
        "a wish is forgotten at the end",
        REPORT,
        "Some(stop) => as_wished(stop),\n            None => judged,",
        "Some(_) | None => judged,",
    ),
    core(
        "an end without a status is a success",
        REPORT,
        "None => (State::Interrupted, Cause::Lost),",
        "None => (State::Completed, Cause::Exit { code: 0 }),",
    ),
    core(
        "a lost attempt is a success",
        REPORT,
        "let judged = (State::Interrupted, Cause::Lost);\n                self.end_unless",
        "let judged = (State::Completed, Cause::Exit { code: 0 });\n                self.end_unless",
    ),
    core(
        "a delay is not moved to the new boot's clock",
        LOAD,
        "if same_boot { d } else { d.after_reboot(now) }",
        "if same_boot || now.boot.0 < u64::MAX { d } else { d.after_reboot(now) }",
    ),
    core(
        "orders begin anew after a restart",
        LOAD,
        "        self.next_order = self.next_order.max(task.order.saturating_add(1));\n",
        "",
    ),
    core("a kept seat is forgotten", LOAD, "        row.seat_kept = task.seat_kept;\n", ""),
    core(
        "a loaded task has no seat",
        LOAD,
        "        if !queued {\n            self.take_seat",
        "        if queued {\n            self.take_seat",
    ),
    core(
        "a stop that was asked for is forgotten",
        LOAD,
        "(task.deadline, task.stop, self.next_seat)",
        "(task.deadline, None, self.next_seat)",
    ),
    core(
        "the starts that failed are counted anew",
        LOAD,
        "            rare.crashes = task.crashes;\n",
        "",
    ),
    core(
        "the retries that were used are counted anew",
        LOAD,
        "            rare.retries_used = task.retries_used;\n",
        "",
    ),
    core(
        "an unkillable task that is loaded counts as unfinished",
        LOAD,
        "if task.state.is_terminal() {",
        "if false {",
    ),
];

pub(super) const SUPERVISOR: &[Mutation] = &[
    Mutation::of(
        "an owner file that somebody holds is claimed",
        OWNER,
        (
            "        if self.try_lock()? == Lock::Held {\n            return Err(Errno::AGAIN);\n        }\n        let view",
            "        let view",
        ),
        &["-p meanwhile-supervisor --lib owner", "-p meanwhile-daemon --lib engine"],
    ),
    Mutation::of(
        "an attempt that has started is claimed again",
        OWNER,
        ("if view.damaged || view.started.is_some() {", "if view.damaged {"),
        OWNER_TESTS,
    ),
    Mutation::of(
        "what may have started is claimed again",
        OWNER,
        ("if view.damaged || view.started.is_some() {", "if view.started.is_some() {"),
        OWNER_TESTS,
    ),
    Mutation::of(
        "a file of another length is believed",
        OWNER,
        ("if len != LEN {", "if len < LEN {"),
        OWNER_TESTS,
    ),
    Mutation::of(
        "a mark that does not check was never made",
        OWNER,
        (
            "damaged: header.is_none() || (started.is_none() && !unmarked),",
            "damaged: header.is_none() && unmarked,",
        ),
        OWNER_TESTS,
    ),
    Mutation::of(
        "a damaged part is believed",
        OWNER,
        (
            "(magic == slot.magic && sum == checksum(magic, body))",
            "(magic == slot.magic && sum != 1)",
        ),
        OWNER_TESTS,
    ),
    Mutation::of(
        "the record of the main process's end is not read",
        OWNER,
        ("exit(EXIT_FINAL).or_else(|| exit(EXIT_PENDING))", "exit(EXIT_FINAL)"),
        OWNER_TESTS,
    ),
    Mutation::of(
        "the final record is not read",
        OWNER,
        (
            "exit(EXIT_FINAL).or_else(|| exit(EXIT_PENDING))",
            "exit(EXIT_PENDING).or_else(|| exit(EXIT_FINAL))",
        ),
        OWNER_TESTS,
    ),
    Mutation::of(
        "a supervisor starts what another has started",
        ATTEMPT,
        ("if header.token == spec.token && !may_have_started", "if header.token == spec.token"),
        BEHAVIOUR,
    ),
    Mutation::of(
        "a supervisor starts with a file of another attempt",
        ATTEMPT,
        ("if header.token == spec.token && !may_have_started", "if !may_have_started"),
        BEHAVIOUR,
    ),
    Mutation::of(
        "a supervisor starts without the lock",
        ATTEMPT,
        (
            "Ok(Lock::Held) | Err(_) => return Err(RefusedWhy::OwnerFile),",
            "Ok(Lock::Held) | Err(_) => {}",
        ),
        BEHAVIOUR,
    ),
    Mutation::of(
        "a task starts without its mark",
        ATTEMPT,
        ("        owner.write_started(mark).map_err(|_| RefusedWhy::OwnerFile)?;\n", ""),
        BEHAVIOUR,
    ),
    Mutation::of(
        "an end is not on file while leftovers live",
        ATTEMPT,
        (
            "                self.write_pending();\n                return Vec::new();",
            "                return Vec::new();",
        ),
        BEHAVIOUR,
    ),
    Mutation::of(
        "a stopped daemon is brought back by who has no task",
        REVIVE,
        (
            "need == Need::Queue && last_daemon(&init.home) != Ok(LastDaemon::Died)",
            "false && need == Need::Queue",
        ),
        REVIVE_TESTS,
    ),
    Mutation::of(
        "a second daemon is started beside a living one",
        REVIVE,
        (
            "Ok(LastDaemon::Lives) => DaemonResult::Alive,\n        Ok(LastDaemon::Died | LastDaemon::Stopped)",
            "Ok(LastDaemon::Lives | LastDaemon::Died | LastDaemon::Stopped)",
        ),
        REVIVE_TESTS,
    ),
    Mutation::of(
        "a daemon that died is taken for one that stopped",
        REVIVE,
        ("Ok(()) => Ok(LastDaemon::Died),", "Ok(()) => Ok(LastDaemon::Stopped),"),
        &[
            "-p meanwhile-supervisor --test behaviour revive fence",
            "-p meanwhile --test survival_kills a_queue_behind",
        ],
    ),
    Mutation::of(
        "a daemon that stopped is taken for one that died",
        REVIVE,
        ("Ok(()) if rustix::fs::fstat(&lock)?.st_size == 0 => Ok(LastDaemon::Stopped),\n", ""),
        &[
            "-p meanwhile-supervisor --test behaviour revive fence",
            "-p meanwhile --test survival_replaced a_stop_leaves",
        ],
    ),
    Mutation::of(
        "one that waits for a living daemon keeps the turn",
        REVIVE,
        ("if alive || need == Need::Queue {", "if need == Need::Queue {"),
        REVIVE_TESTS,
    ),
    Mutation::of(
        "a daemon is a child of the supervisor that starts it",
        REVIVE,
        ("let flags = libc::CLONE_PARENT | libc::SIGCHLD;", "let flags = libc::SIGCHLD;"),
        REVIVE_TESTS,
    ),
    Mutation::of(
        "a daemon that stops on purpose is brought back",
        LOOP,
        ("if self.init.is_some() && !self.daemon_stopping {", "if self.init.is_some() {"),
        REVIVE_TESTS,
    ),
    Mutation::of(
        "a lost daemon is not missed",
        LOOP,
        ("                self.reviver.arm(Moment::now());\n", ""),
        REVIVE_TESTS,
    ),
    Mutation::of(
        "a new daemon does not hear of an end nobody recorded",
        LOOP,
        (
            "        self.init = Some(init);\n        self.repeat_end(from);",
            "        self.init = Some(init);",
        ),
        BEHAVIOUR,
    ),
    Mutation::of(
        "a busy supervisor takes a second task",
        LOOP,
        (
            "        if self.task.is_some() {\n            return self.say(&FromSupervisor::Refused { token, why: RefusedWhy::Busy });\n        }\n",
            "",
        ),
        BEHAVIOUR,
    ),
    Mutation {
        equivalent: Some(
            "it leaves a second later, when it finds no lock of a daemon to bring back",
        ),
        ..Mutation::of(
            "a supervisor whose home is gone stays",
            LOOP,
            ("matches!(home, Some(Err(rustix::io::Errno::NOENT)))", "home.is_none()"),
            BEHAVIOUR,
        )
    },
];
