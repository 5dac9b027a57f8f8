//! The `owner` file: whatever is in it, it is read, and each damaged part is absent.
//!
//! The input is the file. A file of ours with a few bytes changed is made, too, so that the checks
//! behind the checksum are reached.

use std::os::unix::fs::FileExt;

use meanwhile_supervisor::fuzzing;
use meanwhile_supervisor::owner::{Owner, OwnerView};
use meanwhile_supervisor::wire::{Frame, FromSupervisor};

use crate::feed::Feed;

/// The largest file that is tried: the real one has 4096 bytes.
const LARGEST: usize = 16 << 10;
/// `FromSupervisor::Ended`, whose body is an exit record.
const ENDED: u16 = 105;

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    match feed.choose(3) {
        0 => any_file(feed.rest()),
        1 => written(feed),
        _ => sealed(feed),
    }
}

fn any_file(bytes: &[u8]) {
    let view = read(&bytes[..bytes.len().min(LARGEST)]);
    // Nothing of it is claimed beyond what fits into the page.
    let names = view.header.map_or(0, |header| header.socket_name.len());
    assert!(names <= 4096);
}

/// An exit record that can be decoded can be written, and is read as it was written.
fn written(feed: Feed<'_>) {
    let frame = Frame { kind: ENDED, body: feed.rest().to_vec() };
    let Ok(Some(FromSupervisor::Ended(record))) = FromSupervisor::from_frame(&frame) else {
        return;
    };
    let bytes = fuzzing::owner_with_exit(&record);
    let read = read(&bytes).exit.expect("a record of ours is read");
    assert_eq!(fuzzing::owner_with_exit(&read), bytes, "it stays as it was written");
    assert_eq!(
        (read.token, read.wait_status, read.tree),
        (record.token, record.wait_status, record.tree)
    );
}

/// Parts with a right checksum over any bytes.
fn sealed(mut feed: Feed<'_>) {
    let mut page = vec![0; 4096];
    while !feed.is_empty() {
        let part = feed.choose(5);
        let len = usize::from(feed.short()) % 1400;
        fuzzing::seal_owner_part(&mut page, part, feed.take(len));
    }
    let _whatever_it_says = read(&page);
}

fn read(bytes: &[u8]) -> OwnerView {
    let directory = &super::scratch_directory();
    let path = directory.join("owner");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .expect("the scratch file can be made");
    file.write_all_at(bytes, 0).expect("the scratch file can be written");
    let directory = std::fs::File::open(directory).expect("the scratch directory is there");
    Owner::open(&directory)
        .and_then(|owner| owner.read())
        .expect("a file is read whatever is in it")
}
