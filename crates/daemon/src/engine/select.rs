//! Waiting: one epoll set over the bell, the supervisors and one timer.
//!
//! Owns the set and the timer, which follows boot time, so that a delay that ran out during a suspend
//! is over at the resume. Nothing ticks: with no due moment the timer is disarmed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use meanwhile_core::Boot;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::fleet::MemberKey;
use crate::letters::Bell;

/// Numbers below this are not supervisors.
pub(super) const FIRST_MEMBER: u64 = 16;
const BELL: u64 = 0;
const TIMER: u64 = 1;
/// The pidfd of a child that is about to end.
pub(super) const CHILD: u64 = 2;
/// Events taken per turn: the rest come with the next, in turn.
const EVENTS: usize = 256;

/// What woke the loop.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// There may be letters.
    pub(super) letters: bool,
    /// A child has ended.
    pub(super) children: bool,
    /// Supervisors that said something or can be written to.
    pub(super) members: Vec<MemberKey>,
}

/// The epoll set and its timer.
pub(super) struct Selector {
    epoll: OwnedFd,
    timer: OwnedFd,
    bell: Arc<Bell>,
    armed: Option<Boot>,
    events: Vec<epoll::Event>,
}

impl Selector {
    /// A set that hears the bell and its own timer.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn new(bell: Arc<Bell>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        let input = epoll::EventFlags::IN;
        epoll::add(&epoll, bell.fd(), epoll::EventData::new_u64(BELL), input)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), input)?;
        Ok(Self { epoll, timer, bell, armed: None, events: Vec::with_capacity(EVENTS) })
    }

    /// Another descriptor of the same set, for the fleet to add its sockets to.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.epoll.try_clone()
    }

    /// Waits for the next event, or until `due`; a `due` that is past only looks.
    ///
    /// # Errors
    /// What the system says; an interruption is no error.
    pub(super) fn wait(&mut self, due: Option<Boot>) -> io::Result<Ready> {
        self.arm(due)?;
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = Ready::default();
        for event in &self.events {
            match event.data.u64() {
                BELL => {
                    self.bell.hush();
                    ready.letters = true;
                }
                TIMER => {
                    let mut count = [0; 8];
                    let _already_read = rustix::io::read(&self.timer, &mut count);
                    self.armed = None;
                }
                CHILD => ready.children = true,
                key => ready.members.push(MemberKey(key)),
            }
        }
        Ok(ready)
    }

    fn arm(&mut self, due: Option<Boot>) -> io::Result<()> {
        if self.armed == due && due != Some(Boot(0)) {
            return Ok(());
        }
        // Zero would disarm it, so a moment that is past is set to the first millisecond of the boot.
        let ms = due.map(|Boot(ms)| ms.max(1));
        let at = ms.map_or(Timespec { tv_sec: 0, tv_nsec: 0 }, |ms| Timespec {
            tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ms % 1000 * 1_000_000).expect("below a second"),
        });
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        self.armed = due;
        Ok(())
    }
}
