//! Whether the time of a refusal says how near a key is to a real one.
//!
//! `cargo run --release -p kallglot-bench-gate --example timing`. The whole server in this process, one connection, one request after the
//! other; kinds of keys take turns in random order, so that whatever else the machine does meets all of them alike. Each unknown key is
//! sent once, but for one that is sent again and again. "Unknown" is there twice: what those two seem to differ by is chance.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // A measuring program, whose output is its figures.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::api_key::Secret;
use kallglot_core::random::{self, RandomSource};
use kallglot_core::session::Environment;
use kallglot_testkit::{FakeClock, FakeRandom, TestServer};
use tokio::sync::oneshot;

/// Requests of each kind.
const ROUNDS: usize = 30_000;
/// Rounds within one window of the limit on failed attempts.
const ROUNDS_PER_WINDOW: usize = 9;
/// Requests after the clock was moved that are not measured: the server does then what it does from time to time.
const UNMEASURED: usize = 8;
/// The share of times that count in Welch's test: the rest is when the machine did something else.
const KEPT: f64 = 0.95;

const KINDS: [(&str, u16); 8] = [
    ("unknown", 401),
    ("unknown, again as a control", 401),
    ("as a real key but for the last 4 random characters", 401),
    ("as a real key but for the first 4 random characters", 401),
    ("unknown, shown before", 401),
    ("wrong checksum", 401),
    ("revoked", 401),
    ("real", 200),
];

/// The characters that are asked for, in place of random ones.
struct Given(Mutex<Vec<u8>>);

const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX: usize = "sk_live_".len();
const RANDOM: usize = 30;

impl RandomSource for Given {
    fn fill(&self, bytes: &mut [u8]) {
        for (byte, digit) in bytes.iter_mut().zip(self.0.lock().unwrap().iter()) {
            *byte = BASE62.iter().position(|known| known == digit).unwrap() as u8;
        }
    }
}

/// `secret` with other characters at these places of its random part, and the checksum that belongs to them.
fn changed(secret: &str, places: std::ops::Range<usize>, random: &dyn RandomSource) -> String {
    let mut characters = secret.as_bytes()[PREFIX..PREFIX + RANDOM].to_vec();
    let new = random::bytes::<RANDOM>(random);
    for place in places {
        let others: Vec<u8> = BASE62.iter().copied().filter(|other| *other != characters[place]).collect();
        characters[place] = others[usize::from(new[place]) % others.len()];
    }
    Secret::new(Environment::Live, &Given(Mutex::new(characters))).expose().to_owned()
}

fn main() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure());
}

async fn measure() {
    let server = TestServer::start().await;
    let organization = server.organization_with(1_000, |organization| {
        organization.overrides.requests_per_minute_max = Some(1_000_000);
        organization.plan = kallglot_core::plan::Plan::Enterprise;
    });
    let organization = organization.await;
    let mut real = String::new();
    // Neighbours in the database.
    for _ in 0..1_000 {
        (_, real) = server.key_with(&organization, Environment::Live, |_| {}).await;
    }
    let revoke = |key: &mut kallglot_core::api_key::ApiKey| key.revoked_at = Some(Timestamp::UNIX_EPOCH);
    let (_, revoked) = server.key_with(&organization, Environment::Live, revoke).await;
    let (done, times) = oneshot::channel();
    let (address, clock) = (server.address, Arc::clone(&server.clock));
    thread::spawn(move || {
        let _ = done.send(client(address, &clock, &real, &revoked));
    });
    report(&times.await.expect("every answer was as expected"));
    server.finish().await;
}

