//! HyperQueue: server and a worker with two cores inside one Python process.
//!
//! Owns that process. Published for Python only: there is no command line to measure, so that the figures of single
//! calls and of lists have no HyperQueue in them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Outcome;
use crate::bench::ground::{Ground, Scratch};
use crate::bench::machine::NO_OP;

/// The interpreter of the virtual environment it is installed in.
#[derive(Debug, Clone)]
pub(in crate::bench) struct HyperQueue(pub(super) PathBuf);

/// A running server with its worker.
pub(in crate::bench) struct Cluster {
    // Fields are dropped in this order: the process before the directory it works in.
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// PSS of the interpreter with everything loaded, before the server exists.
    pub(in crate::bench) bare_mb: f64,
    _scratch: Scratch,
}

impl HyperQueue {
    pub(in crate::bench) fn start(&self, ground: &Ground) -> Outcome<Cluster> {
        let scratch = ground.scratch("hyperqueue")?;
        let directory = scratch.path().join("server");
        let script = scratch.path().join("drive.py");
        let cannot = |error: std::io::Error| format!("cannot start HyperQueue: {error}");
        std::fs::create_dir(&directory).map_err(cannot)?;
        std::fs::write(&script, include_str!("hyperqueue.py")).map_err(cannot)?;
        let mut process = scratch
            .command(&self.0)
            .arg(&script)
            .arg(&directory)
            .arg("2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        let requests = process.stdin.take();
        let out = process.stdout.take().ok_or("HyperQueue has no output")?;
        let mut cluster = Cluster {
            process,
            requests,
            answers: BufReader::new(out),
            bare_mb: 0.0,
            _scratch: scratch,
        };
        let hello = cluster.answer()?;
        cluster.bare_mb = hello["bare"][0].as_f64().ok_or("HyperQueue says no memory")?;
        Ok(cluster)
    }
}

impl Cluster {
    /// Runs so many no-ops; answers the seconds.
    pub(in crate::bench) fn run(&mut self, count: usize) -> Outcome<f64> {
        let answer = self.ask(&json!({"do": "run", "count": count, "program": [NO_OP]}))?;
        answer["seconds"].as_f64().ok_or_else(|| format!("HyperQueue answered {answer}"))
    }

    /// Queues tasks that end only with the cluster.
    pub(in crate::bench) fn queue(&mut self, count: usize) -> Outcome {
        let program = ["/usr/bin/sleep", "86400"];
        self.ask(&json!({"do": "queue", "count": count, "program": program})).map(drop)
    }

    pub(in crate::bench) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// PSS beyond the bare interpreter's, MB, once it no longer grows: a submission is accepted before it is digested.
    pub(in crate::bench) fn memory_mb(&mut self) -> Outcome<f64> {
        let mut last = self.pss_mb()?;
        loop {
            // sleep: it announces nothing while it digests
            std::thread::sleep(Duration::from_millis(500));
            let now = self.pss_mb()?;
            if now <= last * 1.01 {
                return Ok(now - self.bare_mb);
            }
            last = now;
        }
    }

    fn pss_mb(&mut self) -> Outcome<f64> {
        let answer = self.ask(&json!({"do": "memory"}))?;
        answer["memory"][0].as_f64().ok_or_else(|| format!("HyperQueue answered {answer}"))
    }

    fn ask(&mut self, request: &Value) -> Outcome<Value> {
        let requests = self.requests.as_mut().ok_or("HyperQueue takes no requests")?;
        writeln!(requests, "{request}").map_err(|error| format!("HyperQueue is gone: {error}"))?;
        self.answer()
    }

    /// The next line that is ours: the library prints tables of its own beside it.
    fn answer(&mut self) -> Outcome<Value> {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line);
            match read.map_err(|error| format!("HyperQueue cannot be heard: {error}"))? {
                0 => return Err("HyperQueue ended without an answer".to_owned()),
                _ if line.starts_with('{') => {
                    return serde_json::from_str(&line)
                        .map_err(|error| format!("HyperQueue answered {line}: {error}"));
                }
                _ => {}
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
