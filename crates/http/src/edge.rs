//! Where requests come from and which keys are let in where: behind trusted proxies, and by host name (contract section 1).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;
use kallglot_core::api_key::ServerEnvironment;

/// What the operator says of the network in front of the server.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Proxies whose `X-Forwarded-For` is believed. Nobody else's is.
    pub trusted_proxies: Vec<IpNet>,
    /// Host names (lower case, without a port) that answer for one environment.
    pub hosts: BTreeMap<String, ServerEnvironment>,
    /// Who may read `/metrics`, which needs no key.
    pub metrics_from: Vec<IpNet>,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        Self {
            trusted_proxies: Vec::new(),
            hosts: BTreeMap::new(),
            metrics_from: loopback.into_iter().map(IpNet::from).collect(),
        }
    }
}

impl EdgeConfig {
    /// The client's address: the peer's, or, when that is a trusted proxy, the last address in `X-Forwarded-For` that is none.
    pub(crate) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        // Each proxy appends whom it has heard: from the end to the front, as long as the one who says so is trusted.
        let values: Vec<&str> =
            headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
        for text in values.iter().rev().flat_map(|value| value.rsplit(',')) {
            let Some(address) = address(text.trim()) else { return client };
            client = address;
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// Which environment the request's host name answers for; none when it has no entry.
    pub(crate) fn environment(&self, request: &Request) -> Option<ServerEnvironment> {
        if self.hosts.is_empty() {
            return None;
        }
        let host = request.uri().host().or_else(|| request.headers().get(header::HOST)?.to_str().ok())?;
        // A port, but not the colons of an IPv6 address.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
            _ => host,
        };
        self.hosts.get(name.trim_end_matches('.').to_ascii_lowercase().as_str()).copied()
    }
}

/// An address as proxies write it: bare, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> EdgeConfig {
        EdgeConfig {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            hosts: BTreeMap::from([
                ("api.example.com".into(), ServerEnvironment::Live),
                ("[::1]".into(), ServerEnvironment::Test),
            ]),
            ..EdgeConfig::default()
        }
    }

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        edge().client_address(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(seen("192.0.2.9", &["203.0.113.5"]), "192.0.2.9");
        assert_eq!(seen("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(seen("10.1.2.3", &["203.0.113.5"]), "203.0.113.5");
        assert_eq!(seen("::ffff:10.1.2.3", &["203.0.113.5:4711"]), "203.0.113.5");
        assert_eq!(seen("10.1.2.3", &["[2001:db8::7]:80"]), "2001:db8::7");
    }

    #[test]
    fn what_a_client_has_written_itself_is_not_believed() {
        assert_eq!(seen("10.1.2.3", &["127.0.0.1, 203.0.113.5, 10.9.9.9"]), "203.0.113.5");
        assert_eq!(seen("10.1.2.3", &["198.51.100.1", "203.0.113.5"]), "203.0.113.5");
        assert_eq!(seen("10.1.2.3", &["203.0.113.5, nonsense"]), "10.1.2.3");
    }

    #[test]
    fn a_host_name_may_answer_for_one_environment() {
        let of = |host: &str| {
            edge().environment(&Request::builder().header("host", host).body(axum::body::Body::empty()).unwrap())
        };
        assert_eq!(of("API.example.com:8080"), Some(ServerEnvironment::Live));
        assert_eq!(of("api.example.com."), Some(ServerEnvironment::Live));
        assert_eq!(of("[::1]:8080"), Some(ServerEnvironment::Test));
        assert_eq!(of("other.example.com"), None);
    }
}
