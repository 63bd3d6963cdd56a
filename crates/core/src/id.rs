//! Ids as types: one registry of kind and prefix, parsed once at the edge.
//!
//! An id is its prefix and 22 Base62 characters of a 128-bit number: 48 bits of milliseconds, then 80 random bits. The text
//! has a fixed length and Base62's digits are in ASCII order, so ids sort by time of creation, as text and as numbers.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::random::{self, RandomSource};

/// Base62 digits in ASCII order.
pub(crate) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BODY_CHARS: usize = 22;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id that starts with `{prefix}` and has {BODY_CHARS} letters and digits after it")]
pub struct InvalidId {
    /// The prefix that ids of the wanted kind have.
    pub prefix: &'static str,
}

/// Writes the digits. Ten at a time, since dividing 128 bits is slow.
fn encode(mut number: u128, body: &mut [u8]) {
    const TEN_DIGITS: u128 = 62u128.pow(10);
    for chunk in body.rchunks_mut(10) {
        let mut digits = (number % TEN_DIGITS) as u64;
        number /= TEN_DIGITS;
        for slot in chunk.iter_mut().rev() {
            *slot = BASE62[(digits % 62) as usize];
            digits /= 62;
        }
    }
}

fn decode(body: &str) -> Option<u128> {
    if body.len() != BODY_CHARS {
        return None;
    }
    body.bytes().try_fold(0u128, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        number.checked_mul(62)?.checked_add(u128::from(digit))
    })
}

fn fresh(now: Timestamp, random: &dyn RandomSource) -> u128 {
    let mut bytes = [0; 16];
    let ms = now.as_millisecond().max(0) as u64;
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random::bytes::<10>(random));
    u128::from_be_bytes(bytes)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What the text of every such id starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later than all that were made in earlier milliseconds.
            pub fn new(now: Timestamp, random: &dyn RandomSource) -> Self {
                Self(fresh(now, random))
            }

            /// How many bytes its text has.
            pub const TEXT_BYTES: usize = $prefix.len() + BODY_CHARS;

            /// Its text, without an allocation. ASCII.
            pub fn text(self) -> [u8; Self::TEXT_BYTES] {
                let mut text = [0; Self::TEXT_BYTES];
                let (prefix, body) = text.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                encode(self.0, body);
                text
            }

            /// The 128 bits behind the text.
            pub const fn to_bits(self) -> u128 {
                self.0
            }

            /// The id of these 128 bits.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix).and_then(decode).map(Self).ok_or(InvalidId { prefix: $prefix })
            }
        }
    )*

    #[cfg(test)]
    const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

ids! {
    /// An organization: what owns keys, sessions and credits.
    OrganizationId "org_";
    /// An API key (not its secret).
    ApiKeyId "key_";
    /// A session: one call between two parties.
    SessionId "sess_";
    /// One utterance of a transcript, from its first partial to its final text.
    SegmentId "seg_";
    /// One HTTP request.
    RequestId "req_";
    /// One thing that happened, for webhooks.
    EventId "evt_";
    /// A recording of a session: of one channel.
    RecordingId "rec_";
    /// An analysis of a session.
    AnalysisId "anl_";
    /// What must and must not be said, as an organization defines it.
    ComplianceProfileId "cpr_";
    /// A webhook endpoint.
    WebhookId "wh_";
    /// One event on its way to one webhook endpoint.
    DeliveryId "dlv_";
    /// One entry of the audit log.
    AuditId "aud_";
    /// One process of a server, from its start to its end.
    NodeId "node_";
    /// A person who uses the Developer Portal.
    PersonId "usr_";
    /// A person's time at the Developer Portal, from signing in to signing out.
    PortalSessionId "pss_";
    /// A one-time link to the Developer Portal: to a first account, an invitation, a new password.
    PortalLinkId "plk_";
    /// A passkey of a person.
    PasskeyId "psk_";
    /// A rule of when to raise an alert.
    AlertRuleId "alr_";
    /// One time that an alert was raised.
    AlertId "alt_";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed(u8);
    impl RandomSource for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones_as_text() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let early = SessionId::new(at(1_000), &Fixed(0xff)).to_string();
        let late = SessionId::new(at(1_001), &Fixed(0)).to_string();
        assert!(early < late, "{early} < {late}");
        assert_eq!(early.len(), "sess_".len() + BODY_CHARS);
    }

    #[test]
    fn every_kind_has_its_own_prefix() {
        let mut prefixes = PREFIXES.to_vec();
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), PREFIXES.len());
    }

    proptest! {
        #[test]
        fn text_and_number_are_the_same_thing(bits: u128) {
            let id = SessionId::from_bits(bits);
            prop_assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
        }

        #[test]
        fn any_text_is_refused_or_round_trips(text in "(sess_)?[0-9A-Za-z_]{0,24}") {
            if let Ok(id) = text.parse::<SessionId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
