//! pueue: a daemon with its state in a JSON file; built from source when it is asked for.
//!
//! Owns a daemon of its own with a configuration of its own.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::Outcome;
use crate::bench::ground::{Ground, Scratch, finish};

/// The directory of its two programs.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Pueue(pub(super) PathBuf);

/// A running daemon.
pub(in crate::bench) struct Daemon {
    process: Child,
    programs: PathBuf,
    scratch: Scratch,
}

impl Pueue {
    pub(in crate::bench) fn start(&self, ground: &Ground, slots: u32) -> Outcome<Daemon> {
        let scratch = ground.scratch("pueue")?;
        let directory = scratch.path().display();
        let config = format!(
            "shared:\n  pueue_directory: {directory}\n  runtime_directory: {directory}\n  \
             use_unix_socket: true\nclient: {{}}\ndaemon: {{}}\n"
        );
        let cannot = |error: std::io::Error| format!("cannot start pueued: {error}");
        std::fs::write(scratch.path().join("pueue.yml"), config).map_err(cannot)?;
        let process = scratch
            .command(self.0.join("pueued"))
            .arg("--config")
            .arg(scratch.path().join("pueue.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        let daemon = Daemon { process, programs: self.0.clone(), scratch };
        daemon.until_it_answers()?;
        daemon.call(&["parallel", &slots.to_string()])?;
        Ok(daemon)
    }
}

impl Daemon {
    fn until_it_answers(&self) -> Outcome {
        let mut last = String::new();
        for _ in 0..200 {
            match self.call(&["status"]) {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
            // sleep: pueued announces its socket to nobody
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err(format!("pueued does not answer: {last}"))
    }

    pub(in crate::bench) fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.scratch.command(self.programs.join("pueue"));
        command.arg("--config").arg(self.scratch.path().join("pueue.yml")).args(words);
        command
    }

    pub(in crate::bench) fn call(&self, words: &[&str]) -> Outcome<String> {
        finish(self.command(words))
    }

    pub(in crate::bench) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(in crate::bench) fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
