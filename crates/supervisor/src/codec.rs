//! The bytes of messages and records: little-endian integers, length-prefixed byte strings.
//!
//! Owns the rule that makes formats grow: a reader ignores bytes after the fields it knows, and a field
//! that was appended later reads as absent when the bytes end before it. Nested values are
//! length-prefixed, so that they can grow too. Never panics on foreign bytes and never allocates more
//! than the bytes that are there.

use std::fmt;

/// Why bytes could not be read as the value they should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end inside the named field.
    Short {
        /// The field that was being read.
        field: &'static str,
    },
    /// The named field holds a value that has no meaning.
    Invalid {
        /// The field that was being read.
        field: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { field } => write!(f, "decode a message: it ends inside `{field}`"),
            Self::Invalid { field } => write!(f, "decode a message: `{field}` has no meaning"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Appends fields to a growing buffer.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Bytes whose length both sides know.
    pub(crate) fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        self
    }

    /// Bytes after their length.
    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        let len = u32::try_from(value.len()).expect("values are bounded far below 4 GiB");
        self.u32(len).raw(value)
    }

    pub(crate) fn list<T>(
        &mut self,
        values: &[T],
        mut one: impl FnMut(&mut Self, &T),
    ) -> &mut Self {
        let len = u32::try_from(values.len()).expect("lists are bounded far below 4 G");
        self.u32(len);
        for value in values {
            one(self, value);
        }
        self
    }

    pub(crate) fn option<T>(
        &mut self,
        value: Option<&T>,
        one: impl FnOnce(&mut Self, &T),
    ) -> &mut Self {
        self.flag(value.is_some());
        if let Some(value) = value {
            one(self, value);
        }
        self
    }

    /// A value that may grow fields later: its bytes after their length.
    pub(crate) fn nested(&mut self, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::new();
        fill(&mut inner);
        self.bytes(&inner.bytes)
    }
}

/// Takes fields off the front of a slice.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether the bytes ended: what an appended field asks before it reads itself.
    #[cfg(test)]
    pub(crate) fn at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn raw(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(DecodeError::Short { field })?;
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let raw = self.raw(N, field)?;
        Ok(raw.try_into().expect("raw returned exactly N bytes"))
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        Ok(i32::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { field }),
        }
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.u32(field)? as usize;
        self.raw(len, field)
    }

    pub(crate) fn vec(&mut self, field: &'static str) -> Result<Vec<u8>, DecodeError> {
        Ok(self.bytes(field)?.to_vec())
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        Ok(String::from_utf8_lossy(self.bytes(field)?).into_owned())
    }

    pub(crate) fn list<T>(
        &mut self,
        field: &'static str,
        mut one: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let len = self.u32(field)? as usize;
        // Each element is at least one byte, so a length beyond the bytes left is a lie.
        if len > self.bytes.len() {
            return Err(DecodeError::Short { field });
        }
        (0..len).map(|_| one(self)).collect()
    }

    pub(crate) fn option<T>(
        &mut self,
        field: &'static str,
        one: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.flag(field)? { one(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn nested(&mut self, field: &'static str) -> Result<Decoder<'a>, DecodeError> {
        Ok(Decoder::new(self.bytes(field)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_longer_than_its_bytes_is_refused_before_anything_is_allocated() {
        let mut encoder = Encoder::new();
        encoder.u32(u32::MAX);
        let bytes = encoder.finish();
        let read = Decoder::new(&bytes).list("argv", |d| d.vec("argument"));
        assert_eq!(read, Err(DecodeError::Short { field: "argv" }));
    }

    #[test]
    fn bytes_after_the_known_fields_are_ignored() {
        let mut encoder = Encoder::new();
        encoder.nested(|inner| {
            inner.u8(7).u64(99);
        });
        encoder.u8(3);
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(decoder.nested("inner").unwrap().u8("known"), Ok(7));
        assert_eq!(decoder.u8("after"), Ok(3));
        assert!(decoder.at_end());
    }
}
