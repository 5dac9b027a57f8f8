//! Every mutation there is.
//!
//! Owns the order: cheap crates first, so that a mistake in the list shows early.

use super::{Mutation, engine, kept};

pub(super) fn all() -> impl Iterator<Item = &'static Mutation> {
    kept::CORE.iter().chain(kept::SUPERVISOR).chain(engine::ALL)
}
