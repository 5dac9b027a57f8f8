//! What bytes from outside may do to Meanwhile: nothing but be refused or understood.
//!
//! ```text
//!   libFuzzer target ─┐
//!   replay test ──────┴─► run(name, bytes) ─► body: decode, check what must hold ─► panic = a bug
//! ```
//!
//! Owns the bodies: plain functions that are given bytes and panic when a promise is broken, when
//! they want much more memory than the bytes justify, or (seen by whoever calls) when they take too
//! long. The same bodies are run by libFuzzer (`cargo xtask fuzz`) and, over the committed seeds and
//! every input that ever broke something, by an ordinary test. Never ships.

mod bodies;
mod feed;
mod grow;
mod heap;

/// One way in.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the libFuzzer target, and of its directories below `seeds` and `regressions`.
    pub name: &'static str,
    body: fn(&[u8]),
    /// Bytes of memory it may use at once, besides [`PER_BYTE`] for every byte of input.
    memory: usize,
}

/// Bytes of memory that a byte of input may cost: a JSON value of one digit is 32 bytes in memory,
/// and a vector that grows holds its old half besides.
const PER_BYTE: usize = 128;
/// What pages, buffers and compiled patterns of one small input may take.
const USUAL: usize = 64 << 20;

const fn target(name: &'static str, body: fn(&[u8])) -> Target {
    Target { name, body, memory: USUAL }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("words", bodies::words::run),
    target("arguments", bodies::arguments::run),
    target("requests", bodies::requests::run),
    target("http", bodies::http::run),
    target("mcp", bodies::mcp::run),
    target("settings", bodies::settings::run),
    target("wire", bodies::wire::run),
    target("owner", bodies::owner::run),
    target("log", bodies::log::run),
    target("sanitiser", bodies::sanitiser::run),
    target("pager", bodies::pager::run),
    target("records", bodies::records::run),
    target("database", bodies::database::run),
];

/// Gives bytes to a target. What is to be grown becomes a megabyte.
///
/// # Panics
/// When a promise is broken: that is the point. Also when there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    give(name, bytes, grow::LONG);
}

/// The same for the fuzzer, which tries so many inputs that none may be very long.
///
/// # Panics
/// As [`run`] does.
pub fn fuzz(name: &str, bytes: &[u8]) {
    give(name, bytes, grow::SHORT);
}

fn give(name: &str, bytes: &[u8], length: usize) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("no target is called {name}"));
    let bytes = grow::grown(bytes, length);
    let budget = target.memory + PER_BYTE * bytes.len();
    heap::bounded(budget, || (target.body)(&bytes));
}
