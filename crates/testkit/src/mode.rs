//! The mode a test runs in: which user, which cgroups. `cargo xtask test` chooses it.
//!
//! Without orders (plain `cargo test`) the mode is what the machine offers: the current user, and
//! cgroups as the product finds them. A test whose promise cannot be shown in a mode says so with
//! [`not_here`]; the report of the run then counts it apart, with the reason.

use std::io::Write;

/// What cgroups the product shall find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A writable cgroup v2 subtree with the memory and pids controllers.
    Controllers,
    /// A writable cgroup v2 subtree without controllers.
    Cgroup,
    /// None: homes are configured with `isolation.cgroup = "off"`.
    Off,
    /// Whatever this machine has; the run was not started by `cargo xtask test`.
    Whatever,
}

/// The isolation this run was ordered to test.
pub fn isolation() -> Isolation {
    match std::env::var("MEANWHILE_TEST_ISOLATION").as_deref() {
        Ok("controllers") => Isolation::Controllers,
        Ok("cgroup") => Isolation::Cgroup,
        Ok("off") => Isolation::Off,
        _ => Isolation::Whatever,
    }
}

/// True when tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True when the product will find a cgroup it may write: known by order, else by looking.
pub fn has_cgroup() -> bool {
    match isolation() {
        Isolation::Controllers | Isolation::Cgroup => true,
        Isolation::Off => false,
        Isolation::Whatever => own_cgroup_is_writable(),
    }
}

/// The mode in words. Every home prints it when it is made, so that a failed test says where it failed.
pub fn words() -> String {
    let user = if is_root() { "root" } else { "an unprivileged user" };
    let cgroup = if has_cgroup() { "with" } else { "without" };
    format!("as {user}, {cgroup} a writable cgroup (ordered: {:?})", isolation())
}

fn own_cgroup_is_writable() -> bool {
    crate::controllers::own_cgroup().is_some_and(|directory| {
        rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

/// Reports that this mode cannot show the test's promise, and why. The test returns after it:
///
/// ```no_run
/// # use meanwhile_testkit::mode;
/// if !mode::is_root() {
///     return mode::not_here("a bind mount over the boot id needs root");
/// }
/// ```
///
/// Outside `cargo xtask test` the reason is printed, and the test counts as passed.
pub fn not_here(reason: &str) {
    // libtest names each test's thread after the test.
    let test = std::thread::current().name().unwrap_or("unnamed test").to_owned();
    println!("NOT TESTED HERE: {test}: {reason}");
    if let Ok(directory) = std::env::var("MEANWHILE_TEST_NOT_HERE") {
        let note = tempfile::Builder::new().suffix(".not-here").tempfile_in(directory);
        let mut note = note.expect("the directory for notes was made by the run");
        write!(note, "{test}\n{reason}\n").expect("a new file takes two lines");
        note.keep().expect("a file of ours can be kept");
    }
}
