//! Pages of a task's output.
//!
//! Owns what `head`, `tail`, `grep`, `since`, `max_bytes` and `raw` mean. Reads the log in steps of
//! 64 KiB at most, so that whoever drives it can do other things in between, and keeps one page in
//! memory, never the log.

pub mod text;

use meanwhile_api::output::{Gap, OutputQuery, OutputReply};
use meanwhile_api::redact::Prints;
use meanwhile_api::task::State as WireState;
use meanwhile_api::{ApiError, ErrorCode, OsText, limits};
use meanwhile_supervisor::log::{LogView, Stream};
use regex::bytes::{Regex, RegexBuilder};
use rustix::fd::AsFd;
use rustix::io::Errno;

use text::Cleaner;

/// Bytes read from the log in one step.
const STEP: usize = 64 << 10;
/// A line beyond this is searched in pieces.
const LINE_MAX: usize = 64 << 10;
/// Bytes one page looks through for matches, so that a page is answered before its client gives up.
const SEARCHED_MAX: u64 = 256 << 20;
/// The longest unfinished control sequence that a page leaves to the next; a longer one is no sequence.
const SEQUENCE_MAX: usize = 4 << 10;
/// The longest pattern: its parts are in memory before the size of the whole is known, and a class of
/// three characters (`\pL`) is some kilobytes there.
const PATTERN_LENGTH: usize = 4 << 10;
/// Memory a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// What is asked, checked.
#[derive(Clone, Debug)]
pub struct PageRequest {
    lines: Lines,
    grep: Option<Regex>,
    since: Option<u64>,
    max_bytes: usize,
    raw: bool,
    /// Whether secrets are masked on it, and once the attempt is known, which.
    redacts: bool,
    hidden: Prints,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    All,
    First(u64),
    Last(u64),
}

/// What the store knows of the attempt.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFacts {
    /// Its number.
    pub attempt: u32,
    /// Its state.
    pub state: WireState,
    /// It has ended: its log does not grow any more.
    pub ended: bool,
    /// Everything it wrote and how much of it is gone, once its supervisor has said so.
    pub figures: Option<(u64, u64)>,
}

impl PageRequest {
    /// Checks a query.
    ///
    /// # Errors
    /// A pattern that is none, contradicting options, a stream that is not kept apart.
    pub fn new(query: &OutputQuery) -> Result<Self, ApiError> {
        // Who is shown the page decides about secrets; a query can only ask for less.
        let OutputQuery {
            attempt: _,
            head,
            tail,
            grep,
            since,
            max_bytes,
            stream,
            raw,
            follow: _,
            redact: _,
        } = query;
        check_stream(stream.as_deref())?;
        let lines = match (head, tail) {
            (None, None) => Lines::All,
            (Some(n), None) => Lines::First(*n),
            (None, Some(n)) => Lines::Last(*n),
            (Some(_), Some(_)) => {
                return Err(ApiError::new(
                    ErrorCode::Usage,
                    "both the first and the last lines are asked for",
                )
                .hint("give either --head or --tail"));
            }
        };
        let max_bytes = max_bytes.unwrap_or(limits::OUTPUT_PAGE_MAX).min(limits::OUTPUT_PAGE_MAX);
        Ok(Self {
            lines,
            grep: grep.as_deref().map(pattern).transpose()?,
            since: *since,
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            raw: *raw,
            redacts: false,
            hidden: Prints::default(),
        })
    }
}

impl PageRequest {
    /// Whether secrets are to be masked on it.
    #[must_use]
    pub fn redacting(self, redacts: bool) -> Self {
        Self { redacts, ..self }
    }

    /// As that says.
    #[must_use]
    pub const fn redacts(&self) -> bool {
        self.redacts
    }

    /// The same page with this masked: before anything is searched, so that a pattern cannot find it out.
    #[must_use]
    pub fn hiding(self, hidden: Prints) -> Self {
        Self { hidden, ..self }
    }

    /// The cursor asked for.
    #[must_use]
    pub const fn since(&self) -> Option<u64> {
        self.since
    }
}

