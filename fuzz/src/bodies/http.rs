//! The HTTP server, over its socket: any bytes, in any pieces, and every route with any body.
//!
//! The server is the daemon's, with a store and a home, in this process; its loop is a thread here
//! that refuses all changes, so that every input meets the same world. A request that is whole is
//! answered, in JSON, and never with "internal error".

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

use meanwhile_api::routes::{ROUTES, RouteId};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::{Answer, TaskId};
use meanwhile_daemon::http::{self, ContextInputs, Server};
use meanwhile_daemon::letters::{Ask, Bell, Letter, LoopStatus, Postbox, Reply};
use meanwhile_daemon::settings::Settings;
use meanwhile_host::cgroup::NoCgroup;
use meanwhile_host::home::{Home, HomeInputs, HomePaths, SOCKET};

use super::sample;
use crate::feed::Feed;

/// How long a whole request may wait for its answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer that may never come is waited for.
const GLANCE: Duration = Duration::from_millis(20);
/// Bytes of an answer that are looked at.
const ANSWER_MOST: u64 = 64 << 20;

pub(crate) fn run(bytes: &[u8]) {
    thread_local! {
        static WORLD: World = World::new();
    }
    WORLD.with(|world| ask(world, bytes));
}

fn ask(world: &World, bytes: &[u8]) {
    let _default_again = std::fs::remove_file(&world.config);
    // What earlier inputs uploaded would fill the memory that these directories are in.
    for kept in world.kept.iter().filter(|directory| directory.is_dir()) {
        super::empty(kept);
    }
    let mut feed = Feed::of(bytes);
    match feed.byte() {
        b'r' => raw(world, feed),
        choice => request(world, usize::from(choice), feed),
    }
}

/// Bytes as they are.
fn raw(world: &World, mut feed: Feed<'_>) {
    let piece = 1 + usize::from(feed.short());
    let mut stream = world.connect(GLANCE);
    for part in feed.rest().chunks(piece) {
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let _the_end_is_said = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _cut_off = stream.take(ANSWER_MOST).read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&answer));
}

/// A whole request of one of the routes.
fn request(world: &World, choice: usize, mut feed: Feed<'_>) {
    let route = &ROUTES[choice % ROUTES.len()];
    let id = match feed.byte() {
        task @ 0..=2 => TaskId::from_random(sample::TASKS[usize::from(task)]).to_string(),
        len => String::from_utf8_lossy(feed.take(usize::from(len) % 32)).into_owned(),
    };
    let query = text(feed.piece());
    let header = text(feed.piece());
    let body = feed.rest();
    let mut request = format!("{} {}", route.method.name(), route.path_for(&id));
    if !query.is_empty() {
        request += &format!("?{query}");
    }
    request += " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    if !header.is_empty() {
        request += &format!("{header}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n", body.len());
    let patient = route.id != RouteId::Events && !query.contains("follow");
    let mut stream = world.connect(if patient { PATIENCE } else { GLANCE });
    let told = stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_MOST).read_to_end(&mut answer);
    if patient {
        assert!(!answer.is_empty(), "no answer to {request:?}: {told:?}, {read:?}");
        check(&request, &answer);
    }
}

/// For a request line or a header: printable ASCII, so that what is asked is well formed.
fn text(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| char::from(*byte))
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .collect()
}

fn check(request: &str, answer: &[u8]) {
    let shown =
        || format!("{request:?}\n{}", String::from_utf8_lossy(&answer[..answer.len().min(2000)]));
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", shown());
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = answer.split_at(head.unwrap_or_else(|| panic!("no head: {}", shown())) + 4);
    // A request that is no HTTP is answered by the library, without a body.
    if !head.starts_with(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0") {
        let json = serde_json::from_slice::<serde_json::Value>(body);
        assert!(json.is_ok() || body.is_empty(), "{}", shown());
    }
    assert!(!answer.starts_with(b"HTTP/1.1 500"), "{}", shown());
}

/// The server and what it stands on.
struct World {
    socket: PathBuf,
    config: PathBuf,
    /// Where uploads and environments are kept.
    kept: [PathBuf; 2],
    _server: Server,
    _directory: tempfile::TempDir,
}

impl World {
    fn connect(&self, patience: Duration) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("the server listens");
        stream.set_read_timeout(Some(patience)).expect("a socket has timeouts");
        stream.set_write_timeout(Some(patience)).expect("a socket has timeouts");
        stream
    }
}

impl World {
    fn new() -> Self {
        let directory = super::scratch();
        let base = directory.path().join("home");
        let inputs = HomeInputs {
            flag: Some(base.as_os_str()),
            cwd: directory.path(),
            meanwhile_home: None,
            home: None,
            xdg_state_home: None,
            xdg_config_home: None,
            xdg_runtime_dir: None,
        };
        let paths = HomePaths::resolve(&inputs).expect("a named home");
        let home = Arc::new(Home::open_or_create(paths).expect("a home can be made"));
        drop(sample::fill(&home.paths.database()));
        logs(&home);
        let socket = home.paths.state.join(SOCKET);
        let config = home.paths.config.clone();
        let listener = UnixListener::bind(&socket).expect("a socket can be bound");
        let kept = ["stdin", "env"].map(|name| home.paths.state.join(name));
        let server = start(listener, home);
        Self { socket, config, kept, _server: server, _directory: directory }
    }
}

/// The task that has ended has a log.
fn logs(home: &Home) {
    let ended = TaskId::from_random(sample::TASKS[1]);
    let attempt = home.attempt(ended, 1).expect("an attempt's directory can be made");
    let text = b"one\n\x1b[31mtwo\x1b[0m\nthree \xff\xc3\r\nlast";
    std::fs::write(attempt.path().join("output.log"), text).expect("a log can be written");
}

fn start(listener: UnixListener, home: Arc<Home>) -> Server {
    let (postbox, letters) = Postbox::new(Arc::new(Bell::new().expect("an event can be made")));
    std::thread::spawn(move || answer_letters(&letters));
    let (_last, committed) = tokio::sync::watch::channel(1);
    let inputs = ContextInputs {
        postbox,
        home,
        settings: Arc::new(RwLock::new(Arc::new(Settings::default()))),
        committed,
        sessions: tokio::sync::watch::channel(Arc::default()).1,
        cgroups: Err(NoCgroup::SwitchedOff),
        env_gate: Arc::default(),
    };
    http::start(listener, inputs).expect("the server starts")
}

fn answer_letters(letters: &mpsc::Receiver<Letter>) {
    for letter in letters {
        let reply = match &letter.ask {
            Ask::Wait { wait, .. } => {
                let states = wait.targets.iter().map(|id| (*id, None)).collect();
                Ok(Reply::Waited(Answer { states, met: false, timed_out: true }))
            }
            Ask::Views(ids) => Ok(Reply::Views(vec![None; ids.len()])),
            Ask::Lanes => Ok(Reply::Lanes(Vec::new())),
            Ask::Status => Ok(Reply::Status(LoopStatus::default())),
            Ask::Configure(_) => Ok(Reply::Done),
            _ => Err(ApiError::new(ErrorCode::WrongState, "nothing changes here").hint("none")),
        };
        let _gone = letter.reply.send(reply);
    }
}
