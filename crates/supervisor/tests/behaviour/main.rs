//! What a supervisor promises, each promise against the real loop in a process of its own.

mod end;
mod fence;
mod rig;
mod start;
