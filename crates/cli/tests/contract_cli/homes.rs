//! Homes: where they are, two of them, long paths, and every way in which one cannot be used.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use meanwhile_testkit::{Ran, TestHome, free_uid, mode};
use serde_json::json;

use crate::check_refusal;

/// A home of somebody whom permissions hold back.
fn of_an_ordinary_user() -> TestHome {
    if mode::is_root() { TestHome::builder().uid(free_uid()).build() } else { TestHome::new() }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own files can be changed");
}

/// Told with exit code 6, with the path, what is wrong and what to do.
#[track_caller]
fn check_unusable(home: &TestHome, ran: &Ran, expected: &str) {
    check_refusal(ran, 6, expected);
    let named = ran.complaint().contains(&home.root().display().to_string());
    assert!(named, "which home is not told: {}", ran.complaint());
}

#[test]
fn an_unreadable_home_is_told() {
    let home = of_an_ordinary_user();
    home.cli(["daemon", "stop"]).ok();
    set_mode(home.state(), 0);
    for words in [&["run", "--", "true"][..], &["list"], &["status", "0123456789"]] {
        check_unusable(&home, &home.cli(words), "ermission denied");
    }
    home.cli(["run", "--wait", "--", "true"]).expect(125);
    set_mode(home.state(), 0o700);
}

#[test]
fn a_home_that_cannot_be_written_is_told() {
    let home = of_an_ordinary_user();
    home.cli(["daemon", "stop"]).ok();
    set_mode(home.state(), 0o500);
    check_unusable(&home, &home.cli(["run", "--", "true"]), "");
    set_mode(home.state(), 0o700);
}

#[test]
fn a_home_on_a_read_only_disk_is_told_and_can_still_be_read() {
    if !mode::is_root() {
        return mode::not_here("mounting a disk read-only needs root");
    }
    let home = TestHome::builder().on_small_disk(32 << 20).build();
    let id = home.launch(["echo", "hello"]);
    home.wait(&id);
    home.cli(["daemon", "stop", "--cancel-all"]).ok();
    meanwhile_testkit::until("everybody to leave the disk", meanwhile_testkit::DEADLINE, || {
        let read_only = std::process::Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(home.root())
            .status();
        read_only.is_ok_and(|status| status.success()).then_some(())
    });
    check_unusable(&home, &home.cli(["run", "--", "true"]), "ead-only");
    assert_eq!(home.status(&id)["state"], "completed");
    assert_eq!(home.output(&id), "hello");
    let back =
        std::process::Command::new("mount").args(["-o", "remount,rw"]).arg(home.root()).status();
    assert!(back.is_ok_and(|status| status.success()));
}

#[test]
fn a_home_that_others_may_write_is_refused() {
    let home = TestHome::new();
    home.cli(["daemon", "stop"]).ok();
    fs::write(home.state().join("stranger"), "").expect("a file can be written");
    set_mode(home.state(), 0o777);
    check_unusable(&home, &home.cli(["run", "--", "true"]), "");
    set_mode(home.state(), 0o700);
}

#[test]
fn a_home_of_another_user_is_refused() {
    if !mode::is_root() {
        return mode::not_here("making a home of another user needs root");
    }
    let home = TestHome::new();
    home.cli(["daemon", "stop"]).ok();
    std::os::unix::fs::chown(home.state(), Some(free_uid()), None).expect("root may");
    check_unusable(&home, &home.cli(["run", "--", "true"]), "");
    std::os::unix::fs::chown(home.state(), Some(0), None).expect("root may");
}

#[test]
fn a_home_that_is_a_link_or_a_file_is_refused() {
    let home = TestHome::new();
    let (link, file, target) =
        (home.root().join("link"), home.root().join("file"), home.root().join("target"));
    fs::create_dir(&target).expect("a directory can be made");
    symlink(&target, &link).expect("a link can be made");
    fs::write(&file, "").expect("a file can be written");
    for path in [&link, &file] {
        let ran = home.cli(["--home", path.to_str().expect("text"), "run", "--", "true"]);
        check_unusable(&home, &ran, path.to_str().expect("text"));
    }
    assert_eq!(fs::read_dir(&target).expect("it is there").count(), 0);
}

