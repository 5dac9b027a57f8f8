//! What cargo starts in place of a test binary: goes into the mode, then becomes the test.
//!
//! Runs as whoever runs the suite. Makes the test's own cgroup, clears the environment, drops to
//! the unprivileged uid where the mode says so, and replaces itself by the test binary. Its orders
//! arrive in `MEANWHILE_XTASK_*` variables, which the test itself never sees.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::suite::orders;
use super::{cgroup, staging};
use crate::Outcome;

/// The hidden command of xtask that cargo is told to run test binaries with.
pub(crate) const RUNNER_COMMAND: &str = "__run-in-mode";

/// What a test may keep of the environment the suite was started in. `CARGO_*` and `NEXTEST*` are
/// kept too: they name the test and where its binary is.
const KEPT: [&str; 5] =
    ["RUST_BACKTRACE", "LD_LIBRARY_PATH", "PROPTEST_CASES", "CI", "RUST_TEST_THREADS"];

pub(crate) fn run_in_mode(arguments: &[String]) -> Outcome {
    let [program, arguments @ ..] = arguments else {
        return Err("no test binary named".to_owned());
    };
    let order = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let scratch = order(orders::SCRATCH).ok_or("started outside `cargo xtask test`")?;
    let scratch = PathBuf::from(scratch);
    let isolation = order(orders::ISOLATION).ok_or("no isolation ordered")?;
    let uid: Option<u32> = order(orders::UID).and_then(|uid| uid.parse().ok());

    if let Some(base) = order(orders::CGROUP) {
        let own = cgroup::enter(Path::new(&base), isolation == "controllers", uid)
            .map_err(|error| format!("cannot enter a cgroup below {base}: {error}"))?;
        let name = format!("{} {}", program, arguments.join(" "));
        // For the report on leftovers: which test a cgroup belonged to.
        let _ = std::fs::write(scratch.join(format!("{own}.name")), name);
    }

    if order(orders::ANNOUNCE).is_some() {
        println!("{}{}", super::results::BINARY, binary_name(program));
    }
    let stage = scratch.join("bin");
    let program = staging::executable_for(uid, Path::new(program), &stage)?;
    let binary = order(orders::BINARY).ok_or("no binary under test named")?;
    let binary = staging::executable_for(uid, Path::new(&binary), &stage)?;

    let mut command = Command::new(&program);
    command.args(arguments).env_clear();
    if program.starts_with(&stage) {
        // The directory cargo chose is closed to the user of this mode as well.
        command.current_dir(&scratch);
    }
    for (name, value) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if KEPT.contains(&text.as_ref())
            || text.starts_with("CARGO_")
            || text.starts_with("NEXTEST")
        {
            command.env(&name, value);
        }
    }
    command
        .env("PATH", staging::path_for(uid, &std::env::var_os("PATH").unwrap_or_default()))
        .env("HOME", scratch.join("home"))
        .env("TMPDIR", scratch.join("tmp"))
        .env("LANG", "C.UTF-8")
        .env("MEANWHILE_TEST_BIN", binary)
        .env("MEANWHILE_TEST_ISOLATION", &isolation)
        .env("MEANWHILE_TEST_NOT_HERE", scratch.join("tmp"))
        .env("MEANWHILE_TEST_NONCE", order(orders::NONCE).unwrap_or_default());
    if let Some(uid) = uid {
        // From root, `uid` also drops every supplementary group.
        command.gid(uid).uid(uid);
    }
    Err(format!("cannot execute {}: {}", program.display(), command.exec()))
}

/// `meanwhile_host` for `.../deps/meanwhile_host-5c4238a66f7ddfe7`.
fn binary_name(program: &str) -> &str {
    let file = program.rsplit('/').next().unwrap_or(program);
    file.rsplit_once('-').map_or(file, |(name, _)| name)
}
