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

const FORMAT: u8 = 1;
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

fn unpacked(tenant: Tenant, packed: Packed<'_>) -> Result<RequestRecord, Unreadable> {
    Ok(RequestRecord {
        id: RequestId::from_bits(u128::from_be_bytes(packed.id)),
        tenant,
        key: ApiKeyId::from_bits(u128::from_be_bytes(packed.key)),
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
    let mut plain = Vec::with_capacity(records.len() * 128);
    for record in records {
        // It can't fail: a vector grows, and the shape has no unknown lengths.
        if let Ok(extended) = postcard::to_extend(&packed(record), std::mem::take(&mut plain)) {
            plain = extended;
        }
    }
    let mut block = vec![FORMAT];
    block.extend_from_slice(&lz4_flex::block::compress_prepend_size(&plain));
    block
}

/// The records of a block, in the order in which they were packed.
///
/// # Errors
/// [`Unreadable`]: damaged, or of a format that this program does not know.
pub fn unpack(tenant: Tenant, block: &[u8]) -> Result<Vec<RequestRecord>, Unreadable> {
    let (&FORMAT, compressed) = block.split_first().ok_or(Unreadable)? else { return Err(Unreadable) };
    let (size_bytes, _) = lz4_flex::block::uncompressed_size(compressed).map_err(|_| Unreadable)?;
    if size_bytes > UNPACKED_BYTES_MAX {
        return Err(Unreadable);
    }
    let plain = lz4_flex::block::decompress_size_prepended(compressed).map_err(|_| Unreadable)?;
    let mut rest = plain.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (packed, left) = postcard::take_from_bytes::<Packed<'_>>(rest).map_err(|_| Unreadable)?;
        records.push(unpacked(tenant, packed)?);
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

    proptest! {
        #[test]
        fn damaged_blocks_are_refused_or_read_but_never_more(bytes in prop::collection::vec(any::<u8>(), 0..200), at: usize, byte: u8) {
            let _ = unpack(TENANT, &bytes);
            let one = record(1);
            let mut block = pack(&[&one]);
            let at = at % block.len();
            block[at] = byte;
            let _ = unpack(TENANT, &block);
        }
    }
}
