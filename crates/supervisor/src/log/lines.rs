//! Pages of lines, forward and backward, without loading the log.
//!
//! A page never spans a gap: who wants more asks again with the page's cursors and sees by the offsets what
//! was dropped in between. Owns the search for line ends. Never interprets or cleans the bytes.

use rustix::io::Errno;

use super::view::{Extent, LogView};

/// A contiguous piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Logical offset of its first byte.
    pub start: u64,
    /// The bytes; the next cursor is [`Page::end`].
    pub bytes: Vec<u8>,
    /// Dropped bytes between the asked offset and this page.
    pub skipped: u64,
}

impl Page {
    /// Logical offset behind its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Bytes looked at at once in a search for line ends.
const CHUNK: usize = 32 * 1024;

impl LogView {
    /// The lines from a cursor on: at most `lines` and at most `max_bytes`. A last line without its end is
    /// included. Empty at the end of the log.
    ///
    /// # Errors
    /// What the file system says.
    pub fn forward(&mut self, from: u64, lines: usize, max_bytes: usize) -> Result<Page, Errno> {
        let mut page = Page { start: from, bytes: Vec::new(), skipped: 0 };
        let mut left = lines;
        let mut chunk = vec![0; CHUNK.min(max_bytes)];
        while left > 0 && page.bytes.len() < max_bytes {
            let most = chunk.len().min(max_bytes - page.bytes.len());
            let (start, read) = self.read_at(page.end(), &mut chunk[..most])?;
            if read == 0 || (start != page.end() && !page.bytes.is_empty()) {
                break;
            }
            page.skipped += start - page.end();
            page.start = if page.bytes.is_empty() { start } else { page.start };
            let mut used = read;
            for (at, _) in chunk[..read].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                left -= 1;
                if left == 0 {
                    used = at + 1;
                    break;
                }
            }
            page.bytes.extend_from_slice(&chunk[..used]);
        }
        Ok(page)
    }

    /// The lines that end before a cursor (`u64::MAX`: the end of the log): at most `lines` and at most
    /// `max_bytes`, a line that is longer is cut at its front. Empty at the start.
    ///
    /// # Errors
    /// What the file system says.
    pub fn backward(&mut self, before: u64, lines: usize, max_bytes: usize) -> Result<Page, Errno> {
        self.refresh()?;
        let Some(run) = self.run_before(before) else {
            return Ok(Page { start: 0, bytes: Vec::new(), skipped: 0 });
        };
        let end = run.end().min(before);
        let floor = run.start.max(end.saturating_sub(max_bytes as u64));
        let start = if lines == 0 { end } else { self.line_start(floor, end, lines)? };
        let mut page =
            Page { start, bytes: Vec::new(), skipped: before.min(self.total_bytes()) - end };
        let mut chunk = vec![0; CHUNK];
        while page.end() < end {
            let most = CHUNK.min(usize::try_from(end - page.end()).unwrap_or(CHUNK));
            let (found, read) = self.read_at(page.end(), &mut chunk[..most])?;
            // The log rotated under us: what is here is what there is.
            if read == 0 || found != page.end() {
                break;
            }
            page.bytes.extend_from_slice(&chunk[..read]);
        }
        Ok(page)
    }

    /// Where the last `lines` lines before `end` start, not below `floor`. A line end right before `end`
    /// closes the last of them.
    fn line_start(&mut self, floor: u64, end: u64, lines: usize) -> Result<u64, Errno> {
        let mut left = lines;
        let mut to = end;
        let mut chunk = vec![0; CHUNK];
        while to > floor {
            let from = floor.max(to.saturating_sub(CHUNK as u64));
            let most = usize::try_from(to - from).expect("a chunk's length");
            let (found, read) = self.read_at(from, &mut chunk[..most])?;
            if found != from || read == 0 {
                return Ok(to);
            }
            if read < most {
                // The rest is in the next file: look at that part first.
                let (found, more) = self.read_at(from + read as u64, &mut chunk[read..most])?;
                if found != from + read as u64 || read + more < most {
                    return Ok(from + read as u64);
                }
            }
            for at in (0..most).rev().filter(|at| chunk[*at] == b'\n') {
                let behind = from + at as u64 + 1;
                if behind == end {
                    continue;
                }
                left -= 1;
                if left == 0 {
                    return Ok(behind);
                }
            }
            to = from;
        }
        Ok(floor)
    }

