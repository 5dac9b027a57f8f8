//! The `owner` file: one page per attempt that says who owns it, whether it started and how it ended.
//!
//! ```text
//!   0     header   who: token, boot, namespace, supervisor, cgroup      written by the daemon, locked
//!   1024  started  the clocks, before the fork                          written by the supervisor
//!   1152  main     pid and start time of the main process               after it
//!   1280  exit     the record at the main process's end (tree pending)
//!   2688  exit     the record once the tree is empty (or kept)
//! ```
//!
//! Each part has a length and a checksum and a place of its own: writing one cannot tear another, and a part
//! that does not check is absent. The file has its full size from the start, so no write of it can fail for
//! want of space. Nothing here calls fsync: the daemon's next commit makes an end durable, and a power cut in
//! between reads as `interrupted`.
//!
//! A claim makes the whole page, header included, before the file has its name, or writes it over in one call. So
//! whoever finds a file of another length, or without a header, finds a damaged one: it may have said that the
//! attempt started, and must never be read as one that did not.
//!
//! The lock (`flock`) is the fence: it belongs to the open description that travels in the start message.
//! Owns: the layout, the lock. Never: decides what a state of the file means.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::exit::ExitRecord;
use crate::limits::{CGROUP_PATH_MAX, OWNER_LEN};
use crate::wire::Token;

/// The file's name inside the attempt's directory.
pub const OWNER_NAME: &str = "owner";

/// Its name until it is whole. One that stays belongs to a claim that was never made.
const NEW_NAME: &str = "owner.new";

/// The page as memory counts.
const LEN: usize = OWNER_LEN as usize;

/// Who owns an attempt. Written by the daemon when it claims the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerHeader {
    /// The attempt's secret name.
    pub token: Token,
    /// The boot (see [`crate::process::boot_id`]).
    pub boot_id: [u8; 16],
    /// The pid namespace in which the numbers below mean something.
    pub pid_namespace: u64,
    /// The supervisor.
    pub pid: u32,
    /// Its start time, clock ticks since boot.
    pub start_time: u64,
    /// The cgroup directory made for the task.
    pub cgroup: Option<Vec<u8>>,
    /// The supervisor's protocol.
    pub protocol: u16,
    /// The name of its socket in the run directory.
    pub socket_name: Vec<u8>,
}

/// The mark a supervisor sets before it forks. From here on the task may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartedMark {
    /// Wall clock, milliseconds since 1970.
    pub wall_ms: u64,
    /// Time since boot, suspends included, milliseconds.
    pub boottime_ms: u64,
}

/// The main process, known after the fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MainProcess {
    /// Its process id.
    pub pid: u32,
    /// Its start time, clock ticks since boot.
    pub start_time: u64,
}

/// Everything an owner file says. A part that is missing or damaged is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerView {
    /// Who owns the attempt.
    pub header: Option<OwnerHeader>,
    /// Whether it started.
    pub started: Option<StartedMark>,
    /// Its main process.
    pub main: Option<MainProcess>,
    /// How it ended: the final record, else the one written at the main process's end.
    pub exit: Option<ExitRecord>,
    /// It is not as a claim or a supervisor leaves it, so that it may have said that the attempt started: its length is
    /// another one (then no part of it is believed), or the header or the mark does not check.
    pub damaged: bool,
}

/// Whether a lock was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// It is ours until this file is closed: no supervisor owns the attempt.
    Taken,
    /// Somebody holds it: a live supervisor, or a start in flight to one.
    Held,
}

/// An open owner file.
#[derive(Debug)]
pub struct Owner {
    file: OwnedFd,
}

/// One part's place.
#[derive(Clone, Copy)]
struct Slot {
    offset: u64,
    len: usize,
    magic: u32,
}

const HEADER: Slot = Slot { offset: 0, len: 1024, magic: 0x3157_4d48 };
const STARTED: Slot = Slot { offset: 1024, len: 128, magic: 0x3157_4d53 };
const MAIN: Slot = Slot { offset: 1152, len: 128, magic: 0x3157_4d50 };
const EXIT_PENDING: Slot = Slot { offset: 1280, len: 1408, magic: 0x3157_4d45 };
const EXIT_FINAL: Slot = Slot { offset: 2688, len: 1408, magic: 0x3157_4d46 };

