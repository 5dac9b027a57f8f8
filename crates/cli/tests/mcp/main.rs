//! MCP, spoken to the real binary: over stdio and over HTTP, in both generations of the protocol, with the daemon and
//! the server killed in between.
//!
//! Owns one file per part; each test names one promise. Never sleeps: gates hold tasks, answers tell where they are.

mod client;
mod http;
mod inbox;
mod misuse;
mod resources;
mod secrets;
mod sessions;
mod tools;
mod waits;
