//! `cargo xtask agents`: the tests with real agent CLIs, and the installation of those CLIs.
//!
//! Owns which versions are tested, below `target/agents`, installed by npm without their install scripts. The tests
//! themselves are in `crates/cli/tests/agents_real`. Also the last step but one of `cargo xtask test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Outcome, cargo};

/// The packages with their exact versions. Of Claude Code the platform's own package: through the general one, the
/// version of node would choose which Claude Code it is. Of Copilot CLI, too: the general one is a script around it, which
/// leaves it running when it is killed.
fn pinned() -> Outcome<Vec<String>> {
    let platform = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => return Err(format!("there are no agent CLIs for {other}")),
    };
    Ok(vec![
        format!("@anthropic-ai/claude-code-linux-{platform}@2.1.329"),
        "@openai/codex@0.169.0".to_owned(),
        "opencode-ai@1.18.33".to_owned(),
        format!("@github/copilot-linux-{platform}@1.0.102"),
    ])
}

pub(crate) fn main(filter: &[String]) -> Outcome {
    run(filter)?.map(|line| println!("agents: {line}"))
}

/// What the report of a whole test run says.
pub(crate) fn in_tests() -> Outcome<Result<String, String>> {
    println!("\n=== real agent CLIs ===");
    run(&[])
}

fn run(filter: &[String]) -> Outcome<Result<String, String>> {
    let place = install_below("agents", &pinned()?)?;
    let mut tests = cargo::cargo();
    tests
        .args([
            "test",
            "--package",
            "meanwhile",
            "--features",
            "real-agents",
            "--test",
            "agents_real",
        ])
        // One at a time: each takes some hundred megabytes.
        .args(["--", "--test-threads=1"])
        .args(filter)
        .env("MEANWHILE_TEST_AGENTS", &place)
        .stderr(Stdio::inherit());
    let output = tests.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let passed = passed(&text);
    Ok(match (output.status.success(), passed) {
        (true, Some(passed)) if passed > 0 => {
            Ok(format!("{passed} tests passed with {}", pinned()?.join(", ")))
        }
        (true, _) => Err("no test ran".to_owned()),
        (false, _) => Err("a test failed (see above)".to_owned()),
    })
}

/// How many tests libtest says have passed.
fn passed(text: &str) -> Option<u32> {
    let line = text.lines().rev().find(|line| line.starts_with("test result: "))?;
    let before = line.split(" passed").next()?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Installs what is not there; answers the directory with `node_modules`, which has this name below `target`.
pub(crate) fn install_below(name: &str, packages: &[String]) -> Outcome<PathBuf> {
    let place = cargo::target_directory()?.join(name);
    let wanted = packages.join("\n");
    let note = place.join("installed");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(place);
    }
    println!("installing {}", wanted.replace('\n', ", "));
    prepare(&place).map_err(|error| format!("cannot prepare {}: {error}", place.display()))?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--ignore-scripts",
        "--save-exact",
    ])
    .args(packages)
    .current_dir(&place)
    .stdin(Stdio::null());
    let output = npm.output().map_err(|error| format!("cannot run npm: {error}"))?;
    if !output.status.success() {
        return Err(format!("npm install: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    fs::write(&note, wanted)
        .map_err(|error| format!("cannot write {}: {error}", note.display()))?;
    Ok(place)
}

/// An empty package of its own, so that npm does not look for one further up.
fn prepare(place: &Path) -> std::io::Result<()> {
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::create_dir_all(place)?;
    fs::write(place.join("package.json"), "{\"name\": \"agents-under-test\", \"private\": true}\n")
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn the_count_is_read_and_its_absence_is_seen() {
        let text = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
        assert_eq!(passed(text), Some(2));
        assert_eq!(passed("error: no such target"), None);
    }
}
