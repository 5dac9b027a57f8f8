//! Places at which a test build can be killed: `fault_point!("commit.before")`.
//!
//! A place stands on each side of everything that is written, started, sent or deleted for good. Without the
//! feature `fault-points` the macros are empty: their arguments are not compiled, and the program has nothing of
//! them. With it, each pass is counted, and the one that is armed is the process's last.
//!
//! Owns the counting and the kill. Never changes what the code around a place does.

#[cfg(feature = "fault-points")]
mod armed;

#[cfg(feature = "fault-points")]
pub use armed::{is_our_variable, pass, pass_each};

/// A place with this name. Names are unique: `area.what-is-done-by-now`.
#[cfg(feature = "fault-points")]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {
        $crate::pass($name)
    };
    ($name:literal, $each:expr) => {
        $crate::pass_each($name, $each)
    };
}

/// A place with this name; with names for `each` part of something, a place per part.
#[cfg(not(feature = "fault-points"))]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {};
    ($name:literal, $each:expr) => {};
}

/// Whether an environment variable is for us and has to reach daemons and supervisors.
#[cfg(not(feature = "fault-points"))]
#[must_use]
pub const fn is_our_variable(_name: &[u8]) -> bool {
    false
}
