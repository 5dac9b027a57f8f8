//! Writing a log: from the task's pipe to the files, capped, never in the task's way.
//!
//! Bytes go from the pipe to the file inside the kernel (`splice`) where both sides can, else through a buffer.
//! What the files cannot take (full disk) is read and counted, so that the task never waits for space.
//! Owns the files of one stream and the count of what was written and dropped.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use crate::limits::READ_BUFFER;

use super::layout::{Division, SEGMENTS_KEPT, Stream};

/// Name of a segment that is being filled from the head; it gets its real name when it is whole.
const MOVING_NAME: &str = "output.moving";

/// Bytes moved by one splice: a whole pipe of the largest usual size.
const SPLICE_MOST: usize = 1024 * 1024;

/// How long a file that could not be written is left alone.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What came out of one read of the task's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// So many bytes; there may be more.
    Some(u64),
    /// Nothing now.
    Nothing,
    /// Nobody can write any more.
    End,
}

/// The file that grows.
#[derive(Debug)]
struct Growing {
    file: OwnedFd,
    /// Logical offset of its first byte.
    start: u64,
    len: u64,
}

#[derive(Debug)]
enum Place {
    /// The head, not yet cut.
    Head(Growing),
    /// The newest segment.
    Segment(Growing),
    /// The last write failed; so many bytes were dropped since, and a new segment is tried later.
    Failing,
}

/// The writer of one stream.
#[derive(Debug)]
pub(crate) struct LogWriter {
    dir: OwnedFd,
    stream: Stream,
    division: Division,
    place: Place,
    /// Starts of the segments that exist, oldest first.
    segments: Vec<u64>,
    /// Logical end: everything the task wrote.
    written: u64,
    /// What the files hold of it.
    held: u64,
    /// Lengths of the segments in `segments`, to know what their removal drops.
    lengths: Vec<u64>,
    splices: bool,
}

