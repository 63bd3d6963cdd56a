//! Free TCP ports. Below the range from which the system takes ports for outgoing connections: a server that is down for a moment finds
//! its port free again, and a client that tries to reach it meanwhile is not connected to itself.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};

const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port on 127.0.0.1 that nothing listens on now.
///
/// # Panics
/// When a thousand ports are taken.
pub fn free_port() -> u16 {
    let tried = (0..1000_u16).map(|attempt| {
        // Another number each time, in this process and in others: the standard library's hash is seeded at random.
        let number = RandomState::new().hash_one(attempt);
        PORTS.start + (number % u64::from(PORTS.end - PORTS.start)) as u16
    });
    let mut free = tried.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("some port is free")
}
