//! The quality of a session.

use super::transcript::speaker;
use super::{Schemas, answer, count, count_or_null, ids, kind, part, reference};
use crate::openapi::node::object;

const EXAMPLE: &str = r#"{
  "object": "session_quality",
  "session_id": "sess_02kcvxLD3mcqFX1EhuPLpS",
  "utterances": [
    { "id": "seg_02kcvxLD3mcqFX1EhuPLpS", "speaker": "customer", "first_partial_ms": 420, "final_ms": 610, "first_audio_ms": 890 }
  ],
  "median_final_ms": 610,
  "median_first_audio_ms": 890,
  "streams": {
    "customer": {
      "frames_in": 600, "audio_in_ms": 12000, "duplicate_frames": 0, "late_frames": 0, "gaps": 0, "gap_ms": 0,
      "refused_messages": 0, "audio_out_ms": 0, "dropped_out_ms": 0
    },
    "agent": {
      "frames_in": 600, "audio_in_ms": 12000, "duplicate_frames": 0, "late_frames": 0, "gaps": 0, "gap_ms": 0,
      "refused_messages": 0, "audio_out_ms": 1450, "dropped_out_ms": 0
    }
  }
}"#;

pub(super) fn schemas() -> Schemas {
    let quality = answer(
        "How long a session's utterances took, and what went through its streams.",
        object! {
            "object" => kind("session_quality"),
            "session_id" => ids::session(),
            "utterances" => object! { "type" => "array", "items" => part("The lag of one utterance.", object! {
                "id" => ids::segment(),
                "speaker" => speaker("Who said it."),
                "first_partial_ms" => count_or_null("From its first sound to its first partial text; null: there was none."),
                "final_ms" => count("From the end of speech to the final text."),
                "first_audio_ms" => count_or_null("From the end of speech to the first translated audio; null: nothing was spoken."),
            }) },
            "median_final_ms" => count_or_null("The median of `final_ms`; null: there was no utterance."),
            "median_first_audio_ms" => count_or_null("The median of `first_audio_ms`; null: nothing was spoken."),
            "streams" => part("What went through the streams, by party.", object! {
                "customer" => reference("StreamStatistics"),
                "agent" => reference("StreamStatistics"),
            }),
        },
        EXAMPLE,
    );
    let statistics = part(
        "What went through one party's streams.",
        object! {
            "frames_in" => count("Frames of audio that came."),
            "audio_in_ms" => count("How much audio they held."),
            "duplicate_frames" => count("Frames that came twice."),
            "late_frames" => count("Frames that came too late to be put in order."),
            "gaps" => count("How often audio was missing and silence was put in its place."),
            "gap_ms" => count("How much was missing."),
            "refused_messages" => count("Messages that were refused."),
            "audio_out_ms" => count("How much audio was sent."),
            "dropped_out_ms" => count("How much audio was dropped because the party did not read fast enough."),
        },
    );
    vec![("SessionQuality", quality), ("StreamStatistics", statistics)]
}
