//! Small decisions out of bytes: how a body that needs more than one text takes its input apart.
//!
//! Owns the reading. An input that ends early reads as zeroes, so that every input means something
//! and a fuzzer may cut as it likes.

/// Bytes that are used up from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed<'a> {
    rest: &'a [u8],
}

impl<'a> Feed<'a> {
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Up to `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = tail;
        head
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// A number of any size: small ones and those at the ends of the range are as likely as others.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ ..0x80 => u64::from(small),
            0x80..0xc0 => u64::from(self.short()),
            0xc0..0xd0 => u64::from(self.short()) << 16 | u64::from(self.short()),
            0xd0..0xe0 => u64::MAX - u64::from(self.byte()),
            0xe0..0xf0 => (1 << 63) - 128 + u64::from(self.byte()),
            _ => (0..4).fold(0, |all, _| all << 16 | u64::from(self.short())),
        }
    }

    /// One in `n`, for `n` up to 256.
    pub(crate) fn choose(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// A number that may be absent.
    pub(crate) fn maybe(&mut self) -> Option<u64> {
        (self.byte() & 1 == 1).then(|| self.number())
    }

    /// A run of bytes that says its own length.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.short());
        self.take(len)
    }
}
