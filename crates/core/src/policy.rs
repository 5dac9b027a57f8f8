//! Rules that are plain functions: backoff, timeouts from history, lanes of commands.

use std::time::Duration;

use crate::id::TaskId;
use crate::limits;

/// The wait before `attempt` (2 is the first retry): `base` doubled per retry, at most `max`, then
/// spread over 75..125 % so that tasks that failed together do not come back together. The spread
/// comes from the task's own random id: the same task always gives the same answer.
#[must_use]
pub fn backoff(base: Duration, max: Duration, task: TaskId, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(2).min(31);
    let plain = base.saturating_mul(1 << doublings).min(max);
    let mixed = (task.to_bits() ^ u64::from(attempt) << 50).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The upper 16 bits of the product, as a part of 65,536, of half the wait.
    let part = u32::try_from(mixed >> 48).expect("16 bits");
    plain.mul_f64(0.75 + 0.5 * f64::from(part) / 65_536.0)
}

/// The running time allowed to a command that was launched without `--timeout`.
///
/// People's commands and services run for ever. An agent's command gets 300 s, or three times the
/// p95 of its own history once it has succeeded three times, if that is more.
#[must_use]
pub fn default_timeout(
    by_person: bool,
    service: bool,
    setting: Option<Duration>,
    successes: &[Duration],
) -> Option<Duration> {
    if by_person || service {
        return None;
    }
    let floor = setting?;
    Some(match p95(successes) {
        Some(p95) if successes.len() >= 3 => floor.max(p95.saturating_mul(3)),
        Some(_) | None => floor,
    })
}

/// The nearest-rank 95th percentile; none of nothing.
#[must_use]
pub fn p95(durations: &[Duration]) -> Option<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * 95).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The lane of a command that named none.
#[must_use]
pub const fn default_lane(service: bool) -> &'static str {
    if service { limits::SERVICES_LANE } else { limits::COMMANDS_LANE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap_and_stays_within_its_spread() {
        let id = TaskId::from_random(0x1234_5678_9abc);
        for (attempt, plain) in [(2, 1u64), (3, 2), (4, 4), (9, 60), (99, 60)] {
            let got = backoff(Duration::from_secs(1), Duration::from_secs(60), id, attempt);
            let plain = Duration::from_secs(plain);
            assert!(got >= plain.mul_f64(0.75) && got <= plain.mul_f64(1.25), "{attempt}: {got:?}");
        }
    }

    #[test]
    fn an_agents_command_gets_300_s_or_three_times_its_p95() {
        let s = Duration::from_secs;
        let setting = Some(limits::AGENT_COMMAND_TIMEOUT);
        let check = |history: &[Duration]| default_timeout(false, false, setting, history);
        assert_eq!(check(&[]), Some(s(300)));
        assert_eq!(check(&[s(200), s(200)]), Some(s(300)), "two successes are no history");
        assert_eq!(check(&[s(200), s(180), s(190)]), Some(s(600)));
        assert_eq!(check(&[s(1), s(1), s(1)]), Some(s(300)));
        assert_eq!(default_timeout(true, false, setting, &[]), None);
        assert_eq!(default_timeout(false, true, setting, &[]), None);
        assert_eq!(default_timeout(false, false, None, &[]), None);
    }
}