impl LogWriter {
    /// Opens an empty log in an attempt's directory.
    pub(crate) fn create(dir: OwnedFd, stream: Stream, cap: u64) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let file = open(&dir, stream.head_name(), flags)?;
        Ok(Self {
            dir,
            stream,
            division: Division::new(cap),
            place: Place::Head(Growing { file, start: 0, len: 0 }),
            segments: Vec::new(),
            written: 0,
            held: 0,
            lengths: Vec::new(),
            splices: true,
        })
    }

    /// Everything the task wrote.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What the files do not hold of it.
    pub(crate) fn dropped(&self) -> u64 {
        self.written - self.held
    }

    /// Whether writing fails at the moment.
    pub(crate) fn is_failing(&self) -> bool {
        matches!(self.place, Place::Failing)
    }

    /// Lets the next drain try the files again after a failure.
    pub(crate) fn retry(&mut self) {
        if self.is_failing() {
            self.open_segment();
        }
    }

    /// Moves some of what is there from `source` into the log. The buffer is grown only if it is needed: a
    /// supervisor whose task writes to a pipe never has one.
    pub(crate) fn drain(&mut self, source: &OwnedFd, buffer: &mut Vec<u8>) -> Drained {
        if self.splices && !self.is_failing() {
            match self.splice(source, SPLICE_MOST) {
                Ok(0) => return Drained::End,
                Ok(moved) => return Drained::Some(moved),
                Err(Errno::AGAIN) => return Drained::Nothing,
                Err(Errno::INTR) => return Drained::Some(0),
                // A terminal, or a file system without it. What else it may be (a full disk) the plain way
                // finds out and handles.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.splices = false,
                Err(_) => {}
            }
        }
        buffer.resize(READ_BUFFER, 0);
        match rustix::io::read(source, &mut buffer[..]) {
            Ok(0) => Drained::End,
            Ok(read) => {
                self.append(&buffer[..read]);
                Drained::Some(read as u64)
            }
            Err(Errno::AGAIN) => Drained::Nothing,
            Err(Errno::INTR) => Drained::Some(0),
            // EIO is how a terminal says that its other side is closed.
            Err(_) => Drained::End,
        }
    }

    /// Adds bytes that were read already.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.make_room();
            let Some(growing) = self.growing() else {
                self.written += bytes.len() as u64;
                return;
            };
            let part = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            match rustix::io::pwrite(&growing.file, &bytes[..part], growing.len) {
                Ok(count @ 1..) => {
                    self.grew(count as u64);
                    bytes = &bytes[count..];
                }
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => self.fail(),
            }
        }
    }

    fn splice(&mut self, source: &OwnedFd, most: usize) -> Result<u64, Errno> {
        let room = self.make_room();
        let Some(growing) = self.growing() else { return Err(Errno::NOSPC) };
        let mut offset = growing.len;
        let most = most.min(usize::try_from(room).unwrap_or(usize::MAX));
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved =
            rustix::pipe::splice(source, None, &growing.file, Some(&mut offset), most, flags)?;
        self.grew(moved as u64);
        Ok(moved as u64)
    }

    fn growing(&mut self) -> Option<&mut Growing> {
        match &mut self.place {
            Place::Head(growing) | Place::Segment(growing) => Some(growing),
            Place::Failing => None,
        }
    }

    fn grew(&mut self, bytes: u64) {
        let growing = self.growing().expect("only a growing file was written");
        growing.len += bytes;
        if let (Place::Segment(_), Some(length)) = (&self.place, self.lengths.last_mut()) {
            *length += bytes;
        }
        self.written += bytes;
        self.held += bytes;
    }

    /// How much the growing file takes; rotates when it takes no more.
    fn make_room(&mut self) -> u64 {
        let room = match &self.place {
            Place::Head(head) => self.division.cap - head.len,
            Place::Segment(segment) => self.division.segment() - segment.len,
            Place::Failing => return 0,
        };
        if room > 0 {
            return room;
        }
        if matches!(self.place, Place::Head(_)) {
            self.cut_head();
        }
        meanwhile_faultpoint::fault_point!("log.head-cut");
        self.open_segment();
        if self.is_failing() { 0 } else { self.division.segment() }
    }

    /// The overflow: the head's end becomes a segment, its middle is dropped.
    fn cut_head(&mut self) {
        let moved = self.division.moved();
        let Place::Head(head) = &self.place else { return };
        let kept = match self.copy_tail(head) {
            Ok(()) => {
                self.segments.push(moved.start);
                self.lengths.push(moved.end - moved.start);
                moved.end - moved.start
            }
            // The disk is full: the tail is lost, the head stays.
            Err(_) => 0,
        };
        let Place::Head(head) = &self.place else { return };
        meanwhile_faultpoint::fault_point!("log.tail-copied");
        if rustix::fs::ftruncate(&head.file, self.division.head()).is_ok() {
            self.held = self.division.head() + kept;
        }
    }

    /// Readers see the segment only when it is whole, and the head is cut only after that.
    fn copy_tail(&self, head: &Growing) -> Result<(), Errno> {
        let moved = self.division.moved();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let segment = open(&self.dir, MOVING_NAME, flags)?;
        let copied = copy(&head.file, moved.start, &segment, moved.end - moved.start);
        let done = copied.and_then(|()| {
            let name = self.stream.segment_name(moved.start);
            rustix::fs::renameat(&self.dir, MOVING_NAME, &self.dir, name)
        });
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&self.dir, MOVING_NAME, AtFlags::empty());
        }
        done
    }

    /// Starts a segment at the logical end; the oldest makes room first, so that the cap always holds.
    fn open_segment(&mut self) {
        while self.segments.len() >= SEGMENTS_KEPT {
            let oldest = self.segments.remove(0);
            self.held -= self.lengths.remove(0);
            meanwhile_faultpoint::fault_point!("log.before-dropping");
            let name = self.stream.segment_name(oldest);
            let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
        }
        let name = self.stream.segment_name(self.written);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        self.place = match open(&self.dir, &name, flags) {
            Ok(file) => {
                self.segments.push(self.written);
                self.lengths.push(0);
                Place::Segment(Growing { file, start: self.written, len: 0 })
            }
            Err(_) => Place::Failing,
        };
    }

    /// A write failed. An empty segment would only take one of the two places.
    fn fail(&mut self) {
        if let Place::Segment(segment) = &self.place
            && segment.len == 0
        {
            let name = self.stream.segment_name(segment.start);
            let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
            self.segments.pop();
            self.lengths.pop();
        }
        self.place = Place::Failing;
    }
}

