//! Row 14: the product killed at every place of a test build, at every pass.

use std::time::Instant;

use crate::points;
use crate::tally::Count;
use crate::{Modes, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[Row {
    number: 14,
    name: "fault-points",
    title: "kill -9 at every boundary of accept, start, end, hand-over, log and deletion, at every pass",
    expected: "nothing lost, nothing doubled, true ends, no survivors, seats back to 0 after each kill",
    modes: Modes::Once,
    slow: true,
    stage: "a test build (cargo feature `fault-points`) in which a process kills itself at its k-th pass of a \
            place; a story of a few seconds is told once per place and k",
    run: every_place,
}];

fn every_place(stage: &mut Stage) -> Seen {
    let Some(binary) = points::binary() else {
        return Seen::not_here(
            "there is no build with fault points: `cargo xtask points` makes one",
        );
    };
    let plain = std::fs::read(meanwhile_testkit::TestHome::new().binary()).unwrap_or_default();
    let named =
        plain.windows(points::VARIABLE.len()).any(|part| part == points::VARIABLE.as_bytes());
    stage.demand(!named && !plain.is_empty(), "the program that users have can be told to die");
    let scratch = tempfile::tempdir().expect("a temporary directory can be made").keep();
    let began = Instant::now();
    let covered = points::cover(&binary, &scratch, "");
    stage.count(Count::DaemonKills, covered.daemons);
    stage.count(Count::SupervisorKills, covered.supervisors);
    for complaint in &covered.complaints {
        stage.complain(complaint);
    }
    Seen::pass(points::words(&covered, began))
}
