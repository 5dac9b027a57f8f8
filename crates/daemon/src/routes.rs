//! Other routes: what is told to webhooks, commands, desktops and terminals, beside the sessions' own inboxes.
//!
//! ```text
//!   loop ─ commit (event and notice) ─► keeper (HTTP thread, asleep) ─► courier: a process that ends
//!                                                                         │ reads the event log from its cursor
//!      routes/ledger.json  ◄── written before and after every try ────────┤
//!                                                                         └► webhook, command, desktop, bell
//! ```
//!
//! Owns: which notices are due by which way, and what became of them. A notice is due from the transaction on that wrote
//! it, because the event log is what the courier reads, and its place in it moves only when what is due was written
//! down. Delivery is at least once, under the notice's own id. Never marks a notice as read: that a window was shown says
//! nothing about who saw it. Costs nothing where no route is set.

pub mod audience;
mod body;
pub mod courier;
mod due;
pub(crate) mod health;
pub(crate) mod keeper;
mod ledger;
mod send;
mod way;

#[cfg(test)]
mod tests;

pub use courier::{CourierOptions, deliver};
pub use health::{Standing, standing};
pub use send::{Tried, try_all};
