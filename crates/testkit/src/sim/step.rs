//! The decisions of a run, as a script: what a seed means, and what is shrunk.
//!
//! Owns the kinds of steps and how often each is drawn. The numbers of a step choose among what there is at
//! that moment, so that any part of a script can be left out and the rest still means something.

use std::fmt;

use super::random::Draws;

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client submits tasks: one, or several that may be after one another.
    Submit(Vec<Launch>),
    /// A request is sent again though it was answered, or while it is under way.
    Resend {
        who: u8,
    },
    Cancel {
        who: u8,
        cascade: bool,
    },
    Retry {
        who: u8,
    },
    Complete {
        who: u8,
        failed: bool,
    },
    Extend {
        who: u8,
        secs: u8,
    },
    Prune,
    Forget {
        who: u8,
        twice: bool,
    },
    /// A task launches another and waits for it.
    Nest {
        near: u8,
        launch: Launch,
    },
    /// Somebody waits, perhaps inside a task.
    Wait {
        inside: u8,
        targets: Vec<u8>,
        kind: u8,
        secs: u16,
    },
    /// A client is gone: one that blocks, else one that was not answered yet.
    Vanish {
        who: u8,
    },
    Pass {
        ms: u64,
    },
    /// Limits change under those who use them.
    Limits {
        lane: u8,
        limit: u8,
        starts: u8,
    },
    /// The daemon is killed so many points of its loop from now.
    Crash {
        points: u8,
    },
    /// The next commit fails.
    CommitFails {
        how: u8,
    },
    Stop {
        hand_over: bool,
    },
    Start,
    /// The daemon is stopped for a while.
    Stall {
        ms: u64,
    },
    KillSupervisor {
        who: u8,
    },
    /// A supervisor is stopped for a while: it reports late.
    Freeze {
        who: u8,
        ms: u64,
    },
    /// A connection breaks with what was under way on it.
    Break {
        who: u8,
    },
    /// A supervisor says again what it said before.
    Repeat {
        who: u8,
        which: u8,
    },
    /// No process can be made for a while.
    Crowd {
        ms: u64,
    },
    Jump {
        ms: i64,
    },
    Suspend {
        ms: u64,
    },
    /// The machine is restarted; a power cut (`cut`) takes unsynced writes with it.
    Reboot {
        down_ms: u64,
        cut: Option<u64>,
    },
    FillDisk {
        room: u16,
        seen: bool,
    },
    FreeDisk,
}

/// One task of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Bits for lane, parent, priority, retries and the like.
    pub kind: u32,
    /// Which parent.
    pub near: u8,
    /// What it is after.
    pub after: u8,
    /// How long it runs.
    pub run: u16,
    /// How it ends.
    pub fate: u32,
    /// An idempotency key out of a few; 0 is none.
    pub key: u8,
}

/// What is fixed for a whole run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) lanes: u8,
    pub(super) limits: [u32; 3],
    pub(super) starts: u32,
    pub(super) depth: u32,
    pub(super) descendants: u32,
}

/// The setting and the script of a seed.
pub(super) fn script(seed: u64) -> (Setting, Vec<Step>) {
    let mut draws = Draws::new(seed);
    let mut limit = || 1 + u32::try_from(draws.below(3)).unwrap_or(0);
    let limits = [limit(), limit(), limit()];
    let setting = Setting {
        lanes: 1 + draws.byte() % 3,
        limits,
        starts: [0, 1, 2, 3, 10][draws.below(5) as usize],
        depth: 3 + u32::from(draws.byte() % 2),
        descendants: [6, 15, 50][draws.below(3) as usize],
    };
    // How hostile this run is: some runs are calm, so that what needs time to build up does.
    let trouble = [0, 3, 10, 25][draws.below(4) as usize];
    let count = 30 + draws.below(200);
    (setting, (0..count).map(|_| step(&mut draws, trouble)).collect())
}

fn step(draws: &mut Draws, trouble: u64) -> Step {
    if draws.below(100) < trouble {
        return hostile(draws);
    }
    let who = draws.byte();
    match draws.below(100) {
        0..24 => {
            let more = if draws.chance(150) { draws.below(5) } else { 0 };
            Step::Submit((0..=more).map(|_| launch(draws)).collect())
        }
        24..48 => Step::Pass { ms: draws.spread(17) },
        48..56 => Step::Nest { near: who, launch: launch(draws) },
        56..62 => Step::Cancel { who, cascade: draws.chance(700) },
        62..65 => Step::Retry { who },
        65..68 => Step::Complete { who, failed: draws.chance(400) },
        68..70 => Step::Extend { who, secs: draws.byte() },
        70..71 => Step::Prune,
        71..73 => Step::Forget { who, twice: draws.chance(300) },
        73..89 => Step::Wait {
            inside: draws.byte(),
            targets: (0..=draws.below(3)).map(|_| draws.byte()).collect(),
            kind: draws.byte(),
            secs: draws.byte().into(),
        },
        89..92 => Step::Vanish { who },
        92..95 => Step::Limits { lane: draws.byte(), limit: draws.byte(), starts: draws.byte() },
        _ => Step::Resend { who },
    }
}

fn hostile(draws: &mut Draws) -> Step {
    let who = draws.byte();
    match draws.below(100) {
        0..22 => Step::Crash { points: draws.byte() % 24 },
        22..30 => Step::CommitFails { how: draws.byte() },
        30..33 => Step::Stop { hand_over: draws.chance(500) },
        33..37 => Step::Start,
        37..40 => Step::Stall { ms: draws.spread(14) },
        40..50 => Step::KillSupervisor { who },
        50..56 => Step::Freeze { who, ms: draws.spread(16) },
        56..65 => Step::Break { who },
        65..76 => Step::Repeat { who, which: draws.byte() },
        76..79 => Step::Crowd { ms: draws.spread(17) },
        79..84 => {
            let ms = draws.spread(24) as i64;
            Step::Jump { ms: if draws.chance(500) { ms } else { -ms } }
        }
        84..88 => Step::Suspend { ms: draws.spread(24) },
        88..92 => {
            let cut = draws.chance(500).then(|| draws.next());
            Step::Reboot { down_ms: draws.spread(20), cut }
        }
        92..96 => Step::FillDisk { room: draws.next() as u16 % 20_000, seen: draws.chance(300) },
        _ => Step::FreeDisk,
    }
}

fn launch(draws: &mut Draws) -> Launch {
    Launch {
        kind: draws.next() as u32,
        near: draws.byte(),
        after: draws.byte(),
        run: draws.next() as u16,
        fate: draws.next() as u32,
        key: if draws.chance(60) { 1 + draws.byte() % 3 } else { 0 },
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
