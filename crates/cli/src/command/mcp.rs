//! `mcp`: the MCP server, for agents.
//!
//! What it is for: an agent starts this program and speaks MCP with it over standard input and output; or it runs by
//! itself and serves HTTP on loopback. What it owns: what the server is given of this process, the file of the token, and
//! the notes of waits for many tasks. What it never does: write anything but MCP to standard output while it speaks it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_mcp::{Http, Setup, Shelf, Token};
use rustix::fs::{Mode, OFlags};
use rustix::process::getuid;
use serde_json::json;

use crate::cli::{Action, Answer};
use crate::command::caller::{self, Place};
use crate::context::{self, Context};
use crate::entry;
use crate::failure::Failure;

/// More than a token and a line end is no token.
const TOKEN_BYTES: u64 = 128;
/// Where waits for many tasks are kept, in the home.
const WAITS: &str = "waits";
/// More than ten thousand ids are no wait.
const WAIT_BYTES: u64 = 256 << 10;
/// Notes of waits that are kept at most.
const WAITS_MAX: usize = 1_000;
/// How long one is kept: twice as long as finished tasks are unless the settings say otherwise.
const WAIT_KEPT: Duration = Duration::from_secs(60 * 24 * 3_600);

/// Serve MCP, for agents, over standard input and output
///
/// An agent's configuration names this command; the agent starts it. Launches belong to the session of the agent that
/// calls and run with the directory and environment that its hooks have recorded, else with the agent's or this process's.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// Serve Streamable HTTP at /mcp on this address of loopback instead; port 0 takes a free one
    ///
    /// Clients send the token of an owner-only file, which is named when the server starts.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    http: Option<SocketAddr>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("`{text}` is no address (example: 127.0.0.1:7778)"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!("`{text}` is not loopback: only this machine is served (127.0.0.1:PORT)"))
    }
}

impl Action for Mcp {
    fn run(self, context: &Context) -> Answer {
        let setup = setup(context)?;
        match self.http {
            None => context.block_on(async { Ok(meanwhile_mcp::serve_stdio(setup).await?) })?,
            Some(address) => serve_http(context, setup, address)?,
        }
        Ok(0)
    }
}

fn setup(context: &Context) -> Result<Setup, Failure> {
    let globals = context.globals.clone();
    let directory = entry::state_directory(&context.globals)?;
    Ok(Setup {
        shelf: shelf(directory.join(WAITS)),
        connect: Box::new(move |claim| entry::client(&globals, claim, entry::WithoutDaemon::Start)),
        claim: context.claim(),
        caller: caller::capture(Place::Here)?,
        client_is_there: entry::starter_is_there(),
        clock: context::now,
    })
}

fn serve_http(context: &Context, setup: Setup, address: SocketAddr) -> Result<(), Failure> {
    let directory = entry::state_directory(&context.globals)?;
    context.block_on(async {
        let http = Http::listen(address).await?;
        // The daemon makes the directory and sees to it that nobody else can look into it.
        context.client()?.daemon().await?;
        let (token, path) = token(&directory)?;
        let url = http.url();
        if context.globals.json {
            context.print_json_line(&json!({ "url": url, "token_file": path }))?;
        } else {
            context
                .print(&format!("{url}\ntoken (Authorization: Bearer): {}\n", path.display()))?;
        }
        match http.serve(setup, token).await? {}
    })
}

/// The token of this home, made at the first call.
fn token(directory: &Path) -> Result<(Token, PathBuf), ApiError> {
    let path = directory.join("mcp.token");
    let failed = |error: io::Error| {
        let message = format!("use the token in {}: {error}", path.display());
        ApiError::new(ErrorCode::Store, message)
            .hint("check who owns that file, or remove it to make a new one")
    };
    if !path.exists() {
        make(directory, &path, Token::draw()?.text()).map_err(failed)?;
    }
    let text = read(&path, TOKEN_BYTES).map_err(failed)?;
    let token = Token::new(text.trim()).ok_or_else(|| {
        failed(io::Error::new(io::ErrorKind::InvalidData, "it is not 64 hexadecimal digits"))
    })?;
    Ok((token, path))
}

