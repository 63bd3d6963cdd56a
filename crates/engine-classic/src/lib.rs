//! engine-classic
