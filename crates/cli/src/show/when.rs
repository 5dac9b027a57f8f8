//! Times, durations and sizes as people read them.
//!
//! What it is for: `3m ago`, `1h 05m`, `1.2 MiB`. What it owns: the rounding. What it never does: read the clock: now
//! is an argument.

use meanwhile_api::Timestamp;

/// How long ago (or in how long) `then` is, seen from `now`: `now`, `12s ago`, `3m ago`, `5h ago`, `2d ago`, `in 4m`.
pub(crate) fn relative(then: Timestamp, now: Timestamp) -> String {
    let ms = now.unix_ms().saturating_sub(then.unix_ms());
    let text = coarse(ms.unsigned_abs());
    match ms {
        // A clock that was set back by a moment is no reason to speak of the future.
        -999..=999 => "now".to_owned(),
        ..=-1_000 => format!("in {text}"),
        _ => format!("{text} ago"),
    }
}

/// A duration by its largest unit.
fn coarse(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A duration with about two digits of use: `40ms`, `1.2s`, `12s`, `3m 12s`, `1h 05m`, `2d 03h`.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{seconds}.{}s", ms % 1_000 / 100),
        10_000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600_000..172_800_000 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A number of bytes: `0 B`, `812 B`, `1.2 KiB`, `64 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    // In tenths of the unit, so that no floating point rounding shows 1024.0 KiB.
    let mut tenths = u128::from(bytes) * 10 / 1_024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    let unit = UNITS[unit];
    if tenths >= 100 || tenths % 10 == 0 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A count with its thousands marked: `14,201`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 task`, `2 tasks`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_unix_ms(1_000_000_000_000);
        let check = |ago_ms: i64, text: &str| {
            let then = Timestamp::from_unix_ms(now.unix_ms() - ago_ms);
            assert_eq!(relative(then, now), text);
        };
        check(0, "now");
        check(-500, "now");
        check(12_000, "12s ago");
        check(179_999, "2m ago");
        check(3_600_000, "1h ago");
        check(47 * 3_600_000, "47h ago");
        check(48 * 3_600_000, "2d ago");
        check(-240_000, "in 4m");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_299, "1.2s"),
            (59_999, "59s"),
            (192_000, "3m 12s"),
            (3_900_000, "1h 05m"),
            (183_600_000, "2d 03h"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn sizes_never_show_a_thousand_of_a_unit() {
        for (size, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (1_258, "1.2 KiB"),
            (1_048_575, "1023 KiB"),
            (1_048_576, "1 MiB"),
            (64 << 20, "64 MiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(
            (count(0), count(999), count(14_201)),
            ("0".into(), "999".into(), "14,201".into())
        );
        assert_eq!((plural(1, "task"), plural(2, "task")), ("1 task".into(), "2 tasks".into()));
    }
}
