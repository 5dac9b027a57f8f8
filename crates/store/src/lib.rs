//! Placeholder header; the crate's own header follows with its first code.
