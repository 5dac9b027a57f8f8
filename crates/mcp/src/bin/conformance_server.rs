//! The MCP server with the conformance suite's fixtures, for `cargo xtask conformance` and `cargo xtask clients`: over
//! HTTP without a token, or over stdio.
//!
//! What it is for: the suite can send no token. What it owns: nothing. What it never does: ship, or reach a daemon.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use meanwhile_api::caller::CallerContext;
use meanwhile_api::client::{Client, Options};
use meanwhile_api::{ApiError, ErrorCode, OsText, Timestamp};
use meanwhile_mcp::{Http, Setup, Shelf};

fn main() -> Result<(), ApiError> {
    let usage =
        || ApiError::new(ErrorCode::Usage, "usage: conformance_server 127.0.0.1:PORT|stdio");
    let place = std::env::args().nth(1).ok_or_else(usage)?;
    let setup = Setup {
        connect: Box::new(|_| Ok(Client::new(Options::new("/nonexistent/daemon.sock")))),
        claim: None,
        caller: CallerContext {
            cwd: OsText::from("/"),
            env: Vec::new(),
            umask: 0o077,
            rlimits: Vec::new(),
            terminal: None,
        },
        client_is_there: Arc::new(|| true),
        // Its tasks are in memory.
        shelf: Shelf { put: Box::new(|_, _| Ok(())), get: Box::new(|_| Ok(None)) },
        clock: || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| ApiError::new(ErrorCode::Internal, format!("make a runtime: {error}")))?;
    runtime.block_on(async {
        if place == "stdio" {
            return meanwhile_mcp::serve_fixtures_stdio(setup).await;
        }
        let http = Http::listen(place.parse().map_err(|_| usage())?).await?;
        println!("{}", http.url());
        match http.serve_fixtures(setup).await? {}
    })
}
