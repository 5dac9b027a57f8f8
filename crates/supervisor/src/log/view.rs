//! Reading a log by logical offsets, while it grows and rotates.
//!
//! Owns the list of extents and the open files behind them: a segment that the writer has removed meanwhile
//! stays readable through its descriptor until the next [`LogView::refresh`]. Never loads the files.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags};
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
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = match rustix::fs::openat(&self.dir, &name, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if index == 0 => continue,
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(errno),
            };
            let len = u64::try_from(rustix::fs::fstat(&fd)?.st_size).unwrap_or(0);
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