/// Magic, length and checksum before a part's bytes.
const PREFIX: usize = 16;

/// How many parts there are.
pub(crate) const PARTS: usize = 5;

impl Owner {
    /// Claims an attempt: makes the file in its directory (or takes over one whose attempt never started),
    /// locks it and writes the header.
    ///
    /// # Errors
    /// `AGAIN` when somebody holds the lock, `EXIST` when the attempt has started (or may have: the file that is there
    /// is damaged), `NAMETOOLONG` for a cgroup path beyond [`CGROUP_PATH_MAX`], and what the file system says.
    pub fn create(dir: impl AsFd, header: &OwnerHeader) -> Result<Self, Errno> {
        if header.cgroup.as_ref().is_some_and(|path| path.len() > CGROUP_PATH_MAX)
            || header.socket_name.len() > 128
        {
            return Err(Errno::NAMETOOLONG);
        }
        let mut out = Encoder::new();
        header.encode(&mut out);
        let mut page = HEADER.seal(&out.finish());
        page.resize(LEN, 0);
        match Self::open(&dir) {
            Err(Errno::NOENT) => Self::make(&dir, &page),
            Ok(owner) => owner.take_over(&page),
            Err(errno) => Err(errno),
        }
    }

    /// The file appears whole and locked. Only the daemon claims, and there is one: nobody is overtaken.
    fn make(dir: impl AsFd, page: &[u8]) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, NEW_NAME, flags, Mode::RUSR | Mode::WUSR)?;
        let owner = Self { file };
        if owner.try_lock()? == Lock::Held {
            return Err(Errno::AGAIN);
        }
        // Written out rather than reserved: of delayed allocation, too, the space is taken by now.
        write_all(&owner.file, 0, page)?;
        meanwhile_faultpoint::fault_point!("owner.before-its-name");
        rustix::fs::renameat(&dir, NEW_NAME, &dir, OWNER_NAME)?;
        Ok(owner)
    }

    fn take_over(self, page: &[u8]) -> Result<Self, Errno> {
        if self.try_lock()? == Lock::Held {
            return Err(Errno::AGAIN);
        }
        let view = self.read()?;
        if view.damaged || view.started.is_some() {
            return Err(Errno::EXIST);
        }
        write_all(&self.file, 0, page)?;
        Ok(self)
    }

    /// Opens the file of an attempt, for recovery.
    ///
    /// # Errors
    /// What the file system says; `NOENT` means that the attempt was never claimed.
    pub fn open(dir: impl AsFd) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { file: rustix::fs::openat(dir, OWNER_NAME, flags, Mode::empty())? })
    }

    /// Tries to take the lock, which is then held until this file is closed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn try_lock(&self) -> Result<Lock, Errno> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock::Taken),
            Err(Errno::AGAIN) => Ok(Lock::Held),
            Err(errno) => Err(errno),
        }
    }

    /// Reads all parts.
    ///
    /// # Errors
    /// What the file system says. Damage is not an error: the part is absent.
    pub fn read(&self) -> Result<OwnerView, Errno> {
        // One byte more than there must be.
        let mut page = [0; LEN + 1];
        let mut len = 0;
        while len < page.len() {
            match rustix::io::pread(&self.file, &mut page[len..], len as u64) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if len != LEN {
            return Ok(OwnerView::UNREADABLE);
        }
        let exit = |slot| part(&page, slot).and_then(|mut d| ExitRecord::decode(&mut d).ok());
        let header = part(&page, HEADER).and_then(|mut d| OwnerHeader::decode(&mut d).ok());
        let started = part(&page, STARTED).and_then(|mut d| StartedMark::decode(&mut d).ok());
        let unmarked = page[STARTED.range()].iter().all(|byte| *byte == 0);
        Ok(OwnerView {
            damaged: header.is_none() || (started.is_none() && !unmarked),
            header,
            started,
            main: part(&page, MAIN).and_then(|mut d| MainProcess::decode(&mut d).ok()),
            exit: exit(EXIT_FINAL).or_else(|| exit(EXIT_PENDING)),
        })
    }

    /// The descriptor, lock and all: what a start message carries.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.file
    }

    pub(crate) fn from_fd(file: OwnedFd) -> Self {
        Self { file }
    }

    pub(crate) fn write_started(&self, mark: StartedMark) -> Result<(), Errno> {
        let mut out = Encoder::new();
        out.u64(mark.wall_ms).u64(mark.boottime_ms);
        self.write(STARTED, &out.finish())
    }

    /// Takes the mark back: nothing of the attempt has existed.
    pub(crate) fn clear_started(&self) -> Result<(), Errno> {
        write_all(&self.file, STARTED.offset, &[0; STARTED.len])
    }

    pub(crate) fn write_main(&self, main: MainProcess) -> Result<(), Errno> {
        let mut out = Encoder::new();
        out.u32(main.pid).u64(main.start_time);
        self.write(MAIN, &out.finish())
    }

    /// The record at the main process's end, before its leftovers are gone.
    pub(crate) fn write_exit_pending(&self, record: &ExitRecord) -> Result<(), Errno> {
        self.write_exit(EXIT_PENDING, record)
    }

    /// The record that stays.
    pub(crate) fn write_exit_final(&self, record: &ExitRecord) -> Result<(), Errno> {
        self.write_exit(EXIT_FINAL, record)
    }

    fn write_exit(&self, slot: Slot, record: &ExitRecord) -> Result<(), Errno> {
        let mut out = Encoder::new();
        record.encode(&mut out);
        self.write(slot, &out.finish())
    }

    fn write(&self, slot: Slot, body: &[u8]) -> Result<(), Errno> {
        write_all(&self.file, slot.offset, &slot.seal(body))
    }
}

