//! The client's surroundings, which its tasks inherit.
//!
//! What it is for: a task runs as if the caller had run it: same directory, environment, umask and resource limits.
//! What it owns: the shape of that context. What it never does: prove who the caller is (the daemon asks the kernel)
//! or show an environment in debug output, where secrets live.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::OsText;

/// What a new task inherits from the process that launched it.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerContext {
    /// Its working directory, absolute.
    pub cwd: OsText,
    /// Its environment, in order, names and values.
    pub env: Vec<(OsText, OsText)>,
    /// Its file creation mask.
    pub umask: u32,
    /// Its resource limits, those that differ from unlimited or all of them.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// Its terminal; null when its standard streams are not one.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
}

/// The size of the caller's terminal, which a `--pty` task starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TerminalSize {
    /// Characters per line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// One resource limit of a process (getrlimit(2)); null is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rlimit {
    /// The kernel's number of the resource.
    pub resource: u32,
    /// The soft limit.
    pub soft: Option<u64>,
    /// The hard limit.
    pub hard: Option<u64>,
}

impl fmt::Debug for CallerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallerContext { cwd, env, umask, rlimits, terminal } = self;
        f.debug_struct("CallerContext")
            .field("cwd", cwd)
            .field("env", &format_args!("<{} variables hidden>", env.len()))
            .field("umask", umask)
            .field("rlimits", rlimits)
            .field("terminal", terminal)
            .finish()
    }
}
