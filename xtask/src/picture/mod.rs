//! `cargo xtask picture`: the README's terminal picture, drawn from captured output.
//!
//! Owns `docs/terminal.svg`. It types a few commands at the real binary on a pseudo-terminal, in a
//! temporary home, and draws what came back. Never invents a line: every character of the output
//! was printed by the program. Stops the daemon it caused to start.

mod screen;
mod svg;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Outcome, cargo};

/// Where the picture goes, relative to the root.
const FILE: &str = "docs/terminal.svg";

/// Columns of the terminal: what fits into a README next to a table of contents.
const COLUMNS: usize = 100;

/// What is typed, line by line. The shell keeps its variables from one line to the next.
const SCENES: [&str; 8] = [
    "id=$(meanwhile run --name tests --shell 'for n in 1 2 3; do echo suite $n: ok; sleep 1; done')",
    "meanwhile run --name deploy --after $id -- echo deployed",
    "meanwhile run --name docs -- false",
    "meanwhile list",
    "kill -9 $(meanwhile daemon status | awk '/^pid/ {print $2}')   # the daemon, not the task",
    "meanwhile wait $id deploy",
    "meanwhile output $id --tail 2",
    "meanwhile list",
];

pub(crate) fn main() -> Outcome {
    let binary = cargo::build_binary()?;
    let home = tempfile::Builder::new()
        .prefix("meanwhile-picture-")
        .tempdir()
        .map_err(|error| format!("cannot make a temporary home: {error}"))?;
    let studio = Studio { binary, home: home.path().to_owned() };
    let captured = studio.capture();
    let stopped = studio.stop();
    let captured = captured?;
    stopped?;
    let lines = screen::lines(&captured, COLUMNS);
    fs::write(cargo::root().join(FILE), svg::draw(&lines, COLUMNS))
        .map_err(|error| format!("cannot write {FILE}: {error}"))?;
    println!("picture: wrote {FILE} from {} lines of real output", lines.len());
    Ok(())
}

struct Studio {
    binary: PathBuf,
    home: PathBuf,
}

impl Studio {
    /// Runs all scenes in one shell on a pseudo-terminal; answers the raw bytes of the screen.
    fn capture(&self) -> Outcome<String> {
        let script = self.home.join("scenes.sh");
        let mut text = format!("stty cols {COLUMNS} rows 50\n");
        for scene in SCENES {
            let shown = scene.replace('\'', "'\\''");
            // The prompt is ours, the rest is the program's.
            text.push_str(&format!("printf '\\033[32m$\\033[0m %s\\n' '{shown}'\n{scene}\n"));
        }
        fs::write(&script, text).map_err(|error| format!("cannot write the scenes: {error}"))?;
        let output = self
            .command("script")
            .args(["-qec", &format!("bash {}", script.display()), "/dev/null"])
            .output()
            .map_err(|error| format!("cannot run `script` (util-linux): {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn stop(&self) -> Outcome {
        let status = self
            .command("meanwhile")
            .args(["daemon", "stop", "--cancel-all"])
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("cannot stop the daemon: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("daemon stop ended with {status}")) }
    }

    fn command(&self, program: &str) -> Command {
        let directory = self.binary.parent().unwrap_or(Path::new("."));
        let path = std::env::var("PATH").unwrap_or_default();
        let program =
            if program == "meanwhile" { self.binary.clone() } else { PathBuf::from(program) };
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", directory.display()))
            .env("HOME", &self.home)
            .env("MEANWHILE_HOME", self.home.join("state"))
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .current_dir(&self.home)
            .stdin(Stdio::null());
        command
    }
}
