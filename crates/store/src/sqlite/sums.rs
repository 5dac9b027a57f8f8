//! A checksum in every page of the database file, so that a bit that changed on disk is found when it is read.
//!
//! SQLite checks the frames of its write-ahead log and nothing else: a flipped bit in a page can change a fact or hide
//! a task without a word. This is a thin layer over SQLite's own way to the file system. It hands everything through,
//! but the pages of the main file: the last [`RESERVED`] bytes of each, which SQLite leaves alone by its own setting,
//! hold a CRC-32 of the page and its number, made when the page goes to the file and compared when it comes from there.
//!
//! Owns: the layer, its registration, what it says of a bad page. Never changes what SQLite reads, and never keeps a
//! page back that it cannot vouch for without an error. A database without the reserved bytes is used as it is.

#![expect(unsafe_code, reason = "SQLite's way to the file system is a table of C functions")]

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::mem::size_of;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::{fs, slice};

use rusqlite::{Connection, ffi};

/// By this name a connection asks for the layer.
pub(super) const VFS: &CStr = c"meanwhile";
/// Bytes at the end of each page that are not SQLite's: the checksum and four zeros.
const RESERVED: u8 = 8;
/// Bytes of a page.
#[expect(clippy::cast_possible_truncation, reason = "4096")]
const PAGE: usize = super::PAGE as usize;
/// Bytes of a page that the checksum is about.
const COVERED: usize = PAGE - RESERVED as usize;
/// Where a database's header says how many bytes are reserved.
const RESERVED_AT: usize = 20;
/// What the first page begins with.
const HEADER: &[u8] = b"SQLite format 3\0";

