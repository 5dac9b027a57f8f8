//! The names things go by. Each is its own type, so that one cannot be passed for another.
//!
//! A task id is 50 random bits written as 10 characters of lower-case base32 without the look-alikes
//! i, l, o and u. Randomness is handed in; this file only knows the writing.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The alphabet of task ids, in value order (Crockford's, lower case).
pub const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a whole task id.
pub const ID_LEN: usize = 10;
/// Characters an abbreviated id must have at least.
pub const MIN_PREFIX_LEN: usize = 4;
const ID_BITS: u32 = 50;

/// One task, for ever: random, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(u64);

/// Why a piece of text is not a task id or a prefix of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdError {
    /// Not between 4 and 10 characters (a whole id has exactly 10).
    Length(usize),
    /// A character outside [`ALPHABET`].
    Character(char),
}

impl TaskId {
    /// Makes an id from random bits; the upper 14 are ignored.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        Self(bits & ((1 << ID_BITS) - 1))
    }

    /// The id as a number below 2^50, for stores that index integers.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The ten characters.
    #[must_use]
    pub fn to_ascii(self) -> [u8; ID_LEN] {
        let mut out = [0; ID_LEN];
        for (i, c) in out.iter_mut().enumerate() {
            let shift = 5 * (ID_LEN - 1 - i);
            *c = ALPHABET[(self.0 >> shift) as usize & 31];
        }
        out
    }

    /// The range of ids (inclusive) that begin with `prefix`.
    ///
    /// # Errors
    /// When the prefix is shorter than 4 or longer than 10 characters, or has a foreign character.
    pub fn prefix_range(prefix: &str) -> Result<(Self, Self), IdError> {
        let len = prefix.chars().count();
        if !(MIN_PREFIX_LEN..=ID_LEN).contains(&len) {
            return Err(IdError::Length(len));
        }
        let mut low = 0u64;
        for c in prefix.chars() {
            let digit = u8::try_from(c)
                .ok()
                .and_then(|b| ALPHABET.iter().position(|a| *a == b))
                .ok_or(IdError::Character(c))?;
            low = low << 5 | digit as u64;
        }
        let free = 5 * (ID_LEN - len);
        Ok((Self(low << free), Self(low << free | ((1 << free) - 1))))
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let len = text.chars().count();
        if len != ID_LEN {
            return Err(IdError::Length(len));
        }
        Self::prefix_range(text).map(|(low, _)| low)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ascii = self.to_ascii();
        f.pad(std::str::from_utf8(&ascii).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n) => write!(
                f,
                "an id has {ID_LEN} characters and a prefix at least {MIN_PREFIX_LEN}, not {n}"
            ),
            Self::Character(c) => write!(f, "ids have no character {c:?}"),
        }
    }
}

impl std::error::Error for IdError {}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Wraps a name that has been checked at the door.
            #[must_use]
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The concurrency key a task queues in.
    LaneName
}
name! {
    /// The parent conversation that launched tasks; `user` for a person at a shell.
    SessionId
}
name! {
    /// Tasks launched to be judged together.
    GroupName
}
name! {
    /// One turn of a parent conversation, as the parent calls it.
    TurnName
}
name! {
    /// The random id of one changing request, kept 24 h so that a resent request happens once.
    RequestId
}

impl SessionId {
    /// The session of a person at a shell.
    #[must_use]
    pub fn user() -> Self {
        Self::new("user")
    }

    /// Whether this is the person's own session.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.as_str() == "user"
    }
}

/// What fences one execution: written before the start, shown again with every report, so that a
/// report of another attempt or of a supervisor of the past is recognised as foreign.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptToken(pub [u8; 16]);

impl fmt::Debug for AttemptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// One blocked `wait`, `follow` or `run --wait`; lives as long as the client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for bits in [0, 1, 31, 32, (1 << 50) - 1, 0x2_3456_789a_bcde] {
            let id = TaskId::from_random(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), ID_LEN);
        }
    }

    #[test]
    fn a_prefix_spans_exactly_the_ids_that_begin_with_it() {
        let (low, high) = TaskId::prefix_range("7z3k").expect("well formed");
        assert_eq!((low.to_string(), high.to_string()), ("7z3k000000".into(), "7z3kzzzzzz".into()));
        assert_eq!(TaskId::prefix_range("7z3"), Err(IdError::Length(3)));
        assert_eq!(TaskId::prefix_range("7z3kabcdefg"), Err(IdError::Length(11)));
        assert_eq!(TaskId::prefix_range("7Z3k"), Err(IdError::Character('Z')));
        assert_eq!("../../etc/".parse::<TaskId>(), Err(IdError::Character('.')));
    }
}
