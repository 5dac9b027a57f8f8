//! When two tasks count as "the same command" for the history of running times.
//!
//! Owns the normalisation. The key is stored with the task, so a change here is a change of the
//! stored format: old tasks keep their old key and only stop being found.

use meanwhile_core::spec::Command;

/// The normalised command, hashed. Equal for commands that differ only in where their program lies
/// and in runs of blanks.
///
/// The working directory is left out: agents work in a fresh worktree each time, and a history that
/// is too long-winded only makes a default timeout more generous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandKey(u64);

impl CommandKey {
    /// The key of a command.
    #[must_use]
    pub fn of(command: &Command) -> Self {
        let mut hash = Fnv::new();
        match command {
            Command::Argv(args) => {
                hash.write(b"argv");
                let (program, rest) = args.split_first().map_or((&[][..], &[][..]), |(p, r)| {
                    (p.rsplit(|b| *b == b'/').next().unwrap_or(p), r)
                });
                hash.write(program);
                rest.iter().for_each(|arg| hash.write(arg));
            }
            Command::Shell(line) => {
                hash.write(b"shell");
                line.split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty())
                    .for_each(|word| hash.write(word));
            }
        }
        Self(hash.0)
    }

    /// The key as stored: the same 64 bits, signed, because databases have no unsigned integers.
    #[must_use]
    pub const fn to_stored(self) -> i64 {
        self.0.cast_signed()
    }

    /// Reads [`CommandKey::to_stored`] back.
    #[must_use]
    pub const fn from_stored(stored: i64) -> Self {
        Self(stored.cast_unsigned())
    }
}

/// FNV-1a, 64 bits: stable for ever and short. A collision would only mix two histories.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds one word and a separator that no word can contain (a NUL cannot be in an argument).
    fn write(&mut self, word: &[u8]) {
        for byte in word.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(args: &[&str]) -> CommandKey {
        CommandKey::of(&Command::Argv(args.iter().map(|a| a.as_bytes().to_vec()).collect()))
    }

    fn shell(line: &str) -> CommandKey {
        CommandKey::of(&Command::Shell(line.as_bytes().to_vec()))
    }

    #[test]
    fn where_the_program_lies_and_runs_of_blanks_make_no_other_command() {
        assert_eq!(argv(&["/usr/bin/cargo", "test"]), argv(&["cargo", "test"]));
        assert_eq!(shell("  cargo   test\n"), shell("cargo test"));
    }

    #[test]
    fn other_words_make_another_command() {
        assert_ne!(argv(&["cargo", "test"]), argv(&["cargo", "build"]));
        assert_ne!(argv(&["a", "bc"]), argv(&["ab", "c"]));
        assert_ne!(shell("cargo test"), argv(&["cargo", "test"]));
    }

    #[test]
    fn a_key_reads_back_as_it_was_stored() {
        let key = shell("make -j2");
        assert_eq!(CommandKey::from_stored(key.to_stored()), key);
    }

    #[test]
    fn keys_never_change_between_releases() {
        assert_eq!(argv(&["true"]).to_stored(), argv(&["/bin/true"]).to_stored());
        assert_eq!(argv(&["true"]).0, 0xaf98_3f9c_e156_3373);
    }
}