/// A regular expression of a caller.
///
/// # Errors
/// [`ErrorCode::Usage`], with what is wrong with it.
pub fn pattern(text: &str) -> Result<Regex, ApiError> {
    if text.len() > PATTERN_LENGTH {
        let message = format!("pattern has {} bytes, more than {PATTERN_LENGTH}", text.len());
        return Err(ApiError::new(ErrorCode::Usage, message)
            .hint("look for a part that is common to all the lines"));
    }
    RegexBuilder::new(text).size_limit(PATTERN_BYTES).build().map_err(|error| {
        let problem = error.to_string();
        let problem = problem.lines().last().unwrap_or("it is not valid").trim();
        let problem = problem.strip_prefix("error: ").unwrap_or(problem);
        ApiError::new(ErrorCode::Usage, format!("`{text}` is not a regular expression: {problem}"))
            .hint("plain characters stand for themselves; write \\. for a dot, \\( for a bracket")
    })
}

fn check_stream(stream: Option<&str>) -> Result<(), ApiError> {
    match stream {
        None => Ok(()),
        Some(name @ ("stdout" | "stderr")) => Err(ApiError::new(
            ErrorCode::Unsupported,
            format!("{name} of a command is not kept apart: both streams share its log"),
        )
        .hint("leave out --stream, or redirect one of them in the command")),
        Some(other) => {
            Err(ApiError::new(ErrorCode::Usage, format!("no stream is called `{other}`"))
                .hint("streams are stdout and stderr"))
        }
    }
}

/// A line that was found and is on the page for now.
#[derive(Debug)]
struct Kept {
    /// Bytes of it on the page.
    len: usize,
    /// It has more that do not fit on any page of this size.
    is_cut: bool,
}

/// Builds one page, step by step.
#[derive(Debug)]
pub struct Pager {
    view: LogView,
    request: PageRequest,
    ended: bool,
    /// The next byte to read.
    at: u64,
    /// Where the next page starts.
    next: u64,
    left: Option<u64>,
    page: Vec<u8>,
    gaps: Vec<Gap>,
    cleaner: Cleaner,
    /// The first bytes of a character whose rest has not been read.
    carry: Vec<u8>,
    /// Searching: the line that is being collected, and where it started.
    line: Vec<u8>,
    searched: u64,
    /// Searching for the last lines: those in `page`.
    kept: std::collections::VecDeque<Kept>,
    /// Bytes at the front of `page` that belong to it no longer.
    left_behind: usize,
    truncated: bool,
}

