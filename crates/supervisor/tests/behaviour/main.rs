//! What a supervisor promises, each promise against the real loop in a process of its own.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod end;
mod fence;
mod limits;
mod output;
mod revive;
mod rig;
mod start;
