//! The live session: one task per call owns its state; sockets and carriers send it bounded messages.
//!
//! Audio flows: frame → reorder → (pass-through) and interpreter → final text → storage → listeners; translated speech → playout →
//! listeners. What must stay true: a final text is stored before any client sees it; nothing here waits for a listener, a
//! translator or the disk while audio is coming in; every queue has a bound and a stated answer when it is full.

mod command;
pub mod hub;
pub mod limiter;
pub mod message;
mod observers;
pub mod outbox;
mod party;
mod playout;
mod session;
pub mod spool;
mod writes;

pub use hub::{Hub, JoinError, Joined, Observing};
pub use limiter::{Limiter, Verdict};
pub use message::{AudioFrame, AudioOut, CloseCode, Levels, Outgoing, PartyLevels, SegmentText, SocketId};
pub use outbox::Outbox;
pub use spool::Spool;