fn open(dir: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
}

fn copy(from: &OwnedFd, mut at: u64, to: &OwnedFd, len: u64) -> Result<(), Errno> {
    let end = at + len;
    let mut written = 0;
    let mut chunk = vec![0; READ_BUFFER];
    while at < end {
        let most = chunk.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let read = rustix::io::pread(from, &mut chunk[..most], at)?;
        if read == 0 {
            return Err(Errno::IO);
        }
        let mut part = &chunk[..read];
        while !part.is_empty() {
            let count = rustix::io::pwrite(to, part, written)?;
            if count == 0 {
                return Err(Errno::NOSPC);
            }
            written += count as u64;
            part = &part[count..];
        }
        at += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogView;

    fn directory(home: &tempfile::TempDir) -> OwnedFd {
        std::fs::File::open(home.path()).unwrap().into()
    }

    /// Bytes that tell their own offset.
    fn pattern(from: u64, len: usize) -> Vec<u8> {
        (from..from + len as u64).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    #[test]
    fn every_byte_kept_is_at_its_logical_offset_and_every_dropped_one_is_counted() {
        const CAP: u64 = 64 * 1024;
        let home = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(directory(&home), Stream::Output, CAP).unwrap();
        let mut view = LogView::open(directory(&home), Stream::Output).unwrap();
        for step in 0..400_u64 {
            writer.append(&pattern(step * 777, 777));
            view.refresh().unwrap();
            assert_eq!(view.total_bytes(), writer.written());
            assert_eq!(view.dropped_bytes(), writer.dropped());
            let held: u64 = std::fs::read_dir(home.path())
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .sum();
            assert!(held <= CAP, "{held} bytes on disk over the cap of {CAP}");
        }
        assert!(writer.dropped() > 0, "400 steps must overflow the cap");
        let mut at = 0;
        let mut seen = 0;
        let mut buffer = vec![0; 5000];
        loop {
            let (start, read) = view.read_at(at, &mut buffer).unwrap();
            if read == 0 {
                break;
            }
            assert_eq!(buffer[..read], pattern(start, read), "bytes at {start}");
            at = start + read as u64;
            seen += read as u64;
        }
        assert_eq!((at, seen), (400 * 777, writer.written() - writer.dropped()));
    }

    #[test]
    fn a_log_under_its_cap_is_one_whole_file() {
        let home = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(directory(&home), Stream::Output, 64 * 1024).unwrap();
        writer.append(&pattern(0, 64 * 1024));
        assert_eq!(std::fs::read(home.path().join("output.log")).unwrap(), pattern(0, 64 * 1024));
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_written_drops_counts_and_goes_on_when_space_returns() {
        let home = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(directory(&home), Stream::Output, 64 * 1024).unwrap();
        writer.append(b"before");
        // A read-only descriptor refuses writes as a full disk does.
        let read_only = open(&writer.dir, "output.log", OFlags::RDONLY).unwrap();
        writer.place = Place::Head(Growing { file: read_only, start: 0, len: 6 });
        writer.append(b"lost");
        assert!(writer.is_failing());
        assert_eq!((writer.written(), writer.dropped()), (10, 4));
        writer.retry();
        writer.append(b"after");
        assert_eq!((writer.written(), writer.dropped()), (15, 4));
        let mut view = LogView::open(directory(&home), Stream::Output).unwrap();
        assert_eq!((view.total_bytes(), view.dropped_bytes()), (15, 4));
        let mut buffer = [0; 16];
        assert_eq!(view.read_at(6, &mut buffer).unwrap(), (10, 5), "the gap is stepped over");
        assert_eq!(&buffer[..5], b"after");
    }
}
