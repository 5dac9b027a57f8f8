//! The tools: one file each.
//!
//! What it is for: a call by name. What it owns: what every tool has at hand, and the way from a name to a tool. What
//! it never does: know what a tool does.

mod cancel;
mod extend;
mod list;
mod output;
mod run;
mod wait;

use meanwhile_api::client::Client;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::{ApiError, Timestamp};
use rmcp::RoleServer;
use rmcp::model::CallToolResponse;
use rmcp::service::RequestContext;

use crate::answer;
use crate::arguments::Arguments;
use crate::server::Shared;

/// What a tool has at hand.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) client: Client,
    pub(crate) claim: SessionClaim,
    pub(crate) context: &'a RequestContext<RoleServer>,
}

impl Call<'_> {
    pub(crate) fn now(&self) -> Timestamp {
        (self.shared.clock)()
    }
}

/// What a tool answers with, or why it did not do it.
type Answer = Result<CallToolResponse, ApiError>;

/// What the tool does, as in "failed to ..."; none when there is no such tool.
fn doing(name: &str) -> Option<&'static str> {
    Some(match name {
        "run" => "launch",
        "list" => "list tasks",
        "output" => "read the output",
        "wait" => "wait",
        "cancel" => "cancel",
        "extend" => "give the task more time",
        _ => return None,
    })
}

/// Calls a tool; none when there is none of that name.
pub(crate) async fn call(
    shared: &Shared,
    context: &RequestContext<RoleServer>,
    name: &str,
    arguments: Arguments,
) -> Option<CallToolResponse> {
    let doing = doing(name)?;
    let answer = async {
        let claim = shared.sessions.claim(context);
        let client = shared.sessions.client(&claim)?;
        let call = Call { shared, client, claim, context };
        match name {
            "run" => run::run(&call, arguments).await,
            "list" => list::list(&call, arguments).await,
            "output" => output::output(&call, arguments).await,
            "wait" => wait::wait(&call, arguments).await,
            "cancel" => cancel::cancel(&call, arguments).await,
            _ => extend::extend(&call, arguments).await,
        }
    };
    Some(answer.await.unwrap_or_else(|error| answer::refusal(doing, &error).into()))
}
