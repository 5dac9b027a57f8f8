//! A directory that is ours alone, held open, with everything in it reached through the descriptor.
//!
//! Owns: the rules for what may be a private directory (a real directory, of our uid, writable by
//! nobody else) and the ways to make files and sockets below it: 0600 from creation, no symlink
//! followed, paths of any length. Never trusts a name a second time: what was checked is what is
//! used.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Pending connections a listening socket keeps: more waiters than that at one instant retry.
const BACKLOG: i32 = 1024;
const GROUP_OR_WORLD_WRITE: u32 = 0o022;
const ANYTHING_FOR_OTHERS: u32 = 0o077;

/// A private directory, held open.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// Why a directory cannot be used, or could not be made.
#[derive(Debug)]
pub struct DirError {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: DirErrorKind,
}

/// What can be wrong with a directory.
#[derive(Debug)]
pub enum DirErrorKind {
    /// It is a symbolic link.
    Symlink,
    /// It is something else than a directory.
    NotADirectory,
    /// It belongs to this uid, which is not ours.
    ForeignOwner(u32),
    /// Its mode lets others write into it.
    WritableByOthers(u32),
    /// Its mode lets others read it, and it holds things that are not ours to hide.
    OpenToOthers(u32),
    /// It lies on a file system that cannot be written.
    ReadOnly,
    /// We are not allowed to read, enter or make it.
    Forbidden,
    /// There is no such directory and it was not to be made.
    Missing,
    /// Anything else the system said.
    Io(io::Error),
}

