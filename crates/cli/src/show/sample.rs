//! A task for tests of what is shown.
//!
//! What it is for: rendering tests start from one finished command and change what they are about. What it owns: that
//! task. What it never does: reach the program itself.

use std::collections::BTreeMap;

use meanwhile_api::task::{LogInfo, State, Task, TaskKind};
use meanwhile_api::{OsText, TaskId, Timestamp};

/// The moment at which the tests look: 2026-11-21 10:00:00.
pub(crate) const NOW_MS: i64 = 1_795_255_200_000;

/// The same as a time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_ms(NOW_MS)
}

/// A moment before it.
pub(crate) fn ago(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOW_MS - ms)
}

/// `cargo build`, launched five minutes ago, completed after three.
pub(crate) fn task() -> Task {
    Task {
        id: TaskId::from("7f3kq9x2mn"),
        kind: TaskKind::Command,
        name: None,
        session: "user".to_owned(),
        group: None,
        labels: BTreeMap::new(),
        lane: "commands".to_owned(),
        priority: 0,
        state: State::Completed,
        cause: Some(meanwhile_api::cause::Cause::Exit { code: 0 }),
        exit_code: Some(0),
        signal: None,
        created_at: ago(300_000),
        started_at: Some(ago(299_000)),
        ended_at: Some(ago(107_000)),
        duration_ms: Some(192_000),
        attempt: 1,
        attempts: Vec::new(),
        command: vec![OsText::from("cargo"), OsText::from("build")],
        cwd: OsText::from("/src/app"),
        queue_position: None,
        log: Some(LogInfo {
            path: OsText::from("/home/u/.local/state/meanwhile/tasks/7f3kq9x2mn/1/output.log"),
            bytes: 1_300_000,
            dropped_bytes: 0,
        }),
        progress: None,
        result: None,
        outcome: Some(meanwhile_api::task::Outcome::Success),
        usage: None,
        questions: None,
        ready: None,
        waiting: None,
        stuck: None,
        deadline: None,
        waiting_for: None,
        role: None,
        driver: None,
        model: None,
        autonomy: None,
        enforced_by: None,
        activity: None,
        parent: None,
        children: Vec::new(),
        env_from: Some("caller".to_owned()),
        pid: None,
        supervisor_pid: None,
        leaked: None,
        limits: None,
    }
}

/// The same, running for a minute.
pub(crate) fn running() -> Task {
    Task {
        id: TaskId::from("b2c8hh0vwa"),
        name: Some("dev server".to_owned()),
        state: State::Running,
        cause: None,
        exit_code: None,
        outcome: None,
        started_at: Some(ago(62_000)),
        ended_at: None,
        duration_ms: Some(62_000),
        pid: Some(4_711),
        supervisor_pid: Some(4_710),
        ..task()
    }
}
