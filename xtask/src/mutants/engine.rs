//! Mutations of the daemon's recovery: what it concludes from owner files, from supervisors that greet it and
//! from those that are gone.
//!
//! Owns the texts, which move with the code they are of. Never more than one branch per mutation.

use super::Mutation;

const VERDICT: &str = "crates/daemon/src/engine/verdict.rs";
const RECOVER: &str = "crates/daemon/src/engine/recover.rs";
const REMAINS: &str = "crates/daemon/src/engine/remains.rs";
const FLEET: &str = "crates/daemon/src/engine/fleet.rs";
const HEAR: &str = "crates/daemon/src/engine/hear.rs";

const ENGINE: &str = "-p meanwhile-daemon --lib engine";
const KILLS: &str = "-p meanwhile --test survival_kills";
const SUPERVISORS: &str = "-p meanwhile --test survival_supervisors";
const REPLACED: &str = "-p meanwhile --test survival_replaced";

const UNIT: &[&str] = &[ENGINE];
const UNIT_THEN_KILLS: &[&str] = &[ENGINE, KILLS];
const UNIT_THEN_SUPERVISORS: &[&str] = &[ENGINE, SUPERVISORS];
const UNIT_THEN_ALL: &[&str] = &[ENGINE, REPLACED, SUPERVISORS, KILLS];

