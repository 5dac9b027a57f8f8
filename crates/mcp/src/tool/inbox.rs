//! `inbox`: what this session has not been told yet.
//!
//! What it is for: the end of what nobody waited for. What it owns: the receipt. What it never does: make up words of its
//! own: the digest comes from the daemon, fenced.

use meanwhile_api::inbox::{AckRequest, DeliverRequest, Route};

use super::{Answer, Call};
use crate::answer;
use crate::arguments::{self, Arguments};

pub(super) async fn inbox(call: &Call<'_>, arguments: Arguments) -> Answer {
    let arguments::Inbox {} = arguments::read("inbox", arguments)?;
    // What an earlier answer has told must not come again.
    call.shared.receipts.hand_in().await;
    let request =
        DeliverRequest { holder: call.shared.holder.clone(), ..DeliverRequest::new(Route::Mcp)? };
    let reply = call.client.deliver(&request).await?;
    let Some(digest) = reply.digest else { return Ok(answer::words("Nothing unread.").into()) };
    let ids = reply.notices.into_iter().map(|notice| notice.id).collect();
    call.receipt(AckRequest { ids, tasks: Vec::new() });
    let more = match reply.unread {
        0 => String::new(),
        more => format!("\n{more} more unread: call `inbox` again"),
    };
    Ok(answer::words(format!("{}{more}", digest.trim_end())).into())
}
