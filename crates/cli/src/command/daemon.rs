//! `daemon`: run, start, stop, look at and install the daemon.
//!
//! What it is for: the few times somebody wants to know that there is one. What it owns: the subcommands. What it never
//! does: kill a daemon that does not answer.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use clap::{Args, Subcommand};
use meanwhile_api::daemon::{DaemonStatus, StopRequest};
use meanwhile_api::{ApiError, ErrorCode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::entry::{self, DaemonRan};
use crate::failure::Failure;
use crate::show::paint::Tone;
use crate::show::{rows, sanitise, when};

/// How long a daemon that has agreed to stop is waited for: many times what closing its store takes.
const LEAVING_SECONDS: i64 = 10;

/// Run, start, stop, look at or install the daemon
///
/// Every command starts it when it is needed, so that this is rarely typed. Tasks run on when it stops.
#[derive(Debug, Args)]
#[command(subcommand_required = true, disable_help_subcommand = true)]
pub(crate) struct Daemon {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run it here, in front
    Run {
        /// Where whoever started it is told how that went
        #[arg(long, hide = true, value_name = "FD")]
        ready_fd: Option<i32>,
    },
    /// Start it, if none runs
    Start,
    /// Stop it; tasks run on
    Stop {
        /// Cancel all unfinished tasks first
        #[arg(long)]
        cancel_all: bool,
    },
    /// Show what it says about itself; exits 5 when none runs
    Status,
    /// Write a systemd user unit for it
    Install,
}

impl Action for Daemon {
    fn run(self, context: &Context) -> Answer {
        match self.what {
            What::Run { ready_fd } => {
                if entry::run_daemon(&context.globals, ready_fd)? == DaemonRan::AlreadyRunning {
                    context.note("a daemon of this home runs already");
                }
                Ok(0)
            }
            What::Start => start(context),
            What::Stop { cancel_all } => stop(context, cancel_all),
            What::Status => status(context),
            What::Install => install(context),
        }
    }
}

fn start(context: &Context) -> Answer {
    let before = running(context)?;
    let client = context.client()?;
    let daemon = context.block_on(async { Ok(client.daemon().await?) })?;
    if context.globals.json {
        context.print_json(&daemon)?;
    } else {
        let what = if before.is_some() { "runs already" } else { "started" };
        context.print(&format!("daemon {what}, pid {}\n", daemon.pid))?;
    }
    Ok(0)
}

fn stop(context: &Context, cancel_all: bool) -> Answer {
    let client = context.present_daemon()?;
    let request = StopRequest { cancel_all, hand_over: false };
    // Asked first: one that hangs is named at once, however long a stop may take.
    let leaving = running(context)?.and_then(|daemon| Leaving::of(daemon.pid));
    let reply = context.block_on(async { Ok(client.stop(&request).await?) })?;
    if let (Some(_), Some(leaving)) = (&reply, leaving) {
        leaving.wait();
    }
    if context.globals.json {
        context.print_json(&reply)?;
        return Ok(0);
    }
    let Some(reply) = reply else {
        context.note("no daemon runs");
        return Ok(0);
    };
    let mut text = format!("daemon stopped, pid {}", reply.pid);
    let mut add = |count: u32, what: &str| {
        if count > 0 {
            let tasks = when::plural(u64::from(count), "task");
            write!(text, "; {tasks} {what}").expect("writing to a string cannot fail");
        }
    };
    add(reply.cancelled, "cancelled");
    add(reply.still_running, "running on");
    context.print(&(text + "\n"))?;
    Ok(0)
}

/// A daemon that was asked to stop. It answers before it goes; what it holds (the store, the lock, the disk) is free only
/// after.
struct Leaving(OwnedFd);

impl Leaving {
    fn of(pid: u32) -> Option<Leaving> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Leaving)
    }

    /// Until it has gone, or has taken too long to be waited for.
    fn wait(&self) {
        let patience = Timespec { tv_sec: LEAVING_SECONDS, tv_nsec: 0 };
        // A signal or an error ends the wait early, which is all it could do.
        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience));
    }
}

fn status(context: &Context) -> Answer {
    let Some(daemon) = running(context)? else {
        let error = ApiError::new(ErrorCode::Unreachable, "no daemon runs")
            .hint("commands start it when it is needed; to start it now: meanwhile daemon start");
        return Err(Failure::Fact(error));
    };
    if context.globals.json {
        context.print_json(&daemon)?;
    } else {
        context.print(&card(context, &daemon))?;
    }
    Ok(0)
}

fn running(context: &Context) -> Result<Option<DaemonStatus>, Failure> {
    let client = context.present_daemon()?;
    context.block_on(async { Ok(client.running_daemon().await?) })
}

fn card(context: &Context, daemon: &DaemonStatus) -> String {
    let mut text = String::new();
    let mut line = |heading: &str, value: &str| {
        let heading = format!("{heading:<10}");
        let heading = context.out.paint(Tone::Faint, &heading).to_string();
        writeln!(text, "{heading}{}", sanitise::line(value))
            .expect("writing to a string cannot fail");
    };
    line("pid", &daemon.pid.to_string());
    line("version", &format!("{} (protocol {})", daemon.version, daemon.protocol));
    line("up", &format!("{}, since {}", when::duration(daemon.uptime_ms), daemon.started_at));
    line("home", &daemon.home.to_string_lossy());
    line("socket", &daemon.socket.to_string_lossy());
    line("log", &daemon.log.to_string_lossy());
    let store = &daemon.store;
    let size = when::bytes(store.bytes);
    line("store", &format!("{} ({size}, version {})", store.path.to_string_lossy(), store.schema));
    line("clients", &format!("{} waiting; {} supervisors", daemon.waiters, daemon.supervisors));
    if let Some(why) = &daemon.refusing {
        line("refusing", why);
    }
    let tasks = rows::summary(&daemon.tasks, &context.out);
    writeln!(text, "{}{tasks}", context.out.paint(Tone::Faint, "tasks     "))
        .expect("writing to a string cannot fail");
    if !daemon.lanes.is_empty() {
        text.push('\n');
        text.push_str(&rows::lanes(&daemon.lanes, context.now(), &context.out));
    }
    text
}

fn install(context: &Context) -> Answer {
    let (path, next) = entry::install_daemon(&context.globals)?;
    if context.globals.json {
        let path = path.to_string_lossy();
        context.print_json(&serde_json::json!({ "path": path, "next": next }))?;
        return Ok(0);
    }
    context.print(&format!("{}\n", path.display()))?;
    for line in next {
        context.note(&format!("next: {line}"));
    }
    Ok(0)
}
