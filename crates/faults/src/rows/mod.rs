//! The rows, one file each or per small family.
//!
//! Owns the order of the table. A row is a `pub(super) const ROW: Row` (or `ROWS`) of its file.

mod cancels;
mod chaos;
mod daemon_killed;
mod daemons;
mod damage;
mod disks;
mod fault_points;
mod held_reader;
mod identity;
mod memory;
mod moments;
mod multiplying;
mod output;
mod pressure;
mod queue;
mod reattach;
mod releases;
mod stuck;
mod supervisors_lost;
mod surroundings;
mod time;
mod trees;

use crate::row::Row;

/// Every file's rows, in the order of the table.
const ALL: &[&[Row]] = &[
    daemon_killed::ROWS,
    moments::ROWS,
    supervisors_lost::ROWS,
    daemons::ROWS,
    memory::ROWS,
    trees::ROWS,
    stuck::ROWS,
    multiplying::ROWS,
    fault_points::ROWS,
    disks::ROWS,
    damage::ROWS,
    output::ROWS,
    pressure::ROWS,
    releases::ROWS,
    surroundings::ROWS,
    held_reader::ROWS,
    identity::ROWS,
    time::ROWS,
    queue::ROWS,
    cancels::ROWS,
    chaos::ROWS,
    reattach::ROWS,
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Row> {
    ALL.iter().flat_map(|rows| rows.iter())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_asked_for_by_a_name_of_its_own() {
        let names: BTreeSet<&str> = all().map(|row| row.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|row| !row.stage.is_empty() && !row.expected.is_empty()));
    }
}
