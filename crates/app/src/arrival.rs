//! How a request of the Developer Portal arrived: what the HTTP edge, which accepts it, tells the pages.

use std::net::IpAddr;

use kallglot_core::id::RequestId;

/// A request's id and from where it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its id, as in the answer's `X-Request-ID`.
    pub request: RequestId,
    /// Its client's address, seen through trusted proxies.
    pub address: IpAddr,
}
