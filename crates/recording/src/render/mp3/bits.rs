//! Bits into bytes, the highest first.

/// Appends bits to bytes.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    pending: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { start: out.len(), out, pending: 0, count: 0 }
    }

    /// The lowest `count` (at most 32) bits of `value`, which has no others.
    pub(super) fn put(&mut self, value: u32, count: u32) {
        debug_assert!(count <= 32 && u64::from(value) >> count == 0);
        self.pending = self.pending << count | u64::from(value);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.out.push((self.pending >> self.count) as u8);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn bits(&self) -> usize {
        (self.out.len() - self.start) * 8 + self.count as usize
    }

    /// Zeros up to `bytes` since the start.
    pub(super) fn pad_to(mut self, bytes: usize) {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
        debug_assert!(self.out.len() - self.start <= bytes);
        self.out.resize(self.start + bytes, 0);
    }
}
