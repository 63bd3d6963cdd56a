//! A credential's public key, in COSE's form (RFC 9053), and signatures by it.

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

use crate::cbor;

/// The kinds of keys that are asked for, the best first: COSE's numbers of EdDSA, ES256 and RS256. Windows Hello may have RS256 alone.
pub(crate) const ALGORITHMS: [i64; 3] = [-8, -7, -257];
/// Shortest and longest RSA modulus, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// A public key of a kind that can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Ed25519.
    EdDsa([u8; 32]),
    /// ECDSA on P-256 with SHA-256: the uncompressed point.
    Es256([u8; 65]),
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 {
        /// The modulus, big end first, without zeros in front.
        modulus: Vec<u8>,
        /// The exponent, likewise.
        exponent: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads a key in COSE's form. None for what is malformed or of another kind.
    pub fn parse(cose: &[u8]) -> Option<Self> {
        let (item, rest) = cbor::read(cose)?;
        if !rest.is_empty() {
            return None;
        }
        let integer = |label| item.at(label).and_then(cbor::Item::integer);
        let bytes = |label| item.at(label).and_then(cbor::Item::bytes);
        // Key type, algorithm, curve.
        match (integer(1)?, integer(3)?, integer(-1)) {
            (1, -8, Some(6)) => Some(Self::EdDsa(bytes(-2)?.try_into().ok()?)),
            (2, -7, Some(1)) => {
                let (x, y): ([u8; 32], [u8; 32]) = (bytes(-2)?.try_into().ok()?, bytes(-3)?.try_into().ok()?);
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&x);
                point[33..].copy_from_slice(&y);
                Some(Self::Es256(point))
            }
            (3, -257, None) => {
                let (modulus, exponent) = (bytes(-1)?, bytes(-2)?);
                let plain = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
                let sound = RSA_BYTES.contains(&modulus.len()) && exponent.len() <= 4;
                (sound && plain(modulus) && plain(exponent))
                    .then(|| Self::Rs256 { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
            }
            _ => None,
        }
    }

    /// Whether `signature` is this key's of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::EdDsa(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature),
            Self::Es256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::Rs256 { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
        }
        .is_ok()
    }
}