#[test]
fn something_else_in_the_place_of_a_file_of_ours_is_told_and_left_alone() {
    for name in ["daemon.sock", "tasks", "run", "tmp"] {
        let home = TestHome::new();
        home.cli(["daemon", "stop"]).ok();
        let path = home.state().join(name);
        let _ = fs::remove_dir(&path);
        fs::write(&path, "mine").expect("nothing is in its place");
        check_unusable(&home, &home.cli(["run", "--", "true"]), name);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "mine");
    }
}

#[test]
fn two_homes_know_nothing_of_each_other() {
    let (one, other) = (TestHome::new(), TestHome::new());
    let id = one.launch_with(["--name", "mine"], ["true"]);
    one.wait(&id);
    other.cli(["daemon", "start"]).ok();
    other.cli(["status", &id]).expect(3);
    assert!(other.cli(["status", "mine"]).code() != 0);
    assert_eq!(other.json(["list"]), json!([]));
    let pids = [&one, &other].map(|home| home.daemon().expect("it runs").pid());
    assert_ne!(pids[0], pids[1]);
    // The option wins over the variable.
    let named = one.state().to_str().expect("our own path is text");
    assert_eq!(other.json(["--home", named, "status", &id])["id"], id.as_str());
    assert_eq!(other.json(["status", "mine", "--home", named])["id"], id.as_str());
}

#[test]
fn a_relative_home_is_below_the_directory_one_is_in() {
    let home = TestHome::new();
    let id = home.cli(["--home", "here", "run", "--", "true"]).ok();
    let absolute = home.path("here");
    let named = absolute.to_str().expect("text");
    home.cli(["--home", named, "wait", &id]).ok();
    assert!(absolute.join("meanwhile.db").is_file());
    assert_eq!(home.json(["--home", "./here/", "status", &id])["id"], id.as_str());
    home.cli(["--home", "here", "daemon", "stop", "--cancel-all"]).ok();
}

#[test]
fn a_home_on_a_path_longer_than_a_socket_name_works() {
    let deep: Vec<String> = (0..12).map(|n| format!("a-rather-long-directory-name-{n}")).collect();
    let home = TestHome::builder().below(deep.join("/")).build();
    assert!(home.state().as_os_str().len() > 300);
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&format!("{}; echo hello; exit 3", gate.shell()));
    crate::wait_for_state(&home, &id, "running");
    home.kill_daemon();
    gate.open();
    assert_eq!(home.wait(&id)["exit_code"], 3);
    assert_eq!(home.output(&id), "hello");
    home.finish();
}

#[test]
fn without_a_named_home_the_xdg_directories_are_used() {
    let home = TestHome::builder().xdg().build();
    let id = home.launch(["true"]);
    home.wait(&id);
    assert!(home.state().join("meanwhile.db").is_file());
    assert_eq!(home.json(["daemon", "status"])["home"], json!(home.state()));
    let config = home.root().join("user/.config/meanwhile/config.toml");
    assert_eq!(home.cli(["config", "path"]).ok(), config.display().to_string());
    home.finish();
}

#[test]
fn the_runtime_directory_holds_the_socket() {
    let home = TestHome::builder().xdg().build();
    let runtime = home.root().join("runtime");
    fs::create_dir(&runtime).expect("a directory can be made");
    set_mode(&runtime, 0o700);
    home.cli(["daemon", "stop"]).ok();
    let call = |words: &[&str]| home.invoke(words).env("XDG_RUNTIME_DIR", &runtime).run();
    let id = call(&["run", "--", "true"]).ok();
    assert_eq!(call(&["wait", &id]).code(), 0);
    assert!(runtime.join("meanwhile/daemon.sock").exists());
    assert_eq!(
        call(&["--json", "daemon", "status"]).json()["socket"],
        json!(runtime.join("meanwhile/daemon.sock"))
    );
    // Who has not got that variable finds the same daemon.
    assert_eq!(home.cli(["wait", &id]).code(), 0);
    assert_eq!(call(&["daemon", "stop"]).code(), 0);
}

