//! The daemon itself: what it says about itself, and how it is asked to stop.
//!
//! What it is for: `daemon status`, `daemon stop`, and a newer client that wants a newer daemon. What it owns: those
//! shapes. What it never does: start or signal a daemon.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lanes::Lane;
use crate::list::SummaryReply;
use crate::text::OsText;
use crate::time::Timestamp;
use crate::version::ProtocolRange;

/// `GET /v1/daemon`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonStatus {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// How long it has been up, in milliseconds.
    pub uptime_ms: u64,
    /// When it started.
    pub started_at: Timestamp,
    /// The directory of its state.
    pub home: OsText,
    /// Its socket.
    pub socket: OsText,
    /// Its log.
    pub log: OsText,
    /// The lanes with a limit of their own or an unfinished task.
    pub lanes: Vec<Lane>,
    /// The protocol versions it speaks.
    pub protocol: ProtocolRange,
    /// Its store.
    pub store: StoreStatus,
    /// How many tasks there are.
    pub tasks: SummaryReply,
    /// How many supervisors are connected.
    pub supervisors: u32,
    /// How many clients are waiting.
    pub waiters: u32,
    /// It takes nothing new: it is stopping, or the store cannot be written.
    pub refusing: Option<String>,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreStatus {
    /// Its file.
    pub path: OsText,
    /// The size of that file with its write-ahead log.
    pub bytes: u64,
    /// The version of its tables.
    pub schema: u32,
    /// The number of the newest event.
    pub last_event: u64,
}

/// `POST /v1/daemon/stop`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StopRequest {
    /// Cancel every unfinished task first, and wait until their trees are empty.
    pub cancel_all: bool,
    /// A newer version takes over: no stop marker, and the supervisors need not start one.
    pub hand_over: bool,
}

/// The daemon stops once this answer is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopReply {
    /// The process id that goes away.
    pub pid: u32,
    /// How many tasks run on under their supervisors.
    pub still_running: u32,
    /// How many tasks were cancelled.
    pub cancelled: u32,
}
