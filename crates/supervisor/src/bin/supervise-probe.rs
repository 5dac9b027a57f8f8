//! A supervisor by itself, and the odd programs its tests need.
//!
//! Owns nothing: it is what the tests start where users have `meanwhile`. Never installed.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let mode = args.next().unwrap_or_default();
    match mode.to_str() {
        Some("supervise") => meanwhile_supervisor::supervise_main(args),
        Some("daemon") => daemon(args),
        Some("hold") => hold(args),
        _ => panic!("no such mode: {}", mode.display()),
    }
}

/// Stands for a daemon: takes the lock, writes down how it was started, and ends when the file is removed.
fn daemon(mut args: impl Iterator<Item = OsString>) {
    let home = args.next().expect("the home directory");
    let home = Path::new(&home);
    let lock = std::fs::File::create(home.join("daemon.lock")).expect("make the lock's file");
    lock.lock().expect("take the lock");
    let read = |path: &str| std::fs::read_to_string(path).expect("read about ourselves");
    let status = read("/proc/self/status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a line of status").trim().to_owned()
    };
    let mut facts = format!(
        "pid={}\nppid={}\nsid={}\numask={}\nblocked={}\nignored={}\ncwd={}\ncgroup={}\n",
        std::process::id(),
        field("PPid:"),
        rustix::process::getsid(None).map_or(0, |sid| sid.as_raw_nonzero().get()),
        field("Umask:"),
        field("SigBlk:"),
        field("SigIgn:"),
        std::env::current_dir().expect("a working directory").display(),
        read("/proc/self/cgroup").lines().last().unwrap_or_default(),
    );
    for (name, value) in std::env::vars_os() {
        facts.push_str(&format!("env={}={}\n", name.display(), value.display()));
    }
    for fd in std::fs::read_dir("/proc/self/fd").expect("list descriptors").flatten() {
        if let Ok(target) = std::fs::read_link(fd.path()) {
            facts.push_str(&format!("fd={} {}\n", fd.file_name().display(), target.display()));
        }
    }
    let path = home.join("facts");
    std::fs::write(home.join("facts.new"), facts).expect("write the facts");
    std::fs::rename(home.join("facts.new"), &path).expect("show the facts");
    while path.exists() {
        // sleep: the removal of a file is no event without a watch, and this program is only for tests.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Uses so many MiB of memory and waits to be ended.
fn hold(mut args: impl Iterator<Item = OsString>) {
    let mib = args.next().and_then(|mib| mib.to_str()?.parse::<usize>().ok()).expect("MiB");
    let held = vec![1_u8; mib << 20];
    let mut out = std::io::stdout();
    out.write_all(b"held\n").expect("tell that it is held");
    // sleep: it waits to be killed, and ends by itself if nobody does it.
    std::thread::sleep(std::time::Duration::from_secs(600));
    drop(held);
}
