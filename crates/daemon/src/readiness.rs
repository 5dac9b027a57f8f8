//! Whether a service is ready: a line of its output, or a port that answers.
//!
//! Owns the checks, which run on the HTTP thread's runtime while the task runs: a pattern is looked
//! for in what the log grows by, woken by the kernel; a port is tried at 100 ms, doubling to 1 s.
//! The loop is told by a letter, once. Never decides what readiness means for the task.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meanwhile_core::input::Until;
use meanwhile_core::spec::Readiness;
use meanwhile_core::{AttemptToken, TaskId};
use meanwhile_host::home::Home;
use meanwhile_supervisor::log::{LogView, Stream};
use regex::bytes::Regex;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::growth::Growth;
use crate::letters::{Ask, Claim, Letter, Postbox, ReadinessWatch, WaitFor};
use crate::output::text;

/// The pause after the first try of a port.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long one try of a port may take: on loopback an answer comes at once or never.
const TRY: Duration = Duration::from_secs(1);
/// A line beyond this is searched in pieces.
const LINE_MAX: usize = 64 << 10;
/// Bytes read from a log at once.
const STEP: usize = 64 << 10;
/// How much of the line that said it is shown.
const SHOWN: usize = 200;

/// What the checks need.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Where they run.
    pub runtime: tokio::runtime::Handle,
    /// Where the result goes.
    pub postbox: Postbox,
    /// Where the logs are.
    pub home: Arc<Home>,
    /// Says when they grow.
    pub growth: Arc<Growth>,
}

impl ReadinessWatch for Checks {
    fn watch(&self, task: TaskId, attempt: u32, token: AttemptToken, readiness: Readiness) {
        let checks = self.clone();
        self.runtime.spawn(async move {
            let wait = WaitFor {
                inside: None,
                targets: vec![task],
                any: false,
                until: Until::Done,
                timeout: None,
            };
            tokio::select! {
                _over = checks.postbox.wait(wait) => {}
                how = checks.ready(task, attempt, readiness) => checks.tell(task, token, how),
            }
        });
    }
}

impl Checks {
    /// Returns when it is ready, with the line or the port that said so.
    async fn ready(&self, task: TaskId, attempt: u32, readiness: Readiness) -> String {
        match readiness {
            Readiness::Port(port) => port_answers(port).await,
            Readiness::Pattern(pattern) => match Regex::new(&pattern) {
                Ok(pattern) => self.line_appears(task, attempt, &pattern).await,
                Err(error) => {
                    tracing::error!(%task, %error, "a pattern that was accepted is none");
                    std::future::pending().await
                }
            },
        }
    }

    async fn line_appears(&self, task: TaskId, attempt: u32, pattern: &Regex) -> String {
        // The watch comes before the first look: what is written in between is not missed.
        let mut watch = self.growth.watch(&self.home.paths.attempt(task, attempt));
        let mut search = Search { at: 0, line: Vec::new() };
        loop {
            if let Some(directory) = self.home.existing_attempt(task, attempt)
                && let Ok(mut view) = LogView::open(&directory, Stream::Output)
            {
                loop {
                    match search.step(&mut view, pattern) {
                        Found::Line(line) => return line,
                        Found::MoreToRead => tokio::task::yield_now().await,
                        Found::End => break,
                    }
                }
            }
            watch.changed().await;
        }
    }

    fn tell(&self, task: TaskId, token: AttemptToken, how: String) {
        let (reply, _nobody_listens) = oneshot::channel();
        let (ask, claim) = (Ask::Ready { task, token, how }, Claim::default());
        self.postbox.post(Letter { ask, request: None, reply, claim });
    }
}

