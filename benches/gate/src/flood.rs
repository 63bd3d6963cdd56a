//! Requests with random keys whose checksums are right but which nobody has, at a fixed rate, over connections that stay open and come from
//! as many addresses of 127.0.0.0/8 as wanted: a server throttles failed attempts by address.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use kallglot_core::api_key::Secret;
use kallglot_core::session::Environment;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Failure;
use crate::random::Repeatable;

/// How often a few requests are sent.
const TICK: Duration = Duration::from_millis(5);
/// Where the flood's addresses begin.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Args)]
pub(crate) struct FloodArgs {
    /// Where the server listens, on 127.0.0.1
    #[arg(long)]
    address: SocketAddr,
    /// The route
    #[arg(long)]
    path: String,
    /// Requests per second
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// For how long, in seconds
    #[arg(long)]
    seconds: u64,
    /// From how many addresses; 0 for 127.0.0.1 alone
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    addresses: u32,
    /// Addresses before this one are left out
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    first_address: u32,
    /// Another seed makes other keys
    #[arg(long)]
    seed: u64,
}

/// What the requests came to.
#[derive(Default)]
struct Outcome {
    statuses: BTreeMap<u16, u64>,
    waits_us: Vec<u64>,
    broken: u64,
}

pub(crate) fn run(args: &FloodArgs) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(flood(args))
}

async fn flood(args: &FloodArgs) -> Result<(), Failure> {
    let random = Arc::new(Repeatable::new(args.seed));
    let mut tasks = JoinSet::new();
    let mut senders = Vec::new();
    // With few addresses still enough connections that none has to wait for the answer before.
    for number in 0..args.addresses.max(64) {
        let (sender, receiver) = mpsc::channel(2);
        let from = match number.checked_rem(args.addresses) {
            None => Ipv4Addr::LOCALHOST,
            Some(number) => Ipv4Addr::from(u32::from(FIRST) + args.first_address + number),
        };
        tasks.spawn(ask(args.address, from, args.path.clone(), Arc::clone(&random), receiver));
        senders.push(sender);
    }
    let begun = Instant::now();
    let (mut sent, mut left_out, mut next) = (0u64, 0u64, 0);
    let mut ticks = tokio::time::interval(TICK);
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        ticks.tick().await;
        let due = (begun.elapsed().as_secs_f64() * f64::from(args.rate)) as u64;
        while sent + left_out < due {
            match senders[next % senders.len()].try_send(()) {
                Ok(()) => sent += 1,
                // The server is slower than the rate: said in the result.
                Err(_) => left_out += 1,
            }
            next += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop(senders);
    let mut all = Outcome::default();
    while let Some(outcome) = tasks.join_next().await {
        let outcome = outcome?;
        for (status, number) in outcome.statuses {
            *all.statuses.entry(status).or_default() += number;
        }
        all.waits_us.extend(outcome.waits_us);
        all.broken += outcome.broken;
    }
    all.waits_us.sort_unstable();
    let quantile_ms = |share: f64| {
        let index = (all.waits_us.len().saturating_sub(1) as f64 * share) as usize;
        all.waits_us.get(index).map(|wait_us| *wait_us as f64 / 1000.0)
    };
    println!(
        "{}",
        serde_json::json!({
            "sent": sent, "left_out": left_out, "seconds": seconds, "rate": sent as f64 / seconds,
            "statuses": all.statuses.iter().map(|(status, number)| (status.to_string(), *number)).collect::<BTreeMap<_, _>>(),
            "broken": all.broken, "p50_ms": quantile_ms(0.5), "p99_ms": quantile_ms(0.99),
        })
    );
    Ok(())
}

/// One connection, made anew when it breaks: one request for each message.
async fn ask(
    address: SocketAddr,
    from: Ipv4Addr,
    path: String,
    random: Arc<Repeatable>,
    mut receiver: mpsc::Receiver<()>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = None;
    while receiver.recv().await.is_some() {
        let secret = Secret::new(Environment::Live, random.as_ref());
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n", secret.expose());
        let begun = Instant::now();
        match exchange(&mut connection, address, from, text.as_bytes()).await {
            Ok(status) => {
                *outcome.statuses.entry(status).or_default() += 1;
                outcome.waits_us.push(begun.elapsed().as_micros() as u64);
            }
            Err(_) => {
                outcome.broken += 1;
                connection = None;
            }
        }
    }
    outcome
}

/// Sends a request and reads its answer to the end; the status.
async fn exchange(
    connection: &mut Option<TcpStream>,
    address: SocketAddr,
    from: Ipv4Addr,
    request: &[u8],
) -> Result<u16, Failure> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((from, 0)))?;
            connection.insert(socket.connect(address).await?)
        }
    };
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut answer = Vec::with_capacity(2048);
    loop {
        if stream.read_buf(&mut answer).await? == 0 || answer.len() > ANSWER_BYTES_MAX {
            return Err("the answer was cut off or too long".into());
        }
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())?;
            if body.len() >= length {
                let status = head.split_ascii_whitespace().nth(1).ok_or("no status")?;
                return Ok(status.parse()?);
            }
        }
    }
}
