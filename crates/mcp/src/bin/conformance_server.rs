//! The MCP server with the conformance suite's fixtures, over HTTP without a token, for `cargo xtask conformance`.
//!
//! What it is for: the suite can send no token. What it owns: nothing. What it never does: ship, or reach a daemon.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::time::{SystemTime, UNIX_EPOCH};

use meanwhile_api::caller::CallerContext;
use meanwhile_api::client::{Client, Options};
use meanwhile_api::{ApiError, ErrorCode, OsText, Timestamp};
use meanwhile_mcp::{Http, Setup};

fn main() -> Result<(), ApiError> {
    let usage = || ApiError::new(ErrorCode::Usage, "usage: conformance_server 127.0.0.1:PORT");
    let address = std::env::args().nth(1).and_then(|it| it.parse().ok()).ok_or_else(usage)?;
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
        clock: || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| ApiError::new(ErrorCode::Internal, format!("make a runtime: {error}")))?;
    runtime.block_on(async {
        let http = Http::listen(address).await?;
        println!("{}", http.url());
        match http.serve_fixtures(setup).await? {}
    })
}
