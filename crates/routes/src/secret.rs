//! The secret that deliveries are signed with, from its file.
//!
//! Owns what such a file must be: ours, and closed to everybody else. The secret is never shown: its `Debug` form has
//! none of it, and messages name the file alone.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use rustix::fs::{Mode, OFlags};

/// The longest file.
const MAX_BYTES: u64 = 4_096;
/// The shortest secret: what is shorter is guessed.
const MIN_BYTES: usize = 16;
/// How secrets of the Standard Webhooks begin: what follows is base64.
const PREFIX: &str = "whsec_";

/// A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretError {
    /// What is wrong, with the file's name.
    pub text: String,
    /// What to type.
    pub hint: String,
}

impl Secret {
    /// From the text of a file, white space around it left out.
    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = text.trim_ascii();
        let bytes = match text.strip_prefix(PREFIX.as_bytes()) {
            Some(coded) => base64::engine::general_purpose::STANDARD
                .decode(coded)
                .map_err(|_| "what follows `whsec_` is not base64")?,
            None => text.to_vec(),
        };
        if bytes.len() < MIN_BYTES { Err("has fewer than 16 bytes") } else { Ok(Self(bytes)) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Reads it. The file must be a plain one, our own, and nobody else's to read or write.
///
/// # Errors
/// What is wrong with the file.
pub fn read_secret(path: &Path) -> Result<Secret, SecretError> {
    let wrong = |what: String, hint: String| SecretError {
        text: format!("secret file {} {what}", path.display()),
        hint,
    };
    let make = format!("openssl rand -hex 32 > {0}; chmod 600 {0}", path.display());
    // Without blocking: a FIFO in its place would hold us up for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = opened.map_err(|e| wrong(format!("cannot be read: {e}"), make.clone()))?;
    let stat = rustix::fs::fstat(&file)
        .map_err(|e| wrong(format!("cannot be read: {e}"), make.clone()))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(wrong("is not a plain file".into(), make));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(wrong("belongs to another user".into(), make));
    }
    if stat.st_mode & 0o077 != 0 {
        let chmod = format!("chmod 600 {}", path.display());
        return Err(wrong("can be read by others".into(), chmod));
    }
    let mut text = Vec::new();
    let read = File::from(file).take(MAX_BYTES + 1).read_to_end(&mut text);
    read.map_err(|e| wrong(format!("cannot be read: {e}"), make.clone()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(wrong("has more than 4096 bytes".into(), make));
    }
    Secret::parse(&text).map_err(|what| wrong(what.into(), make))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_a_closed_file_of_ours_with_enough_in_it() {
        let base = tempfile::tempdir().unwrap();
        let check = |text: &str, mode: u32, expected: &str| {
            // A new file each time: one that is closed to its owner's writing is not written over.
            let home = tempfile::tempdir_in(base.path()).unwrap();
            let path = home.path().join("secret");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read_secret(&path) {
                Ok(secret) => {
                    assert_eq!(expected, "", "{text}");
                    secret.bytes().to_vec()
                }
                Err(error) => {
                    assert!(!expected.is_empty() && error.text.contains(expected), "{error:?}");
                    let shown = error.text + &error.hint;
                    assert!(text.is_empty() || !shown.contains(text.trim()), "{shown}");
                    Vec::new()
                }
            }
        };
        assert_eq!(check("  0123456789abcdef\n", 0o600, ""), b"0123456789abcdef");
        assert_eq!(check("whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n", 0o400, ""), b"0123456789abcdef");
        check("0123456789abcdef", 0o640, "read by others");
        check("0123456789abcdef", 0o602, "read by others");
        check("0123456789", 0o600, "fewer than 16");
        check("whsec_not base64 at all!", 0o600, "not base64");
        check(&"x".repeat(5_000), 0o600, "more than 4096");
        let missing = read_secret(&base.path().join("none")).unwrap_err();
        assert!(missing.text.contains("cannot be read") && missing.hint.contains("openssl rand"));
        assert!(read_secret(base.path()).is_err());
        let fifo = base.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        assert!(read_secret(&fifo).unwrap_err().text.contains("plain file"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::parse(b"a very long secret").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