impl OwnerView {
    /// What a file of another length says.
    const UNREADABLE: Self =
        Self { header: None, started: None, main: None, exit: None, damaged: true };
}

impl Slot {
    /// Where it lies in the page.
    fn range(self) -> std::ops::Range<usize> {
        let start = usize::try_from(self.offset).expect("within a page");
        start..start + self.len
    }

    /// A part's bytes with what marks them as whole.
    fn seal(self, body: &[u8]) -> Vec<u8> {
        assert!(body.len() + PREFIX <= self.len, "every part's size is bounded by its slot");
        let mut out = Encoder::new();
        let len = u32::try_from(body.len()).expect("slots are far below 4 GiB");
        out.u32(self.magic).u32(len).u64(checksum(self.magic, body)).raw(body);
        out.finish()
    }
}

/// For the fuzzer: where the part of this number lies, and its bytes.
pub(crate) fn sealed(part: usize, body: &[u8]) -> (usize, Vec<u8>) {
    let slots: [Slot; PARTS] = [HEADER, STARTED, MAIN, EXIT_PENDING, EXIT_FINAL];
    let body = &body[..body.len().min(slots[part].len - PREFIX)];
    (slots[part].range().start, slots[part].seal(body))
}

impl AsFd for Owner {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl OwnerHeader {
    fn encode(&self, out: &mut Encoder) {
        let Self { token, boot_id, pid_namespace, pid, start_time, cgroup, protocol, socket_name } =
            self;
        out.raw(&token.0).raw(boot_id).u64(*pid_namespace).u32(*pid).u64(*start_time);
        out.option(cgroup.as_ref(), |out, path| {
            out.bytes(path);
        });
        out.u16(*protocol).bytes(socket_name);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            token: Token(input.array("token")?),
            boot_id: input.array("boot id")?,
            pid_namespace: input.u64("pid namespace")?,
            pid: input.u32("pid")?,
            start_time: input.u64("start time")?,
            cgroup: input.option("cgroup", |d| d.vec("cgroup"))?,
            protocol: input.u16("protocol")?,
            socket_name: input.vec("socket name")?,
        })
    }
}

impl StartedMark {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { wall_ms: input.u64("wall clock")?, boottime_ms: input.u64("boot time")? })
    }
}

