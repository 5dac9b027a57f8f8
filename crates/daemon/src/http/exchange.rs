//! One request and its answer, between bytes and the handlers.
//!
//! Owns headers, the reading of bodies with their limits, and the form of every answer: JSON, the
//! protocol's version, an error object with its status. Never decides what a request does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use meanwhile_api::error::ErrorReply;
use meanwhile_api::headers::{self, SessionClaim};
use meanwhile_api::query::Query;
use meanwhile_api::routes::{self, Answers, Effect};
use meanwhile_api::{ApiError, ErrorCode, limits, version};
use meanwhile_core::RequestId;
use meanwhile_host::proc::Identity;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::caller::{Caller, Connection};
use super::context::{Context, unwritable};
use super::handlers;
use super::trail::{Touched, is_kept};

/// How long an answer that does not block may take before it is given up. Clients complain earlier.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Bodies above this wait for one of few places.
const LARGE_BODY: u64 = 4 << 20;

/// Bodies above this leave more behind in the heap than is kept for the next.
const BULKY_BODY: u64 = 128 << 10;

/// What an answer's body is.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A request, understood as far as its route.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) caller: Caller,
    /// What it says of itself.
    pub(super) claim: Option<SessionClaim>,
    /// The process that asks, where it is in no task.
    pub(super) origin: Option<Identity>,
    pub(super) request: Option<RequestId>,
    /// What stood for `{id}`.
    pub(super) id: String,
    query: String,
    pub(super) headers: HeaderMap,
    /// The tasks it turns out to be about.
    pub(super) touched: Touched,
}

/// Answers a request, whatever it is.
pub(super) async fn answer(
    context: &Arc<Context>,
    connection: &Connection,
    request: Request<Incoming>,
) -> Response<Body> {
    let answered = route(context, connection, request).await;
    let mut response = answered.unwrap_or_else(|error| error_response(&error));
    let range = HeaderValue::from_str(&version::SUPPORTED.to_string());
    response.headers_mut().insert(headers::PROTOCOL, range.expect("digits and a dash"));
    let program = HeaderValue::from_static(version::PROGRAM);
    response.headers_mut().insert(headers::DAEMON_VERSION, program);
    response
}

async fn route(
    context: &Arc<Context>,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    version::check_client(header(headers::PROTOCOL))?;
    let found = routes::find(head.method.as_str(), head.uri.path())?;
    let claim = match header(headers::SESSION) {
        None => None,
        Some(text) => Some(SessionClaim::from_header(text).ok_or_else(|| {
            bad_request(format!("header {} cannot be `{text}`", headers::SESSION))
        })?),
    };
    let caller = connection.caller(context, claim.as_ref())?;
    let request = match header(headers::REQUEST_ID) {
        None => None,
        Some(text) => Some(request_id(text)?),
    };
    let asked = Asked {
        caller,
        claim,
        origin: connection.origin(context),
        request,
        id: found.id.unwrap_or_default(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        touched: Touched::default(),
    };
    let mut entry = is_kept(found.route.id)
        .then(|| context.trail.begin(&asked, found.route.id, connection.pid()));
    if found.route.effect == Effect::Changes {
        let allowed = asked.caller.may_change();
        if let (Some(entry), Err(_)) = (&mut entry, &allowed) {
            entry.answered(&allowed);
        }
        allowed?;
    }
    let told = asked.shows().filter(|_| tells_unread(found.route.id)).map(|_| asked.caller.clone());
    let bulky = body.size_hint().upper().is_none_or(|bytes| bytes > BULKY_BODY);
    let handled = handlers::handle(context, found.route.id, asked, body);
    let response = match found.route.answers {
        Answers::Later => handled.await,
        // Output may follow a log; its own limits bound it.
        Answers::AtOnce if found.route.id == routes::RouteId::Output => handled.await,
        Answers::AtOnce => tokio::time::timeout(ANSWER_MAX, handled).await.unwrap_or_else(|_| {
            Err(ApiError::new(ErrorCode::Unresponsive, "the daemon's loop does not answer")
                .hint("meanwhile daemon status; the daemon's log says more"))
        }),
    };
    if bulky {
        meanwhile_host::allocator::give_back_now();
    }
    entry.iter_mut().for_each(|entry| entry.answered(&response));
    let mut response = response?;
    if let Some(caller) = told.filter(|caller| caller.task().is_none()) {
        // What cannot be counted is not told: the answer is right without it.
        let unread = context.count_unread(Some(&caller.session())).unwrap_or(0);
        if unread > 0 {
            response.headers_mut().insert(headers::UNREAD, HeaderValue::from(unread));
        }
    }
    Ok(response)
}

/// Whether the answer says how much is unread: those that a person reads, and that come at once.
fn tells_unread(route: routes::RouteId) -> bool {
    use routes::RouteId;
    matches!(route, RouteId::Submit | RouteId::List | RouteId::Summary | RouteId::Status)
}

fn request_id(text: &str) -> Result<RequestId, ApiError> {
    meanwhile_api::RequestId::parse(text)
        .map(|id| RequestId::new(id.as_str()))
        .ok_or_else(|| bad_request(format!("header {} cannot be `{text}`", headers::REQUEST_ID)))
}

pub(super) fn bad_request(message: String) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message)
        .hint("GET /v1/openapi.json describes every request")
}

impl Asked {
    /// The query's parameters.
    pub(super) fn query<T: Query>(&self) -> Result<T, ApiError> {
        T::from_query(&self.query)
    }
}

/// The body as JSON. An empty one is that of a request without options.
pub(super) async fn json_body<T: DeserializeOwned>(
    context: &Context,
    body: Incoming,
) -> Result<T, ApiError> {
    if body.size_hint().lower() > limits::BODY_BYTES_MAX as u64 {
        return Err(too_large(limits::BODY_BYTES_MAX));
    }
    let large = body.size_hint().upper().is_none_or(|bytes| bytes > LARGE_BODY);
    let _place = match large {
        true => context.large_bodies.acquire().await.ok(),
        false => None,
    };
    let collected = Limited::new(body, limits::BODY_BYTES_MAX).collect();
    let bytes = match tokio::time::timeout(limits::BODY_TIME, collected).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(too_large(limits::BODY_BYTES_MAX));
        }
        Ok(Err(error)) => return Err(bad_request(format!("request body broke off: {error}"))),
        Err(_) => return Err(bad_request("request body did not arrive in time".into())),
    };
    let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
    serde_json::from_slice(&bytes)
        .map_err(|error| bad_request(format!("request body cannot be read: {error}")))
}

pub(super) fn too_large(most: usize) -> ApiError {
    ApiError::new(ErrorCode::TooLarge, format!("request body has more than {} MiB", most >> 20))
        .hint("send less at once")
}

/// A successful answer.
pub(super) fn json(value: &impl Serialize) -> Result<Response<Body>, ApiError> {
    let body = serde_json::to_vec(value).map_err(|error| unwritable(&error))?;
    Ok(respond(StatusCode::OK, "application/json", full(body)))
}

/// A successful answer that is JSON already.
pub(super) fn json_text(text: Vec<u8>) -> Response<Body> {
    respond(StatusCode::OK, "application/json", full(text))
}

pub(super) fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn error_body(error: &ApiError) -> Vec<u8> {
    serde_json::to_vec(&ErrorReply { error: error.clone() }).unwrap_or_default()
}

fn error_response(error: &ApiError) -> Response<Body> {
    let status =
        StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, "application/json", full(error_body(error)))
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).boxed_unsync()
}
