//! What becomes of a task's output.

use std::fs::File;

use meanwhile_supervisor::log::{LogView, Stream};
use meanwhile_supervisor::wire::{FromSupervisor, ToSupervisor};
use rustix::process::{Pid, Resource, Rlimit};

use crate::rig::{Rig, exit_code, wait_for};

/// A line for each number, of eight bytes each: its place in the log follows from its number.
fn line_at(offset: u64) -> String {
    format!("{:07}\n", offset / 8)
}

fn check_every_byte(view: &mut LogView) -> u64 {
    let mut seen = 0;
    let mut at = 0;
    let mut chunk = vec![0; 4096];
    loop {
        let (start, read) = view.read_at(at, &mut chunk).unwrap();
        if read == 0 {
            return seen;
        }
        for (index, byte) in chunk[..read].iter().enumerate() {
            let offset = start + index as u64;
            let expected = line_at(offset).as_bytes()[usize::try_from(offset % 8).unwrap()];
            assert_eq!(*byte, expected, "at {offset}");
        }
        seen += read as u64;
        at = start + read as u64;
    }
}

#[test]
fn a_flood_is_capped_counted_and_readable_while_it_lasts() {
    const CAP: u64 = 256 * 1024;
    let mut rig = Rig::new();
    let mut spec = rig.spec("seq -f %07.0f 0 499999");
    spec.log_cap = CAP;
    rig.run(&spec);
    let mut view = LogView::open(File::open(rig.dir(1)).unwrap(), Stream::Output).unwrap();
    let mut rounds = 0;
    loop {
        view.refresh().unwrap();
        check_every_byte(&mut view);
        let held: u64 = std::fs::read_dir(rig.dir(1))
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .sum();
        // The owner file, and in the moment of the overflow the copied quarter.
        assert!(held <= CAP + CAP / 4 + 4096, "{held} bytes on disk");
        rounds += 1;
        if rig.owner(1).exit.is_some() {
            break;
        }
    }
    let record = rig.end();
    assert_eq!(exit_code(&record), Some(0));
    assert_eq!(record.log_bytes, 4_000_000);
    view.refresh().unwrap();
    assert_eq!((view.total_bytes(), view.dropped_bytes()), (4_000_000, record.dropped_bytes));
    assert_eq!(check_every_byte(&mut view), 4_000_000 - record.dropped_bytes);
    assert!(record.dropped_bytes >= 4_000_000 - CAP, "after {rounds} readings");
}

#[test]
fn a_log_that_cannot_grow_does_not_hold_the_task_and_goes_on_when_it_can() {
    let mut rig = Rig::new();
    // A limit on the size of files stands for a full disk: writes fail, for root too.
    let supervisor = Pid::from_child(&rig.supervisor);
    let limit = |current| Rlimit { current, maximum: None };
    rustix::process::prlimit(Some(supervisor), Resource::Fsize, limit(Some(8192))).unwrap();
    let spec = rig.spec(
        "seq -f %07.0f 0 49999; touch flooded; while ! test -e go; do sleep 0.01; done; \
         i=50000; while test $i -lt 50100; do printf '%07d\\n' $i; i=$((i+1)); sleep 0.01; done",
    );
    rig.run(&spec);
    wait_for("the flood's end", || rig.path("flooded").exists());
    rustix::process::prlimit(Some(supervisor), Resource::Fsize, limit(None)).unwrap();
    std::fs::write(rig.path("go"), "").unwrap();
    let record = rig.end();
    assert_eq!(exit_code(&record), Some(0));
    assert_eq!(record.log_bytes, 50_100 * 8);
    assert!(record.dropped_bytes > 0);
    let mut view = LogView::open(File::open(rig.dir(1)).unwrap(), Stream::Output).unwrap();
    assert_eq!(view.total_bytes(), record.log_bytes, "the last lines are kept");
    assert_eq!(view.dropped_bytes(), record.dropped_bytes);
    assert_eq!(check_every_byte(&mut view), record.log_bytes - record.dropped_bytes);
}

#[test]
fn one_long_line_and_binary_are_kept_as_they_are() {
    let mut rig = Rig::new();
    let record = rig.run_to_end("head -c 3000000 /dev/zero; printf '\\377\\033'");
    assert_eq!((record.log_bytes, record.dropped_bytes), (3_000_002, 0));
    let log = std::fs::read(rig.dir(1).join("output.log")).unwrap();
    assert!(log[..3_000_000].iter().all(|byte| *byte == 0));
    assert_eq!(log[3_000_000..], [0xff, 0x1b]);
}

#[test]
fn what_a_task_wrote_last_is_told_without_asking() {
    let mut rig = Rig::new();
    let spec = rig.spec("echo one; echo two; while ! test -e go; do sleep 0.01; done");
    rig.run(&spec);
    rig.hear_until(|message| match message {
        FromSupervisor::Progress { log_bytes: 8, dropped_bytes: 0, .. } => Some(()),
        _ => None,
    });
    std::fs::write(rig.path("go"), "").unwrap();
    assert_eq!(rig.end().log_bytes, 8);
}

#[test]
fn a_supervisor_of_many_tasks_holds_no_more_than_of_one() {
    let mut rig = Rig::new();
    let count = |rig: &Rig| {
        let path = format!("/proc/{}/fd", rig.supervisor.id());
        std::fs::read_dir(path).unwrap().count()
    };
    rig.run_to_end("echo 1");
    rig.hear_until(|message| (message == FromSupervisor::Idle).then_some(()));
    let first = count(&rig);
    for _ in 0..30 {
        rig.run_to_end("head -c 200000 /dev/zero & head -c 200000 /dev/zero; wait");
        rig.hear_until(|message| (message == FromSupervisor::Idle).then_some(()));
    }
    assert_eq!(count(&rig), first);
    rig.tell(&ToSupervisor::DaemonStopping);
    rig.wait_gone();
}
