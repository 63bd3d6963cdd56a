//! Allocations per request: the whole server in this process, behind an allocator that counts by thread.
//!
//! `cargo run --release -p kallglot-bench-gate --example allocations`. The server's tasks all run on one thread; the client is a thread
//! whose allocations don't count; what is left is done for requests elsewhere, mostly by the database's threads. What SQLite allocates
//! itself, in C, is not seen. Over one connection, one request after another.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // A measuring program, whose output is its figures.
#![allow(unsafe_code, reason = "a global allocator can't be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::SignedDuration;
use kallglot_core::audit::{Change, Who};
use kallglot_core::id::AuditId;
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::session::Environment;
use kallglot_storage::OrganizationUpdate;
use kallglot_testkit::TestServer;
use tokio::sync::oneshot;

const WARM_UP: u32 = 2_000;
const MEASURED: u32 = 20_000;
/// How often the server's clock, which does not run by itself here, is moved on.
const TICK: Duration = Duration::from_millis(10);

const OTHERS: usize = 0;
const SERVER: usize = 1;
const CLIENT: usize = 2;

struct Counting;

#[derive(Debug, Clone, Copy)]
struct Counts {
    number: u64,
    bytes: u64,
}

static NUMBERS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static BYTES: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

thread_local! {
    /// Whose thread it is.
    static KIND: Cell<usize> = const { Cell::new(OTHERS) };
}

fn count(bytes: usize) {
    let kind = KIND.get();
    NUMBERS[kind].fetch_add(1, Ordering::Relaxed);
    BYTES[kind].fetch_add(bytes as u64, Ordering::Relaxed);
}

// SAFETY: everything is left to the system's allocator; counting touches only atomics and a thread-local number without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counts(kind: usize) -> Counts {
    Counts { number: NUMBERS[kind].load(Ordering::Relaxed), bytes: BYTES[kind].load(Ordering::Relaxed) }
}

fn main() {
    KIND.set(SERVER);
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure());
}

async fn measure() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let change = Change {
        id: AuditId::new(kallglot_core::Timestamp::UNIX_EPOCH, server.app.random.as_ref()),
        who: Who::Operator,
        address: None,
        request: None,
        at: kallglot_core::Timestamp::UNIX_EPOCH,
    };
    let most = Some(LimitOverrides::LIMIT_MAX);
    let overrides =
        LimitOverrides { requests_per_minute_max: most, concurrent_sessions_max: most, ..LimitOverrides::default() };
    let update = OrganizationUpdate {
        plan: Some(Plan::Enterprise),
        overrides: Some(overrides),
        ..OrganizationUpdate::default()
    };
    server.app.storage.update_organization(organization.id, &update, &change).await.unwrap();
    let change = Change { id: AuditId::from_bits(change.id.to_bits() + 1), ..change };
    server.app.storage.grant_credits(organization.id, NonZeroU32::new(1_000_000).unwrap(), &change).await.unwrap();
    let (_, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;

    println!("| route | allocations | bytes | on other threads | bytes |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    const BODY: &str = r#"{"mode":"bidirectional_translation","source_language":"en","target_language":"es"}"#;
    for (name, status, body) in
        [("GET /healthz", 200, ""), ("GET /v1/whoami", 200, ""), ("POST /v1/sessions", 201, BODY)]
    {
        let head = format!(
            "{name} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nIdempotency-Key: ",
            body.len()
        );
        let (done, mut waiting) = oneshot::channel();
        let address = server.address;
        thread::spawn(move || {
            KIND.set(CLIENT);
            let _ = done.send(client(address, &head, body, status));
        });
        let mut ticks = tokio::time::interval(TICK);
        let [served, others] = loop {
            tokio::select! {
                measured = &mut waiting => break measured.expect("every answer was as expected"),
                _ = ticks.tick() => server.clock.advance(SignedDuration::try_from(TICK).unwrap()),
            }
        };
        println!(
            "| {name} | {:.2} | {:.0} | {:.2} | {:.0} |",
            per_request(served.number),
            per_request(served.bytes),
            per_request(others.number),
            per_request(others.bytes)
        );
    }
    server.finish().await;
}

fn per_request(number: u64) -> f64 {
    number as f64 / f64::from(MEASURED)
}

/// Makes the requests, each with an idempotency key of its own; what the server's thread and the others allocated meanwhile.
fn client(address: SocketAddr, head: &str, body: &str, status: u16) -> [Counts; 2] {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_nodelay(true).unwrap();
    let expected = format!("HTTP/1.1 {status} ");
    let mut buffer = vec![0; 64 * 1024];
    let mut before = [SERVER, OTHERS].map(counts);
    for number in 0..WARM_UP + MEASURED {
        if number == WARM_UP {
            before = [SERVER, OTHERS].map(counts);
        }
        connection.write_all(format!("{head}{number}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut length = 0;
        while !is_whole(&buffer[..length]) {
            let read = connection.read(&mut buffer[length..]).unwrap();
            assert!(read > 0, "the connection was closed");
            length += read;
        }
        let answer = std::str::from_utf8(&buffer[..length]).unwrap();
        assert!(answer.starts_with(&expected), "{answer}");
    }
    let after = [SERVER, OTHERS].map(counts);
    [0, 1].map(|index| Counts {
        number: after[index].number - before[index].number,
        bytes: after[index].bytes - before[index].bytes,
    })
}

/// Whether an answer has been read to its end.
fn is_whole(answer: &[u8]) -> bool {
    let text = std::str::from_utf8(answer).unwrap();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.parse::<usize>().unwrap());
    body.len() >= length
}