impl Dir {
    /// Opens `path` to be written to, making it (0700) and its missing parents first.
    ///
    /// A directory of ours that others may only read is closed to them, if it is empty or already
    /// holds `ours`; otherwise it is refused, because somebody else's choice of mode is not ours to
    /// change.
    ///
    /// # Errors
    /// When it is not private and cannot be made so; see [`DirErrorKind`].
    pub fn open_or_create(path: &Path, ours: &[&str]) -> Result<Self, DirError> {
        let fail = |kind| DirError { path: path.to_path_buf(), kind };
        if let Some(parent) = path.parent() {
            make_parents(parent).map_err(|e| DirError { path: parent.to_path_buf(), kind: e })?;
        }
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            // A directory that exists on a read-only disk may answer ROFS before EXIST.
            Err(e @ (Errno::ROFS | Errno::ACCESS)) if !path.exists() => return Err(fail(e.into())),
            Err(Errno::ROFS | Errno::ACCESS) => {}
            Err(e) => return Err(fail(e.into())),
        }
        let dir = Self::open(path, ours)?;
        // Found out now, with its reason, and not at the first file that cannot be made.
        rustix::fs::accessat(&dir.fd, ".", Access::WRITE_OK, AtFlags::EACCESS)
            .map_err(|e| fail(e.into()))?;
        Ok(dir)
    }

    /// Opens an existing private directory; the rules of [`Dir::open_or_create`] hold.
    ///
    /// # Errors
    /// When it is missing or not private.
    pub fn open(path: &Path, ours: &[&str]) -> Result<Self, DirError> {
        let fail = |kind| DirError { path: path.to_path_buf(), kind };
        let fd = open_directory(rustix::fs::CWD, path.as_os_str()).map_err(fail)?;
        let dir = Self { fd, path: path.to_path_buf() };
        dir.check(ours).map_err(fail)?;
        Ok(dir)
    }

    /// Opens the directory `name` directly below this one, making it when it is missing.
    ///
    /// # Errors
    /// As [`Dir::open_or_create`].
    pub fn subdir(&self, name: &str) -> Result<Self, DirError> {
        let path = self.path.join(name);
        let fail = |kind| DirError { path: path.clone(), kind };
        let made = match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST | Errno::ROFS) => false,
            Err(e) => return Err(fail(e.into())),
        };
        let fd = open_directory(self.fd.as_fd(), OsStr::new(name)).map_err(fail)?;
        let dir = Self { fd, path: path.clone() };
        if made {
            return Ok(dir);
        }
        dir.check(&[])
            .or_else(|e| match e {
                // Whatever lies below our own private directory is ours to close.
                DirErrorKind::OpenToOthers(_) => Ok(rustix::fs::fchmod(&dir.fd, Mode::RWXU)?),
                other => Err(other),
            })
            .map_err(fail)?;
        Ok(dir)
    }

    /// The same for one that is nearly always there: making it is tried only when it is not.
    ///
    /// # Errors
    /// As [`Dir::open_or_create`].
    pub fn usual_subdir(&self, name: &str) -> Result<Self, DirError> {
        let path = self.path.join(name);
        match open_directory(self.fd.as_fd(), OsStr::new(name)) {
            Ok(fd) => {
                let dir = Self { fd, path };
                // What is wrong with it, and whether that can be mended, is said below.
                if dir.check(&[]).is_ok() { Ok(dir) } else { self.subdir(name) }
            }
            Err(_) => self.subdir(name),
        }
    }

    /// Opens a file below this directory for reading.
    ///
    /// # Errors
    /// What open(2) says; `ELOOP` for a symbolic link.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        self.open_with(name, OFlags::RDONLY)
    }

    /// Opens a file for reading and writing, making it (0600) when it is missing.
    ///
    /// # Errors
    /// What open(2) says; `ELOOP` for a symbolic link.
    pub fn open_or_create_file(&self, name: &str) -> io::Result<File> {
        self.open_with(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// Opens a file for appending, making it (0600) when it is missing.
    ///
    /// # Errors
    /// What open(2) says; `ELOOP` for a symbolic link.
    pub fn append_file(&self, name: &str) -> io::Result<File> {
        self.open_with(name, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)
    }

    /// Makes a new file (0600).
    ///
    /// # Errors
    /// `EEXIST` when there is anything of that name, a dangling link included.
    pub fn create_new_file(&self, name: &str) -> io::Result<File> {
        self.open_with(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    /// Removes a file or socket.
    ///
    /// # Errors
    /// What unlink(2) says, but that it was not there.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Renames a file within this directory, replacing what has the new name.
    ///
    /// # Errors
    /// What rename(2) says.
    pub fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Makes names durable: what was created, renamed or removed here survives a power cut.
    ///
    /// # Errors
    /// What fsync(2) says. A failed fsync is not retryable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// The names in it, without `.` and `..`, in no order.
    ///
    /// # Errors
    /// What getdents(2) says.
    pub fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        use std::os::unix::ffi::OsStrExt;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_os_string());
            }
        }
        Ok(names)
    }

    /// Binds and listens on the unix socket `name` below this directory, 0600 from its creation.
    /// The listener is non-blocking and close-on-exec.
    ///
    /// # Errors
    /// `EADDRINUSE` when there is anything of that name: replacing a stale socket needs the lock.
    pub fn bind_socket(&self, name: &str) -> io::Result<UnixListener> {
        let socket = stream_socket(SocketFlags::NONBLOCK)?;
        // The inode takes the socket's own mode, so there is no instant at which others may connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &self.socket_address(name)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(UnixListener::from(socket))
    }

    /// Connects to the unix socket `name` below this directory, waiting at most `patience` for a
    /// place in its queue (a stopped daemon does not take us with it).
    ///
    /// # Errors
    /// `ENOENT` and `ECONNREFUSED` when nobody listens, `EAGAIN` when the queue stayed full.
    pub fn connect_socket(&self, name: &str, patience: Duration) -> io::Result<UnixStream> {
        let socket = stream_socket(SocketFlags::empty())?;
        set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
        rustix::net::connect(&socket, &self.socket_address(name)?)?;
        set_socket_timeout(&socket, Timeout::Send, None)?;
        Ok(UnixStream::from(socket))
    }

    /// Whether `name` is a socket; `None` when there is nothing.
    ///
    /// # Errors
    /// What stat(2) says.
    pub fn is_socket(&self, name: &str) -> io::Result<Option<bool>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode) == FileType::Socket)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Where it was when it was opened; for people and for other processes' arguments.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(File::from(fd))
    }

    /// A socket name is at most 108 bytes; a directory's path may be longer, its descriptor is not.
    fn socket_address(&self, name: &str) -> io::Result<SocketAddrUnix> {
        let path = format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd());
        Ok(SocketAddrUnix::new(path.as_str())?)
    }

    fn check(&self, ours: &[&str]) -> Result<(), DirErrorKind> {
        let stat = rustix::fs::fstat(&self.fd)?;
        let mode = stat.st_mode & 0o7777;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(DirErrorKind::ForeignOwner(stat.st_uid));
        }
        if mode & GROUP_OR_WORLD_WRITE != 0 {
            return Err(DirErrorKind::WritableByOthers(mode));
        }
        if mode & ANYTHING_FOR_OTHERS == 0 {
            return Ok(());
        }
        let names = self.names().map_err(DirErrorKind::Io)?;
        let is_ours = names.is_empty() || names.iter().any(|n| ours.iter().any(|o| n == o));
        if !is_ours {
            return Err(DirErrorKind::OpenToOthers(mode));
        }
        Ok(rustix::fs::fchmod(&self.fd, Mode::RWXU)?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl DirError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let path = self.path.display();
        match &self.kind {
            DirErrorKind::Symlink => format!("name the real directory instead of {path}"),
            DirErrorKind::NotADirectory => format!("move {path} away, or choose another --home"),
            DirErrorKind::ForeignOwner(_) => "choose a --home of your own".into(),
            DirErrorKind::WritableByOthers(_) | DirErrorKind::OpenToOthers(_) => {
                format!("chmod 700 {path}, or choose another --home")
            }
            DirErrorKind::ReadOnly | DirErrorKind::Forbidden => {
                "choose a --home that you can write to".into()
            }
            DirErrorKind::Missing => format!("make {path}, or choose another --home"),
            DirErrorKind::Io(_) => format!("see what is wrong with {path}"),
        }
    }
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            DirErrorKind::Symlink => write!(f, "use {path}: it is a symbolic link"),
            DirErrorKind::NotADirectory => write!(f, "use {path}: it is not a directory"),
            DirErrorKind::ForeignOwner(uid) => write!(f, "use {path}: it belongs to uid {uid}"),
            DirErrorKind::WritableByOthers(mode) => {
                write!(f, "use {path}: others may write to it (mode {mode:04o})")
            }
            DirErrorKind::OpenToOthers(mode) => {
                write!(f, "use {path}: others may read it (mode {mode:04o}) and it is not empty")
            }
            DirErrorKind::ReadOnly => write!(f, "write to {path}: its file system is read-only"),
            DirErrorKind::Forbidden => write!(f, "open {path}: permission denied"),
            DirErrorKind::Missing => write!(f, "open {path}: no such directory"),
            DirErrorKind::Io(e) => write!(f, "open {path}: {e}"),
        }
    }
}

