//! One program, run to its end within a bounded time.
//!
//! Owns how it is started: no shell, a process group of its own, standard input from memory, output discarded but for
//! the beginning of what it complains of. When its time is up its group is ended, first kindly, then for good. Never
//! waits longer than that: what left the group on purpose is not waited for.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::Failure;

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes kept of what it says.
const SAID_BYTES: usize = 2 << 10;

/// What to run.
#[derive(Debug)]
pub struct Program<'a> {
    /// The program and its arguments, as they are.
    pub arguments: &'a [String],
    /// Set beside those of this process.
    pub variables: &'a [(&'a str, String)],
    /// Its standard input.
    pub input: &'a [u8],
    /// For all of it.
    pub time: Duration,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The beginning of its output and complaints.
    pub said: Vec<u8>,
}

/// Runs it. Success is exit code 0.
///
/// # Errors
/// That it could not be started, did not end in time, or said that it failed.
pub fn run(what: &Program<'_>) -> Result<Finished, Failure> {
    let Some((program, arguments)) = what.arguments.split_first() else {
        return Err(Failure::Lasting("there is no program".into()));
    };
    let (reader, writer) = io::pipe().map_err(|e| cannot(program, &e))?;
    let complaints = writer.try_clone().map_err(|e| cannot(program, &e))?;
    let started = Command::new(program)
        .args(arguments)
        .envs(what.variables.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(writer)
        .stderr(complaints)
        .process_group(0)
        .spawn();
    let mut child = started.map_err(|e| cannot(program, &e))?;
    let result = attend(&mut child, what, reader.into());
    // Ended or killed by now: this only takes it off the list of processes.
    let status = child.wait().map_err(|e| cannot(program, &e))?;
    let (in_time, said) = result.map_err(|e| cannot(program, &e))?;
    if !in_time {
        let text = format!("did not end within {} s and was ended", what.time.as_secs());
        return Err(Failure::Passing(text));
    }
    if status.success() {
        Ok(Finished { said })
    } else {
        Err(Failure::Passing(told(status, &said)))
    }
}

fn cannot(program: &str, error: &io::Error) -> Failure {
    let text = format!("{program} cannot be run: {error}");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Failure::Lasting(text),
        _ => Failure::Passing(text),
    }
}

fn told(status: ExitStatus, said: &[u8]) -> String {
    let last = String::from_utf8_lossy(said);
    let last = last.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let last: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
    if last.is_empty() { status.to_string() } else { format!("{status}: {last}") }
}

/// Feeds it, listens to it, and sees to it that it ends; whether it did so by itself, and what it said.
fn attend(child: &mut Child, what: &Program<'_>, reader: OwnedFd) -> io::Result<(bool, Vec<u8>)> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let stdin = child.stdin.take().expect("it was asked for");
    let mut input = Some(std::fs::File::from(OwnedFd::from(stdin)));
    let mut output = Some(std::fs::File::from(reader));
    for fd in [input.as_ref(), output.as_ref()].into_iter().flatten() {
        rustix::fs::fcntl_setfl(fd, rustix::fs::OFlags::NONBLOCK)?;
    }
    let mut rest = what.input;
    let mut said = Vec::new();
    let deadline = std::time::Instant::now() + what.time;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            end(pid, &ended)?;
            return Ok((false, said));
        }
        let mut watched = vec![PollFd::new(&ended, PollFlags::IN)];
        if let Some(input) = &input {
            watched.push(PollFd::new(input, PollFlags::OUT));
        }
        if let Some(output) = &output {
            watched.push(PollFd::new(output, PollFlags::IN));
        }
        wait(&mut watched, left)?;
        let over = watched[0].revents().contains(PollFlags::IN);
        if !feed(input.as_mut(), &mut rest) {
            input = None;
        }
        if !listen(output.as_mut(), &mut said) {
            output = None;
        }
        if over {
            // Whoever else has the pipe is not waited for.
            return Ok((true, said));
        }
    }
}

fn wait(watched: &mut [PollFd<'_>], left: Duration) -> io::Result<()> {
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(watched, Some(&left)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes what goes in; false once nothing is left or nobody reads it.
fn feed(input: Option<&mut std::fs::File>, rest: &mut &[u8]) -> bool {
    let Some(input) = input else { return false };
    while !rest.is_empty() {
        match input.write(rest) {
            Ok(written) => *rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A command need not read what it is told.
            Err(_) => return false,
        }
    }
    false
}

/// Reads what comes out and keeps its beginning; false once it is over.
fn listen(output: Option<&mut std::fs::File>, said: &mut Vec<u8>) -> bool {
    let Some(output) = output else { return false };
    let mut piece = [0; 4096];
    // So many at once: one that floods us must not keep us from looking at the clock.
    for _ in 0..16 {
        match output.read(&mut piece) {
            Ok(0) => return false,
            Ok(read) => {
                let room = SAID_BYTES.saturating_sub(said.len());
                said.extend_from_slice(&piece[..read.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

/// Ends its group. It has not been waited for, so that its number is still its own.
fn end(pid: Pid, ended: &OwnedFd) -> io::Result<()> {
    let _gone = kill_process_group(pid, Signal::TERM);
    wait(&mut [PollFd::new(&ended.as_fd(), PollFlags::IN)], GRACE)?;
    let _gone = kill_process_group(pid, Signal::KILL);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str, input: &[u8], time: Duration) -> Result<String, Failure> {
        let arguments = ["sh", "-c", line].map(str::to_owned);
        let variables = [("GREETING", "hello 'x'".to_owned())];
        let program = Program { arguments: &arguments, variables: &variables, input, time };
        run(&program).map(|finished| String::from_utf8(finished.said).unwrap())
    }

    const LONG: Duration = Duration::from_secs(120);

    #[test]
    fn a_program_gets_its_input_and_variables_and_says_how_it_went() {
        let said = shell("cat; printf \" $GREETING\"", b"in", LONG).unwrap();
        assert_eq!(said, "in hello 'x'");
        let failed = shell("echo first; echo 'bad \x1b[2Jthing' >&2; exit 3", b"", LONG);
        let Err(Failure::Passing(text)) = failed else { panic!("{failed:?}") };
        assert!(text.contains("exit status: 3") && text.contains("bad [2Jthing"), "{text}");
    }

    #[test]
    fn input_that_nobody_reads_and_output_without_end_hold_nobody_up() {
        assert_eq!(shell("exit 0", &vec![b'x'; 1 << 20], LONG), Ok(String::new()));
        let said = shell("head -c 3000000 /dev/zero | tr '\\0' y", b"", LONG).unwrap();
        assert_eq!(said.len(), SAID_BYTES);
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_its_children() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("pid");
        let line = format!(
            "sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; trap '' TERM; wait; wait",
            file.display()
        );
        let failed = shell(&line, b"", Duration::from_secs(8));
        let Err(Failure::Passing(text)) = failed else { panic!("{failed:?}") };
        assert!(text.contains("did not end"), "{text}");
        let child: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }

    #[test]
    fn a_program_that_is_not_there_is_not_tried_again() {
        let arguments = ["no-such-program-anywhere".to_owned()];
        let program = Program { arguments: &arguments, variables: &[], input: b"", time: LONG };
        assert!(
            matches!(run(&program), Err(Failure::Lasting(text)) if text.contains("no-such-program"))
        );
        let none = Program { arguments: &[], variables: &[], input: b"", time: LONG };
        assert!(matches!(run(&none), Err(Failure::Lasting(_))));
    }
}
