//! What can go wrong with somebody else's file, and what to do about it.

use std::fmt;
use std::path::Path;

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A fragment that fits "failed to ...".
    pub message: String,
    /// One line each.
    pub hint: Vec<String>,
}

impl Trouble {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: vec![hint.into()] }
    }

    /// A file that cannot be understood is not edited.
    pub(crate) fn damaged(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(
            format!("read {}: {what}", path.display()),
            "nothing was changed; repair the file and try again",
        )
    }

    pub(crate) fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(
            format!("{doing} {}: {error}", path.display()),
            "nothing was changed; check the owner and mode of the file and of its directory",
        )
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}
