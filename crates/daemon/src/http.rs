//! The HTTP server: HTTP/1.1 with JSON over the home's unix socket, on a thread of its own.
//!
//! ```text
//!   socket ─► server (accept, uid) ─► exchange (headers, body, limits) ─► handlers ─► letters / reads
//! ```
//!
//! Owns the thread and its single-threaded runtime. Answers reads by itself from the store and the
//! log files; whatever changes or waits goes to the loop as a letter. Decides only who may ask what.

pub(crate) mod caller;
mod context;
mod exchange;
pub(crate) mod handlers;
mod receipts;
mod server;
mod trail;

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::letters::ReadinessWatch;
use crate::readiness::Checks;

pub use context::{Context, ContextInputs};

/// How long answers under way may take once the loop has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    checks: Checks,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Serves a socket from now on.
///
/// # Errors
/// When the runtime or its thread cannot be made, or the home is not readable.
pub fn start(listener: UnixListener, inputs: ContextInputs) -> io::Result<Server> {
    let (stop, stopping) = watch::channel(false);
    let (started, starting) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
        let serving = prepare(listener, inputs);
        match serving {
            Ok((runtime, context, listener)) => {
                let _started = started.send(Ok(context.checks(runtime.handle())));
                runtime.spawn(crate::signals::stop_when_told(context.postbox.clone()));
                runtime.spawn(crate::routes::keeper::keep(context.routes()));
                runtime.block_on(server::serve(listener, context, stopping));
                // What is still under way is given up: clients connect again.
                runtime.shutdown_timeout(Duration::ZERO);
            }
            Err(error) => {
                let _nobody_waits = started.send(Err(error));
            }
        }
    })?;
    let checks = starting
        .recv()
        .map_err(|_| io::Error::other("the HTTP thread ended before it served"))??;
    Ok(Server { checks, stop, thread })
}

type Serving = (tokio::runtime::Runtime, std::sync::Arc<Context>, tokio::net::UnixListener);

fn prepare(listener: UnixListener, inputs: ContextInputs) -> io::Result<Serving> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    listener.set_nonblocking(true)?;
    raise_descriptor_limit();
    let (listener, context) = {
        let _inside = runtime.enter();
        (tokio::net::UnixListener::from_std(listener)?, Context::new(inputs)?)
    };
    Ok((runtime, context, listener))
}

/// A thousand waiting clients are a thousand descriptors, more than the usual soft limit. Tasks get
/// the limits of their own callers, whatever ours are.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
}

impl Server {
    /// Starts readiness checks on the server's runtime.
    #[must_use]
    pub fn readiness(&self) -> Box<dyn ReadinessWatch> {
        Box::new(self.checks.clone())
    }

    /// Accepts nothing more, lets answers under way go out, and ends the thread.
    pub fn finish(self) {
        let Self { checks, stop, thread } = self;
        drop(checks);
        stop.send_replace(true);
        if thread.join().is_err() {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;
