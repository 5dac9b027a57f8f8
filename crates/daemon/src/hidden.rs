//! What must not be shown of a task's output: the prints of its secrets, beside its log.
//!
//! Owns the file `secrets` of an attempt's directory and our own tokens in the home. The file is written before the
//! attempt is handed over, because the environment itself is deleted when no unfinished task needs it; it goes with the
//! directory. It holds no secret (see [`meanwhile_api::redact`]). Never keeps an output from being read: without the file
//! nothing is known.

use std::io::{self, Read as _, Write as _};

use meanwhile_api::redact::{Prints, secrets};
use meanwhile_host::dir::Dir;
use meanwhile_host::environment::Environment;
use meanwhile_host::home::Home;

use crate::output::PageRequest;

/// In an attempt's directory.
const PRINTS: &str = "secrets";
/// In the home: what opens a door to us.
const TOKENS: [&str; 1] = ["mcp.token"];
/// A file of the largest number of prints is shorter.
const PRINTS_BYTES: u64 = 64 << 10;
/// No token of ours is longer.
const TOKEN_BYTES: u64 = 1 << 10;

/// The file's text for an attempt with this environment and these variables besides; none where nothing is secret.
#[must_use]
pub fn prints(environment: &Environment, explicit: &[(Vec<u8>, Vec<u8>)]) -> Option<String> {
    let explicit = explicit.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    let values = secrets(environment.iter().chain(explicit));
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).expect("the kernel's random source works once the system is up");
    let prints = Prints::of(values.iter().map(Vec::as_slice), salt);
    (!prints.is_empty()).then(|| prints.to_text())
}

/// Writes it. After a crash the attempt is handed over again, and this is done again before.
///
/// # Errors
/// What the disk says.
pub fn write(directory: &Dir, prints: &str) -> io::Result<()> {
    directory.remove_file(PRINTS)?;
    directory.create_new_file(PRINTS)?.write_all(prints.as_bytes())
}

/// The page with what is secret of the attempt, where that is not to be shown.
#[must_use]
pub fn on_page(request: PageRequest, home: &Home, directory: &Dir) -> PageRequest {
    if request.redacts() { request.hiding(of_attempt(home, directory)) } else { request }
}

/// What is known of an attempt's secrets and of ours.
#[must_use]
pub fn of_attempt(home: &Home, directory: &Dir) -> Prints {
    let mut known = match read(directory, PRINTS, PRINTS_BYTES) {
        None => Prints::default(),
        Some(text) => Prints::from_text(&text).unwrap_or_else(|| {
            tracing::warn!(directory = %directory.path().display(), "its list of secrets is damaged");
            Prints::default()
        }),
    };
    for name in TOKENS {
        if let Some(token) = read(&home.state, name, TOKEN_BYTES) {
            known.learn([token.trim().as_bytes()]);
        }
    }
    known
}

fn read(directory: &Dir, name: &str, most: u64) -> Option<String> {
    let mut text = String::new();
    directory.open_file(name).ok()?.take(most).read_to_string(&mut text).ok()?;
    Some(text)
}
