//! Streamable HTTP on loopback: `/mcp`, with a token.
//!
//! What it is for: clients that cannot start a program. What it owns: the listener, the checks before a request reaches
//! the MCP library, and the bounds on connections. What it never does: listen anywhere but on loopback, or serve
//! another path.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use meanwhile_api::{ApiError, ErrorCode};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use crate::guard::Token;
use crate::guard::{self, Refused};
use crate::server::Server;
use crate::setup::Setup;
use crate::{limits, subscriptions};

/// The one path.
const PATH: &str = "/mcp";

type Mcp<H> = StreamableHttpService<H, LocalSessionManager>;
type Reply = Response<BoxBody<Bytes, Infallible>>;

/// Listens, and serves once it is told what with.
#[derive(Debug)]
pub struct Http {
    listener: TcpListener,
    address: SocketAddr,
}

impl Http {
    /// Listens on an address of loopback; port 0 takes a free one.
    ///
    /// # Errors
    /// When it is not loopback, or somebody else listens there.
    pub async fn listen(address: SocketAddr) -> Result<Http, ApiError> {
        if !address.ip().is_loopback() {
            let message = format!("listen on {address}: only loopback is served");
            return Err(
                ApiError::new(ErrorCode::Usage, message).hint("use 127.0.0.1:PORT or [::1]:PORT")
            );
        }
        let failed = |error: std::io::Error| {
            ApiError::new(ErrorCode::Usage, format!("listen on {address}: {error}"))
                .hint("choose another port, or 0 for a free one")
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Http { listener, address })
    }

    /// What to tell clients.
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub async fn serve(self, setup: Setup, token: Token) -> Result<Infallible, ApiError> {
        Ok(self.serve_with(Server::for_anybody(setup)?, Some(token)).await)
    }

    /// Serves for ever, with the tools that the conformance suite calls, and whoever comes.
    ///
    /// # Errors
    /// When the system has no randomness.
    #[cfg(feature = "fixtures")]
    pub async fn serve_fixtures(self, setup: Setup) -> Result<Infallible, ApiError> {
        let server = Server::for_anybody(setup)?;
        Ok(self.serve_with(crate::fixtures::Fixtures::beside(server), None).await)
    }

    async fn serve_with<H: ServerHandler + Clone>(
        self,
        server: H,
        token: Option<Token>,
    ) -> Infallible {
        let port = self.address.port();
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(guard::names(port))
            .with_allowed_origins(guard::origins(port))
            .enforce_origin_validation()
            .with_max_request_body_bytes(limits::BODY_BYTES);
        let sessions = Arc::new(LocalSessionManager::default());
        let mcp: Mcp<H> = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
        let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes it");
            // What fails here (a peer that is gone already, no descriptors left) says nothing about the next one.
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let (mcp, token) = (mcp.clone(), token.clone());
            tokio::spawn(async move {
                serve_one(stream, mcp, port, token).await;
                drop(place);
            });
        }
    }
}

async fn serve_one<H: ServerHandler>(
    stream: TcpStream,
    mcp: Mcp<H>,
    port: u16,
    token: Option<Token>,
) {
    let answer = move |request: Request<Incoming>| {
        let (mcp, token) = (mcp.clone(), token.clone());
        async move { Ok::<_, Infallible>(answer(&mcp, request, port, token.as_ref()).await) }
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIME)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    // A broken connection concerns its peer alone.
    let _ = served.await;
}

async fn answer<H: ServerHandler>(
    mcp: &Mcp<H>,
    request: Request<Incoming>,
    port: u16,
    token: Option<&Token>,
) -> Reply {
    let authority = request.uri().authority().map(|name| name.as_str());
    match guard::check(request.headers(), authority, port, token) {
        Ok(()) if request.uri().path() == PATH && subscribes(&request) => {
            let (parts, body) = request.into_parts();
            let Ok(body) = Limited::new(body, limits::BODY_BYTES).collect().await else {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n");
            };
            let body = body.to_bytes();
            let body = subscriptions::carried(&body).map_or(body, Bytes::from);
            mcp.handle(Request::from_parts(parts, Full::new(body))).await
        }
        Ok(()) if request.uri().path() == PATH => mcp.handle(request).await,
        Ok(()) => plain(StatusCode::NOT_FOUND, "MCP is at /mcp\n"),
        Err(Refused::Host) => plain(StatusCode::FORBIDDEN, "this name is not served\n"),
        Err(Refused::Origin) => plain(StatusCode::FORBIDDEN, "this origin is not served\n"),
        Err(Refused::Token) => {
            let mut reply = plain(
                StatusCode::UNAUTHORIZED,
                "send `Authorization: Bearer TOKEN`; `meanwhile mcp --http` names the file of the token\n",
            );
            reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            reply
        }
    }
}

/// From 2026-07-28 on, which subscriptions are of, a header names the method.
fn subscribes(request: &Request<Incoming>) -> bool {
    request.headers().get("mcp-method").is_some_and(|method| method == subscriptions::LISTEN)
}

fn plain(status: StatusCode, text: &'static str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *reply.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}