/// Waits for many tasks, one file each in a directory of the home.
fn shelf(directory: PathBuf) -> Shelf {
    let failed = |directory: &Path, error: &io::Error| {
        let message = format!("keep a wait in {}: {error}", directory.display());
        ApiError::new(ErrorCode::Store, message).hint("check who owns that directory")
    };
    let (to, from) = (directory.clone(), directory);
    Shelf {
        put: Box::new(move |name, text| put_down(&to, name, text).map_err(|e| failed(&to, &e))),
        get: Box::new(move |name| match read(&from.join(name), WAIT_BYTES) {
            // It was written as a line.
            Ok(text) => Ok(Some(text.trim_end_matches('\n').to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&from, &error)),
        }),
    }
}

/// The daemon has made the home by now: it was asked for the tasks.
fn put_down(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !fs::symlink_metadata(directory)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no directory"));
    }
    forget_old(directory)?;
    let path = directory.join(name);
    // Of the same wait, asked for once more, the age begins anew.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make(directory, &path, text)
}

/// Removes the notes that are older than tasks are kept, and the oldest where there are too many.
fn forget_old(directory: &Path) -> io::Result<()> {
    let mut notes = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // One that is gone already was removed by another server.
        if let Ok(written) = entry.metadata().and_then(|facts| facts.modified()) {
            notes.push((written, entry.path()));
        }
    }
    notes.sort();
    let most = notes.len().saturating_sub(WAITS_MAX);
    for (at, (written, path)) in notes.into_iter().enumerate() {
        let old = written.elapsed().is_ok_and(|age| age > WAIT_KEPT);
        if old || at < most {
            // As above.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// Written whole under another name first, so that nobody reads a part of it; who comes second uses the first's.
fn make(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = directory.join(format!("{name}.{}", std::process::id()));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What a killed process of the same number has left would be in the way.
    let _ = fs::remove_file(&draft);
    let mut file = File::from(rustix::fs::open(&draft, flags, Mode::RUSR | Mode::WUSR)?);
    let written = file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&draft).and(linked)
}

/// Read only when it is a file that nobody else could have read or written.
fn read(path: &Path, most: u64) -> io::Result<String> {
    let refused =
        |what: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, what.to_owned()));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let facts = file.metadata()?;
    if !facts.is_file() {
        return refused("it is no regular file");
    }
    if facts.uid() != getuid().as_raw() {
        return refused("it belongs to another user");
    }
    if facts.mode() & 0o077 != 0 {
        return refused("others may read or write it (remove it to make a new one)");
    }
    let mut text = String::new();
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn scratch(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("mw-token-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn a_token_is_made_once_and_for_the_owner_alone() {
        let directory = scratch("made");
        let (first, path) = token(&directory).unwrap();
        let (second, _) = token(&directory).unwrap();
        assert_eq!(first.text(), second.text());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no draft is left");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_token_that_others_can_read_or_have_made_is_not_used() {
        let directory = scratch("refused");
        let path = directory.join("mcp.token");
        let check = |expected: &str| {
            let error = token(&directory).unwrap_err();
            assert!(error.message.contains(expected), "{}", error.message);
        };
        fs::write(&path, "a".repeat(64)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        check("others may read");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(token(&directory).is_ok());
        fs::write(&path, "").unwrap();
        check("64 hexadecimal digits");
        fs::remove_file(&path).unwrap();
        symlink("/etc/hostname", &path).unwrap();
        check("use the token");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn waits_are_kept_for_their_owner_until_there_are_too_many() {
        let directory = scratch("waits");
        let shelf = shelf(directory.join(WAITS));
        assert_eq!((shelf.get)("0").unwrap(), None);
        (shelf.put)("0", "a\nb").unwrap();
        (shelf.put)("0", "a\nb").unwrap();
        assert_eq!((shelf.get)("0").unwrap().as_deref(), Some("a\nb"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory.join(WAITS)), 0o700);
        assert_eq!(mode(&directory.join(WAITS).join("0")), 0o600);
        for name in 1..=WAITS_MAX + 5 {
            fs::write(directory.join(WAITS).join(name.to_string()), "x").unwrap();
        }
        (shelf.put)("last", "c").unwrap();
        assert_eq!(fs::read_dir(directory.join(WAITS)).unwrap().count(), WAITS_MAX + 1);
        assert_eq!((shelf.get)("0").unwrap(), None, "the oldest went");
        assert_eq!((shelf.get)("last").unwrap().as_deref(), Some("c"));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn only_loopback_is_an_address() {
        assert!(address("127.0.0.1:0").is_ok() && address("[::1]:8080").is_ok());
        for bad in ["0.0.0.0:80", "192.168.1.1:80", "localhost:80", "80", "[::]:80", ""] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
