//! Who is at the other end of a unix socket: credentials and pidfd.
//!
//! Owns two socket options. `SO_PEERCRED` is read here and not through rustix, whose pid cannot be
//! the 0 that the kernel gives for a process outside of our pid namespace. Never interprets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What the kernel recorded when the socket was connected. `pid` is 0 for a process that our pid
/// namespace does not have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Reads the credentials.
///
/// # Errors
/// When it is not a connected unix socket.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut raw = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    // SAFETY: `ucred` is plain integers, and what the option writes.
    unsafe { get(socket, libc::SO_PEERCRED, &mut raw)? };
    Ok(Credentials { pid: raw.pid, uid: raw.uid, gid: raw.gid })
}

/// Asks for the pidfd (Linux 6.5); `None` where there is no such option or the peer was reaped.
pub(crate) fn pidfd(socket: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut fd: RawFd = -1;
    // SAFETY: the option writes one integer.
    unsafe { get(socket, libc::SO_PEERPIDFD, &mut fd).ok()? };
    if fd < 0 {
        return None;
    }
    // SAFETY: the kernel made the descriptor for this call, so nobody else has it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// Every byte pattern must be a valid `T`, and `T` what the option writes.
unsafe fn get<T>(socket: BorrowedFd<'_>, option: i32, value: &mut T) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).expect("a few bytes");
    let place = std::ptr::from_mut(value).cast();
    // SAFETY: the kernel writes at most `length` bytes to `place`, which is that large.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, place, &raw mut length)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