thread_local! {
    /// The page that was found bad last, for the message.
    static BAD: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes the layer known to SQLite; again is fine.
pub(super) fn register() -> Result<(), rusqlite::Error> {
    static DONE: OnceLock<c_int> = OnceLock::new();
    match *DONE.get_or_init(register_once) {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

/// Has a database that this connection makes, by `VACUUM INTO` too, leave room for checksums.
pub(super) fn reserve(db: &Connection) -> Result<(), rusqlite::Error> {
    let mut bytes = c_int::from(RESERVED);
    // SAFETY: the handle is open for as long as `db` is borrowed, and the operation takes a pointer to an int.
    let code = unsafe {
        ffi::sqlite3_file_control(
            db.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            (&raw mut bytes).cast(),
        )
    };
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

/// What is wrong with the page that this thread found bad last, told once.
pub(super) fn complaint() -> Option<String> {
    let number = BAD.take()?;
    Some(format!(
        "page {number} does not hold what Meanwhile wrote to it (its checksum is wrong): it is damaged, or another \
         program changed it"
    ))
}

/// Whether the pages of a database file have checksums; `None` if it cannot be read.
pub(super) fn are_in(path: &Path) -> Option<bool> {
    let mut first = [0; PAGE];
    fs::File::open(path).and_then(|file| file.read_exact_at(&mut first, 0)).ok()?;
    Some(has_sums(&first))
}

/// Makes the checksums of all whole pages anew.
pub(super) fn put_into(file: &mut [u8]) {
    for (number, page) in (1..).zip(file.as_chunks_mut::<PAGE>().0) {
        put(number, page);
    }
}

fn put(number: u64, page: &mut [u8; PAGE]) {
    let sum = sum(number, page);
    page[COVERED..].fill(0);
    page[COVERED..COVERED + 4].copy_from_slice(&sum.to_le_bytes());
}

/// A file of ours: SQLite's own follows right behind it in the same memory.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    sums: bool,
}

/// SQLite's own way to the file system.
struct Original(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's list of these lives as long as the process, and they are made to be used by any thread.
unsafe impl Send for Original {}
// SAFETY: as above; this module only reads what is behind the pointer.
unsafe impl Sync for Original {}

static ORIGINAL: OnceLock<Original> = OnceLock::new();

fn register_once() -> c_int {
    // SAFETY: with no name it answers the default one, or null.
    let original = unsafe { ffi::sqlite3_vfs_find(null()) };
    if original.is_null() {
        return ffi::SQLITE_ERROR;
    }
    ORIGINAL.get_or_init(|| Original(original));
    let own = c_int::try_from(size_of::<File>()).expect("a few words");
    // SAFETY: not null, and never freed.
    let mut vfs = unsafe { *original };
    vfs.szOsFile += own;
    vfs.pNext = null_mut();
    vfs.zName = VFS.as_ptr();
    // All the others do not look at which one they are called for, or only at what is copied here.
    vfs.xOpen = Some(open);
    // SAFETY: SQLite keeps it for as long as the process lives, and so does a leaked box.
    unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // The second: shared memory for the write-ahead log, no memory-mapped pages.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// # Safety
/// SQLite calls it with `szOsFile` bytes of memory at `file`.
unsafe extern "C" fn open(
    _own: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    told: *mut c_int,
) -> c_int {
    let Some(Original(vfs)) = ORIGINAL.get() else { return ffi::SQLITE_ERROR };
    // SAFETY: it is the default one, never freed, and has this method.
    let Some(open) = (unsafe { (**vfs).xOpen }) else { return ffi::SQLITE_ERROR };
    if flags & ffi::SQLITE_OPEN_MAIN_DB == 0 {
        // SAFETY: handed through; the memory is larger than the original asks for.
        return unsafe { open(*vfs, name, file, flags, told) };
    }
    let ours = file.cast::<File>();
    // SAFETY: the memory is ours to fill, and the original's part lies right behind.
    unsafe {
        ours.write(File { base: ffi::sqlite3_file { pMethods: null() }, sums: false });
        let theirs = original(file);
        (*theirs).pMethods = null();
        let code = open(*vfs, name, theirs, flags, told);
        if !(*theirs).pMethods.is_null() {
            (*ours).base.pMethods = &raw const METHODS;
        }
        if code == ffi::SQLITE_OK {
            (*ours).sums = begins_with_sums(theirs);
        }
        code
    }
}

/// Whether the file that was just opened has checksums: one that is empty will have them.
///
/// # Safety
/// `file` is an open file of SQLite's own.
unsafe fn begins_with_sums(file: *mut ffi::sqlite3_file) -> bool {
    let mut size: ffi::sqlite3_int64 = 0;
    let mut first = [0_u8; PAGE];
    let amount = c_int::try_from(PAGE).expect("4096");
    // SAFETY: the file is open, so its methods are there, and the buffer is as large as is said.
    unsafe {
        let methods = (*file).pMethods;
        let told = (*methods).xFileSize.map(|f| f(file, &raw mut size));
        if told == Some(ffi::SQLITE_OK) && size == 0 {
            return true;
        }
        let read = (*methods).xRead.map(|f| f(file, first.as_mut_ptr().cast(), amount, 0));
        read == Some(ffi::SQLITE_OK) && has_sums(&first)
    }
}

/// What the first page says, or, where the byte that says it was changed, what its checksum says.
fn has_sums(first: &[u8; PAGE]) -> bool {
    if !first.starts_with(HEADER) {
        return false;
    }
    let mut as_made = *first;
    as_made[RESERVED_AT] = RESERVED;
    first[RESERVED_AT] == RESERVED || stored(first) == sum(1, &as_made)
}

/// The checksum of a page with its number, so that a page that was written to another place is found, too.
fn sum(number: u64, page: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&page[..COVERED]);
    hasher.finalize()
}

fn stored(page: &[u8]) -> u32 {
    let bytes = page[COVERED..COVERED + 4].try_into().expect("four bytes");
    u32::from_le_bytes(bytes)
}

/// The number of the page that a transfer of that many bytes at that place is about, counted from 1.
fn page_number(amount: c_int, offset: ffi::sqlite3_int64) -> Option<u64> {
    let whole = usize::try_from(amount) == Ok(PAGE);
    let offset = u64::try_from(offset).ok()?;
    (whole && offset.is_multiple_of(super::PAGE)).then(|| offset / super::PAGE + 1)
}

/// # Safety
/// As SQLite calls it: `file` is ours and open, `to` has room for `amount` bytes.
unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: handed through.
    let code = unsafe {
        method(file, |m| m.xRead).map_or(ffi::SQLITE_IOERR, |(f, o)| f(o, to, amount, offset))
    };
    // SAFETY: the file is ours.
    let sums = unsafe { (*file.cast::<File>()).sums };
    let (ffi::SQLITE_OK, true, Some(number)) = (code, sums, page_number(amount, offset)) else {
        return code;
    };
    // SAFETY: that many bytes were just read to there.
    let page = unsafe { slice::from_raw_parts(to.cast::<u8>(), PAGE) };
    // A page that SQLite gave up before it was ever written is a hole in the file.
    if stored(page) == sum(number, page) || page.iter().all(|byte| *byte == 0) {
        return code;
    }
    BAD.set(Some(number));
    ffi::SQLITE_IOERR_DATA
}

/// # Safety
/// As SQLite calls it: `file` is ours and open, `from` has `amount` bytes.
unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is ours, and its own behind it is open.
    let Some((write, theirs)) = (unsafe { method(file, |m| m.xWrite) }) else {
        return ffi::SQLITE_IOERR;
    };
    // SAFETY: the file is ours.
    let sums = unsafe { (*file.cast::<File>()).sums };
    let Some(number) = page_number(amount, offset).filter(|_| sums) else {
        // SAFETY: handed through.
        return unsafe { write(theirs, from, amount, offset) };
    };
    let mut page = [0; PAGE];
    // SAFETY: the caller has that many bytes there.
    page.copy_from_slice(unsafe { slice::from_raw_parts(from.cast::<u8>(), PAGE) });
    if number == 1 && page[RESERVED_AT] != RESERVED {
        // Its pages would have no room for what is written to their ends.
        return ffi::SQLITE_IOERR_DATA;
    }
    put(number, &mut page);
    // SAFETY: the buffer is as large as is said.
    unsafe { write(theirs, page.as_ptr().cast(), amount, offset) }
}

/// SQLite's own file behind ours.
///
/// # Safety
/// `file` is one that `open` above filled.
unsafe fn original(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: the memory is `szOsFile` bytes, of which the original's are the ones behind ours.
    unsafe { file.cast::<File>().add(1).cast() }
}

/// A method of SQLite's own file, and that file.
///
/// # Safety
/// `file` is one that `open` above filled, and it is open.
unsafe fn method<F>(
    file: *mut ffi::sqlite3_file,
    which: impl FnOnce(&ffi::sqlite3_io_methods) -> Option<F>,
) -> Option<(F, *mut ffi::sqlite3_file)> {
    // SAFETY: an open file has its methods.
    unsafe {
        let theirs = original(file);
        which(&*(*theirs).pMethods).map(|method| (method, theirs))
    }
}

/// Methods that hand through: name, SQLite's name, arguments, what is answered where there is none.
macro_rules! handed_through {
    ($($name:ident = $method:ident ( $($arg:ident : $type:ty),* ) -> $answer:ty, $absent:expr;)*) => {$(
        /// # Safety
        /// As SQLite calls it: `file` is ours and open.
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file, $($arg: $type),*) -> $answer {
            // SAFETY: handed through with the same arguments.
            unsafe { method(file, |m| m.$method).map_or($absent, |(f, theirs)| f(theirs, $($arg),*)) }
        }
    )*};
}

handed_through! {
    close = xClose() -> c_int, ffi::SQLITE_OK;
    truncate = xTruncate(size: ffi::sqlite3_int64) -> c_int, ffi::SQLITE_IOERR;
    sync = xSync(flags: c_int) -> c_int, ffi::SQLITE_IOERR;
    file_size = xFileSize(size: *mut ffi::sqlite3_int64) -> c_int, ffi::SQLITE_IOERR;
    lock = xLock(level: c_int) -> c_int, ffi::SQLITE_IOERR;
    unlock = xUnlock(level: c_int) -> c_int, ffi::SQLITE_IOERR;
    check_reserved_lock = xCheckReservedLock(held: *mut c_int) -> c_int, ffi::SQLITE_IOERR;
    file_control = xFileControl(op: c_int, with: *mut c_void) -> c_int, ffi::SQLITE_NOTFOUND;
    sector_size = xSectorSize() -> c_int, 0;
    device_characteristics = xDeviceCharacteristics() -> c_int, 0;
    shm_map = xShmMap(region: c_int, bytes: c_int, extend: c_int, to: *mut *mut c_void) -> c_int, ffi::SQLITE_IOERR;
    shm_lock = xShmLock(offset: c_int, n: c_int, flags: c_int) -> c_int, ffi::SQLITE_IOERR;
    shm_barrier = xShmBarrier() -> (), ();
    shm_unmap = xShmUnmap(delete: c_int) -> c_int, ffi::SQLITE_OK;
}
