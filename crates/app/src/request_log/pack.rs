//! Records packed into a block: a format number, then LZ4 over Postcard. Names are written out, so that a block can be read by any later
//! version; LZ4 makes little of their repetition.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use kallglot_core::Timestamp;
use kallglot_core::edition::Edition;
use kallglot_core::id::{ApiKeyId, RequestId};
use kallglot_core::request_record::{RecordedLimits, RequestRecord};
use kallglot_core::session::Tenant;
use serde::{Deserialize, Serialize};

/// The records alone.
const PLAIN: u8 = 1;
/// Each record is followed by a byte that says whether it was sent with a replaced secret. Only for blocks in which one was, so that programs
/// that don't know this format read all others.
const WITH_OLD_SECRETS: u8 = 2;
/// Largest block before packing that is accepted: a damaged length must not ask for more memory.
const UNPACKED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The bytes are no block that this program can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a block of the request log")]
pub struct Unreadable;

#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    id: [u8; 16],
    key: [u8; 16],
    at_us: i64,
    method: Cow<'a, str>,
    route: Cow<'a, str>,
    status: u16,
    code: Option<Cow<'a, str>>,
    latency_us: u32,
    address: [u8; 16],
    edition: u8,
    param: Option<Cow<'a, str>>,
    limits: Option<PackedLimits>,
}

#[derive(Serialize, Deserialize)]
struct PackedLimits {
    rate_limit: u32,
    rate_remaining: u32,
    rate_resets_at_s: i64,
    rate_of_key: bool,
    credits_remaining: i64,
    sessions: Option<(u32, u32)>,
}

fn packed(record: &RequestRecord) -> Packed<'_> {
    let address = match record.address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Packed {
        id: record.id.to_bits().to_be_bytes(),
        key: record.key.to_bits().to_be_bytes(),
        at_us: record.at.as_microsecond(),
        method: Cow::Borrowed(&record.method),
        route: Cow::Borrowed(&record.route),
        status: record.status,
        code: record.code.as_deref().map(Cow::Borrowed),
        latency_us: record.latency_us,
        address: address.octets(),
        edition: record.edition.number(),
        param: record.param.as_deref().map(Cow::Borrowed),
        limits: record.limits.map(|limits| PackedLimits {
            rate_limit: limits.rate_limit,
            rate_remaining: limits.rate_remaining,
            rate_resets_at_s: limits.rate_resets_at_s,
            rate_of_key: limits.rate_of_key,
            credits_remaining: limits.credits_remaining,
            sessions: limits.sessions,
        }),
    }
}

fn unpacked(tenant: Tenant, packed: Packed<'_>, old_secret: bool) -> Result<RequestRecord, Unreadable> {
    Ok(RequestRecord {
        id: RequestId::from_bits(u128::from_be_bytes(packed.id)),
        tenant,
        key: ApiKeyId::from_bits(u128::from_be_bytes(packed.key)),
        old_secret,
        at: Timestamp::from_microsecond(packed.at_us).map_err(|_| Unreadable)?,
        method: packed.method.into_owned().into(),
        route: packed.route.into_owned().into(),
        status: packed.status,
        code: packed.code.map(|code| code.into_owned().into()),
        latency_us: packed.latency_us,
        address: IpAddr::from(Ipv6Addr::from(packed.address)).to_canonical(),
        edition: Edition::from_number(packed.edition.into()).ok_or(Unreadable)?,
        param: packed.param.map(Cow::into_owned),
        limits: packed.limits.map(|limits| RecordedLimits {
            rate_limit: limits.rate_limit,
            rate_remaining: limits.rate_remaining,
            rate_resets_at_s: limits.rate_resets_at_s,
            rate_of_key: limits.rate_of_key,
            credits_remaining: limits.credits_remaining,
            sessions: limits.sessions,
        }),
    })
}

