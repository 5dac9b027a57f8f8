//! What belongs to one user stays with that user.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use meanwhile_testkit::{TestHome, free_uid, mode};

/// Everything below a directory, itself included.
fn everything(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).expect("it can be listed").flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(everything(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_file_is_its_owners_only_whatever_the_umask() {
    let home = TestHome::builder().below("new").build();
    home.cli(["daemon", "stop"]).ok();
    fs::remove_dir_all(home.state()).expect("it can be removed");
    let open = ["sh", "-c", "umask 000; exec \"$@\"", "sh"];
    let mut bell = home.bell("bell");
    let gate = home.gate("gate");
    let script = format!("cat; {}; {}", bell.shell("up"), gate.shell());
    let line = ["run", "--stdin", "-", "--shell", &script];
    let id = home.invoke(line).stdin("words").wrapped(open).run().ok();
    bell.wait(meanwhile_testkit::DEADLINE);
    home.invoke(["config", "set", "limits.depth", "2"]).wrapped(open).run().ok();
    let done = home.invoke(["run", "--keep-tmp", "--", "true"]).wrapped(open).run().ok();
    home.wait(&done);
    let (mut files, mut sockets) = (0, 0);
    for path in everything(home.state()) {
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let expected = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.permissions().mode() & 0o7777, expected, "{}", path.display());
        assert_eq!(meta.uid(), rustix::process::geteuid().as_raw(), "{}", path.display());
        files += u32::from(meta.is_file());
        sockets += u32::from(meta.file_type().is_socket());
    }
    assert!(files >= 5 && sockets >= 2, "{files} files, {sockets} sockets");
    home.cli(["cancel", &id]).ok();
}

#[test]
fn nothing_is_put_into_the_shared_temporary_directory() {
    let home = TestHome::new();
    let id = home.launch_shell("echo hello");
    home.wait(&id);
    let left = fs::read_dir(home.root().join("tmp")).expect("it can be listed").count();
    assert_eq!(left, 0);
}

/// Says what came of connecting and asking for the list.
const CONNECT: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    s.sendall(b"GET /v1/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b""
    while True:
        part = s.recv(65536)
        if not part: break
        answer += part
    print("answered", len(answer), b"200 OK" in answer)
except OSError as error:
    print(type(error).__name__)
"#;

#[test]
fn another_user_cannot_connect() {
    if !mode::is_root() {
        return mode::not_here("becoming another user needs root");
    }
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    let socket = home.state().join("daemon.sock");
    let uid = free_uid();
    let connect = || {
        home.invoke(["-c".as_ref(), CONNECT.as_ref(), socket.as_os_str()])
            .program("python3")
            .uid(uid)
            .cwd("/")
            .run()
            .ok()
    };
    assert_eq!(connect(), "PermissionError");
    // Even where somebody opened every door: the daemon looks at who is there.
    for path in [home.root(), &home.root().join("state"), home.state()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("root may");
    }
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("root may");
    let answer = connect();
    assert!(!answer.ends_with("True"), "it was answered: {answer}");
    let ran = home.invoke(["list"]).uid(uid).cwd("/").run();
    assert!(matches!(ran.code(), 4..=6), "{}: {}", ran.code(), ran.complaint());
    assert!(!ran.text().contains(&id));
}

#[test]
fn no_symbolic_link_is_followed_where_a_file_of_ours_should_be() {
    let home = TestHome::new();
    home.cli(["daemon", "stop"]).ok();
    let victim = home.path("victim");
    fs::write(&victim, "precious").expect("a file can be written");
    for name in ["daemon.lock", "reserve"] {
        let path = home.state().join(name);
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(&victim, &path).expect("a link can be made");
        let ran = home.cli(["run", "--", "true"]);
        assert_eq!(
            fs::read_to_string(&victim).expect("it is there"),
            "precious",
            "{name}: {}",
            ran.complaint()
        );
        home.cli(["daemon", "stop"]);
        fs::remove_file(&path).expect("it is still there");
    }
}

/// The places at which a test build kills itself are not in the program that users have.
#[test]
fn the_program_has_no_places_to_be_killed_at() {
    let program = fs::read(TestHome::new().binary()).expect("the program can be read");
    let name = b"MEANWHILE_FAULTS";
    assert!(!program.windows(name.len()).any(|part| part == name));
}
