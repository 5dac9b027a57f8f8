//! The protocol between a supervisor and its peers (the daemon; clients that want a daemon started).
//!
//! A `SOCK_STREAM` unix socket, either inherited from the daemon that started the supervisor or accepted
//! on `run/<nonce>.sock`. Both directions carry frames:
//!
//! ```text
//!   u32 length (of what follows) | u16 kind | body        all little-endian, length <= FRAME_MAX
//! ```
//!
//! - The supervisor speaks first: `Hello` on every connection. A peer that then sends `Init` is the daemon
//!   (the newest one counts; an older connection is closed). A peer that sends `StartDaemon` is a client.
//! - `Start` carries descriptors on its first byte: the locked `owner` file, the attempt's directory and,
//!   for a spec beyond `INLINE_SPEC`, a sealed memfd that holds the spec. Whoever closes the last of the
//!   first kind frees the lock, so an unread start frees it by itself.
//! - The supervisor answers `Start` with `Started`, or with `Refused` (nothing ran, the lock is free), or
//!   with `SpawnFailed`. `Started` and `SpawnFailed` are always followed by one `Ended`, which is sent
//!   again to every new daemon until it says `Recorded`. The next `Start` may follow `Recorded` at once; if
//!   none came with it and no kept leftovers live, `Idle` answers.
//! - Messages about a token that is not the current one are ignored: they are late.
//! - Growth: a frame of an unknown kind is skipped by its length. Fields are only ever appended; a reader
//!   ignores what follows the fields it knows. `Hello.protocol` tells a daemon whom it serves.

mod connection;
mod frame;
mod messages;
mod spec;

pub use crate::codec::DecodeError;
pub(crate) use connection::Incoming;
pub use connection::{Connection, Received, WireError};
pub use frame::{Frame, FrameReader};
pub use messages::{
    DaemonResult, FromSupervisor, Init, Phase, RefusedWhy, Running, StopWhy, TaskId, ToSupervisor,
    Token,
};
pub use spec::{PtySize, Rlimit, StartSpec, Stdin};