#[test]
fn without_any_home_it_says_how_to_name_one() {
    let home = TestHome::new();
    let ran = home.invoke(["list"]).env_remove("HOME").env_remove("MEANWHILE_HOME").run();
    assert!(matches!(ran.code(), 2 | 6), "{}", ran.code());
    assert!(ran.complaint().contains("--home"), "{}", ran.complaint());
    let ran = home.cli(["--home", "", "list"]);
    assert!(matches!(ran.code(), 2 | 6), "{}", ran.code());
}

#[test]
fn a_home_of_another_pid_namespace_is_refused() {
    if !mode::is_root() {
        return mode::not_here("a pid namespace of one's own needs root");
    }
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    home.cli(["daemon", "stop"]).ok();
    let before = fs::read(home.state().join("meanwhile.db")).expect("it is there");
    let elsewhere = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let ran = home.invoke(["run", "--", "true"]).wrapped(elsewhere).run();
    check_refusal(&ran, 6, "namespace");
    assert!(fs::read(home.state().join("meanwhile.db")).expect("it is there") == before);
    assert_eq!(home.wait(&id)["state"], "completed");
}

/// The daemon is in a namespace of its own, from which the caller outside cannot be seen.
#[test]
fn a_caller_whose_processes_cannot_be_seen_may_read_and_wait_only() {
    if !mode::is_root() {
        return mode::not_here("a pid namespace of one's own needs root");
    }
    let home = TestHome::builder().below("new").build();
    if home.daemon().is_some() {
        return mode::not_here("this mode starts the daemon with the home");
    }
    let script = "\"$0\" daemon start && \"$@\" && exec sleep 1000";
    let elsewhere =
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script];
    let binary = home.binary();
    let binary = binary.to_str().expect("our own path is text");
    let line = ["run", "--name", "inside", "--", "echo", "hello"];
    let _inside = home.invoke(line).wrapped([&elsewhere[..], &[binary]].concat()).start();
    meanwhile_testkit::until("the task inside to end", meanwhile_testkit::DEADLINE, || {
        let status = home.cli(["--json", "status", "inside"]);
        (status.code() == 0 && status.json()["state"] == "completed").then_some(())
    });
    assert_eq!(home.output("inside"), "hello");
    home.cli(["wait", "inside"]).ok();
    for words in
        [&["run", "--", "true"][..], &["cancel", "inside"], &["retry", "inside"], &["clean"]]
    {
        check_refusal(&home.cli(words), 4, "");
    }
}

/// A home with one finished task and no daemon, whose database is then spoilt.
#[track_caller]
fn spoilt(spoil: impl Fn(&Path)) -> TestHome {
    let home = TestHome::new();
    let id = home.launch(["echo", "hello"]);
    home.wait(&id);
    home.cli(["daemon", "stop"]).ok();
    spoil(&home.state().join("meanwhile.db"));
    home
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let mut all = fs::read(path).expect("it is there");
    all[at..at + bytes.len()].copy_from_slice(bytes);
    // As whoever writes such a file would: else every one of these is damage, and nothing more.
    meanwhile_testkit::sum_pages(&mut all);
    fs::write(path, all).expect("own files can be written");
}

