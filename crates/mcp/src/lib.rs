//! The MCP face: few tools for agents, over stdio and over Streamable HTTP.
//!
//! What it is for: an agent launches background commands through tools it already has, goes on, and reads results in
//! few tokens. What it owns: the tools with their words, the MCP task that a `wait` can be, which session a call
//! belongs to, and the patience with a model that polls. What it never does: read the store, decide about a task, read
//! the environment or a file, or keep anything that a later process would need.
//!
//! ```text
//! agent --stdio--> rmcp --\
//!                          server --> tool/* --> meanwhile_api::client --> daemon
//! agent --HTTP--> guard --/   \-> waits (tasks/get): the id says what is waited for
//! ```

mod answer;
mod arguments;
mod digest;
mod fence;
#[cfg(feature = "fixtures")]
mod fixtures;
mod guard;
mod http;
mod limits;
mod listing;
mod patience;
mod receipts;
mod resources;
mod server;
mod session;
mod setup;
mod shelf;
mod stdio;
mod subscriptions;
mod tool;
mod waits;
mod words;

pub use http::{Http, Token};
pub use setup::{ClientIsThere, Connect, Setup};
pub use shelf::{Get, Put, Shelf};

use meanwhile_api::{ApiError, ErrorCode};
use rmcp::service::ServerInitializeError;
use rmcp::{ServerHandler, ServiceExt as _};
use tokio::io::{AsyncRead, AsyncWrite};

/// Serves one client over standard input and output, until it closes them.
///
/// # Errors
/// When what arrives first is no beginning of MCP, or the streams break.
pub async fn serve_stdio(setup: Setup) -> Result<(), ApiError> {
    let (input, output) = rmcp::transport::stdio();
    serve_streams(setup, input, output).await
}

/// The same over any two streams.
///
/// # Errors
/// As [`serve_stdio`].
pub async fn serve_streams(
    setup: Setup,
    input: impl AsyncRead + Unpin + Send + 'static,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), ApiError> {
    let lines = stdio::checked(input, output);
    let server = server::Server::for_one_client(setup)?;
    let shared = server.shared();
    serve_lines(server, &shared, lines).await
}

/// The same with the tools that tests with other clients call.
///
/// # Errors
/// As [`serve_stdio`].
#[cfg(feature = "fixtures")]
pub async fn serve_fixtures_stdio(setup: Setup) -> Result<(), ApiError> {
    let (input, output) = rmcp::transport::stdio();
    let lines = stdio::checked(input, output);
    let server = server::Server::for_one_client(setup)?;
    let shared = server.shared();
    serve_lines(fixtures::Fixtures::beside(server), &shared, lines).await
}

async fn serve_lines<H: ServerHandler>(
    handler: H,
    shared: &server::Shared,
    lines: stdio::Lines,
) -> Result<(), ApiError> {
    shared.left.set(lines.left).expect("a server serves once");
    let failed =
        |what: String| ApiError::new(ErrorCode::BadRequest, format!("speak MCP on stdio: {what}"));
    let served = match handler.serve((lines.reader, lines.writer)).await {
        Ok(running) => {
            running.waiting().await.map(|_| ()).map_err(|error| failed(error.to_string()))
        }
        // A client that looked and left has done nothing wrong.
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(failed(error.to_string())),
    };
    // The last answers are on their way when the library has ended.
    lines.written.await.map_err(|error| failed(error.to_string()))?;
    shared.receipts.leave().await;
    served
}
