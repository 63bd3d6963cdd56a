//! What tests of other crates rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on must fail at once")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kallglot_throwaway::{Postgres, Proxy, Redis};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must happen.
const NOTHING: Duration = Duration::from_millis(50);

async fn soon<T>(waiting: impl Future<Output = T>) -> T {
    timeout(PATIENCE, waiting).await.expect("soon")
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn sum(client: &Client) -> i64 {
    client.query_one("SELECT sum(n)::bigint FROM numbers", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_database_is_a_copy_of_a_template_and_another_tests_is_not_seen() {
    let began = Instant::now();
    let (one, two) = tokio::join!(Postgres::start(), Postgres::start());
    println!("two servers started in {:?}", began.elapsed());
    assert_ne!(one.port(), two.port());
    let template = connect(&one.create_database("template_of_ours").await).await;
    template.batch_execute("CREATE TABLE numbers (n bigint); INSERT INTO numbers VALUES (40), (2)").await.unwrap();
    drop(template);
    let began = Instant::now();
    let copy = loop {
        // The server notices a moment later that the connection is closed.
        let url = one.url();
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'template_of_ours'";
        if connect(&url).await.query_one(busy, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            break one.create_database_from("template_of_ours", "copy").await;
        }
    };
    println!("copied in {:?}", began.elapsed());
    assert_eq!(sum(&connect(&copy).await).await, 42);
    let there =
        connect(&two.url()).await.query_one("SELECT count(*) FROM pg_database WHERE datname = 'copy'", &[]).await;
    assert_eq!(there.unwrap().get::<_, i64>(0), 0);
}

/// Servers and proxies may be used in tasks.
fn may_be_sent(_: impl Send) {}

#[tokio::test]
async fn what_postgres_has_committed_outlives_a_kill_and_a_stop() {
    let mut postgres = Postgres::durable().await;
    let port = postgres.port();
    let client = connect(&postgres.url()).await;
    client.batch_execute("CREATE TABLE numbers (n bigint)").await.unwrap();
    client.batch_execute("INSERT INTO numbers VALUES (1)").await.unwrap();
    // Somebody is always waiting for an answer that does not come.
    let other = connect(&postgres.url()).await;
    let endless = tokio::spawn(async move { other.batch_execute("SELECT pg_sleep(3600)").await });
    may_be_sent(Postgres::start());
    may_be_sent(Redis::start());
    may_be_sent(postgres.start_again());
    postgres.kill().await;
    soon(endless).await.unwrap().unwrap_err();
    assert!(tokio_postgres::connect(&postgres.url(), NoTls).await.is_err());
    postgres.start_again().await;
    let client = connect(&postgres.url()).await;
    assert_eq!(sum(&client).await, 1);
    client.batch_execute("INSERT INTO numbers VALUES (2)").await.unwrap();
    postgres.stop().await;
    postgres.start_again().await;
    assert_eq!((sum(&connect(&postgres.url()).await).await, postgres.port()), (3, port));
}

#[tokio::test]
async fn a_paused_server_answers_when_it_is_resumed() {
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let client = connect(&postgres.url()).await;
    let mut stream = TcpStream::connect(redis.address()).await.unwrap();
    postgres.pause();
    redis.pause();
    let answer = client.query_one("SELECT 1", &[]);
    tokio::pin!(answer);
    stream.write_all(b"PING\r\n").await.unwrap();
    assert!(timeout(NOTHING, &mut answer).await.is_err());
    assert!(timeout(NOTHING, stream.peek(&mut [0])).await.is_err());
    postgres.resume();
    redis.resume();
    soon(answer).await.unwrap();
    soon(stream.peek(&mut [0])).await.unwrap();
}

async fn ask_redis(redis: &Redis, command: &str) -> String {
    let mut stream = TcpStream::connect(redis.address()).await.unwrap();
    stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 100];
    let read = soon(stream.read(&mut answer)).await.unwrap();
    String::from_utf8(answer[..read].to_vec()).unwrap()
}

#[tokio::test]
async fn redis_forgets_unless_it_is_asked_not_to() {
    let (mut forgets, mut keeps) = tokio::join!(Redis::start(), Redis::durable());
    for redis in [&mut forgets, &mut keeps] {
        assert_eq!(ask_redis(redis, "SET place here").await, "+OK\r\n");
        redis.stop().await;
        redis.start_again().await;
    }
    assert_eq!(ask_redis(&forgets, "GET place").await, "$-1\r\n");
    assert_eq!(ask_redis(&keeps, "GET place").await, "$4\r\nhere\r\n");
    keeps.kill().await;
    assert_eq!(TcpStream::connect(keeps.address()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    keeps.start_again().await;
    assert_eq!(ask_redis(&keeps, "GET place").await, "$4\r\nhere\r\n");
}

/// Gives back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn echoed(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    let mut back = vec![0; text.len()];
    soon(stream.read_exact(&mut back)).await?;
    assert_eq!(back, text.as_bytes());
    Ok(())
}

#[tokio::test]
async fn a_proxy_forwards_all_and_the_end() {
    let proxy = Proxy::start(echo().await).await;
    let (mut from, mut to) = TcpStream::connect(proxy.address()).await.unwrap().into_split();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let writing = {
        let sent = sent.clone();
        tokio::spawn(async move {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        })
    };
    let mut back = Vec::new();
    soon(from.read_to_end(&mut back)).await.unwrap();
    writing.await.unwrap();
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
}

#[tokio::test]
async fn a_proxy_that_is_cut_resets_and_refuses_until_it_is_mended() {
    let proxy = Proxy::start(echo().await).await;
    for _ in 0..3 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        echoed(&mut stream, "before").await.unwrap();
        proxy.cut().await;
        assert_eq!(soon(stream.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.cut().await;
        proxy.mend().await;
    }
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    echoed(&mut stream, "after").await.unwrap();
    proxy.cut_connections().await;
    assert_eq!(soon(stream.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    echoed(&mut TcpStream::connect(proxy.address()).await.unwrap(), "the next").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_cut_and_mended_while_processes_are_started() {
    let proxy = Proxy::start(echo().await).await;
    let over = Arc::new(AtomicBool::new(false));
    let starting = tokio::spawn({
        let over = Arc::clone(&over);
        async move {
            while !over.load(Ordering::SeqCst) {
                assert!(Command::new("true").status().await.unwrap().success());
            }
        }
    });
    for _ in 0..200 {
        proxy.cut().await;
        proxy.mend().await;
        echoed(&mut TcpStream::connect(proxy.address()).await.unwrap(), "mended").await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    soon(starting).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_is_stalled_or_slow_loses_nothing() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    echoed(&mut old, "before").await.unwrap();
    proxy.stall();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    for stream in [&mut old, &mut new] {
        stream.write_all(b"x").await.unwrap();
        assert!(timeout(NOTHING, stream.peek(&mut [0])).await.is_err());
    }
    proxy.mend().await;
    for stream in [&mut old, &mut new] {
        assert_eq!(soon(stream.read_u8()).await.unwrap(), b'x');
    }
    proxy.stall();
    old.write_all(b"lost").await.unwrap();
    proxy.cut().await;
    assert_eq!(soon(old.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.mend().await;
    proxy.delay(NOTHING);
    let began = Instant::now();
    echoed(&mut TcpStream::connect(proxy.address()).await.unwrap(), "late").await.unwrap();
    assert!(began.elapsed() >= 2 * NOTHING);
}

#[tokio::test]
async fn a_proxy_refuses_for_a_server_that_is_not_there() {
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], kallglot_throwaway::free_port()))).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(soon(stream.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let address = proxy.address();
    drop(proxy);
    while TcpStream::connect(address).await.is_ok() {}
}

/// What the other process of the next test does: it starts servers, says where they are, and waits to be killed.
const OTHER: &str = "KALLGLOT_THROWAWAY_OTHER";

#[tokio::test]
async fn servers_end_with_a_test_that_is_killed() {
    if std::env::var_os(OTHER).is_some() {
        let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
        postgres.pause();
        println!("\nservers {} {}", postgres.port(), redis.port());
        std::future::pending::<()>().await;
    }
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["servers_end_with_a_test_that_is_killed", "--exact", "--nocapture"]).env(OTHER, "yes");
    let temporary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temporary.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    other.env("TMPDIR", temporary.path());
    let mut other = other.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let ports: Vec<u16> = loop {
        let line = soon(lines.next_line()).await.unwrap().expect("it says where its servers are");
        if let Some(ports) = line.strip_prefix("servers ") {
            break ports.split(' ').map(|port| port.parse().unwrap()).collect();
        }
    };
    other.kill().await.unwrap();
    let folders = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().path());
        let of_a_server =
            |path: &PathBuf| ["-postgres-", "-redis-"].iter().any(|name| path.to_string_lossy().contains(name));
        entries.filter(of_a_server).collect()
    };
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    soon(async {
        for port in ports {
            while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                pause.tick().await;
            }
        }
        while !folders().is_empty() {
            pause.tick().await;
        }
    })
    .await;
}
