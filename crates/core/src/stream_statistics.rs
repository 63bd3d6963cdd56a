//! What went through a session's streams, counted per party: kept with the session, so that a bad line can be told from a bad engine.

/// Both parties' counts; each index is [`crate::session::Speaker::index`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamStatistics {
    /// What the customer's side sent and was sent, then the agent's.
    pub parties: [PartyStatistics; 2],
}

/// What one party sent, and what it was sent. All counts are of the whole session so far and only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartyStatistics {
    /// Audio frames accepted from it.
    pub frames_in: u64,
    /// Audio in those frames, in ms.
    pub audio_in_ms: u64,
    /// Frames that had come before.
    pub duplicate_frames: u64,
    /// Frames that came after their place was filled with silence.
    pub late_frames: u64,
    /// Places where audio was missing.
    pub gaps: u64,
    /// Silence put in those places, in ms.
    pub gap_ms: u64,
    /// Messages refused: malformed, of a wrong format or faster than the plan allows.
    pub refused_messages: u64,
    /// Speech sent to it, in ms.
    pub audio_out_ms: u64,
    /// Speech not sent to it because it did not read, in ms.
    pub dropped_out_ms: u64,
}
