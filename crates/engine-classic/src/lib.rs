//! engine-classic
pub mod sphinx;
