//! Randomness as an argument, so that tests are repeatable.

/// Where random bytes come from. The server passes the operating system's CSPRNG.
pub trait RandomSource: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes from `source`.
pub fn bytes<const N: usize>(source: &dyn RandomSource) -> [u8; N] {
    let mut bytes = [0; N];
    source.fill(&mut bytes);
    bytes
}
