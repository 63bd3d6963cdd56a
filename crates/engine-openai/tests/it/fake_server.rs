//! A fake OpenAI server on loopback: notes what it is sent, answers as each test says, also badly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The text fields of a form, and the bytes of its file under `file`.
    pub(crate) fn form(&self) -> HashMap<String, Vec<u8>> {
        let boundary = format!("--{}", self.headers["content-type"].split_once("boundary=").unwrap().1);
        let mut fields = HashMap::new();
        let mut rest = self.body.as_slice();
        while let Some(begin) = find(rest, boundary.as_bytes()) {
            rest = &rest[begin + boundary.len()..];
            let Some(end) = find(rest, boundary.as_bytes()) else { break };
            let Some(head_end) = find(&rest[..end], b"\r\n\r\n") else { break };
            let head = String::from_utf8(rest[..head_end].to_vec()).unwrap();
            let name = head.split_once("name=\"").unwrap().1.split_once('"').unwrap().0;
            fields.insert(name.to_owned(), rest[head_end + 4..end - 2].to_vec());
        }
        fields
    }

    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.form().get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// What the server does with a request.
pub(crate) enum Reply {
    /// A whole answer.
    Full { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// An answer in pieces; before each the server waits for its permission, where there is one.
    Pieces { content_type: &'static str, pieces: Vec<(Option<Arc<Notify>>, Vec<u8>)> },
    /// The beginning of an answer that states more, then the connection is cut.
    Cut { content_type: &'static str, body: Vec<u8> },
    /// This piece again and again, for ever.
    Endless { content_type: &'static str, piece: Vec<u8> },
    /// Nothing, for ever.
    Nothing,
    /// Once permission comes, another reply.
    After(Arc<Notify>, Box<Reply>),
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Full {
            status,
            headers: vec![("content-type", "application/json".into())],
            body: b"{\"error\":{}}".to_vec(),
        }
    }

    pub(crate) fn json(body: serde_json::Value) -> Self {
        Self::body("application/json", body.to_string())
    }

    pub(crate) fn body(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Full { status: 200, headers: vec![("content-type", content_type.into())], body: body.into() }
    }

    pub(crate) fn events(events: &[&str]) -> Self {
        let pieces = events.iter().map(|data| (None, format!("data: {data}\n\n").into_bytes())).collect();
        Self::Pieces { content_type: "text/event-stream", pieces }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Full { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

pub(crate) struct FakeServer {
    pub(crate) base_url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    /// One message per connection that the client closed while its answer was on the way.
    pub(crate) hung_up: mpsc::Receiver<()>,
    _accepting: JoinSet<()>,
}

impl FakeServer {
    /// Answers as `script` says, which is given each request and how many came before it.
    pub(crate) async fn start(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (hung_up_sender, hung_up) = mpsc::channel(64);
        let script: Arc<Script> = Arc::new(script);
        let noted = Arc::clone(&requests);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&script), Arc::clone(&noted), hung_up_sender.clone()));
            }
        });
        Self { base_url, requests, hung_up, _accepting: accepting }
    }

    /// Answers every request alike, in JSON.
    pub(crate) async fn json(body: serde_json::Value) -> Self {
        Self::start(move |_, _| Reply::json(body.clone())).await
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, noted: Arc<Mutex<Vec<Request>>>, hung_up: mpsc::Sender<()>) {
    while let Some(request) = read_request(&mut stream).await {
        let before = {
            let mut noted = noted.lock().unwrap();
            noted.push(request.clone());
            noted.len() - 1
        };
        let mut reply = script(&request, before);
        let answered = loop {
            reply = match reply {
                Reply::After(permission, then) => {
                    permission.notified().await;
                    *then
                }
                other => break answer(&mut stream, other).await,
            };
        };
        if answered.is_none() {
            let _ = hung_up.send(()).await;
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { path, headers, body })
}

/// Sends the reply; none when the connection is over.
async fn answer(stream: &mut TcpStream, reply: Reply) -> Option<()> {
    let chunked =
        |content_type| format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
    match reply {
        Reply::Full { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            stream.write_all(format!("{head}\r\n").as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()
        }
        Reply::Pieces { content_type, pieces } => {
            stream.write_all(chunked(content_type).as_bytes()).await.ok()?;
            for (permission, piece) in pieces {
                if let Some(permission) = permission {
                    tokio::select! {
                        () = permission.notified() => {}
                        () = closed(stream) => return None,
                    }
                }
                send_chunk(stream, &piece).await?;
            }
            stream.write_all(b"0\r\n\r\n").await.ok()
        }
        Reply::Cut { content_type, body } => {
            stream.write_all(chunked(content_type).as_bytes()).await.ok()?;
            send_chunk(stream, &body).await?;
            None
        }
        Reply::Endless { content_type, piece } => {
            stream.write_all(chunked(content_type).as_bytes()).await.ok()?;
            loop {
                send_chunk(stream, &piece).await?;
            }
        }
        Reply::Nothing => {
            closed(stream).await;
            None
        }
        Reply::After(..) => unreachable!("waited for before"),
    }
}

async fn send_chunk(stream: &mut TcpStream, piece: &[u8]) -> Option<()> {
    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
    stream.write_all(piece).await.ok()?;
    stream.write_all(b"\r\n").await.ok()
}

async fn closed(stream: &TcpStream) {
    let mut byte = [0];
    let _ = stream.peek(&mut byte).await;
}
