//! Reading CBOR (RFC 8949) as authenticators write it (CTAP2's canonical form: definite lengths, shallow).

/// Deepest nesting that is read: attestation statements hold lists in a map in a map.
const DEPTH_MAX: u32 = 6;

/// One item. What holds others holds them in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A whole number of 64 bits.
    Integer(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A text.
    Text(&'a str),
    /// A list.
    List(Vec<Item<'a>>),
    /// A map; keys are different.
    Map(Vec<(Item<'a>, Item<'a>)>),
    /// Something that nobody here looks at: true, false, null, floats.
    Other,
}

impl<'a> Item<'a> {
    /// The map's value of a text.
    pub(crate) fn get(&self, key: &str) -> Option<&Item<'a>> {
        self.find(&Item::Text(key))
    }

    /// The map's value of a number.
    pub(crate) fn at(&self, key: i64) -> Option<&Item<'a>> {
        self.find(&Item::Integer(key))
    }

    fn find(&self, key: &Item<'_>) -> Option<&Item<'a>> {
        let Item::Map(pairs) = self else { return None };
        pairs.iter().find(|(own, _)| own == key).map(|(_, value)| value)
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        if let Item::Integer(n) = self { Some(*n) } else { None }
    }

    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        if let Item::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// The first item, and what is behind it. None for what is not such CBOR.
pub(crate) fn read(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let mut rest = bytes;
    let item = item(&mut rest, DEPTH_MAX)?;
    Some((item, rest))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// The number in an item's head, or behind it.
fn argument(rest: &mut &[u8], low: u8) -> Option<u64> {
    let length = match low {
        0..24 => return Some(u64::from(low)),
        24..28 => 1 << (low - 24),
        // 28 to 30 are reserved, 31 is an indefinite length, which authenticators must not use.
        _ => return None,
    };
    Some(take(rest, length)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

fn item<'a>(rest: &mut &'a [u8], depth: u32) -> Option<Item<'a>> {
    let depth = depth.checked_sub(1)?;
    let head = *take(rest, 1)?.first()?;
    let n = argument(rest, head & 0x1f)?;
    let length = usize::try_from(n).ok();
    Some(match head >> 5 {
        0 => Item::Integer(i64::try_from(n).ok()?),
        1 => Item::Integer(-1 - i64::try_from(n).ok()?),
        2 => Item::Bytes(take(rest, length?)?),
        3 => Item::Text(std::str::from_utf8(take(rest, length?)?).ok()?),
        4 => {
            // An item takes a byte at least, so that a length that can't be true reserves no memory.
            let length = length.filter(|length| *length <= rest.len())?;
            let mut items = Vec::new();
            for _ in 0..length {
                items.push(item(rest, depth)?);
            }
            Item::List(items)
        }
        5 => {
            let length = length.filter(|length| *length <= rest.len() / 2)?;
            let mut pairs: Vec<(Item<'_>, Item<'_>)> = Vec::new();
            for _ in 0..length {
                let key = item(rest, depth)?;
                if !matches!(key, Item::Integer(_) | Item::Text(_)) || pairs.iter().any(|(other, _)| *other == key) {
                    return None;
                }
                pairs.push((key, item(rest, depth)?));
            }
            Item::Map(pairs)
        }
        7 => Item::Other,
        // 6 is a tag, which nothing here has.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_as_the_rfc_writes_them() {
        // Of RFC 8949, appendix A.
        for (bytes, expected) in [
            (&[0x00][..], Item::Integer(0)),
            (&[0x18, 0x64], Item::Integer(100)),
            (&[0x1a, 0x00, 0x0f, 0x42, 0x40], Item::Integer(1_000_000)),
            (&[0x39, 0x03, 0xe7], Item::Integer(-1000)),
            (&[0x44, 1, 2, 3, 4], Item::Bytes(&[1, 2, 3, 4])),
            (&[0x64, b'I', b'E', b'T', b'F'], Item::Text("IETF")),
            (&[0x82, 0x01, 0x20], Item::List(vec![Item::Integer(1), Item::Integer(-1)])),
            (&[0xa1, 0x61, b'a', 0x01], Item::Map(vec![(Item::Text("a"), Item::Integer(1))])),
            (&[0xf5], Item::Other),
            (&[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a], Item::Other),
        ] {
            assert_eq!(read(bytes), Some((expected, &[][..])), "{bytes:02x?}");
        }
        assert_eq!(read(&[0x01, 0x02]), Some((Item::Integer(1), &[0x02][..])));
    }

    #[test]
    fn what_authenticators_must_not_write_is_refused() {
        for bytes in [
            &[][..],
            // Cut off.
            &[0x18],
            &[0x44, 1, 2],
            &[0x82, 0x01],
            &[0xa1, 0x01],
            // More than there can be.
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            // A number that does not fit, an indefinite length, a tag, no UTF-8, a key twice, a list as a key.
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9f, 0x01, 0xff],
            &[0xc0, 0x01],
            &[0x61, 0xff],
            &[0xa2, 0x01, 0x01, 0x01, 0x02],
            &[0xa1, 0x80, 0x01],
        ] {
            assert_eq!(read(bytes), None, "{bytes:02x?}");
        }
        // A list in a list in a list …: refused, not followed.
        assert_eq!(read(&[0x81; 100_000]), None);
    }
}
