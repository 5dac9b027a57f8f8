//! A task's log: the files as a task may have left them, and the writer against its reader.
//!
//! Files of any name and content are read without harm. What the writer has written is what the
//! reader reads, byte for byte, but for what both say was dropped.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use meanwhile_supervisor::fuzzing::Writer;
use meanwhile_supervisor::log::{LogView, Stream};

use crate::feed::Feed;

/// Bytes that one read or page asks for at most.
const READ_MOST: usize = 128 << 10;

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    let directory = &super::scratch_directory();
    super::empty(directory);
    match feed.choose(2) {
        0 => foreign(&mut feed, directory),
        _ => ours(&mut feed, directory),
    }
}

fn open(path: &Path) -> OwnedFd {
    fs::File::open(path).expect("the scratch directory is there").into()
}

/// Files that no writer of ours has made.
fn foreign(feed: &mut Feed<'_>, directory: &Path) {
    for _ in 0..feed.choose(6) {
        let name = match feed.choose(4) {
            0 => "output.log".to_owned(),
            1 => format!("output.{}", feed.number()),
            2 => format!("output.{}", feed.byte()),
            _ => format!(
                "stdout.{}",
                String::from_utf8_lossy(feed.take(3)).replace(['/', '\0'], "-")
            ),
        };
        let path = directory.join(name);
        match feed.choose(8) {
            0 => drop(fs::create_dir(&path)),
            1 => drop(std::os::unix::fs::symlink("/dev/zero", &path)),
            2 => drop(rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR)),
            3 => {
                // A file of any length that takes no space.
                let len = feed.number() >> 12;
                let made = fs::File::create_new(&path);
                drop(made.and_then(|file| file.set_len(len.min(1 << 40))));
            }
            // Only what is not there yet: opening a FIFO to write would wait for its reader.
            _ if path.symlink_metadata().is_err() => drop(fs::write(&path, feed.piece())),
            _ => {}
        }
    }
    let stream = if feed.byte() & 1 == 0 { Stream::Output } else { Stream::Stdout };
    let Ok(mut view) = LogView::open(open(directory), stream) else { return };
    look(feed, &mut view);
}

fn look(feed: &mut Feed<'_>, view: &mut LogView) {
    let mut buffer = vec![0; READ_MOST];
    for _ in 0..8 {
        assert!(view.dropped_bytes() <= view.total_bytes());
        let mut end = 0;
        for extent in view.extents() {
            assert!(extent.start >= end, "extents are in order and apart");
            end = extent.end();
        }
        let offset = feed.number();
        let lines = usize::try_from(feed.number()).unwrap_or(usize::MAX);
        let max_bytes = usize::from(feed.short());
        match feed.choose(3) {
            0 => {
                if let Ok((found, read)) = view.read_at(offset, &mut buffer[..max_bytes]) {
                    assert!(found >= offset && read <= max_bytes);
                }
            }
            1 => {
                if let Ok(page) = view.forward(offset, lines, max_bytes) {
                    assert!(page.bytes.len() <= max_bytes && page.start >= offset);
                }
            }
            _ => {
                if let Ok(page) = view.backward(offset, lines, max_bytes) {
                    assert!(page.bytes.len() <= max_bytes);
                    assert!(page.bytes.is_empty() || page.end() <= offset);
                }
            }
        }
    }
}

/// Bytes that tell their own offset, with line ends among them.
fn pattern(offset: u64) -> u8 {
    match offset % 251 % 17 {
        0 => b'\n',
        _ => u8::try_from(offset * 31 % 251).expect("below 251"),
    }
}

/// The writer and its reader agree on every byte.
fn ours(feed: &mut Feed<'_>, directory: &Path) {
    let cap = u64::from(feed.short()) * 2;
    let mut writer = Writer::create(open(directory), cap).expect("a log can be made");
    let mut view = LogView::open(open(directory), Stream::Output).expect("a log can be read");
    let mut written = 0_u64;
    for _ in 0..feed.choose(24) {
        let len = u64::from(feed.short());
        let bytes: Vec<u8> = (written..written + len).map(pattern).collect();
        writer.append(&bytes);
        written += len;
        view.refresh().expect("nothing rotates meanwhile");
        assert_eq!((writer.written(), view.total_bytes()), (written, written));
        assert_eq!(view.dropped_bytes(), writer.dropped());
    }
    let mut buffer = vec![0; 1 + usize::from(feed.short())];
    let (mut at, mut seen) = (0, 0);
    loop {
        let (found, read) = view.read_at(at, &mut buffer).expect("the files are there");
        if read == 0 {
            break;
        }
        for (index, byte) in buffer[..read].iter().enumerate() {
            assert_eq!(*byte, pattern(found + index as u64), "at {found} + {index}");
        }
        at = found + read as u64;
        seen += read as u64;
    }
    assert_eq!((at, seen), (written, written - writer.dropped()));
    look(feed, &mut view);
}
