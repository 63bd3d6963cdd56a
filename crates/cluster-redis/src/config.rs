//! Which Redis, and how much of it.

use std::time::Duration;

use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates};

/// How to reach Redis, 7.0 or later, or Valkey. It must not throw keys away when its memory is full (`maxmemory-policy noeviction`):
/// a count that is gone is a limit that isn't kept.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://user:password@host:port/database`; `rediss://` with TLS.
    pub url: String,
    /// The certificates, in PEM, that the server's must come from; without them the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// What all keys begin with, so that installations can share a Redis: 1 to 32 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub namespace: String,
    /// Connections that calls are spread over, 1 to 16. Another one listens.
    pub connections: usize,
    /// Calls under way at once. One more is unavailable at once: when Redis is slow, a queue would make everybody wait.
    pub in_flight_max: usize,
    /// Longest wait for an answer. A call that waited longer may still have been counted.
    pub timeout: Duration,
    /// For tests alone: the caller's clock says what time it is, instead of the server's, so that a test can move it.
    pub callers_clock: bool,
}

impl RedisConfig {
    /// The usual figures for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_pem: None,
            namespace: "kallglot".to_owned(),
            connections: 2,
            in_flight_max: 1024,
            timeout: Duration::from_millis(250),
            callers_clock: false,
        }
    }

    pub(crate) fn client(&self) -> Result<Client, InvalidConfig> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if self.namespace.is_empty() || self.namespace.len() > 32 || !self.namespace.bytes().all(fits) {
            return Err(InvalidConfig("the namespace has 1 to 32 of a-z, 0-9, '-', '_' and '.'".into()));
        }
        if !(1..=16).contains(&self.connections) {
            return Err(InvalidConfig("there are 1 to 16 connections".into()));
        }
        if self.in_flight_max == 0 || self.in_flight_max > 1 << 20 {
            return Err(InvalidConfig("1 to 1048576 calls may be under way".into()));
        }
        if self.timeout.is_zero() {
            return Err(InvalidConfig("the timeout is above zero".into()));
        }
        // Without this check, one that has none would trust nobody, and say so only when it connects.
        if self.ca_pem.as_ref().is_some_and(|pem| !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----"))
        {
            return Err(InvalidConfig("there is no certificate in what should be the CA's".into()));
        }
        let info = self.url.as_str().into_connection_info().map_err(InvalidConfig::from)?;
        // Both news and the loss of a connection are pushed, which the older protocol can't do.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info: ConnectionInfo = info.set_redis_settings(settings);
        // Whoever came first may have chosen; then that is what counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = match &self.ca_pem {
            None => Client::open(info),
            Some(pem) => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) })
            }
        };
        client.map_err(InvalidConfig::from)
    }
}

/// The configuration can't be used. The message has no password in it.
#[derive(Debug, thiserror::Error)]
#[error("the Redis configuration is not usable: {0}")]
pub struct InvalidConfig(String);

impl From<redis::RedisError> for InvalidConfig {
    fn from(error: redis::RedisError) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_before_it_is_tried() {
        let good = RedisConfig::new("redis://127.0.0.1:6379");
        assert!(good.client().is_ok());
        let bad = [
            RedisConfig { url: "http://127.0.0.1".into(), ..good.clone() },
            RedisConfig { namespace: "a{b}".into(), ..good.clone() },
            RedisConfig { namespace: String::new(), ..good.clone() },
            RedisConfig { connections: 0, ..good.clone() },
            RedisConfig { in_flight_max: 0, ..good.clone() },
            RedisConfig { timeout: Duration::ZERO, ..good.clone() },
            RedisConfig { url: "rediss://127.0.0.1".into(), ca_pem: Some(b"no certificate".to_vec()), ..good },
        ];
        for config in bad {
            assert!(config.client().is_err(), "{} {}", config.url, config.namespace);
        }
    }
}
