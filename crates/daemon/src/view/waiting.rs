//! Why a task does not run yet, and what changes it.

use meanwhile_api::lanes::{Lane, Paused};
use meanwhile_api::limits::LANE_WAITING_MAX;
use meanwhile_api::task::WaitingFor;
use meanwhile_core::machine::{LaneView, Why};
use meanwhile_core::{LaneName, TaskId};

use super::{time, wire_id};

/// How many tasks the text names; all are in `tasks`.
const NAMED: usize = 5;

/// The `waiting_for` object.
#[must_use]
pub fn waiting_for(why: &Why) -> WaitingFor {
    let plain = |text: String| WaitingFor { text, setting: None, tasks: Vec::new(), until: None };
    match why {
        Why::LaneFull { lane, limit, holders } => WaitingFor {
            text: format!("{} of {limit} in `{lane}`: {}", holders.len(), named(holders)),
            setting: Some(lane_setting(lane)),
            tasks: holders.iter().copied().map(wire_id).collect(),
            until: None,
        },
        Why::Behind { lane, ahead } => WaitingFor {
            setting: Some(lane_setting(lane)),
            ..plain(match ahead {
                1 => format!("1 other comes first in `{lane}`"),
                ahead => format!("{ahead} others come first in `{lane}`"),
            })
        },
        Why::Dependencies { on } => WaitingFor {
            tasks: on.iter().copied().map(wire_id).collect(),
            ..plain(format!("runs after {}", named(on)))
        },
        Why::Until { due, backoff } => WaitingFor {
            until: Some(time(due.wall)),
            ..plain(if *backoff {
                format!("tries again at {}", time(due.wall))
            } else {
                format!("delayed until {}", time(due.wall))
            })
        },
        Why::StartsInFlight { limit } => WaitingFor {
            setting: Some("limits.starts".into()),
            ..plain(format!("{limit} of {limit} starts are in flight"))
        },
        Why::Held { reason } => plain(format!("nothing starts: {reason}")),
        Why::Shortage { of } => plain(format!("{of}; it is tried again")),
    }
}

/// The lane object. `held`: why nothing starts in any lane.
#[must_use]
pub fn lane_object(view: &LaneView, held: Option<&str>) -> Lane {
    let LaneView { lane, limit, holders, lent: _, queued, blocked } = view;
    let count = |tasks: usize| u32::try_from(tasks).unwrap_or(u32::MAX);
    Lane {
        name: lane.to_string(),
        limit: *limit,
        setting: lane_setting(lane),
        running: count(holders.len()),
        queued: count(queued.len()).saturating_add(*blocked),
        holders: holders.iter().copied().map(wire_id).collect(),
        waiting: queued.iter().take(LANE_WAITING_MAX).copied().map(wire_id).collect(),
        paused: held.map(|reason| Paused { until: None, reason: reason.to_owned() }),
    }
}

/// The setting of a lane's limit as it is typed: quoted only where TOML needs it.
#[must_use]
pub fn lane_setting(lane: &LaneName) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !lane.as_str().is_empty() && lane.as_str().bytes().all(bare) {
        format!("lanes.{lane}.limit")
    } else {
        meanwhile_core::Config::lane_setting(lane)
    }
}

fn named(tasks: &[TaskId]) -> String {
    let mut names: Vec<String> = tasks.iter().take(NAMED).map(ToString::to_string).collect();
    if tasks.len() > NAMED {
        names.push(format!("and {} more", tasks.len() - NAMED));
    }
    names.join(", ")
}
