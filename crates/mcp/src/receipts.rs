//! What a session has been told by our answers, and that the daemon hears of it.
//!
//! What it is for: what one way has delivered no other delivers again. What it owns: the order: first the answer is
//! written, then the daemon is told so; a server that is killed in between has told nothing, and the session hears of it
//! again by another way, and so it does when the client died before it can have read the answer. What it never does: decide
//! what is unread.

use std::sync::{Arc, Mutex, PoisonError};

use meanwhile_api::client::Client;
use meanwhile_api::inbox::AckRequest;
use tokio::time::sleep;

use crate::limits;
use crate::setup::ClientIsThere;

/// Receipts that are still to be handed in.
#[derive(Clone, Default)]
pub(crate) struct Receipts {
    open: Arc<Mutex<Vec<(Client, AckRequest)>>>,
    /// Whether whoever reads the answers is there, where it is one process.
    reader: Option<ClientIsThere>,
}

impl Receipts {
    /// Of a server that talks with the process that has started it.
    pub(crate) fn of_one_client(is_there: ClientIsThere) -> Receipts {
        Receipts { open: Arc::default(), reader: Some(is_there) }
    }

    /// Hands a receipt in once the answer it is about has been written.
    pub(crate) fn keep(&self, client: Client, receipt: AckRequest) {
        if receipt == AckRequest::default() {
            return;
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push((client, receipt));
        let receipts = self.clone();
        tokio::spawn(async move {
            sleep(limits::RECEIPT_AFTER).await;
            receipts.hand_in().await;
        });
    }

    /// The input has ended. A client that leaves has read its answers; whoever was killed has not read what lies in its
    /// pipe, and its session is told again.
    pub(crate) async fn leave(&self) {
        if self.reader.as_ref().is_none_or(|is_there| is_there()) {
            self.hand_in().await;
        }
    }

    /// Hands in all there are.
    pub(crate) async fn hand_in(&self) {
        let all = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for (client, receipt) in all {
            // What cannot be said is told again by another way, recognisably the same.
            let _ = client.acknowledge(&receipt).await;
        }
    }
}
