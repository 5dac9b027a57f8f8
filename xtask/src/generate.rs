//! `cargo xtask gen`: the generated reference pages.
//!
//! Owns `docs/reference/`. The text comes from the built binary's hidden `__gen` entry, so a page
//! can only say what the program says of itself. Never formats or edits what it is given.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Outcome, cargo};

/// One generated page: the argument of `meanwhile __gen`, and the file that holds the answer.
const PAGES: [(&str, &str); 2] =
    [("cli", "docs/reference/cli.md"), ("openapi", "docs/reference/openapi.json")];

pub(crate) fn main(arguments: &[String]) -> Outcome {
    match arguments {
        [] => write(),
        [check] if check == "--check" => {
            let stale = stale()?;
            if stale.is_empty() {
                println!("gen: every generated page is current");
                return Ok(());
            }
            Err(format!("not current: {}; run `cargo xtask gen`", stale.join(", ")))
        }
        _ => Err("usage: cargo xtask gen [--check]".to_owned()),
    }
}

fn write() -> Outcome {
    let binary = cargo::build_binary()?;
    for (topic, path) in PAGES {
        let text = generated(&binary, topic)?;
        let file = cargo::root().join(path);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(|error| format!("{path}: {error}"))?;
        }
        std::fs::write(&file, text).map_err(|error| format!("cannot write {path}: {error}"))?;
        println!("gen: wrote {path}");
    }
    Ok(())
}

/// The committed pages that differ from what the binary says now.
pub(crate) fn stale() -> Outcome<Vec<String>> {
    let pages: Vec<(&str, PathBuf)> =
        PAGES.iter().map(|(topic, path)| (*topic, cargo::root().join(path))).collect();
    let binary = cargo::build_binary()?;
    let mut stale = Vec::new();
    for (topic, file) in pages {
        let now = generated(&binary, topic)?;
        if std::fs::read(&file).unwrap_or_default() != now {
            let name = file.strip_prefix(cargo::root()).unwrap_or(&file);
            stale.push(name.display().to_string());
        }
    }
    Ok(stale)
}

fn generated(binary: &Path, topic: &str) -> Outcome<Vec<u8>> {
    let output = Command::new(binary)
        .args(["__gen", topic])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", binary.display()))?;
    if !output.status.success() || output.stdout.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`meanwhile __gen {topic}` gave nothing: {}", said.trim()));
    }
    Ok(output.stdout)
}
