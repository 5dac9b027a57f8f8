//! The public words on the wire, and the client everyone uses.
//!
//! What it is for: HTTP/1.1 with JSON over a unix socket, spoken by the command line now and by MCP, hooks and
//! dashboards later. What it owns: the shapes of requests and replies, the table of routes, errors with their
//! codes and hints, exit codes, version negotiation, OpenAPI, and the client.
//! What it never does: print, read HOME or environment variables, exit, or decide anything about a task.
//!
//! ```text
//! cli, mcp, hooks --client::Client--> HTTP/1.1 over daemon.sock --routes::find--> daemon
//!                        \-- Transport::Offline --> a function that reads the store
//! ```

pub mod audit;
pub mod caller;
pub mod cause;
pub mod change;
pub mod client;
pub mod config;
pub mod daemon;
pub mod duration;
pub mod error;
pub mod escapes;
pub mod event;
pub mod exit;
pub mod headers;
pub mod ids;
pub mod inbox;
pub mod lanes;
pub mod limits;
pub mod list;
pub mod openapi;
pub mod output;
pub mod query;
pub mod redact;
pub mod routes;
pub mod sanitise;
pub mod select;
pub mod size;
pub mod submit;
pub mod task;
pub mod text;
pub mod time;
pub mod upkeep;
pub mod version;
pub mod wait;
mod wire_shapes;

pub use duration::Span;
pub use error::{ApiError, ErrorCode};
pub use exit::ExitCode;
pub use ids::{RequestId, TaskId};
pub use size::Size;
pub use task::Task;
pub use text::OsText;
pub use time::Timestamp;
