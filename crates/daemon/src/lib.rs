//! The shell around the core: the process that keeps the promises.
//!
//! ```text
//!   clients ──HTTP──► http thread ──letters──► loop thread ──► store (one transaction per turn)
//!                        │ reads                   │ sockets
//!                        ▼                         ▼
//!                   store, logs               supervisors ──► tasks
//! ```
//!
//! Owns: the loop ([`engine`]), the HTTP server, what both say to each other ([`letters`]), and how
//! a daemon is started and found. Decides nothing about tasks: the core does.

pub mod daemon_log;
pub mod engine;
pub mod find;
pub mod front;
pub mod growth;
pub mod hidden;
pub mod http;
pub mod launch;
pub mod letters;
pub mod offline;
pub mod output;
pub mod prepare;
pub mod readiness;
pub mod retention;
pub mod routes;
pub mod run;
pub mod sessions;
pub mod settings;
mod signals;
pub mod tell;
pub mod view;
