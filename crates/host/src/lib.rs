//! The rest of the operating system, for the daemon: where its files live, who holds them, who is
//! calling, how supervisors and daemons are started, what the kernel can isolate.
//!
//! One concern per file, all synchronous. Nothing here prints, exits or reads an environment
//! variable of its own process: whatever it needs to know is an argument. Nothing here decides
//! what happens to a task; it reports facts and performs what the daemon decided.
//!
//! Unsafe code is confined to the modules marked below, each block with its reason.

pub mod allocator;
pub mod caller;
pub mod cgroup;
pub mod clock;
pub mod courier;
pub mod daemon_start;
pub mod dir;
pub mod doctor;
pub mod env_store;
pub mod environment;
pub mod evidence;
pub mod home;
#[expect(unsafe_code, reason = "clone(2) with a shared address space, async-signal-safe child")]
mod launch;
pub mod lock;
mod logind;
pub mod machine;
#[expect(unsafe_code, reason = "two socket options without a sound wrapper")]
mod peer_credentials;
pub mod proc;
pub mod program;
#[cfg(test)]
mod rerun;
pub mod running;
pub mod settle;
pub mod spawn_supervisor;
pub mod systemd_scope;
pub mod systemd_unit;
pub mod terminal;
pub mod text;