impl std::error::Error for DirError {}

impl From<Errno> for DirErrorKind {
    fn from(e: Errno) -> Self {
        match e {
            Errno::LOOP => Self::Symlink,
            Errno::NOTDIR => Self::NotADirectory,
            Errno::ROFS => Self::ReadOnly,
            Errno::ACCESS | Errno::PERM => Self::Forbidden,
            Errno::NOENT => Self::Missing,
            other => Self::Io(other.into()),
        }
    }
}

fn open_directory(base: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, DirErrorKind> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(base, name, flags, Mode::empty()).map_err(|e| {
        let kind = rustix::fs::statat(base, name, AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| FileType::from_raw_mode(stat.st_mode));
        // With O_DIRECTORY a symbolic link is answered ENOTDIR; say what it really is.
        match (e, kind) {
            (Errno::NOTDIR | Errno::LOOP, Ok(FileType::Symlink)) => DirErrorKind::Symlink,
            _ => e.into(),
        }
    })
}

fn make_parents(parent: &Path) -> Result<(), DirErrorKind> {
    use std::os::unix::fs::DirBuilderExt;
    if parent.as_os_str().is_empty() || parent.is_dir() {
        return Ok(());
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.map_err(|e| match Errno::from_io_error(&e) {
        // Something of that name is there, and the look above says that it is no directory.
        Some(Errno::EXIST) => DirErrorKind::NotADirectory,
        Some(errno) => errno.into(),
        None => DirErrorKind::Io(e),
    })
}

fn stream_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

#[cfg(test)]
mod tests;
