//! The client: placeholder, filled next.
