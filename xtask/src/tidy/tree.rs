//! The files of the repository, read once.
//!
//! Owns the walk. Leaves out what git would not commit: `target`, `.git`, and what `.gitignore`
//! names at the top. Files that are not UTF-8 (pictures) are not text and are left out.

use std::fs;
use std::path::Path;

use super::rust::Source;
use crate::Outcome;

/// One text file.
pub(super) struct File {
    /// Relative to the root, with forward slashes.
    pub(super) path: String,
    pub(super) text: String,
    /// Present for `.rs` files.
    pub(super) source: Option<Source>,
}

impl File {
    /// The crate a file belongs to: `core` for `crates/core/...`, `xtask` for `xtask/...`.
    pub(super) fn room(&self) -> &str {
        let mut parts = self.path.split('/');
        match parts.next() {
            Some("crates") => parts.next().unwrap_or_default(),
            Some("xtask") => "xtask",
            Some("fuzz") => "fuzz",
            _ => "",
        }
    }

    /// True for integration tests, benches and examples: code that no user runs.
    pub(super) fn is_test_target(&self) -> bool {
        ["/tests/", "/benches/", "/examples/"].iter().any(|part| self.path.contains(part))
    }
}

/// The repository.
pub(super) struct Tree {
    files: Vec<File>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Outcome<Self> {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|file| file.source.as_ref().map(|source| (file, source)))
    }
}

fn walk(root: &Path, directory: &Path, files: &mut Vec<File>) -> Outcome {
    let fail = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if relative == "target" || relative == ".git" || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files)?;
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let source = relative.ends_with(".rs").then(|| Source::new(&text));
        files.push(File { path: relative, text, source });
    }
    Ok(())
}