/// Refused with 6, kept byte for byte, and told how to recover.
#[track_caller]
fn check_refused_store(home: &TestHome, expected: &str) {
    let path = home.state().join("meanwhile.db");
    let before = fs::read(&path).expect("it is there");
    for words in [&["run", "--", "true"][..], &["list"], &["wait"], &["daemon", "start"]] {
        let ran = home.cli(words);
        check_refusal(&ran, 6, expected);
        assert!(ran.complaint().contains("meanwhile.db"), "{words:?}: {}", ran.complaint());
    }
    home.cli(["run", "--wait", "--", "true"]).expect(125);
    assert!(fs::read(&path).expect("it is there") == before, "the file is kept as it is");
    assert!(home.daemon().is_none());
}

#[test]
fn a_database_that_is_garbage_is_refused_and_kept() {
    let home =
        spoilt(|path| fs::write(path, vec![0xa5; 20_000]).expect("own files can be written"));
    check_refused_store(&home, "");
}

#[test]
fn an_empty_database_is_damage_and_not_a_new_one() {
    let home = spoilt(|path| fs::write(path, b"").expect("own files can be written"));
    check_refused_store(&home, "");
}

#[test]
fn a_truncated_database_is_refused_and_kept() {
    let home = spoilt(|path| {
        let bytes = fs::read(path).expect("it is there");
        fs::write(path, &bytes[..bytes.len() / 2]).expect("own files can be written");
    });
    check_refused_store(&home, "");
}

#[test]
fn a_database_with_damaged_pages_is_refused_and_kept() {
    let home = spoilt(|path| {
        let length = fs::read(path).expect("it is there").len();
        for page in (4096..length).step_by(4096) {
            overwrite(path, page, &[0xa5; 512]);
        }
    });
    let before = fs::read(home.state().join("meanwhile.db")).expect("it is there");
    check_refusal(&home.cli(["run", "--", "true"]), 6, "meanwhile.db");
    assert!(fs::read(home.state().join("meanwhile.db")).expect("it is there") == before);
}

/// The layout's number stands at byte 60 of an SQLite file, the application's at 68 (big-endian).
const LAYOUT_AT: usize = 60;
const APPLICATION_AT: usize = 68;

#[test]
fn a_database_of_a_newer_release_is_refused_and_kept() {
    let home = spoilt(|path| overwrite(path, LAYOUT_AT, &999_u32.to_be_bytes()));
    check_refused_store(&home, "newer");
}

/// There is one released layout: an older number belongs to no release, and nothing is made up for it.
#[test]
fn a_database_older_than_any_release_is_refused_and_kept() {
    let home = spoilt(|path| overwrite(path, LAYOUT_AT, &0_u32.to_be_bytes()));
    check_refused_store(&home, "");
}

#[test]
fn a_database_of_another_program_is_refused_and_kept() {
    let home = spoilt(|path| overwrite(path, APPLICATION_AT, &7_u32.to_be_bytes()));
    check_refused_store(&home, "another program");
}

#[test]
fn a_database_that_is_a_link_is_refused() {
    let home = spoilt(|path| {
        let elsewhere = path.with_file_name("elsewhere");
        fs::rename(path, &elsewhere).expect("own files can be renamed");
        symlink(&elsewhere, path).expect("a link can be made");
    });
    check_refusal(&home.cli(["run", "--", "true"]), 6, "meanwhile.db");
}

#[test]
fn a_database_that_is_missing_without_a_trace_is_a_new_one() {
    let home = spoilt(|path| fs::remove_file(path).expect("own files can be removed"));
    let id = home.launch(["true"]);
    assert_eq!(home.wait(&id)["state"], "completed");
    assert_eq!(home.json(["list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_database_that_is_missing_and_has_left_its_log_is_damage() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    home.kill_daemon();
    let path = home.state().join("meanwhile.db");
    let log = path.with_file_name("meanwhile.db-wal");
    let before = fs::read(&log).expect("a killed daemon leaves its log");
    fs::remove_file(&path).expect("own files can be removed");
    check_refusal(&home.cli(["run", "--", "true"]), 6, "meanwhile.db-wal");
    assert!(!path.exists(), "nothing was put in its place");
    assert!(fs::read(&log).expect("it is there") == before, "it may be all that is left");
}
