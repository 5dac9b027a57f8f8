//! The tools: one file each.
//!
//! What it is for: a call by name. What it owns: what every tool has at hand, and the way from a name to a tool. What
//! it never does: know what a tool does.

mod cancel;
mod extend;
mod inbox;
mod list;
pub(crate) mod output;
mod run;
mod wait;

use std::sync::{Mutex, PoisonError};

use meanwhile_api::client::Client;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::inbox::{AckRequest, InboxQuery};
use meanwhile_api::task::Task;
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
    /// What the answer says of tasks that have ended.
    pub(crate) told: Mutex<AckRequest>,
}

impl Call<'_> {
    pub(crate) fn now(&self) -> Timestamp {
        (self.shared.clock)()
    }

    /// The answer will say how these have ended, if they have.
    pub(crate) fn tells_of(&self, tasks: &[Task]) {
        let ended = tasks.iter().filter(|task| task.state.is_terminal());
        let tasks = ended.map(|task| task.id.clone()).collect();
        self.receipt(AckRequest { ids: Vec::new(), tasks });
    }

    /// The answer will tell this.
    pub(crate) fn receipt(&self, told: AckRequest) {
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        all.ids.extend(told.ids);
        all.tasks.extend(told.tasks);
    }

    /// The answer with what else there is to read, and its receipt on the way.
    async fn done(self, name: &str, answer: CallToolResponse) -> CallToolResponse {
        let told = self.told.into_inner().unwrap_or_else(PoisonError::into_inner);
        let answer = match answer {
            CallToolResponse::Complete(result) if name != "inbox" => {
                let unread = unread(&self.client, &told).await;
                answer::with_unread(result, unread).into()
            }
            answer => answer,
        };
        self.shared.receipts.keep(self.client, told);
        answer
    }
}

/// How many notices wait beside what the answer tells.
async fn unread(client: &Client, told: &AckRequest) -> usize {
    // An answer is not held back because its postscript is not known.
    let Ok(inbox) = client.inbox(&InboxQuery::default()).await else { return 0 };
    inbox.notices.iter().filter(|notice| !told.tasks.contains(&notice.task)).count()
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
        "inbox" => "read the inbox",
        "extend" => "give the task more time",
        _ => return None,
    })
}

/// Calls a tool; none when there is none of that name.
pub(crate) async fn call(
    shared: &Shared,
    context: &RequestContext<RoleServer>,
    name: &str,
    mut arguments: Arguments,
) -> Option<CallToolResponse> {
    let doing = doing(name)?;
    let answer = async {
        let claim = shared.sessions.claim(context, &mut arguments);
        let client = shared.sessions.client(&claim)?;
        let told = Mutex::default();
        let call = Call { shared, client, claim, context, told };
        let answer = match name {
            "run" => run::run(&call, arguments).await,
            "list" => list::list(&call, arguments).await,
            "output" => output::output(&call, arguments).await,
            "wait" => wait::wait(&call, arguments).await,
            "cancel" => cancel::cancel(&call, arguments).await,
            "inbox" => inbox::inbox(&call, arguments).await,
            _ => extend::extend(&call, arguments).await,
        };
        Ok(call.done(name, answer?).await)
    };
    Some(answer.await.unwrap_or_else(|error| answer::refusal(doing, &error).into()))
}