/// The time of each request in nanoseconds, by kind.
fn client(address: SocketAddr, clock: &FakeClock, real: &str, revoked: &str) -> [Vec<f64>; KINDS.len()] {
    let random = FakeRandom::new(7);
    let shown = Secret::new(Environment::Live, &random).expose().to_owned();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_nodelay(true).unwrap();
    let mut times = [const { Vec::new() }; KINDS.len()];
    for round in 0..ROUNDS {
        if round % ROUNDS_PER_WINDOW == 0 {
            clock.advance(SignedDuration::from_secs(61));
            for _ in 0..UNMEASURED {
                ask(&mut connection, real);
            }
        }
        // All are made before one is sent: how long that takes must not be felt in between.
        let unknown = || Secret::new(Environment::Live, &random).expose().to_owned();
        let sound = unknown();
        let last = if sound.ends_with('A') { 'B' } else { 'A' };
        let secrets: [String; KINDS.len()] = [
            unknown(),
            unknown(),
            changed(real, RANDOM - 4..RANDOM, &random),
            changed(real, 0..4, &random),
            shown.clone(),
            format!("{}{last}", &sound[..sound.len() - 1]),
            revoked.to_owned(),
            real.to_owned(),
        ];
        let mut order: Vec<usize> = (0..KINDS.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, usize::from(random::bytes::<1>(&random)[0]) % (last + 1));
        }
        for kind in order {
            let (status, time) = ask(&mut connection, &secrets[kind]);
            assert_eq!(status, KINDS[kind].1, "{}", KINDS[kind].0);
            times[kind].push(time);
        }
    }
    times
}

/// Makes a request; its status and its time in nanoseconds.
fn ask(connection: &mut TcpStream, secret: &str) -> (u16, f64) {
    let request = format!("GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n");
    let mut buffer = [0; 4096];
    let begun = Instant::now();
    connection.write_all(request.as_bytes()).unwrap();
    // An answer is small: it comes in one piece.
    let length = connection.read(&mut buffer).unwrap();
    let time = begun.elapsed().as_nanos() as f64;
    let answer = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!(answer.contains("\r\n\r\n{") && answer.ends_with('}'), "{answer}");
    (answer["HTTP/1.1 ".len()..][..3].parse().unwrap(), time)
}

fn report(times: &[Vec<f64>; KINDS.len()]) {
    println!("| key | p10 µs | median µs | p90 µs | Welch's t | p | Mann-Whitney's z | p |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for ((name, _), kind) in KINDS.iter().zip(times) {
        let mut sorted = kind.clone();
        sorted.sort_by(f64::total_cmp);
        let quantile_us = |share: f64| sorted[(share * (sorted.len() - 1) as f64) as usize] / 1000.0;
        let (t, z) = (welch(&times[0], kind), mann_whitney(&times[0], kind));
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {t:.2} | {:.2} | {z:.2} | {:.2} |",
            quantile_us(0.1),
            quantile_us(0.5),
            quantile_us(0.9),
            by_chance(t),
            by_chance(z),
        );
    }
}

/// Welch's t of two samples, without the times above a quantile of both together.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let mut all = [a, b].concat();
    all.sort_by(f64::total_cmp);
    let most = all[(KEPT * (all.len() - 1) as f64) as usize];
    let mean_and_variance = |sample: &[f64]| {
        let kept: Vec<f64> = sample.iter().copied().filter(|time| *time <= most).collect();
        let mean = kept.iter().sum::<f64>() / kept.len() as f64;
        let squares = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>();
        (mean, squares / (kept.len() - 1) as f64 / kept.len() as f64)
    };
    let ((mean_a, variance_a), (mean_b, variance_b)) = (mean_and_variance(a), mean_and_variance(b));
    (mean_b - mean_a) / (variance_a + variance_b).sqrt()
}

/// The z of Mann and Whitney's U: whether times of `b` are longer than those of `a` more often than not. Equal times share their rank.
fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|time| (*time, false)).chain(b.iter().map(|time| (*time, true))).collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut ranks_of_b, mut before) = (0.0, 0);
    for equal in all.chunk_by(|one, other| one.0 == other.0) {
        let rank = before as f64 + (equal.len() + 1) as f64 / 2.0;
        ranks_of_b += rank * equal.iter().filter(|(_, of_b)| *of_b).count() as f64;
        before += equal.len();
    }
    let (n_a, n_b) = (a.len() as f64, b.len() as f64);
    let u = ranks_of_b - n_b * (n_b + 1.0) / 2.0;
    (u - n_a * n_b / 2.0) / (n_a * n_b * (n_a + n_b + 1.0) / 12.0).sqrt()
}

/// How likely it is that a number of a standard normal distribution is as far from 0 (Abramowitz and Stegun, 7.1.26).
fn by_chance(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    series.iter().fold(0.0, |sum, factor| (sum + factor) * t) * (-x * x).exp()
}
