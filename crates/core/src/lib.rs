//! What is true about tasks and what happens next.
//!
//! Pure: no async, files, clock, environment, randomness or serialisation. The daemon's loop hands
//! in [`Input`]s with the current time, gets back [`Event`]s (facts, to be committed in one
//! transaction) and [`Effect`]s (things to do after the commit), and nothing else ever changes the
//! state of a task. The same `evolve` serves live events and replay after a crash.
//!
//! ```text
//!            Input + Now                       Vec<Event> -> Store::commit
//!   shell ───────────────► Core::apply ──────►
//!                                              Vec<Effect> -> supervisors, waiters, timers
//! ```
//!
//! Owns: the scheduling state of every unfinished task. Never does: anything observable.

pub mod cause;
pub mod config;
pub mod effect;
pub mod event;
pub mod id;
pub mod inbox;
pub mod input;
pub mod limits;
pub mod machine;
pub mod notice;
pub mod policy;
pub mod sessions;
pub mod spec;
pub mod state;
pub mod time;
pub mod transition;

pub use cause::{Actor, Cause};
pub use config::Config;
pub use effect::{Answer, Effect, StopWhy};
pub use event::{Event, Fact};
pub use id::{AttemptToken, GroupName, LaneName, RequestId, SessionId, TaskId, TurnName, WaitId};
pub use input::{Input, Refusal};
pub use machine::{Core, LoadedTask, Turn};
pub use notice::{Notice, NoticeId, NoticeKind};
pub use spec::TaskSpec;
pub use state::{Outcome, State};
pub use time::{Boot, Now, Wall};
