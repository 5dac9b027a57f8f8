//! Reading a log by logical offsets, while it grows and rotates.
//!
//! Owns the list of extents and the open files behind them: a segment that the writer has removed meanwhile
//! stays readable through its descriptor until the next [`LogView::refresh`]. Never loads the files.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::layout::Stream;

/// A run of bytes that the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Logical offset of its first byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

impl Extent {
    /// Logical offset behind its last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.start + self.len
    }
}

#[derive(Debug)]
struct File {
    fd: OwnedFd,
    extent: Extent,
}

/// A log open for reading.
#[derive(Debug)]
pub struct LogView {
    dir: OwnedFd,
    stream: Stream,
    files: Vec<File>,
}

/// How a file of a log is opened. The directory is the task's to reach: what it may have put there, a
/// FIFO among them, must not hold up whoever reads.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// How often a listing is repeated that a rotation has overtaken. The writer needs a quarter of the cap of
/// new bytes for each, so the second almost always fits.
const LISTINGS: u32 = 5;

impl LogView {
    /// Opens the log of a stream in an attempt's directory. A log that was never written is empty.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(dir: impl AsFd, stream: Stream) -> Result<Self, Errno> {
        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 3)?;
        let mut view = Self { dir, stream, files: Vec::new() };
        view.refresh()?;
        Ok(view)
    }

    /// Looks at the files again.
    ///
    /// # Errors
    /// What the file system says.
    pub fn refresh(&mut self) -> Result<(), Errno> {
        for _ in 0..LISTINGS {
            if let Some(files) = self.list()? {
                self.files = files;
                return Ok(());
            }
        }
        Err(Errno::AGAIN)
    }

    /// What the log holds, in order, without overlap. Extents that touch are separate files.
    pub fn extents(&self) -> impl DoubleEndedIterator<Item = Extent> {
        self.files.iter().map(|file| file.extent)
    }

    /// Everything the task wrote, as far as the files tell: the end of the last extent.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.last().map_or(0, |file| file.extent.end())
    }

    /// Bytes below the end that the log does not hold.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        self.total_bytes() - self.extents().map(|extent| extent.len).sum::<u64>()
    }

    /// Reads at a logical offset. Returns where the bytes were found (behind `offset` when it lies in a gap)
    /// and how many; zero at the end. Bytes written since the last refresh are found too.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(u64, usize), Errno> {
        match self.read_known(offset, buffer)? {
            Some(found) => Ok(found),
            None => {
                // Past what we know, or a file was cut under us: look again, once.
                self.refresh()?;
                Ok(self.read_known(offset, buffer)?.unwrap_or((offset, 0)))
            }
        }
    }

    fn read_known(&self, offset: u64, buffer: &mut [u8]) -> Result<Option<(u64, usize)>, Errno> {
        let Some(file) = self.files.iter().find(|file| file.extent.end() > offset) else {
            return Ok(None);
        };
        let start = offset.max(file.extent.start);
        let within = start - file.extent.start;
        // Not beyond the extent: what a file holds behind it belongs to the next one by now.
        let most = usize::try_from(file.extent.len - within).unwrap_or(usize::MAX);
        let most = buffer.len().min(most);
        loop {
            match rustix::io::pread(&file.fd, &mut buffer[..most], within) {
                Ok(0) => return Ok(None),
                Ok(read) => return Ok(Some((start, read))),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// One listing; `None` when a file vanished or the head was cut between two looks at it.
    fn list(&self) -> Result<Option<Vec<File>>, Errno> {
        let mut starts = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str() {
                starts.extend(self.stream.segment_start(name));
            }
        }
        starts.sort_unstable();
        let mut files = Vec::new();
        let mut names: Vec<(u64, String)> =
            starts.into_iter().map(|start| (start, self.stream.segment_name(start))).collect();
        names.insert(0, (0, self.stream.head_name().to_owned()));
        for (index, (start, name)) in names.into_iter().enumerate() {
            let fd = match rustix::fs::openat(&self.dir, &name, READ, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if index == 0 => continue,
                Err(Errno::NOENT) => return Ok(None),
                // A link: none of ours.
                Err(Errno::LOOP) => continue,
                Err(errno) => return Err(errno),
            };
            let stat = rustix::fs::fstat(&fd)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            let len = u64::try_from(stat.st_size).unwrap_or(0);
            files.push(File { fd, extent: Extent { start, len } });
        }
        clip(&mut files);
        Ok(Some(files))
    }
}

/// In the moment of an overflow the head and the first segment hold the same bytes: the later file wins, and
/// the head's dropped middle shows for that moment.
fn clip(files: &mut [File]) {
    for index in 1..files.len() {
        let next = files[index].extent.start;
        let extent = &mut files[index - 1].extent;
        extent.len = extent.len.min(next.saturating_sub(extent.start));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn view(home: &tempfile::TempDir) -> LogView {
        LogView::open(fs::File::open(home.path()).unwrap(), Stream::Output).unwrap()
    }

    #[test]
    fn what_is_no_file_of_ours_neither_blocks_nor_hides_the_log() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("output.log"), "text").unwrap();
        let fifo = home.path().join("output.7");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        std::os::unix::fs::symlink("/dev/zero", home.path().join("output.8")).unwrap();
        fs::create_dir(home.path().join("output.9")).unwrap();
        let view = view(&home);
        assert_eq!((view.total_bytes(), view.dropped_bytes()), (4, 0));
    }

    #[test]
    fn a_segment_at_an_offset_that_no_log_reaches_is_none() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("output.log"), "text").unwrap();
        fs::write(home.path().join(format!("output.{}", u64::MAX)), "more").unwrap();
        let mut view = view(&home);
        assert_eq!(view.total_bytes(), 4);
        assert_eq!(view.forward(u64::MAX, 1, 10).unwrap().bytes, b"");
    }
}
