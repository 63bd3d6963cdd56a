//! Where nothing is sent, however it is asked for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kallglot_core::delivery::{AttemptError, DeliveryStatus};
use kallglot_core::egress::EgressPolicy;
use kallglot_testkit::{Behaviour, FakeReceiver, ServerBuilder};
use kallglot_webhooks::{ProxyAddress, Resolver};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::World;

/// Answers with one list of addresses after the other; the last one stays.
struct FakeResolver {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl FakeResolver {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|all| all.iter().map(|one| one.parse().unwrap()).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolver for FakeResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if name != "receiver.example" {
            return Err(io::Error::other("no such name"));
        }
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.answers[turn.min(self.answers.len() - 1)].clone())
    }
}

/// Allows the one address that receivers of these tests listen on, as if it was public, and no other of this machine's.
fn only_this() -> EgressPolicy {
    EgressPolicy { allow_networks: vec!["127.0.0.1/32".parse().unwrap()], allow_http_in_test: true }
}

#[tokio::test]
async fn a_name_is_judged_by_its_addresses_each_time() {
    // The first time it leads to the receiver; the next time to the machine itself, by another address of it.
    let resolver = FakeResolver::of(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let builder = ServerBuilder::default().egress(only_this()).resolver(resolver.clone());
    let world = World::on(builder.start().await).await;
    let receiver = FakeReceiver::start(Behaviour::status(500)).await;
    let url = format!("http://receiver.example:{}/hooks", receiver.address.port());
    let (id, _) = world.endpoint(&url).await;
    let delivery = world.test(id).await;
    let log = world.attempts(&delivery, 1).await;
    assert_eq!(log.attempts[0].error, Some(AttemptError::Status));
    assert_eq!(receiver.received()[0].headers["host"], format!("receiver.example:{}", receiver.address.port()));

    // What it was resolved to is used for a second at most; the connection that was kept does not outlive it.
    tokio::time::sleep(kallglot_webhooks::connect::RESOLVED_FOR).await;
    world.pass(7);
    let log = world.attempts(&delivery, 2).await;
    assert_eq!(log.attempts[1].error, Some(AttemptError::AddressRefused));
    assert!(log.attempts[1].error_detail.contains("127.0.0.2"), "{}", log.attempts[1].error_detail);
    assert_eq!((receiver.received().len(), resolver.asked.load(Ordering::Relaxed)), (1, 2));
    assert_eq!(log.delivery.status, DeliveryStatus::Pending, "it may have been a mistake");
    world.server.finish().await;
}

#[tokio::test]
async fn one_refused_address_is_enough() {
    for addresses in [
        &["127.0.0.1", "10.0.0.1"][..],
        &["127.0.0.1", "::ffff:10.0.0.1"],
        &["127.0.0.1", "::1"],
        &["64:ff9b::a00:1"],
        &["2002:a00:1::1"],
        &["169.254.169.254"],
    ] {
        let builder = ServerBuilder::default().egress(only_this()).resolver(FakeResolver::of(&[addresses]));
        let world = World::on(builder.start().await).await;
        let receiver = FakeReceiver::start(Behaviour::ok()).await;
        let url = format!("http://receiver.example:{}/hooks", receiver.address.port());
        let (id, _) = world.endpoint(&url).await;
        let delivery = world.test(id).await;
        let log = world.attempts(&delivery, 1).await;
        assert_eq!(log.attempts[0].error, Some(AttemptError::AddressRefused), "{addresses:?}");
        assert_eq!(receiver.connections(), 0);
        world.server.finish().await;
    }
}

#[tokio::test]
async fn an_address_that_only_stands_for_an_allowed_one_is_connected_to_as_that() {
    let resolver = FakeResolver::of(&[&["::ffff:127.0.0.1"]]);
    let world = World::on(ServerBuilder::default().egress(only_this()).resolver(resolver).start().await).await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let (id, _) = world.endpoint(&format!("http://receiver.example:{}/", receiver.address.port())).await;
    world.test(id).await;
    receiver.until(1).await;
    world.server.finish().await;
}

#[tokio::test]
async fn what_is_stored_is_judged_again_by_what_is_allowed_now() {
    let world = World::on(ServerBuilder::default().egress(EgressPolicy::default()).start().await).await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    for url in [receiver.url(), format!("https://{}/", receiver.address), "https://nobody.example/".into()] {
        let (id, _) = world.endpoint(&url).await;
        let delivery = world.test(id).await;
        let log = world.attempts(&delivery, 1).await;
        let expected = [AttemptError::AddressRefused, AttemptError::NameNotResolved];
        assert!(expected.contains(&log.attempts[0].error.unwrap()), "{url}: {:?}", log.attempts[0]);
    }
    assert_eq!(receiver.connections(), 0);
    world.server.finish().await;
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_address_that_was_judged() {
    let proxy = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at: SocketAddr = proxy.local_addr().unwrap();
    let resolver = FakeResolver::of(&[&["127.0.0.1"]]);
    let through = ProxyAddress::parse(&format!("http://{at}")).unwrap();
    let builder = ServerBuilder::default().egress(only_this()).resolver(resolver).proxy(through);
    let world = World::on(builder.start().await).await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let (id, _) = world.endpoint(&format!("http://receiver.example:{}/", receiver.address.port())).await;
    world.test(id).await;

    let (mut client, _) = proxy.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", receiver.address)), "{head}");
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
    let mut server = tokio::net::TcpStream::connect(receiver.address).await.unwrap();
    let copying = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
    let received = receiver.until(1).await.pop().unwrap();
    assert!(received.headers["host"].starts_with("receiver.example:"));
    world.all_succeed(id, 1).await;
    copying.abort();
    world.server.finish().await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let world = World::on(ServerBuilder::default().egress(only_this()).start().await).await;
    // Speaks no TLS at all, which is as little to be trusted.
    let receiver = FakeReceiver::start(Behaviour::Garbage).await;
    let (id, _) = world.endpoint(&format!("https://{}/", receiver.address)).await;
    let delivery = world.test(id).await;
    let log = world.attempts(&delivery, 1).await;
    assert_eq!(log.attempts[0].error, Some(AttemptError::TlsFailed), "{:?}", log.attempts[0]);
    assert_eq!(receiver.received(), []);
    world.server.finish().await;
}
