//! What the authenticator says of a ceremony and signs (section 6.1).

use sha2::{Digest as _, Sha256};

use crate::{CREDENTIAL_ID_BYTES_MAX, Invalid, cbor};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

pub(crate) struct AuthenticatorData<'a> {
    relying_party_hash: &'a [u8],
    flags: u8,
    pub(crate) sign_count: u32,
    /// The credential that was made: its authenticator's model, its id and its key in COSE's form.
    pub(crate) attested: Option<Attested<'a>>,
}

pub(crate) struct Attested<'a> {
    pub(crate) aaguid: [u8; 16],
    pub(crate) id: &'a [u8],
    pub(crate) key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Invalid> {
        Self::read(bytes).ok_or(Invalid::Malformed)
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (relying_party_hash, rest) = bytes.split_at_checked(32)?;
        let (flags, rest) = rest.split_first()?;
        let (sign_count, mut rest) = rest.split_first_chunk::<4>()?;
        let attested = if flags & ATTESTED == 0 {
            None
        } else {
            let (aaguid, tail) = rest.split_first_chunk::<16>()?;
            let (length, tail) = tail.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (id, tail) = tail.split_at_checked(length)?;
            let (_, behind) = cbor::read(tail)?;
            let key = &tail[..tail.len() - behind.len()];
            rest = behind;
            (1..=CREDENTIAL_ID_BYTES_MAX).contains(&length).then_some(())?;
            Some(Attested { aaguid: *aaguid, id, key })
        };
        if flags & EXTENSIONS != 0 {
            let (extensions, behind) = cbor::read(rest)?;
            matches!(extensions, cbor::Item::Map(_)).then_some(())?;
            rest = behind;
        }
        // A backup of what can't be backed up makes no sense (section 6.1.3).
        let makes_sense = flags & BACKED_UP == 0 || flags & BACKUP_ELIGIBLE != 0;
        (rest.is_empty() && makes_sense).then(|| Self {
            relying_party_hash,
            flags: *flags,
            sign_count: u32::from_be_bytes(*sign_count),
            attested,
        })
    }

    /// Steps 13 to 16 of registration and 15 to 18 of authentication.
    pub(crate) fn check(&self, relying_party: &str) -> Result<(), Invalid> {
        if self.relying_party_hash != Sha256::digest(relying_party.as_bytes()).as_slice() {
            return Err(Invalid::RelyingParty);
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(Invalid::NotPresent);
        }
        if self.flags & USER_VERIFIED == 0 {
            return Err(Invalid::NotVerified);
        }
        Ok(())
    }

    /// Whether it can be copied to other devices of its owner.
    pub(crate) fn is_backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    /// Whether it is.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}
