//! Traces go to a collector when one is named: joined to the caller's, with what became of the request and without its key.

use kallglot_testkit::client::Body;
use kallglot_testkit::soon;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::process::{Folder, Server};

/// Answers one export and passes its bytes on, head and all.
async fn receive(mut stream: TcpStream, received: mpsc::Sender<Vec<u8>>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if bytes.len() >= end + 4 + length.unwrap_or(0) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = received.send(std::mem::take(&mut bytes)).await;
        }
    }
}

#[tokio::test]
async fn a_request_is_traced_without_its_key() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (send, mut received) = mpsc::channel(64);
    let listening = tokio::spawn(async move {
        while let Ok((stream, _)) = collector.accept().await {
            tokio::spawn(receive(stream, send.clone()));
        }
    });
    let folder = Folder::new();
    let (key, secret) = folder.key(&folder.organization().await).await;
    let server = Server::start_with(&folder, &[("KALLGLOT_TRACES__OTLP_ENDPOINT", &endpoint)]).await;
    let trace = [0x4bu8, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
    let headers = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let answer = server.client(&secret).request("GET", "/v1/whoami", &headers, Body::Empty).await.unwrap();
    assert_eq!(answer.status, 200);
    // The end sends what is left.
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    let export = soon("an export", received.recv()).await.unwrap();
    let has = |part: &[u8]| export.windows(part.len()).any(|window| window == part);
    for part in
        ["GET /v1/whoami", "http.response.status_code", "gate", key.as_str(), answer.header("x-request-id").unwrap()]
    {
        assert!(has(part.as_bytes()), "{part} is in the spans");
    }
    assert!(has(&trace), "the span is in the caller's trace");
    assert!(!has(&secret.as_bytes()[8..38]), "a key is in no span");
    listening.abort();
}
