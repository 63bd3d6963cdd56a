//! Where webhooks may be sent: which URLs an endpoint can have, and which addresses are connected to (contract section 13).
//!
//! An organization chooses its endpoints' URLs, and this server stands where others can't reach: beside databases, metadata services
//! and other machines' control pages. So nothing is sent to an address that is not one of the public internet, unless the operator
//! allows it. A name tells nothing about its addresses: they are judged when they are known, each time, and the connection is made
//! to the very address that was judged.
//!
//! What must stay true: what is not known to be public is refused. IPv6 addresses that stand for an IPv4 one are judged as that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::delivery::URL_BYTES_MAX;
use crate::session::Environment;

/// What the operator allows beyond the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Networks that may be sent to though they are not public.
    pub allow_networks: Vec<IpNet>,
    /// Whether endpoints of the test environment may have `http` URLs.
    pub allow_http_in_test: bool,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}; nothing is sent there")]
pub struct AddressRefused {
    /// The address.
    pub address: IpAddr,
    /// What it is: `a private address`.
    pub what: &'static str,
}

/// Why a URL can't be an endpoint's. The sentences are for its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// It is too long.
    #[error("must have at most {URL_BYTES_MAX} bytes")]
    TooLong,
    /// It is none.
    #[error("must be an absolute URL such as https://example.com/webhooks ({0})")]
    NoUrl(String),
    /// Another scheme than https.
    #[error("must start with https://")]
    NotHttps,
    /// A name or a password in it.
    #[error("must not hold a user name or a password: check the signature in the receiver instead")]
    Credentials,
    /// A part after `#`.
    #[error("must not have a part after `#`: it would not be sent")]
    Fragment,
    /// Port 0.
    #[error("must not have port 0")]
    Port,
    /// A name that ends with a dot.
    #[error("must have a host name without a dot at its end")]
    TrailingDot,
    /// A name that means this machine.
    #[error("must not point to the machine that sends")]
    Localhost,
    /// An address that nothing is sent to.
    #[error("must be reachable in the public internet: {0}")]
    Address(#[from] AddressRefused),
}

/// An endpoint's URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// Whether it is spoken to by TLS.
    pub tls: bool,
    /// A name in ASCII, or an address.
    pub host: EndpointHost,
    /// The port, also where it is the usual one.
    pub port: u16,
    /// What stands in `Host`: with the port, where it is not the usual one.
    pub authority: String,
    /// Path and query.
    pub target: String,
    text: String,
}

/// The host of an endpoint's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointHost {
    /// A name, in lower case and ASCII.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl EndpointUrl {
    /// The URL as a text, normalised.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl EgressPolicy {
    /// Reads the URL of an endpoint in this environment. That it is let through says nothing about what its name will lead to.
    ///
    /// # Errors
    /// What has to be different.
    pub fn endpoint(&self, text: &str, environment: Environment) -> Result<EndpointUrl, UrlRefused> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlRefused::TooLong);
        }
        // The parser drops spaces around it and line ends within; what is stored should be what was meant.
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ' || byte == b'\\') {
            return Err(UrlRefused::NoUrl("there is a space, a backslash or a control character in it".into()));
        }
        let url = Url::parse(text).map_err(|error| UrlRefused::NoUrl(error.to_string()))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" if self.allow_http_in_test && environment == Environment::Test => false,
            _ => return Err(UrlRefused::NotHttps),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefused::Credentials);
        }
        if url.fragment().is_some() {
            return Err(UrlRefused::Fragment);
        }
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(UrlRefused::Port)?;
        let host = match url.host() {
            None => return Err(UrlRefused::NoUrl("it has no host".into())),
            Some(Host::Domain(name)) => EndpointHost::Name(self.name(name)?),
            Some(Host::Ipv4(address)) => EndpointHost::Address(self.judge(address.into())?),
            Some(Host::Ipv6(address)) => EndpointHost::Address(self.judge(address.into())?),
        };
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(UrlRefused::TooLong);
        }
        let target = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        let authority = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        Ok(EndpointUrl { tls, host, port, authority, target, text: url.into() })
    }

    fn name(&self, name: &str) -> Result<String, UrlRefused> {
        if name.ends_with('.') {
            return Err(UrlRefused::TrailingDot);
        }
        let local = name == "localhost" || name.ends_with(".localhost");
        if local && self.judge(Ipv4Addr::LOCALHOST.into()).is_err() {
            return Err(UrlRefused::Localhost);
        }
        Ok(name.to_owned())
    }

    /// Whether this address may be connected to; answers with the one to connect to, which is IPv4 where the address only stands for one.
    ///
    /// # Errors
    /// It may not.
    pub fn judge(&self, address: IpAddr) -> Result<IpAddr, AddressRefused> {
        let address = address.to_canonical();
        if self.allow_networks.iter().any(|network| network.contains(&address)) {
            return Ok(address);
        }
        let refused = match address {
            IpAddr::V4(address) => not_public_v4(address),
            IpAddr::V6(address) => not_public_v6(address),
        };
        refused.map_or(Ok(address), |what| Err(AddressRefused { address, what }))
    }
}

