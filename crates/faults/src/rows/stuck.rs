//! Row 25: a process that nothing can kill.
//!
//! Owns a file system of its own (FUSE) that never answers. Whoever asks it for a name sleeps in the kernel until
//! its server is gone; the server goes when the row does, because it reads from the row.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, TestHome, mode, until};
use serde_json::json;

use crate::staging::heard;
use crate::{Modes, Row, Samples, Seen, Stage};

pub(super) const ROWS: &[Row] = &[Row {
    number: 25,
    name: "unkillable",
    title: "task in D state",
    expected: "failed (unkillable) after 60 s, seat kept until it is gone, daemon responsive",
    modes: Modes::Once,
    slow: true,
    stage: "a FUSE file system whose server reads a look-up and never answers it: SIGKILL does not end that sleep; \
            the server's end does",
    run: unkillable,
}];

/// Mounts, answers INIT and refuses everything but LOOKUP, which it leaves unanswered. Ends with its input.
const SERVER: &str = "\
import ctypes, os, select, struct, sys
where = sys.argv[1].encode()
fuse = os.open('/dev/fuse', os.O_RDWR)
options = b'fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other' % fuse
if ctypes.CDLL(None, use_errno=True).mount(b'stuck', where, b'fuse', 6, options) != 0:
    print('no:', os.strerror(ctypes.get_errno()), flush=True)
    sys.exit(1)
print('mounted', flush=True)
while True:
    ready, _, _ = select.select([fuse, 0], [], [])
    if 0 in ready:
        sys.exit(0)
    request = os.read(fuse, 1 << 18)
    _, code, unique = struct.unpack_from('<IIQ', request)
    if code == 26:
        body = struct.pack('<IIIIHHIIHHI28x', 7, 31, 0, 0, 12, 9, 65536, 1, 0, 0, 0)
        os.write(fuse, struct.pack('<IiQ', 16 + len(body), 0, unique) + body)
    elif code in (1, 36):
        print('asked', flush=True)
    elif code not in (2, 42):
        os.write(fuse, struct.pack('<IiQ', 16, -5, unique))
";

struct Stuck {
    server: Child,
    says: BufReader<std::process::ChildStdout>,
    at: std::path::PathBuf,
}

impl Stuck {
    fn mount(home: &TestHome) -> Result<Self, String> {
        let at = home.path("stuck");
        std::fs::create_dir(&at).expect("a directory can be made");
        let mut server = Command::new("python3")
            .args(["-c", SERVER])
            .arg(&at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let says = BufReader::new(server.stdout.take().expect("it is piped"));
        let mut stuck = Self { server, says, at };
        match stuck.next_word().as_str() {
            "mounted" => Ok(stuck),
            why => Err(format!("no FUSE file system can be mounted: {why}")),
        }
    }

    fn next_word(&mut self) -> String {
        let mut line = String::new();
        let _ = self.says.read_line(&mut line);
        line.trim().to_owned()
    }

    /// Ends the server: the kernel then ends every question with an error.
    fn release(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.release();
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

fn unkillable(stage: &mut Stage) -> Seen {
    if !mode::is_root() {
        return Seen::not_here("only root may mount a file system");
    }
    let home = TestHome::builder().config("lanes.commands.limit = 1").build();
    let mut stuck = match Stuck::mount(&home) {
        Ok(stuck) => stuck,
        Err(why) => return Seen::not_here(why),
    };
    let mut bell = home.bell("bell");
    let line = format!("{}; exec cat stuck/never", bell.shell("$$"));
    let id = home.launch_shell_with(["--kill-after", "100ms"], &line);
    let main = heard(&mut bell);
    stage.demand(stuck.next_word() == "asked", "the task did not ask the file system");
    let next = home.launch(["true"]);
    let began = Instant::now();
    let mut answered = Samples::default();
    home.cli(["cancel", "--no-wait", &id]).ok();
    let told = until("the task to be told as unkillable", Duration::from_secs(90), || {
        let asked = Instant::now();
        let task = home.status(&id);
        answered.add(asked.elapsed());
        // sleep: nothing of this announces itself but its end, whose time is what is measured
        std::thread::sleep(Duration::from_millis(200));
        (!task["ended_at"].is_null()).then_some(task)
    });
    let after = began.elapsed();
    let truth =
        (&told["state"], &told["cause"]["kind"]) == (&json!("failed"), &json!("unkillable"));
    stage.demand(truth, format!("told as {} ({})", told["state"], told["cause"]));
    stage.demand(
        (Duration::from_secs(58)..Duration::from_secs(75)).contains(&after),
        format!("told after {after:?}"),
    );
    stage.demand(main.is_alive(), "it was killed: nothing was shown");
    let waits = home.status(&next)["state"].clone();
    stage.demand(waits == "queued", format!("the seat was given away: the next task is {waits}"));
    stage.demand(
        answered.percentile(99) < Duration::from_secs(2),
        format!("the daemon answered in {}", answered.words()),
    );
    let released = Instant::now();
    stuck.release();
    let state = home.wait(&next)["state"].clone();
    let freed = released.elapsed();
    stage.demand(state == "completed", format!("the next task is {state}"));
    stage.demand(main.ends_within(DEADLINE), "it lives on without its file system");
    drop(stuck);
    home.finish();
    Seen::pass(format!(
        "SIGKILL did not end it; unkillable after {:.1} s; seat kept; daemon answered in {}; when the file system went, \
         it ended and the next task ran {} ms later",
        after.as_secs_f64(),
        answered.words(),
        freed.as_millis()
    ))
}
