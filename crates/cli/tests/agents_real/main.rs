//! Real agent CLIs with what `install` wrote, a scripted model behind them, and nothing else: no network, login or key.
//!
//! Run by `cargo xtask test`, which installs the pinned CLIs below `target/agents` first; alone by `cargo xtask agents`.
//! Built with the feature `real-agents` alone: without those programs there is nothing to test.

mod cleared;
mod clis;
mod copilot;
mod launch;
mod opencode;
mod terminal;

use std::path::PathBuf;

/// Where the pinned CLIs are.
fn installed() -> PathBuf {
    let place = std::env::var_os("MEANWHILE_TEST_AGENTS")
        .expect("cargo xtask test says where the agent CLIs are (MEANWHILE_TEST_AGENTS)");
    PathBuf::from(place).join("node_modules")
}
