//! The store in memory fails when it is told to, and as it is told to.

use meanwhile_core::{LaneName, RequestId};
use meanwhile_store::{
    Batch, LaneCheck, MemoryFault, MemoryStore, SavedReply, Store as _, StoreError,
};
use meanwhile_testkit::conformance::home_identity;

/// Commits the `n`th reply; says whether it was acknowledged.
fn save(store: &mut MemoryStore, n: u32) -> Result<(), StoreError> {
    let request = RequestId::new(format!("r-{n}"));
    let replies = [SavedReply { request: &request, reply: b"told" }];
    store.commit(&Batch { replies: &replies, ..Batch::default() }).map(drop)
}

fn kept(store: &mut MemoryStore, n: u32) -> bool {
    store.reply(&RequestId::new(format!("r-{n}"))).expect("it reads").is_some()
}

fn is_io(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Io { .. }))
}

#[test]
fn a_commit_fails_once_and_the_next_one_works_when_the_disk_was_full() {
    let mut store = MemoryStore::new(home_identity());
    store.fail_next_commit(MemoryFault::Full);
    assert!(matches!(save(&mut store, 1), Err(StoreError::Full { .. })));
    assert!(!kept(&mut store, 1));
    assert_eq!(save(&mut store, 1), Ok(()));
    assert!(kept(&mut store, 1));
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_it_is_reopened() {
    for (fault, expected) in [(MemoryFault::IoLost, false), (MemoryFault::IoKept, true)] {
        let mut store = MemoryStore::new(home_identity());
        store.fail_next_commit(fault);
        assert!(is_io(&save(&mut store, 1)));
        assert!(is_io(&save(&mut store, 2)), "the handle is not trusted any more");
        store.reopen().expect("it opens");
        assert_eq!([kept(&mut store, 1), kept(&mut store, 2)], [expected, false], "{fault:?}");
        assert_eq!(save(&mut store, 2), Ok(()));
    }
}

#[test]
fn a_crash_point_keeps_exactly_the_commits_before_it() {
    let mut store = MemoryStore::new(home_identity());
    let mut other = store.clone();
    store.crash_after(2);
    assert_eq!([save(&mut store, 1), save(&mut other, 2)], [Ok(()), Ok(())]);
    assert!(is_io(&save(&mut store, 3)) && is_io(&save(&mut other, 4)));
    drop(store);
    other.reopen().expect("it opens");
    assert_eq!([1, 2, 3, 4].map(|n| kept(&mut other, n)), [true, true, false, false]);
    assert_eq!(save(&mut other, 3), Ok(()));
}

#[test]
fn a_copy_goes_its_own_way() {
    let mut store = MemoryStore::new(home_identity());
    save(&mut store, 1).expect("it commits");
    let mut copy = store.copy();
    save(&mut copy, 2).expect("it commits");
    let lane = LaneName::new("l");
    let lanes = [LaneCheck { lane: lane.clone(), epoch: 0 }];
    copy.commit(&Batch { lanes: &lanes, ..Batch::default() }).expect("it commits");
    assert!(kept(&mut copy, 1) && !kept(&mut store, 2));
    assert_eq!((store.lane_epoch(&lane), copy.lane_epoch(&lane)), (Ok(0), Ok(1)));
}
