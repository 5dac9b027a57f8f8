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
/// How long it becomes in a replay, in bytes: long enough that a quadratic loop takes minutes, short
/// enough that honest work takes a few seconds.
pub(crate) const LONG: usize = 1 << 20;
/// How long it becomes under the fuzzer, which has thousands of inputs to try and slow instruments.
pub(crate) const SHORT: usize = 1 << 15;

/// The input that these bytes mean, grown to about a length.
pub(crate) fn grown(bytes: &[u8], length: usize) -> Cow<'_, [u8]> {
    let Some((&GROWS, plan)) = bytes.split_first() else { return Cow::Borrowed(bytes) };
    let parts: Vec<&[u8]> = plan.split(|byte| *byte == BETWEEN).collect();
    match parts[..] {
        [before, pattern, after] => {
            let times = length / pattern.len().max(1);
            Cow::Owned([before, &pattern.repeat(times), after].concat())
        }
        [before, open, middle, close, after] => {
            let times = length / (open.len() + close.len()).max(1);
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
        let grown_text = grown(b"\xff[\xfe1,\xfe1]", LONG);
        assert!(grown_text.starts_with(b"[1,1,") && grown_text.ends_with(b",1]"));
        assert_eq!(grown_text.len(), LONG + 3);
        let nested = grown(b"\xffx\xfe[\xfe0\xfe]\xfey", SHORT);
        assert!(nested.starts_with(b"x[[[") && nested.ends_with(b"]]]y"));
        for plain in [&b""[..], b"plain", b"\xff", b"\xffa\xfeb"] {
            assert_eq!(grown(plain, LONG).as_ref(), plain);
        }
    }
}