impl MainProcess {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { pid: input.u32("pid")?, start_time: input.u64("start time")? })
    }
}

fn part(page: &[u8], slot: Slot) -> Option<Decoder<'_>> {
    let bytes = page.get(slot.range())?;
    let mut prefix = Decoder::new(bytes);
    let magic = prefix.u32("magic").ok()?;
    let len = prefix.u32("length").ok()? as usize;
    let sum = prefix.u64("checksum").ok()?;
    let body = prefix.raw(len, "part").ok()?;
    (magic == slot.magic && sum == checksum(magic, body)).then(|| Decoder::new(body))
}

/// FNV-1a, 64 bits: it finds torn and stale bytes, which is all that is asked of it.
fn checksum(magic: u32, body: &[u8]) -> u64 {
    let seed = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(magic);
    body.iter().fold(seed, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn write_all(file: &OwnedFd, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::pwrite(file, &bytes[written..], offset + written as u64) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::exit::{EndWhy, Leaked, LeakedProcess, SpawnError, SpawnStage, TreeState, Usage};
    use crate::limits::{LEAKED_NAMED, WHAT_MAX};

    fn header(cgroup: usize) -> OwnerHeader {
        OwnerHeader {
            token: Token([3; 16]),
            boot_id: [4; 16],
            pid_namespace: 5,
            pid: 6,
            start_time: 7,
            cgroup: Some(vec![b'c'; cgroup]),
            protocol: 8,
            socket_name: vec![b's'; 128],
        }
    }

    /// The largest record there can be.
    fn record(tree: TreeState) -> ExitRecord {
        let named = LeakedProcess { pid: u32::MAX, comm: "fifteen bytes15".into() };
        ExitRecord {
            token: Token([3; 16]),
            wait_status: Some(9),
            spawn_error: Some(SpawnError {
                errno: 1,
                stage: SpawnStage::Exec,
                what: "w".repeat(WHAT_MAX),
            }),
            why: EndWhy::Exited,
            tree,
            run_ms: 1,
            started_wall_ms: 2,
            ended_wall_ms: 3,
            usage: Usage::default(),
            log_bytes: 4,
            dropped_bytes: 5,
            leaked: Leaked { count: 99, named: vec![named; LEAKED_NAMED] },
        }
    }

    fn attempt() -> (tempfile::TempDir, File, Owner) {
        let home = tempfile::tempdir().unwrap();
        let dir = File::open(home.path()).unwrap();
        let owner = Owner::create(&dir, &header(CGROUP_PATH_MAX)).unwrap();
        (home, dir, owner)
    }

    #[test]
    fn what_was_written_is_read_and_the_file_never_changes_its_size() {
        let (home, dir, owner) = attempt();
        let path = home.path().join(OWNER_NAME);
        let view = Owner::open(&dir).unwrap().read().unwrap();
        assert_eq!(view.header, Some(header(CGROUP_PATH_MAX)));
        assert_eq!((view.started, view.main, view.exit), (None, None, None));
        let mark = StartedMark { wall_ms: 1, boottime_ms: 2 };
        owner.write_started(mark).unwrap();
        owner.write_main(MainProcess { pid: 3, start_time: 4 }).unwrap();
        owner.write_exit_pending(&record(TreeState::Pending)).unwrap();
        assert_eq!(owner.read().unwrap().exit, Some(record(TreeState::Pending)));
        owner.write_exit_final(&record(TreeState::Empty)).unwrap();
        let view = owner.read().unwrap();
        assert_eq!((view.started, view.exit), (Some(mark), Some(record(TreeState::Empty))));
        assert_eq!(std::fs::metadata(path).unwrap().len(), OWNER_LEN);
    }

    #[test]
    fn a_damaged_part_is_absent_and_takes_no_other_with_it() {
        let (home, _dir, owner) = attempt();
        owner.write_started(StartedMark { wall_ms: 1, boottime_ms: 2 }).unwrap();
        owner.write_exit_pending(&record(TreeState::Pending)).unwrap();
        owner.write_exit_final(&record(TreeState::Empty)).unwrap();
        let path = home.path().join(OWNER_NAME);
        let file = File::options().read(true).write(true).open(path).unwrap();
        let flip = |offset: u64| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
        };
        flip(EXIT_FINAL.offset + 40);
        let view = owner.read().unwrap();
        assert_eq!(view.exit, Some(record(TreeState::Pending)), "the earlier record stands in");
        flip(EXIT_PENDING.offset + 40);
        let view = owner.read().unwrap();
        assert_eq!(view.exit, None);
        assert!(view.header.is_some() && view.started.is_some());
    }

    #[test]
    fn a_file_of_another_length_is_damaged_whatever_it_says_and_cannot_be_claimed() {
        let lengths = [0, 1, OWNER_LEN / 2, OWNER_LEN - 1, OWNER_LEN, OWNER_LEN + 1, OWNER_LEN * 2];
        for len in lengths {
            let (home, dir, owner) = attempt();
            let path = home.path().join(OWNER_NAME);
            File::options().write(true).open(path).unwrap().set_len(len).unwrap();
            let view = owner.read().unwrap();
            drop(owner);
            let claim = Owner::create(&dir, &header(0)).map(|owner| owner.read().unwrap().damaged);
            if len == OWNER_LEN {
                assert_eq!(view.header, Some(header(CGROUP_PATH_MAX)));
                assert!(!view.damaged);
                assert_eq!(claim, Ok(false));
            } else {
                assert_eq!(view, OwnerView::UNREADABLE, "of {len} bytes");
                assert_eq!(claim, Err(Errno::EXIST), "of {len} bytes");
            }
        }
    }

    #[test]
    fn a_header_or_a_mark_that_does_not_check_is_not_one_that_was_never_written() {
        for slot in [HEADER, STARTED] {
            for at in [0, 4, 8, 16] {
                let (_home, dir, owner) = attempt();
                owner.write_started(StartedMark { wall_ms: 1, boottime_ms: 2 }).unwrap();
                let whole = owner.read().unwrap();
                let mut byte = [0];
                rustix::io::pread(&owner.file, &mut byte, slot.offset + at).unwrap();
                write_all(&owner.file, slot.offset + at, &[byte[0] ^ 1]).unwrap();
                let view = owner.read().unwrap();
                assert!(!whole.damaged && view.damaged, "{} + {at}", slot.offset);
                drop(owner);
                assert_eq!(Owner::create(&dir, &header(0)).unwrap_err(), Errno::EXIST);
            }
        }
    }

    #[test]
    fn a_start_that_was_taken_back_can_be_claimed_and_so_can_a_claim_that_was_never_made() {
        let (home, dir, owner) = attempt();
        owner.write_started(StartedMark { wall_ms: 1, boottime_ms: 2 }).unwrap();
        owner.clear_started().unwrap();
        drop(owner);
        assert!(Owner::create(&dir, &header(0)).is_ok());
        std::fs::rename(home.path().join(OWNER_NAME), home.path().join(NEW_NAME)).unwrap();
        assert_eq!(Owner::open(&dir).unwrap_err(), Errno::NOENT, "it was never claimed");
        assert!(!Owner::create(&dir, &header(1)).unwrap().read().unwrap().damaged);
        assert!(!home.path().join(NEW_NAME).exists());
    }

    #[test]
    fn a_claim_is_refused_while_locked_and_after_the_start_and_repeats_before_it() {
        let (_home, dir, owner) = attempt();
        assert_eq!(Owner::create(&dir, &header(0)).unwrap_err(), Errno::AGAIN);
        drop(owner);
        let owner = Owner::create(&dir, &header(1)).unwrap();
        assert_eq!(owner.read().unwrap().header, Some(header(1)));
        owner.write_started(StartedMark { wall_ms: 1, boottime_ms: 2 }).unwrap();
        drop(owner);
        assert_eq!(Owner::create(&dir, &header(1)).unwrap_err(), Errno::EXIST);
        let too_long = Owner::create(&dir, &header(CGROUP_PATH_MAX + 1));
        assert_eq!(too_long.unwrap_err(), Errno::NAMETOOLONG);
    }
}
