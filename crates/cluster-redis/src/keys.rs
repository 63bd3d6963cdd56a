//! The names of the keys. All of a tenant's have its hash tag, `{org_…:live}`, so that Redis Cluster keeps them on one node, where one
//! script can reach them.

use std::io::Write as _;
use std::net::IpAddr;

use kallglot_core::id::ApiKeyId;
use kallglot_core::idempotency::IdempotencyKey;
use kallglot_core::session::Tenant;
use redis::{RedisWrite, ToRedisArgs};

/// What a key is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'a> {
    /// A tenant's bucket.
    Bucket(Tenant),
    /// The bucket of one of its API keys.
    Own(Tenant, ApiKeyId),
    /// Its sessions' slots.
    Leases(Tenant),
    /// One of its idempotency keys.
    Claim(Tenant, &'a IdempotencyKey),
    /// How often a client has failed to show a key.
    Failures(IpAddr),
    /// The number of the last news, and the channel of the same name.
    News,
    /// Written to see whether writing works.
    Probe,
}

/// A key in the keys' namespace. Written piece by piece into the command, without a buffer of its own.
pub(crate) struct Named<'a>(pub(crate) &'a str, pub(crate) Key<'a>);

fn tagged(out: &mut impl std::io::Write, tenant: Tenant) -> std::io::Result<()> {
    out.write_all(b"{")?;
    out.write_all(&tenant.organization.text())?;
    out.write_all(b":")?;
    out.write_all(tenant.environment.as_str().as_bytes())?;
    out.write_all(b"}")
}

impl Named<'_> {
    fn write(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        out.write_all(self.0.as_bytes())?;
        match self.1 {
            Key::Bucket(tenant) => {
                out.write_all(b":rate:")?;
                tagged(out, tenant)
            }
            Key::Own(tenant, key) => {
                out.write_all(b":rate:")?;
                tagged(out, tenant)?;
                out.write_all(b":")?;
                out.write_all(&key.text())
            }
            Key::Leases(tenant) => {
                out.write_all(b":leases:")?;
                tagged(out, tenant)
            }
            Key::Claim(tenant, key) => {
                out.write_all(b":claim:")?;
                tagged(out, tenant)?;
                out.write_all(b":")?;
                out.write_all(key.as_str().as_bytes())
            }
            Key::Failures(address) => write!(out, ":failures:{address}"),
            Key::News => out.write_all(b":news"),
            Key::Probe => out.write_all(b":probe"),
        }
    }
}

impl ToRedisArgs for Named<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut writer = out.writer_for_next_arg();
        // Into memory: it can't fail.
        let _ = self.write(&mut writer);
        let _ = writer.flush();
    }
}

#[cfg(test)]
mod tests {
    use kallglot_core::id::OrganizationId;
    use kallglot_core::session::Environment;

    use super::*;

    #[test]
    fn a_tenants_keys_share_its_hash_tag() {
        let tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live };
        let tag = format!("{{{}:live}}", tenant.organization);
        let odd = IdempotencyKey::parse("{a}").unwrap();
        let keys = [
            Key::Bucket(tenant),
            Key::Own(tenant, ApiKeyId::from_bits(2)),
            Key::Leases(tenant),
            Key::Claim(tenant, &odd),
        ];
        for key in keys {
            let text = String::from_utf8(Named("k", key).to_redis_args().remove(0)).unwrap();
            let (start, end) = (text.find('{').unwrap(), text.find('}').unwrap());
            assert_eq!(&text[start..=end], tag, "Redis Cluster hashes what is in the first braces");
        }
        let failures = Named("k", Key::Failures("192.0.2.1".parse().unwrap())).to_redis_args();
        assert_eq!(failures, [b"k:failures:192.0.2.1"]);
    }
}