/// Why this is not an address of the public internet (IANA's registry of special-purpose addresses, RFC 6890).
fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("an address of this network"),
        [127, ..] => Some("a loopback address"),
        [10, ..] | [192, 168, ..] => Some("a private address"),
        [172, second, ..] if second & 0xf0 == 16 => Some("a private address"),
        [169, 254, ..] => Some("a link-local address"),
        [100, second, ..] if second & 0xc0 == 64 => Some("an address of a carrier's own network"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("an address for documentation"),
        [198, 18 | 19, ..] => Some("an address for benchmarks"),
        [192, 0, 0, _] | [192, 88, 99, _] => Some("an address of a protocol"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

/// Why this is not an address of the public internet: anything outside of what is given out to networks, and some within.
fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let parts = address.segments();
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("the loopback address"),
        // RFC 6052: leads to the IPv4 address in its end, wherever that is.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            not_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("an address for documentation"),
        // Teredo, benchmarks, identifiers (RFC 2928): none of it is a server's address.
        [0x2001, 0..=0x1ff, ..] => Some("an address of a protocol"),
        [0x2002, ..] => Some("a 6to4 address"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strict() -> EgressPolicy {
        EgressPolicy::default()
    }

    fn live(text: &str) -> Result<EndpointUrl, UrlRefused> {
        strict().endpoint(text, Environment::Live)
    }

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert!(strict().judge(address).is_err(), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_let_through() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.1",
            "126.1.1.1",
            "169.253.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.1.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.254",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "64:ff9b::1.1.1.1",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(strict().judge(address), Ok(address));
        }
        assert_eq!(strict().judge("::ffff:1.1.1.1".parse().unwrap()), Ok("1.1.1.1".parse().unwrap()));
    }

    #[test]
    fn the_operator_can_allow_networks() {
        let policy = EgressPolicy { allow_networks: vec!["10.1.0.0/16".parse().unwrap()], allow_http_in_test: true };
        assert!(policy.judge("10.1.2.3".parse().unwrap()).is_ok());
        assert!(policy.judge("::ffff:10.1.2.3".parse().unwrap()).is_ok());
        assert!(policy.judge("10.2.2.3".parse().unwrap()).is_err());
        assert!(policy.endpoint("https://10.1.2.3/x", Environment::Live).is_ok());
        let http = policy.endpoint("http://10.1.2.3:8080/x?y=1", Environment::Test).unwrap();
        assert_eq!((http.tls, http.port, http.target.as_str()), (false, 8080, "/x?y=1"));
        assert_eq!(http.authority, "10.1.2.3:8080");
        assert_eq!(policy.endpoint("http://10.1.2.3/x", Environment::Live), Err(UrlRefused::NotHttps));
    }

    #[test]
    fn the_usual_url_is_let_through() {
        let url = live("https://Example.com/hooks?a=b").unwrap();
        assert_eq!(url.as_str(), "https://example.com/hooks?a=b");
        assert_eq!((url.authority.as_str(), url.port, url.tls), ("example.com", 443, true));
        assert_eq!(url.host, EndpointHost::Name("example.com".into()));
        assert_eq!(live("https://bücher.example").unwrap().host, EndpointHost::Name("xn--bcher-kva.example".into()));
        assert_eq!(live("https://example.com").unwrap().target, "/");
        assert_eq!(live("https://[2606:4700::1]:8443/").unwrap().authority, "[2606:4700::1]:8443");
    }

    #[test]
    fn addresses_in_disguise_are_seen_through() {
        for text in [
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://0/",
            "https://①②⑦.0.0.1/",
            "https://0xa9fea9fe/latest/meta-data/",
            "https://[::ffff:7f00:1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://127.0.0.1./",
        ] {
            let refused = live(text).unwrap_err();
            assert!(matches!(refused, UrlRefused::Address(_)), "{text}: {refused}");
        }
    }

    #[test]
    fn what_can_be_no_endpoint_is_refused() {
        for (text, expected) in [
            ("http://example.com/", UrlRefused::NotHttps),
            ("ftp://example.com/", UrlRefused::NotHttps),
            ("file:///etc/passwd", UrlRefused::NotHttps),
            ("https://user@example.com/", UrlRefused::Credentials),
            ("https://:password@example.com/", UrlRefused::Credentials),
            ("https://example.com/#part", UrlRefused::Fragment),
            ("https://example.com:0/", UrlRefused::Port),
            ("https://example.com./", UrlRefused::TrailingDot),
            ("https://localhost/", UrlRefused::Localhost),
            ("https://LOCALHOST:8443/", UrlRefused::Localhost),
            ("https://a.localhost/", UrlRefused::Localhost),
        ] {
            assert_eq!(live(text), Err(expected), "{text}");
        }
        for text in ["", "example.com", "https://", "https://exa mple.com/", "https://a/\nb", "https://a\\b/"] {
            assert!(matches!(live(text), Err(UrlRefused::NoUrl(_))), "{text:?}");
        }
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(live(&long), Err(UrlRefused::TooLong));
    }

    proptest! {
        #[test]
        fn whatever_is_let_through_is_https_and_reads_the_same_again(text in "(https?://)?[a-z0-9@:.\\[\\]/?#%\\\\ -]{0,60}") {
            if let Ok(url) = live(&text) {
                prop_assert!(url.tls);
                prop_assert_eq!(live(url.as_str()), Ok(url.clone()));
                if let EndpointHost::Address(address) = url.host {
                    prop_assert!(strict().judge(address).is_ok());
                }
            }
        }

        #[test]
        fn an_address_is_judged_as_what_it_stands_for(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(
                strict().judge(address.into()).is_ok(),
                strict().judge(address.to_ipv6_mapped().into()).is_ok()
            );
        }
    }
}
