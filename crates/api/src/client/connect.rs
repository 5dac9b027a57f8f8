//! One connection to the daemon's socket.
//!
//! What it is for: connecting, also where the path is longer than a socket address holds. What it owns: the stream and
//! hyper's handle to it. What it never does: retry (see `exchange`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The longest path in a socket address: 108 bytes with the closing NUL (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// A connection that takes one request at a time.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// The process id at the other end, as the kernel knows it.
    pub(super) daemon_pid: Option<i32>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// No daemon listens there.
    Absent(io::Error),
    /// A daemon listens, and its queue of new connections is full.
    Busy(io::Error),
    /// It will not get better by waiting (permissions, say).
    Final(io::Error),
}

impl Connection {
    /// Connects and gets ready to send.
    pub(super) async fn open(socket: &Path) -> Result<Connection, ConnectError> {
        let stream = connect(socket).await.map_err(classify)?;
        let daemon_pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            handshake.map_err(|error| ConnectError::Absent(io::Error::other(error)))?;
        // The task ends with the connection; its errors reach whoever waits for an answer on it.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { sender, daemon_pid })
    }
}

async fn connect(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX {
        return UnixStream::connect(socket).await;
    }
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "socket path has no file name"));
    };
    // The descriptor must stay open until the kernel has followed the path.
    let directory = File::open(directory)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short).await
}

fn classify(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::Absent(error),
        io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected => ConnectError::Absent(error),
        // The home itself is in the way: whoever starts a daemon or reads the store there says how.
        io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
            ConnectError::Absent(error)
        }
        io::ErrorKind::WouldBlock => ConnectError::Busy(error),
        _ => ConnectError::Final(error),
    }
}
