//! Accepting connections and serving each.
//!
//! Owns the limits of the door: who may connect (our own user), how many, how long headers may take.
//! Survives a process without descriptors: it waits until a connection ends. Never parses a request.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use meanwhile_api::{ApiError, ErrorCode, limits};
use meanwhile_host::caller::Peer;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::caller::Connection;
use super::context::Context;
use super::{LAST_ANSWERS, exchange};

/// How long the door stays shut when the process has no descriptor left and no connection ends.
const NO_DESCRIPTORS: Duration = Duration::from_secs(1);

/// Serves until it is told to stop.
pub(super) async fn serve(
    listener: UnixListener,
    context: Arc<Context>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let closed = Arc::new(Notify::new());
    loop {
        // Ended ones are taken out here, so that the set holds the open ones alone.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
        };
        match accepted {
            Ok((stream, _)) if connections.len() >= limits::CONNECTIONS_MAX => {
                connections.spawn(refuse(stream));
            }
            Ok((stream, _)) => {
                let Some(connection) = admit(&stream, &context) else { continue };
                let (context, stopping) = (Arc::clone(&context), stopping.clone());
                let closed = Arc::clone(&closed);
                connections.spawn(async move {
                    talk(stream, connection, context, stopping).await;
                    closed.notify_one();
                });
            }
            Err(error) => wait_for_descriptors(&error, &closed).await,
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_ANSWERS, all).await.is_err() {
        tracing::info!("some answers were not taken in time");
    }
}

/// Who connected, if it is our own user.
fn admit(stream: &UnixStream, context: &Context) -> Option<Connection> {
    match Peer::of(stream) {
        Ok(peer) if peer.uid == context.own_uid => Some(Connection::new(peer)),
        Ok(peer) => {
            tracing::warn!(uid = peer.uid, "a connection of another user was dropped");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "a connection without a peer was dropped");
            None
        }
    }
}

async fn talk(
    stream: UnixStream,
    connection: Connection,
    context: Arc<Context>,
    mut stopping: watch::Receiver<bool>,
) {
    let connection = Arc::new(connection);
    let service = service_fn(move |request| {
        let (context, connection) = (Arc::clone(&context), Arc::clone(&connection));
        async move { Ok::<_, Infallible>(exchange::answer(&context, &connection, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIME)
        .max_buf_size(limits::HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let mut told = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            _ = stopping.changed(), if !told => {
                told = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// One connection too many gets an answer that says so.
async fn refuse(mut stream: UnixStream) {
    let message = format!("{} connections are open", limits::CONNECTIONS_MAX);
    let error = ApiError::new(ErrorCode::Stopping, message).hint("try again when some have ended");
    let body = exchange::error_body(&error);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let answer = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await
    };
    let _unread = tokio::time::timeout(Duration::from_secs(1), answer).await;
}

async fn wait_for_descriptors(error: &io::Error, closed: &Notify) {
    tracing::error!(%error, "no connection can be accepted");
    let _either = tokio::time::timeout(NO_DESCRIPTORS, closed.notified()).await;
}
