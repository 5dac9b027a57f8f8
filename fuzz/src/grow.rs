//! Long inputs out of short ones: what is quadratic or unbounded shows only in bulk.
//!
//! Owns the one notation for it. A fuzzer finds `[` quickly and a million of them never; so an input
//! that begins with 0xFF says how it is to be grown. Both bytes used here occur in no UTF-8 text.
//!
//! ```text
//!   FF before FE pattern FE after                  before, pattern n times, after
//!   FF before FE open FE middle FE close FE after  before, open n times, middle, close n times, after
//! ```

use std::borrow::Cow;

/// Begins an input that is to be grown.
const GROWS: u8 = 0xff;
/// Stands between its parts.
const BETWEEN: u8 = 0xfe;
/// How long it becomes, in bytes: long enough that a quadratic loop takes minutes, short enough that
/// honest work takes a fraction of a second.
const LENGTH: usize = 1 << 20;

/// The input that these bytes mean.
pub(crate) fn grown(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some((&GROWS, plan)) = bytes.split_first() else { return Cow::Borrowed(bytes) };
    let parts: Vec<&[u8]> = plan.split(|byte| *byte == BETWEEN).collect();
    match parts[..] {
        [before, pattern, after] => {
            let times = LENGTH / pattern.len().max(1);
            Cow::Owned([before, &pattern.repeat(times), after].concat())
        }
        [before, open, middle, close, after] => {
            let times = LENGTH / (open.len() + close.len()).max(1);
            let (open, close) = (open.repeat(times), close.repeat(times));
            Cow::Owned([before, &open, middle, &close, after].concat())
        }
        _ => Cow::Borrowed(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_grows_as_it_says_and_others_stay() {
        let grown_text = grown(b"\xff[\xfe1,\xfe1]");
        assert!(grown_text.starts_with(b"[1,1,") && grown_text.ends_with(b",1]"));
        assert_eq!(grown_text.len(), LENGTH + 3);
        let nested = grown(b"\xffx\xfe[\xfe0\xfe]\xfey");
        assert!(nested.starts_with(b"x[[[") && nested.ends_with(b"]]]y"));
        for plain in [&b""[..], b"plain", b"\xff", b"\xffa\xfeb"] {
            assert_eq!(grown(plain).as_ref(), plain);
        }
    }
}
