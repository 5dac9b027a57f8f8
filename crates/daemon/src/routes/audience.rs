//! The terminal of a launch, kept with the task: where its bell rings.
//!
//! Owns the text form among a task's options.

use meanwhile_core::spec::TaskSpec;
use meanwhile_host::proc::Identity;
use meanwhile_host::terminal;
use meanwhile_routes::Terminal;

/// Under which name a launch keeps it.
pub const OPTION: &str = "terminal";

/// The terminal that somebody sits at who calls from this process.
#[must_use]
pub fn of_caller(pid: u32) -> Option<(String, String)> {
    let terminal::Terminal { device, leader } = terminal::of(pid)?;
    let text = format!("{device}:{}:{}", leader.pid, leader.start_time);
    Some((OPTION.to_owned(), text))
}

/// The terminal that a task was launched from.
#[must_use]
pub fn of_task(spec: &TaskSpec) -> Option<Terminal> {
    let (_, text) = spec.extra.iter().find(|(name, _)| name == OPTION)?;
    let mut parts = text.split(':');
    let terminal = Terminal {
        device: parts.next()?.parse().ok()?,
        leader: parts.next()?.parse().ok()?,
        leader_start: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(terminal)
}

/// The terminal of this process, for a trial.
#[must_use]
pub fn own() -> Option<Terminal> {
    let terminal::Terminal { device, leader } = terminal::of(std::process::id())?;
    Some(Terminal { device, leader: leader.pid, leader_start: leader.start_time })
}

/// Whether it is still that of the same session of processes.
pub(super) fn is_same(terminal: &Terminal) -> bool {
    let leader = Identity { pid: terminal.leader, start_time: terminal.leader_start };
    terminal::is_same(&terminal::Terminal { device: terminal.device, leader })
}
