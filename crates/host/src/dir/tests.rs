//! What a private directory refuses, and that its sockets and files are private from birth.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::rerun;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn refused(path: &Path) -> DirErrorKind {
    Dir::open_or_create(path, &["meanwhile.db"]).expect_err("must be refused").kind
}

#[test]
fn a_symlinked_directory_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let real = base.path().join("real");
    std::fs::create_dir(&real).unwrap();
    let link = base.path().join("link");
    symlink(&real, &link).unwrap();
    assert!(matches!(refused(&link), DirErrorKind::Symlink));

    let dangling = base.path().join("dangling");
    symlink(base.path().join("nowhere"), &dangling).unwrap();
    assert!(matches!(refused(&dangling), DirErrorKind::Symlink));
    assert!(!base.path().join("nowhere").exists(), "nothing may be made through a link");
}

#[test]
fn a_directory_others_may_write_to_is_refused() {
    for mode in [0o770, 0o707, 0o777, 0o1777] {
        let base = tempfile::tempdir().unwrap();
        set_mode(base.path(), mode);
        assert!(matches!(refused(base.path()), DirErrorKind::WritableByOthers(_)), "{mode:o}");
    }
}

#[test]
fn an_open_directory_is_closed_if_it_is_ours_and_refused_if_it_holds_other_things() {
    let base = tempfile::tempdir().unwrap();
    let mode = || base.path().metadata().unwrap().mode() & 0o777;
    set_mode(base.path(), 0o755);
    Dir::open(base.path(), &["meanwhile.db"]).unwrap();
    assert_eq!(mode(), 0o700);

    set_mode(base.path(), 0o755);
    std::fs::write(base.path().join("notes.txt"), "mine").unwrap();
    assert!(matches!(refused(base.path()), DirErrorKind::OpenToOthers(_)));
    assert_eq!(mode(), 0o755, "a refused directory is left as it was");

    std::fs::write(base.path().join("meanwhile.db"), "").unwrap();
    Dir::open(base.path(), &["meanwhile.db"]).unwrap();
    assert_eq!(mode(), 0o700);
}

#[test]
fn a_file_in_the_way_is_not_a_directory() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(refused(&file), DirErrorKind::NotADirectory));
    assert!(matches!(refused(&file.join("below")), DirErrorKind::NotADirectory));
}

#[test]
fn another_users_directory_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Without root the file system's own root is the directory of another user.
        let kind = Dir::open(Path::new("/"), &[]).unwrap_err().kind;
        assert!(matches!(kind, DirErrorKind::ForeignOwner(0)));
        return;
    }
    let base = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(base.path(), Some(65534), None).unwrap();
    assert!(matches!(refused(base.path()), DirErrorKind::ForeignOwner(65534)));
}

#[test]
fn files_are_private_from_creation_and_never_reached_through_a_link() {
    let base = tempfile::tempdir().unwrap();
    let dir = Dir::open(base.path(), &[]).unwrap();
    for file in [
        dir.create_new_file("new").unwrap(),
        dir.open_or_create_file("made").unwrap(),
        dir.append_file("appended").unwrap(),
    ] {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    }
    let victim = base.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    symlink(&victim, base.path().join("planted")).unwrap();
    for error in [
        dir.open_file("planted").unwrap_err(),
        dir.append_file("planted").unwrap_err(),
        dir.open_or_create_file("planted").unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
    assert_eq!(dir.create_new_file("planted").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_socket_works_on_a_path_longer_than_a_socket_name_may_be() {
    let base = tempfile::tempdir().unwrap();
    let deep = base.path().join("d".repeat(120)).join("e".repeat(120));
    let dir = Dir::open_or_create(&deep, &[]).unwrap();
    let _listener = dir.bind_socket("daemon.sock").unwrap();
    let mode = deep.join("daemon.sock").metadata().unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
    dir.connect_socket("daemon.sock", Duration::from_secs(5)).unwrap();
    assert_eq!(dir.is_socket("daemon.sock").unwrap(), Some(true));
    let taken = dir.bind_socket("daemon.sock").unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn connecting_to_nobody_fails_at_once() {
    let base = tempfile::tempdir().unwrap();
    let dir = Dir::open(base.path(), &[]).unwrap();
    let patience = Duration::from_secs(60);
    assert_eq!(dir.connect_socket("none", patience).unwrap_err().kind(), io::ErrorKind::NotFound);
    drop(dir.bind_socket("left").unwrap());
    assert_eq!(
        dir.connect_socket("left", patience).unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn names_lists_everything_once_and_again() {
    let base = tempfile::tempdir().unwrap();
    let dir = Dir::open(base.path(), &[]).unwrap();
    dir.create_new_file("a").unwrap();
    dir.subdir("b").unwrap();
    for _ in 0..2 {
        let mut names = dir.names().unwrap();
        names.sort();
        assert_eq!(names, ["a", "b"]);
    }
}

#[test]
fn a_directory_that_may_not_be_read_or_written_says_so() {
    if !rerun::is_again() {
        let name = "dir::tests::a_directory_that_may_not_be_read_or_written_says_so";
        return rerun::start(name, rerun::as_nobody(), &[]).check();
    }
    let base = tempfile::tempdir().unwrap();
    for mode in [0o000, 0o300, 0o500, 0o600] {
        set_mode(base.path(), mode);
        assert!(matches!(refused(base.path()), DirErrorKind::Forbidden), "{mode:o}");
    }
    set_mode(base.path(), 0o500);
    assert!(matches!(refused(&base.path().join("new")), DirErrorKind::Forbidden));
    assert!(Dir::open(base.path(), &[]).is_ok(), "a reader may open what it cannot write");
    set_mode(base.path(), 0o700);
}

#[test]
fn a_directory_on_a_read_only_disk_says_so() {
    if !rerun::is_again() {
        let base = tempfile::tempdir().unwrap();
        let place = base.path().display();
        // In a mount namespace of its own, so that nothing of this machine changes.
        let line = format!(
            "mkdir -m 700 {place}/there && mount --bind {place} {place} && \
             mount -o remount,ro,bind {place} && exec \"$@\""
        );
        let Some(namespace) = rerun::unshare("--mount") else { return };
        let wrapper = [&namespace[..], &["sh", "-c", &line, "sh"]].concat();
        let name = "dir::tests::a_directory_on_a_read_only_disk_says_so";
        return rerun::start(name, &wrapper, &[("PLACE", base.path())]).check();
    }
    let place = std::env::var_os("PLACE").unwrap();
    let place = Path::new(&place);
    assert!(matches!(refused(&place.join("there")), DirErrorKind::ReadOnly));
    assert!(matches!(refused(&place.join("new")), DirErrorKind::ReadOnly));
    assert!(Dir::open(&place.join("there"), &[]).is_ok(), "a reader may open it");
}
