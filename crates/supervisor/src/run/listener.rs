//! The supervisor's listening socket in the run directory.
//!
//! It is bound through a directory descriptor, because the home's path may be longer than a socket address
//! holds, and removed when the supervisor leaves. Owns the socket's file. Never speaks.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections the kernel holds for us: a new daemon and a few clients that want one.
const BACKLOG: i32 = 16;

/// The listening socket and its name.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    dir: OwnedFd,
    name: Vec<u8>,
}

impl Listener {
    /// Binds `name` in `dir`; a dead socket of that name is replaced.
    pub(super) fn bind(dir: &OwnedFd, name: &[u8]) -> Result<Self, Errno> {
        if name.is_empty() || name.contains(&b'/') {
            return Err(Errno::INVAL);
        }
        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 3)?;
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // The inode takes the socket's own mode, so there is no instant at which others may connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        // Names are random: one that exists is left from a supervisor that was killed.
        let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Self { socket, dir, name: name.to_vec() })
    }

    /// The next connection of our own user; others are closed unheard.
    pub(super) fn accept(&self) -> Option<OwnedFd> {
        loop {
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(peer) => {
                    let ours = rustix::process::geteuid();
                    if rustix::net::sockopt::socket_peercred(&peer).is_ok_and(|c| c.uid == ours) {
                        return Some(peer);
                    }
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(&self.dir, self.name.as_slice(), AtFlags::empty());
    }
}