    /// The contiguous run of extents that holds the last byte before a cursor.
    fn run_before(&self, before: u64) -> Option<Extent> {
        let mut run: Option<Extent> = None;
        for extent in self.extents().filter(|extent| extent.len > 0 && extent.start < before) {
            run = Some(match run {
                Some(run) if run.end() == extent.start => {
                    Extent { start: run.start, len: run.len + extent.len }
                }
                _ => extent,
            });
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::super::layout::Stream;
    use super::super::writer::LogWriter;
    use super::*;

    fn log(home: &tempfile::TempDir, cap: u64) -> (LogWriter, LogView) {
        let dir = || OwnedFd::from(std::fs::File::open(home.path()).unwrap());
        let writer = LogWriter::create(dir(), Stream::Output, cap).unwrap();
        (writer, LogView::open(dir(), Stream::Output).unwrap())
    }

    #[test]
    fn pages_forward_and_backward_cut_at_line_ends() {
        let home = tempfile::tempdir().unwrap();
        let (mut writer, mut view) = log(&home, 1 << 20);
        writer.append(b"one\ntwo\nthree\nfour");
        let page = view.forward(0, 2, 100).unwrap();
        assert_eq!((page.bytes.as_slice(), page.end()), (b"one\ntwo\n".as_slice(), 8));
        assert_eq!(view.forward(8, 9, 100).unwrap().bytes, b"three\nfour");
        assert_eq!(view.forward(18, 9, 100).unwrap().bytes, b"");
        assert_eq!(view.forward(0, 9, 5).unwrap().bytes, b"one\nt");
        let page = view.backward(u64::MAX, 2, 100).unwrap();
        assert_eq!((page.bytes.as_slice(), page.start), (b"three\nfour".as_slice(), 8));
        assert_eq!(view.backward(8, 1, 100).unwrap().bytes, b"two\n");
        assert_eq!(view.backward(8, 9, 100).unwrap().bytes, b"one\ntwo\n");
        assert_eq!(view.backward(0, 9, 100).unwrap().bytes, b"");
        assert_eq!(view.backward(u64::MAX, 9, 3).unwrap().bytes, b"our");
    }

    #[test]
    fn pages_across_files_are_whole_and_pages_stop_at_gaps() {
        let home = tempfile::tempdir().unwrap();
        let (mut writer, mut view) = log(&home, 64 * 1024);
        let mut whole = Vec::new();
        for number in 0..20_000 {
            let line = format!("line {number}\n");
            writer.append(line.as_bytes());
            whole.extend_from_slice(line.as_bytes());
        }
        let tail = view.backward(u64::MAX, 1500, 1 << 20).unwrap();
        let extents: Vec<_> = view.extents().collect();
        assert!(extents.len() == 3 && tail.start < extents[2].start, "must span two segments");
        assert_eq!(tail.bytes, whole[usize::try_from(tail.start).unwrap()..]);
        assert_eq!(tail.bytes.iter().filter(|byte| **byte == b'\n').count(), 1500);
        let head = view.forward(0, usize::MAX, 1 << 20).unwrap();
        assert_eq!(head.end(), 32 * 1024, "the head ends where the gap starts");
        let after = view.forward(head.end(), usize::MAX, 1 << 20).unwrap();
        assert_eq!(after.skipped, view.dropped_bytes());
        assert_eq!(after.end(), whole.len() as u64);
    }
}
