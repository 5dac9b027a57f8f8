//! The server itself: HTTP/1.1 on loopback, one task per connection, until the test drops it.
//!
//! Owns: the runtime on its thread. Never decides what is said.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::answer::{self, Said, Sent};
use super::request::{self, Dialect};
use super::scenario::{self, Deed};
use super::{Asked, Record};

type Body = BoxBody<Bytes, Infallible>;

struct Service {
    record: Arc<Record>,
    /// How often a marker that fails some times has failed.
    failures: Mutex<HashMap<String, u32>>,
}

/// Serves until the other end is dropped.
pub(super) fn serve(listener: TcpListener, record: &Arc<Record>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime for tests");
    let service = Arc::new(Service { record: Arc::clone(record), failures: Mutex::default() });
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("it is a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is a socket");
        let accepting = async {
            while let Ok((stream, _)) = listener.accept().await {
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    let of_connection = service_fn(|request| {
                        let service = Arc::clone(&service);
                        async move { Ok::<_, Infallible>(service.answer(request).await) }
                    });
                    let builder = hyper::server::conn::http1::Builder::new();
                    // A client that leaves early is part of many a scenario.
                    let _left = builder.serve_connection(TokioIo::new(stream), of_connection).await;
                });
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopped => {}
        }
    });
}

impl Service {
    async fn answer(&self, request: hyper::Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let bytes =
            body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let Some(dialect) = Dialect::of(&path).filter(|_| head.method == Method::POST) else {
            return document(StatusCode::OK, &beside(&path));
        };
        let request = request::read(dialect, &path, &body);
        let number = {
            self.record.add(Asked {
                dialect,
                path,
                model: request.model.clone(),
                last_user: request.last_user.clone(),
                after_tools: request.after_tools,
                tools: request.tools.iter().map(|tool| tool.name.clone()).collect(),
                body,
            });
            self.record.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        let deed = scenario::decide(&request, &mut |marker| {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(marker.to_owned()).or_insert(0);
            *count += 1;
            *count - 1
        });
        let (text, calls, over, cut) = match deed {
            Deed::Error(code) => return failure(dialect, code),
            Deed::Hang => return std::future::pending().await,
            Deed::Calls(calls) => (String::new(), calls, Duration::ZERO, false),
            Deed::Text { text, over, cut } => (text, vec![], over, cut),
        };
        let said = Said { text: &text, calls: &calls, number };
        if !request.stream {
            tokio::time::sleep(over).await; // sleep: a slow model is slow
            return document(StatusCode::OK, &answer::document(dialect, &request, said));
        }
        let mut events = answer::stream(dialect, &request, said);
        if cut {
            let first = events.iter().position(|sent| sent.piece).map_or(events.len(), |at| at + 1);
            events.truncate(first);
        }
        streamed(events, over)
    }
}

/// What is asked beside conversations: models there are, and tokens counted.
fn beside(path: &str) -> Value {
    if path.ends_with("/models") {
        let model = |id: &str| {
            json!({
                "id": id, "object": "model", "type": "model", "display_name": id, "created": 1, "owned_by": "scripted",
                "created_at": "2026-01-01T00:00:00Z",
            })
        };
        return json!({ "object": "list", "data": [model("scripted-text")], "has_more": false, "models": [] });
    }
    if path.ends_with("/count_tokens") {
        return json!({ "input_tokens": 10 });
    }
    if path.ends_with(":countTokens") {
        return json!({ "totalTokens": 10 });
    }
    json!({})
}

fn failure(dialect: Dialect, code: u16) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = document(status, &answer::error(dialect, code));
    if code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn document(status: StatusCode, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed();
    let response =
        Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(body).expect("a sound answer")
}

fn streamed(events: Vec<Sent>, over: Duration) -> Response<Body> {
    let pieces = u32::try_from(events.iter().filter(|sent| sent.piece).count()).unwrap_or(1).max(1);
    let (send, receive) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for Sent { name, data, piece } in events {
            if piece && !over.is_zero() {
                tokio::time::sleep(over / pieces).await; // sleep: a slow model is slow
            }
            let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
            if send.send(Bytes::from(format!("{name}data: {data}\n\n"))).await.is_err() {
                return;
            }
        }
    });
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-cache");
    response.body(Pieces(receive).boxed()).expect("a sound answer")
}

/// A body whose pieces come one by one.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
