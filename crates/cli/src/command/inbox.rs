//! `inbox`: what this session has not been told yet.
//!
//! What it is for: the end of a task reaches whoever launched it, even if nobody was waiting. What it owns: that a notice
//! is acknowledged only after it was printed. What it never does: poll.

use clap::Args;
use meanwhile_api::client::Client;
use meanwhile_api::inbox::{
    AckRequest, DeliverReply, DeliverRequest, Delivered, InboxQuery, InboxReply, Notice, Route,
};
use meanwhile_api::{ApiError, ErrorCode, ExitCode, Span};

use crate::cli::{Action, Answer};
use crate::command::{arguments as check, watch};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::{notices, when};

/// Read what this session has not been told of its tasks
///
/// Ends of tasks and deadlines that are near. What was shown is not shown again, here or by any other way, unless it was
/// only looked at with `--peek`. `--peek` does not start a daemon. With `--wait` it blocks until there is something to
/// tell: the last of the tasks launched together is done, or one has failed; 124 when the timeout is over first.
#[derive(Debug, Args)]
pub(crate) struct Inbox {
    /// Look, and leave everything unread
    #[arg(long, conflicts_with = "wait")]
    peek: bool,

    /// Block until there is something to tell; a later waiter of the same session takes over
    #[arg(long)]
    wait: bool,

    /// Wait no longer than this
    #[arg(long, value_name = "D", value_parser = check::span, requires = "wait")]
    timeout: Option<Span>,

    /// Of all sessions; for people
    #[arg(long)]
    any_session: bool,
}

impl Action for Inbox {
    fn run(self, context: &Context) -> Answer {
        if self.peek {
            return self.look(context);
        }
        let client = context.client()?;
        let request = DeliverRequest {
            wait: self.wait,
            timeout: self.timeout,
            any_session: self.any_session,
            ..DeliverRequest::new(Route::Cli)?
        };
        context.block_on(async {
            let reply = tokio::select! {
                reply = client.deliver(&request) => reply?,
                () = watch::interrupted() => return Err(Failure::Interrupted),
            };
            match reply.outcome {
                Delivered::Notices => {
                    show(context, &reply)?;
                    acknowledge(&client, &reply.notices).await?;
                    Ok(0)
                }
                Delivered::Nothing => {
                    nothing(context)?;
                    Ok(0)
                }
                Delivered::TimedOut => {
                    nothing(context)?;
                    Ok(ExitCode::WaitTimeout.code())
                }
                Delivered::TakenOver => Err(ApiError::new(
                    ErrorCode::WrongState,
                    "another `inbox --wait` of this session has taken over",
                )
                .hint("one waiter per session is told; to look: meanwhile inbox --peek")
                .into()),
            }
        })
    }
}

impl Inbox {
    fn look(&self, context: &Context) -> Answer {
        let client = context.reader()?;
        let query = InboxQuery { any_session: self.any_session, limit: None };
        let InboxReply { notices, unread } =
            context.block_on(async { Ok(client.inbox(&query).await?) })?;
        if context.globals.json {
            context.print_json(&notices)?;
        } else if notices.is_empty() {
            context.note("nothing unread");
        } else {
            context.print(&notices::render(&notices, context.now(), &context.out))?;
            tell_more(context, unread.saturating_sub(notices.len() as u64));
        }
        Ok(0)
    }
}

fn nothing(context: &Context) -> Result<(), Failure> {
    if context.globals.json {
        return context.print_json(&Vec::<Notice>::new());
    }
    context.note("nothing unread");
    Ok(())
}

fn show(context: &Context, reply: &DeliverReply) -> Result<(), Failure> {
    if context.globals.json {
        return context.print_json(&reply.notices);
    }
    match &reply.digest {
        // An agent reads it: what tasks have written must not look like anything else.
        Some(digest) if !context.out.terminal && !context.seems_a_person() => {
            context.print(digest)?;
        }
        _ => context.print(&notices::render(&reply.notices, context.now(), &context.out))?,
    }
    tell_more(context, reply.unread);
    Ok(())
}

fn tell_more(context: &Context, more: u64) {
    if more > 0 {
        context.note(&format!("{} more unread: meanwhile inbox", when::count(more)));
    }
}

async fn acknowledge(client: &Client, notices: &[Notice]) -> Result<(), ApiError> {
    let ids = notices.iter().map(|notice| notice.id.clone()).collect();
    client.acknowledge(&AckRequest { ids, tasks: Vec::new() }).await.map(|_| ())
}