/// Packs records of one tenant; the tenant is not in the block.
pub fn pack(records: &[&RequestRecord]) -> Vec<u8> {
    let format = if records.iter().any(|record| record.old_secret) { WITH_OLD_SECRETS } else { PLAIN };
    let mut plain = Vec::with_capacity(records.len() * 128);
    for record in records {
        // It can't fail: a vector grows, and the shape has no unknown lengths.
        if let Ok(extended) = postcard::to_extend(&packed(record), std::mem::take(&mut plain)) {
            plain = extended;
            if format == WITH_OLD_SECRETS {
                plain.push(record.old_secret.into());
            }
        }
    }
    let mut block = vec![format];
    block.extend_from_slice(&lz4_flex::block::compress_prepend_size(&plain));
    block
}

/// The records of a block, in the order in which they were packed.
///
/// # Errors
/// [`Unreadable`]: damaged, or of a format that this program does not know.
pub fn unpack(tenant: Tenant, block: &[u8]) -> Result<Vec<RequestRecord>, Unreadable> {
    let (&format @ (PLAIN | WITH_OLD_SECRETS), compressed) = block.split_first().ok_or(Unreadable)? else {
        return Err(Unreadable);
    };
    let (size_bytes, _) = lz4_flex::block::uncompressed_size(compressed).map_err(|_| Unreadable)?;
    if size_bytes > UNPACKED_BYTES_MAX {
        return Err(Unreadable);
    }
    let plain = lz4_flex::block::decompress_size_prepended(compressed).map_err(|_| Unreadable)?;
    let mut rest = plain.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (packed, left) = postcard::take_from_bytes::<Packed<'_>>(rest).map_err(|_| Unreadable)?;
        let (old_secret, left) = match (format, left.split_first()) {
            (WITH_OLD_SECRETS, Some((&old_secret @ 0..=1, left))) => (old_secret == 1, left),
            (WITH_OLD_SECRETS, _) => return Err(Unreadable),
            _ => (false, left),
        };
        records.push(unpacked(tenant, packed, old_secret)?);
        rest = left;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kallglot_core::id::OrganizationId;
    use kallglot_core::session::Environment;
    use proptest::prelude::*;

    const TENANT: Tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live };

    fn record(number: u32) -> RequestRecord {
        RequestRecord {
            id: RequestId::from_bits(u128::from(number) << 80),
            tenant: TENANT,
            key: ApiKeyId::from_bits(7),
            old_secret: false,
            at: Timestamp::from_microsecond(1_800_000_000_000_000 + i64::from(number)).unwrap(),
            method: "POST".into(),
            route: "/v1/sessions".into(),
            status: 429,
            code: Some("rate_limit_exceeded".into()),
            latency_us: 180,
            address: [192, 0, 2, 1].into(),
            edition: Edition::Two,
            param: number.is_multiple_of(2).then(|| "mode".into()),
            limits: Some(RecordedLimits {
                rate_limit: 600,
                rate_remaining: 0,
                rate_resets_at_s: 1_800_000_060,
                rate_of_key: false,
                credits_remaining: 12,
                sessions: Some((50, 50)),
            }),
        }
    }

    #[test]
    fn a_block_gives_back_what_was_packed_and_is_small() {
        let records: Vec<_> = (0..1000).map(record).collect();
        let block = pack(&records.iter().collect::<Vec<_>>());
        assert_eq!(unpack(TENANT, &block), Ok(records));
        assert!(block.len() < 40 * 1000, "{} bytes for 1000 records", block.len());
    }

    #[test]
    fn who_used_a_replaced_secret_is_kept_and_other_blocks_stay_as_they_were() {
        let plain = record(1);
        let old = RequestRecord { old_secret: true, ..record(2) };
        let block = pack(&[&plain, &old]);
        assert_eq!((block[0], unpack(TENANT, &block)), (WITH_OLD_SECRETS, Ok(vec![plain.clone(), old])));
        assert_eq!(pack(&[&plain])[0], PLAIN);
    }

    proptest! {
        #[test]
        fn damaged_blocks_are_refused_or_read_but_never_more(bytes in prop::collection::vec(any::<u8>(), 0..200), at: usize, byte: u8) {
            let _ = unpack(TENANT, &bytes);
            let one = RequestRecord { old_secret: byte % 2 == 1, ..record(1) };
            let mut block = pack(&[&one]);
            let at = at % block.len();
            block[at] = byte;
            let _ = unpack(TENANT, &block);
        }
    }
}