pub(super) const ALL: &[Mutation] = &[
    Mutation::of(
        "a held lock says nothing",
        VERDICT,
        ("if lock == Lock::Held {", "if false && lock == Lock::Held {"),
        UNIT,
    ),
    Mutation::of(
        "a file of another attempt is read as this one's",
        VERDICT,
        ("if header.token.0 != token.0 {", "if false && header.token.0 != token.0 {"),
        UNIT,
    ),
    Mutation::of(
        "a record of another attempt is this one's end",
        VERDICT,
        ("view.exit.clone().filter(|r| r.token.0 == token.0)", "view.exit.clone()"),
        UNIT,
    ),
    Mutation::of(
        "leftovers at an end are not looked for",
        VERDICT,
        (
            "let leftovers = same_boot && record.tree == TreeState::Pending;",
            "let leftovers = false && same_boot;",
        ),
        UNIT,
    ),
    Mutation::of(
        "leftovers of an earlier boot are looked for",
        VERDICT,
        ("let leftovers = same_boot && record", "let leftovers = record"),
        UNIT,
    ),
    Mutation::of(
        "what was claimed and not started ran",
        VERDICT,
        ("(false, _) => Verdict::NeverRan,", "(false, _) => Verdict::Lost(Box::new(view)),"),
        UNIT,
    ),
    Mutation::of(
        "a restart of the machine is not noticed",
        VERDICT,
        ("(true, false) => Verdict::Rebooted,", "(true, false) => Verdict::Lost(Box::new(view)),"),
        UNIT,
    ),
    Mutation::of(
        "a damaged file is one of an attempt that never ran",
        VERDICT,
        ("else { return Verdict::Damaged };", "else { return Verdict::NeverRan };"),
        UNIT,
    ),
    Mutation::of(
        "a damaged mark is none",
        VERDICT,
        ("view.started.is_some() || view.damaged, same_boot", "view.started.is_some(), same_boot"),
        UNIT,
    ),
    Mutation::of(
        "an attempt without a directory is a mystery",
        VERDICT,
        (
            "Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Verdict::NeverRan),\n        Ok(_)",
            "Ok(_)",
        ),
        UNIT,
    ),
    Mutation::of(
        "an attempt without an owner file is a mystery",
        VERDICT,
        ("        Err(Errno::NOENT) => return Ok(Verdict::NeverRan),\n", ""),
        UNIT,
    ),
    Mutation::of(
        "starts in flight are not looked after",
        RECOVER,
        (
            "t.state.is_active() || (t.seat_kept",
            "(t.state.is_active() && t.state != State::Starting) || (t.seat_kept",
        ),
        UNIT_THEN_KILLS,
    ),
    Mutation::of(
        "the unkillable are not looked after",
        RECOVER,
        ("t.state.is_active() || (t.seat_kept && t.state != State::Queued)", "t.state.is_active()"),
        UNIT_THEN_KILLS,
    ),
    Mutation::of(
        "a supervisor that was reached has no job",
        RECOVER,
        ("                self.fleet.assign(key, job);\n", ""),
        UNIT,
    ),
    Mutation::of(
        "one that cannot be reached is given up",
        RECOVER,
        (
            "could not be reached yet\");\n            self.look_again(now, job);",
            "could not be reached yet\");",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "one that was met without its attempt is not looked at again while its lock is held",
        RECOVER,
        ("Ok(Verdict::Held(_)) => self.look_again(now, job),", "Ok(Verdict::Held(_)) => {}"),
        UNIT_THEN_KILLS,
    ),
    Mutation::of(
        "one that was met without its attempt keeps it when its lock is free",
        RECOVER,
        (
            "                        self.fleet.forget_job(key);\n                        self.look_into(now, job, turn);",
            "                        let _ = key;",
        ),
        UNIT_THEN_KILLS,
    ),
    Mutation::of(
        "an attempt that is over is looked into",
        RECOVER,
        ("if !current || met ||", "let _ = current;\n            if met ||"),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "an attempt that lives is looked into all the same",
        RECOVER,
        ("if !current || met ||", "let _ = met;\n            if !current ||"),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "who does not answer is asked without a pause",
        RECOVER,
        (
            "again.pause = (pause * 2).min(LONGEST_PAUSE);",
            "again.pause = pause.min(LONGEST_PAUSE);",
        ),
        UNIT,
    ),
    Mutation::of(
        "a lost attempt is looked after twice",
        REMAINS,
        (
            "        if self.remains.insert(job.token, remains).is_some() {\n            return;\n        }\n        let Some(header)",
            "        self.remains.insert(job.token, remains);\n        let Some(header)",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "any number of remains is looked after at once",
        REMAINS,
        ("if self.remains_at_once >= AT_ONCE {", "if self.remains_at_once >= AT_ONCE * 1000 {"),
        UNIT,
    ),
    Mutation::of(
        "remains that had to wait are forgotten",
        REMAINS,
        (
            "if let Some((job, target)) = self.remains_waiting.pop_front() {",
            "if let Some((job, target)) = None {",
        ),
        UNIT,
    ),
    Mutation::of(
        "what is kept of a lost attempt is deleted, the rest stays",
        REMAINS,
        ("if !keeps_tmp {", "if keeps_tmp {"),
        UNIT,
    ),
    Mutation::of(
        "remains that could not be ended are called gone",
        REMAINS,
        (
            "    killed.left.is_empty()\n",
            "    killed.left.is_empty() || !killed.killed.is_empty()\n",
        ),
        UNIT,
    ),
    Mutation {
        equivalent: Some(
            "after the end of an attempt the core takes every last word for its emptiness: that it ended, was lost or is \
             empty",
        ),
        ..Mutation::of(
            "what was called unkillable ends a second time",
            REMAINS,
            ("if remains.over { Report::Emptied } else { remains.report }", "remains.report"),
            UNIT,
        )
    },
    Mutation::of(
        "remains of an attempt that is over end the next one",
        REMAINS,
        (
            "self.attempt_of(task).filter(|(_, t)| *t == token)",
            "self.attempt_of(task).filter(|(n, _)| *n > 0)",
        ),
        UNIT,
    ),
    Mutation::of(
        "a busy supervisor is taken for an idle one",
        FLEET,
        (
            "if self.members.get(&key).is_some_and(|m| m.job.is_none()) {",
            "if self.members.contains_key(&key) {",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "who stays with leftovers gets the next task",
        FLEET,
        (
            "        if !stays {\n            self.idle.push(key);\n        }",
            "        let _ = stays;\n        self.idle.push(key);",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "a supervisor is used once",
        FLEET,
        (
            "        if !stays {\n            self.idle.push(key);\n        }",
            "        let _ = stays;",
        ),
        UNIT,
    ),
    Mutation::of(
        "a supervisor that is gone still has its attempt",
        FLEET,
        (
            "        if let Some(job) = member.job {\n            self.by_token.remove(&job.token);\n        }\n",
            "",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "who was asked in vain is not idle again",
        FLEET,
        (
            "    pub(super) fn give_back(&mut self, key: MemberKey) {\n        self.idle.push(key);",
            "    pub(super) fn give_back(&mut self, key: MemberKey) {\n        let _ = key;",
        ),
        UNIT,
    ),
    Mutation {
        equivalent: Some(
            "what comes in one read with the end of a connection finds no job there any more; the owner file tells it",
        ),
        ..Mutation::of(
            "what a supervisor said last is not heard when it goes",
            FLEET,
            (
                "            heard.push(self.remove(key, error));",
                "            heard = vec![self.remove(key, error)];",
            ),
            UNIT_THEN_ALL,
        )
    },
    Mutation::of(
        "a supervisor that is gone is not missed",
        HEAR,
        (
            "None => self.look_into(now, job, turn),\n                            // It may live",
            "None => {}\n                            // It may live",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "a supervisor whose connection broke is not missed",
        HEAR,
        (
            "Some(_) => self.look_again(now, job),\n                        }",
            "Some(_) => {}\n                        }",
        ),
        UNIT,
    ),
    Mutation::of(
        "an end is taken for that of any attempt",
        HEAR,
        ("self.fleet.job(key).filter(|j| j.token.0 == record.token.0)", "self.fleet.job(key)"),
        UNIT,
    ),
    Mutation::of(
        "a refused start is forgotten",
        HEAR,
        ("_ => self.never_ran(now, job, turn),\n                }", "_ => {}\n                }"),
        UNIT,
    ),
    Mutation::of(
        "who refused a start still has it",
        HEAR,
        ("self.fleet.forget_job(key);\n                match why", "match why"),
        UNIT,
    ),
    Mutation::of(
        "a task that runs is not found after a restart",
        HEAR,
        (
            "                    self.found(now, job, Found::Alive { pid, supervisor_pid }, turn);\n",
            "                    let _ = (pid, supervisor_pid);\n",
        ),
        UNIT_THEN_ALL,
    ),
    Mutation::of(
        "what nothing can kill is forgotten with the daemon that heard of it",
        HEAR,
        ("if running.phase == Phase::Unkillable {", "if false {"),
        UNIT,
    ),
    Mutation::of(
        "a supervisor without the attempt it should have is believed",
        HEAR,
        ("None | Some(_) => self.look_again(now, job),", "None | Some(_) => {}"),
        UNIT_THEN_KILLS,
    ),
    Mutation {
        equivalent: Some(
            "after the end of an attempt the core takes every last word for its emptiness",
        ),
        ..Mutation::of(
            "an end after the end is an end again",
            HEAR,
            (
                "let over = self.core.standing(job.task).is_some_and(|view| view.state.is_terminal());",
                "let over = false;",
            ),
            UNIT,
        )
    },
    Mutation::of(
        "who stays with leftovers is not remembered",
        HEAR,
        ("if record.tree == TreeState::Kept {", "if false {"),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "what could not be read is not read again",
        HEAR,
        (
            "nothing is known of an attempt yet\");\n                self.look_again(now, job);",
            "nothing is known of an attempt yet\");",
        ),
        UNIT,
    ),
    Mutation::of(
        "an attempt whose file is damaged is started again",
        HEAR,
        (
            "Ok(Verdict::Damaged) => self.unowned(now, job, turn),",
            "Ok(Verdict::Damaged) => self.never_ran(now, job, turn),",
        ),
        UNIT,
    ),
    Mutation::of(
        "an attempt whose file is gone is started again",
        HEAR,
        (
            "Ok(Verdict::NeverRan) if self.may_have_started(job) =>",
            "Ok(Verdict::NeverRan) if false && self.may_have_started(job) =>",
        ),
        UNIT,
    ),
    Mutation::of(
        "an end is told before its leftovers are gone",
        HEAR,
        (
            "                let report = self.report_of(job, &record);\n                self.look_after(job, &view, Remains { report, over: false });",
            "                let _ = view;\n                self.ended(now, job, &record, turn);",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "a lost attempt frees its seat before it is empty",
        HEAR,
        (
            "self.look_after(job, &view, Remains { report: Report::Lost, over: false });",
            "let _ = view;\n                self.report(now, job, Report::Lost, turn);",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "a restart of the machine leaves tasks running for ever",
        HEAR,
        (
            "Ok(Verdict::Rebooted) => self.found(now, job, Found::Rebooted, turn),",
            "Ok(Verdict::Rebooted) => {}",
        ),
        UNIT_THEN_SUPERVISORS,
    ),
    Mutation::of(
        "what has no file after a restart of the machine is looked for",
        HEAR,
        (
            "if self.earlier_boot.contains(&job.token) {\n            return self.found(",
            "if false {\n            return self.found(",
        ),
        UNIT,
    ),
    Mutation::of(
        "a supervisor that was just leaving costs the task a crash",
        HEAR,
        ("if self.starter.was_reused(job.token) && !stopping {", "if false && !stopping {"),
        UNIT,
    ),
    Mutation::of(
        "a task that is to be stopped is started anew",
        HEAR,
        (
            "if self.starter.was_reused(job.token) && !stopping {",
            "let _ = stopping;\n        if self.starter.was_reused(job.token) {",
        ),
        UNIT,
    ),
];
