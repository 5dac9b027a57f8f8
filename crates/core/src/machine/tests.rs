//! Promises of the machine, one file per concern, and random lives of it.
//!
//! Every test goes through [`world::World`], which checks all invariants after each input.

mod dependencies;
mod lending;
mod life;
mod notices;
mod queue;
mod random;
mod reports;
mod retries;
mod stops;
mod store_model;
mod waits;
mod world;
