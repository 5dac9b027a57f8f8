//! `cargo xtask picture`: the README's terminal picture, drawn from captured output.
//!
//! Owns `docs/terminal.svg`. Never invents a line: every character was printed by the program.

use crate::Outcome;

pub(crate) fn main() -> Outcome {
    Err("the picture is drawn once the program prints something to draw".to_owned())
}