async fn port_answers(port: u16) -> String {
    let addresses = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ];
    let mut pause = FIRST_PAUSE;
    loop {
        for address in addresses {
            if let Ok(Ok(_connected)) = tokio::time::timeout(TRY, TcpStream::connect(address)).await
            {
                return format!("port {port}");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// How far a log was searched.
struct Search {
    at: u64,
    line: Vec<u8>,
}

enum Found {
    Line(String),
    MoreToRead,
    End,
}

impl Search {
    fn step(&mut self, view: &mut LogView, pattern: &Regex) -> Found {
        let mut buffer = vec![0; STEP];
        let (found, read) = view.read_at(self.at, &mut buffer).unwrap_or((self.at, 0));
        if read == 0 {
            // A line that is not over may say it already.
            return self.look(pattern).map_or(Found::End, Found::Line);
        }
        if found > self.at {
            self.line.clear();
        }
        for piece in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if !piece.ends_with(b"\n") && self.line.len() < LINE_MAX {
                continue;
            }
            if let Some(line) = self.look(pattern) {
                return Found::Line(line);
            }
            self.line.clear();
        }
        self.at = found + read as u64;
        Found::MoreToRead
    }

    fn look(&self, pattern: &Regex) -> Option<String> {
        let line = text::clean(&self.line);
        let line = line.trim_end_matches('\n');
        (!self.line.is_empty() && pattern.is_match(line.as_bytes()))
            .then(|| line.chars().take(SHOWN).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::letters::Bell;
    use crate::view::tests::home;

    const TOKEN: AttemptToken = AttemptToken([7; 16]);

    struct Bench {
        _base: tempfile::TempDir,
        /// Ends the runtime's thread when dropped.
        _runs: oneshot::Sender<()>,
        checks: Checks,
        letters: std::sync::mpsc::Receiver<Letter>,
    }

    fn bench() -> Bench {
        let base = tempfile::tempdir().unwrap();
        let home = Arc::new(home(&base.path().join("home")));
        let (postbox, letters) = Postbox::new(Arc::new(Bell::new().unwrap()));
        let (runs, ended) = oneshot::channel();
        let (started, starting) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                started.send((tokio::runtime::Handle::current(), Growth::start())).unwrap();
                let _dropped = ended.await;
            });
        });
        let (runtime, growth) = starting.recv().unwrap();
        let checks = Checks { runtime, postbox, home, growth };
        Bench { _base: base, _runs: runs, checks, letters }
    }

    impl Bench {
        /// The next letter that says ready; the waits for the task's end stay unanswered.
        fn ready(&self, waits: &mut Vec<Letter>) -> String {
            loop {
                let letter = self.letters.recv_timeout(Duration::from_secs(10)).expect("a letter");
                match letter.ask {
                    Ask::Ready { token, how, .. } => {
                        assert_eq!(token, TOKEN);
                        return how;
                    }
                    _ => waits.push(letter),
                }
            }
        }
    }

    #[test]
    fn a_line_that_is_written_later_and_in_pieces_is_found() {
        let bench = bench();
        let task = TaskId::from_random(1);
        bench.checks.home.attempt(task, 1).unwrap();
        let log = bench.checks.home.paths.attempt(task, 1).join("output.log");
        fs::write(&log, "starting\n").unwrap();
        let pattern = Readiness::Pattern("^listening on \\d+$".into());
        bench.checks.watch(task, 1, TOKEN, pattern);
        let mut waits = vec![bench.letters.recv_timeout(Duration::from_secs(10)).unwrap()];
        let mut log = OpenOptions::new().append(true).open(&log).unwrap();
        for piece in ["not listening on 1\n", "listening", " on \u{1b}[1m80", "80\u{1b}[0m\n"] {
            log.write_all(piece.as_bytes()).unwrap();
        }
        assert!(bench.ready(&mut waits).starts_with("listening on 80"));
    }

    #[test]
    fn a_port_is_found_once_it_answers() {
        let bench = bench();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        bench.checks.watch(TaskId::from_random(2), 1, TOKEN, Readiness::Port(port));
        assert_eq!(bench.ready(&mut Vec::new()), format!("port {port}"));
    }

    #[test]
    fn a_check_ends_with_its_task() {
        let bench = bench();
        let task = TaskId::from_random(3);
        bench.checks.home.attempt(task, 1).unwrap();
        bench.checks.watch(task, 1, TOKEN, Readiness::Pattern("never".into()));
        let wait = bench.letters.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(&wait.ask, Ask::Wait { wait, .. } if wait.targets == [task]));
        let answer = meanwhile_core::Answer { states: Vec::new(), met: true, timed_out: false };
        wait.reply.send(Ok(crate::letters::Reply::Waited(answer))).unwrap();
        let Bench { checks, letters, _runs, _base } = bench;
        drop(checks);
        // The last sender is the check's own: the channel closes when the check is gone.
        let closed = letters.recv_timeout(Duration::from_secs(10)).unwrap_err();
        assert_eq!(closed, std::sync::mpsc::RecvTimeoutError::Disconnected);
    }
}