impl Pager {
    /// Opens the log of an attempt's directory.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(directory: impl AsFd, request: PageRequest, ended: bool) -> Result<Self, Errno> {
        let mut view = LogView::open(directory, Stream::Output)?;
        let mut at = request.since.unwrap_or(0).min(view.total_bytes());
        let searching = request.grep.is_some();
        if let (Lines::Last(lines), false) = (request.lines, searching) {
            let lines = usize::try_from(lines).unwrap_or(usize::MAX);
            at = at.max(view.backward(u64::MAX, lines, request.max_bytes)?.start);
            if lines == 0 {
                at = view.total_bytes();
            }
        }
        let left = match request.lines {
            Lines::First(lines) => Some(lines),
            Lines::All | Lines::Last(_) => None,
        };
        Ok(Self {
            view,
            request,
            ended,
            at,
            next: at,
            left,
            page: Vec::new(),
            gaps: Vec::new(),
            cleaner: Cleaner::default(),
            carry: Vec::new(),
            line: Vec::new(),
            searched: 0,
            kept: std::collections::VecDeque::new(),
            left_behind: 0,
            truncated: false,
        })
    }

    /// Does one step; true when the page is complete.
    ///
    /// # Errors
    /// What the file system says.
    pub fn step(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Errno> {
        buffer.resize(STEP, 0);
        if self.left == Some(0) {
            return Ok(true);
        }
        let (found, read) = self.view.read_at(self.at, buffer)?;
        if read == 0 {
            self.finish();
            return Ok(true);
        }
        if found > self.at {
            self.pass_gap(found);
        }
        if !self.request.hidden.is_empty() {
            self.hide(found, &mut buffer[..read])?;
        }
        let bytes = &buffer[..read];
        let complete = match self.request.grep.clone() {
            None => self.copy(bytes),
            Some(grep) => self.search(&grep, bytes),
        };
        Ok(complete)
    }

    /// Masks what must not be shown in bytes that were read at a place. What stands around them is looked at, too: a
    /// page ends anywhere.
    fn hide(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let around = self.request.hidden.longest().saturating_sub(1);
        let mut window = self.before(at, around)?;
        let start = window.len();
        window.extend_from_slice(bytes);
        let goes_on = self.after(at + bytes.len() as u64, around, &mut window)?;
        if self.request.hidden.mask(&mut window, goes_on) {
            bytes.copy_from_slice(&window[start..start + bytes.len()]);
        }
        Ok(())
    }

    /// At most so many bytes that end at a place, without a gap in them.
    fn before(&mut self, end: u64, most: usize) -> Result<Vec<u8>, Errno> {
        let mut at = end.saturating_sub(most as u64);
        let mut bytes = Vec::new();
        let mut buffer = vec![0; most];
        while at < end {
            let (found, read) = self.view.read_at(at, &mut buffer)?;
            if found > at {
                bytes.clear();
            }
            let read = read.min(usize::try_from(end.saturating_sub(found)).unwrap_or(usize::MAX));
            if read == 0 {
                break;
            }
            bytes.extend_from_slice(&buffer[..read]);
            at = found + read as u64;
        }
        Ok(bytes)
    }

    /// Appends at most so many bytes that begin at a place, without a gap in them; whether more may come there one day.
    fn after(&mut self, begin: u64, most: usize, bytes: &mut Vec<u8>) -> Result<bool, Errno> {
        let (mut at, mut left) = (begin, most);
        let mut buffer = vec![0; most];
        while left > 0 {
            let (found, read) = self.view.read_at(at, &mut buffer[..left])?;
            if read == 0 {
                return Ok(!self.ended);
            }
            if found > at {
                return Ok(false);
            }
            bytes.extend_from_slice(&buffer[..read]);
            (at, left) = (at + read as u64, left - read);
        }
        Ok(true)
    }

    /// The rest of the page in one go, for callers that have nothing else to do.
    ///
    /// # Errors
    /// What the file system says.
    pub fn run(&mut self) -> Result<(), Errno> {
        let mut buffer = Vec::new();
        while !self.step(&mut buffer)? {}
        Ok(())
    }

    /// The answer.
    #[must_use]
    pub fn reply(mut self, facts: AttemptFacts) -> OutputReply {
        self.truncated |= self.kept.iter().any(|line| line.is_cut);
        self.page.drain(..self.left_behind);
        let seen = (self.view.total_bytes(), self.view.dropped_bytes());
        let (bytes, dropped_bytes) = facts.figures.filter(|f| f.0 >= seen.0).unwrap_or(seen);
        OutputReply {
            text: OsText::from(self.page),
            next_cursor: self.next,
            bytes,
            dropped_bytes,
            gaps: self.gaps,
            truncated: self.truncated,
            attempt: facts.attempt,
            state: facts.state,
            ended: facts.ended && self.next >= seen.0,
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> bool {
        let bytes = &bytes[..self.within_lines(bytes)];
        let room = self.request.max_bytes;
        let full = if self.request.raw {
            let used = bytes.len().min(room - self.page.len().min(room));
            self.page.extend_from_slice(&bytes[..used]);
            self.at += used as u64;
            self.next = self.at;
            used < bytes.len()
        } else {
            self.copy_text(bytes)
        };
        self.truncated |= full;
        if let Some(left) = &mut self.left {
            *left -= count_lines(bytes).min(*left);
        }
        full || self.left == Some(0)
    }

    /// Takes bytes as text; true when there is no room for all of it.
    fn copy_text(&mut self, bytes: &[u8]) -> bool {
        let start = self.at - self.carry.len() as u64;
        let joined = [std::mem::take(&mut self.carry).as_slice(), bytes].concat();
        let done = self.cleaner.clean(&joined, false, self.request.max_bytes, &mut self.page);
        self.next = start + done.used as u64 - self.held_back();
        if !done.full {
            self.carry.extend_from_slice(&joined[done.used..]);
            self.at = start + joined.len() as u64;
        }
        done.full
    }

    /// The text ends here for now: what is unfinished is taken as it is.
    fn end_text(&mut self) {
        let rest = std::mem::take(&mut self.carry);
        let done = self.cleaner.clean(&rest, true, self.request.max_bytes, &mut self.page);
        self.truncated |= done.full;
        let start = self.at - rest.len() as u64;
        self.next = if done.full { start + done.used as u64 - self.held_back() } else { self.at };
        self.cleaner = Cleaner::default();
    }

    fn held_back(&self) -> u64 {
        let unfinished = self.cleaner.unfinished();
        if unfinished > SEQUENCE_MAX { 0 } else { unfinished as u64 }
    }

    /// How many of the bytes belong to the lines that are still wanted.
    fn within_lines(&self, bytes: &[u8]) -> usize {
        let Some(left) = self.left else { return bytes.len() };
        let nth = usize::try_from(left.saturating_sub(1)).unwrap_or(usize::MAX);
        let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        ends.nth(nth).map_or(bytes.len(), |(at, _)| at + 1)
    }

    fn search(&mut self, grep: &Regex, bytes: &[u8]) -> bool {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            self.at += piece.len() as u64;
            self.searched += piece.len() as u64;
            let whole = piece.ends_with(b"\n");
            if !whole && self.line.len() < LINE_MAX {
                continue;
            }
            if self.take_line(grep) {
                return true;
            }
        }
        if self.searched >= SEARCHED_MAX {
            self.truncated = true;
            return true;
        }
        false
    }

    /// Looks at a line; true when the page is complete.
    fn take_line(&mut self, grep: &Regex) -> bool {
        let line = std::mem::take(&mut self.line);
        let shown = if self.request.raw { line.clone() } else { text::clean(&line).into_bytes() };
        let content = shown.strip_suffix(b"\n").unwrap_or(&shown);
        if !grep.is_match(content) {
            self.next = self.at;
            return false;
        }
        let fits = self.page.len() + shown.len() <= self.request.max_bytes;
        // Cut between characters, so that the text stays valid.
        let most = shown.len().min(self.request.max_bytes);
        let most = (0..=most).rev().find(|at| is_boundary(&shown, *at)).unwrap_or(0);
        if let Lines::Last(lines) = self.request.lines {
            self.page.extend_from_slice(&shown[..most]);
            self.kept.push_back(Kept { len: most, is_cut: most < shown.len() });
            self.next = self.at;
            self.drop_first_lines(usize::try_from(lines).unwrap_or(usize::MAX));
            return false;
        }
        if !fits && !self.page.is_empty() {
            // It is the first of the next page.
            self.truncated = true;
            return true;
        }
        self.truncated |= most < shown.len();
        self.page.extend_from_slice(&shown[..most]);
        self.next = self.at;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.left == Some(0) || self.truncated
    }

    /// Keeps only the last matches, and of them as many as fit.
    fn drop_first_lines(&mut self, lines: usize) {
        let mut cut = 0;
        // Lines of which nothing fits are not kept without end.
        let most = lines.min(self.request.max_bytes.max(1));
        while self.kept.len() > most
            || (self.page.len() - self.left_behind - cut > self.request.max_bytes
                && self.kept.len() > 1)
        {
            self.truncated |= self.kept.len() <= lines;
            cut += self.kept.pop_front().map_or(0, |line| line.len);
        }
        self.left_behind += cut;
        for gap in &mut self.gaps {
            gap.at = gap.at.saturating_sub(cut as u64);
        }
        // Moved only when no more stays than goes: a page of a million lines must not move for each.
        if self.left_behind >= self.page.len() - self.left_behind {
            self.page.drain(..self.left_behind);
            self.left_behind = 0;
        }
    }

    fn pass_gap(&mut self, found: u64) {
        let before = self.at;
        if self.request.grep.is_some() {
            // A line that was cut by the gap ends there.
            if let (false, Some(grep)) = (self.line.is_empty(), self.request.grep.clone()) {
                self.take_line(&grep);
            }
        } else if !self.request.raw {
            self.end_text();
        }
        let at = (self.page.len() - self.left_behind) as u64;
        self.gaps.push(Gap { at, from: before, to: found });
        self.at = found;
        self.next = found;
    }

    /// Nothing more to read. Of an attempt that has ended, what is unfinished is taken as it is.
    fn finish(&mut self) {
        if !self.ended {
            return;
        }
        if let (false, Some(grep)) = (self.line.is_empty(), self.request.grep.clone()) {
            self.take_line(&grep);
            return;
        }
        if !self.request.raw && self.request.grep.is_none() {
            self.end_text();
        }
    }
}

fn is_boundary(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80)
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests;
