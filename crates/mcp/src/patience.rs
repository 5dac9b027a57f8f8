//! A model that polls is slowed, not scolded.
//!
//! What it is for: the same question about a running task, asked again with nothing new, costs a model turn each time;
//! holding the answer makes turns fewer and never hides news. What it owns: what was asked and answered lately.
//! What it never does: wait itself (the tools do, for an event).

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meanwhile_api::Timestamp;

use crate::limits;

/// Remembers questions and their answers, as hashes.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    asked: Mutex<HashMap<u64, Asked>>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    answer: u64,
    times: usize,
    at: Timestamp,
}

/// A number that stands for a question or an answer.
pub(crate) fn print(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Patience {
    /// How long to hold the answer to a question; none when it is new, or has another answer than before.
    pub(crate) fn hold(&self, question: u64, answer: u64, now: Timestamp) -> Option<Duration> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= limits::QUESTIONS_MAX {
            asked.clear();
        }
        let recent = |before: &Asked| {
            let since = now.unix_ms().saturating_sub(before.at.unix_ms());
            (0..limits::ASKED_AGAIN_MS).contains(&since)
        };
        let before = asked.get(&question).copied().filter(recent);
        let times = match before {
            Some(before) if before.answer == answer => before.times + 1,
            Some(_) | None => 0,
        };
        asked.insert(question, Asked { answer, times, at: now });
        let held = times.checked_sub(1)?;
        Some(limits::HOLDS[held.min(limits::HOLDS.len() - 1)])
    }

    /// The answer that was given in the end, where it is another than the one that was held.
    pub(crate) fn answered(&self, question: u64, answer: u64, now: Timestamp) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.get(&question).is_none_or(|before| before.answer != answer) {
            asked.insert(question, Asked { answer, times: 0, at: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_ms(second * 1_000)
    }

    #[test]
    fn the_same_question_is_held_longer_until_there_is_news_or_time_has_passed() {
        let patience = Patience::default();
        let hold = |answer, second| patience.hold(1, answer, at(second)).map(|d| d.as_secs());
        assert_eq!(hold(7, 0), None);
        assert_eq!(
            [hold(7, 1), hold(7, 2), hold(7, 3), hold(7, 4)].map(Option::unwrap),
            [2, 5, 15, 15]
        );
        assert_eq!(hold(8, 5), None, "news");
        assert_eq!(hold(8, 6), Some(2));
        assert_eq!(hold(8, 1_000), None, "nobody polls every quarter of an hour");
        patience.answered(1, 9, at(1_001));
        assert_eq!(hold(9, 1_002), Some(2), "what was answered after the hold counts");
        assert_eq!(patience.hold(2, 9, at(1_002)), None, "another question");
    }
}
