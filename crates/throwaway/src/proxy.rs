//! A TCP proxy that can be cut, stalled and slowed down, between a client and its server.
//!
//! What must stay true: at most [`BUFFER_BYTES`] of a direction are under way in it; what it was told holds when the call returns.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Looks, free_port};

const BUFFER_BYTES: usize = 16 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Orders that wait; who gives more waits.
const ORDERS_MAX: usize = 4;
/// Attempts to listen on some port.
const PORTS_MAX: usize = 5;

/// What happens to bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    stalled: bool,
    delay: Duration,
}

/// What the task is told.
#[derive(Debug)]
enum Order {
    Cut,
    CutConnections,
    Mend,
}

/// A proxy to one server. It ends with its owner.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    orders: mpsc::Sender<(Order, oneshot::Sender<()>)>,
    _ends: DropGuard,
}

impl Proxy {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(upstream: SocketAddr) -> Self {
        let mut attempts = (0..PORTS_MAX).map(|_| listen(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))));
        let listener = attempts.find_map(Result::ok).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let way = Arc::new(watch::Sender::new(Way::default()));
        let (orders, told) = mpsc::channel(ORDERS_MAX);
        let end = CancellationToken::new();
        let task =
            Task { upstream, address, way: Arc::clone(&way), connections: JoinSet::new(), closing: end.child_token() };
        tokio::spawn(end.clone().run_until_cancelled_owned(task.run(listener, told)));
        Self { address, way, orders, _ends: end.drop_guard() }
    }

    /// Where its clients connect; the same after [`mend`](Self::mend).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections and refuses new ones.
    pub async fn cut(&self) {
        self.order(Order::Cut).await;
    }

    /// Resets the connections that are open now.
    pub async fn cut_connections(&self) {
        self.order(Order::CutConnections).await;
    }

    /// Accepts connections and forwards nothing, in neither direction, as a network does that loses everything. What waits meanwhile
    /// goes on with [`mend`](Self::mend).
    pub fn stall(&self) {
        self.way.send_modify(|way| way.stalled = true);
    }

    /// Forwards each piece of at most 16 KiB only so long after it has come.
    pub fn delay(&self, delay: Duration) {
        self.way.send_modify(|way| way.delay = delay);
    }

    /// Ends what the others began: connections are accepted, and all is forwarded without delay.
    pub async fn mend(&self) {
        self.way.send_replace(Way::default());
        self.order(Order::Mend).await;
    }

    async fn order(&self, order: Order) {
        let (done, waits) = oneshot::channel();
        self.orders.send((order, done)).await.expect("the proxy runs");
        waits.await.expect("the proxy runs");
    }
}

/// A socket that holds a port. It may be bound while another that is closed had connections there.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

/// Holds a port again on which this process has just stopped listening. A process that is being started has a copy of the listening socket
/// for a moment, until it becomes another program.
async fn bind_again(address: SocketAddr) -> TcpSocket {
    let mut looks = Looks::at("the proxy's port is free again");
    loop {
        looks.next().await;
        if let Ok(socket) = bind(address) {
            return socket;
        }
    }
}

enum Port {
    Open(TcpListener),
    /// Held, so that nobody else takes it, and refusing connections.
    Closed(TcpSocket),
}

struct Task {
    upstream: SocketAddr,
    address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    connections: JoinSet<()>,
    closing: CancellationToken,
}

impl Task {
    async fn run(mut self, listener: TcpListener, mut orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>) {
        let mut port = Port::Open(listener);
        loop {
            let accepting = async {
                match &port {
                    Port::Open(listener) => listener.accept().await,
                    Port::Closed(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                order = orders.recv() => {
                    let Some((order, done)) = order else { return };
                    port = match (order, port) {
                        (Order::Cut, port) => {
                            // Closed before it is bound again: connections that were not accepted yet are reset.
                            drop(port);
                            self.close().await;
                            Port::Closed(bind_again(self.address).await)
                        }
                        (Order::Mend, Port::Closed(socket)) => Port::Open(socket.listen(BACKLOG).expect("the port is ours")),
                        (Order::Mend, open) => open,
                        (Order::CutConnections, port) => {
                            self.close().await;
                            port
                        }
                    };
                    let _ = done.send(());
                }
                accepted = accepting => {
                    // A client that is gone again is none.
                    if let Ok((client, _)) = accepted {
                        let (upstream, way, closing) = (self.upstream, self.way.subscribe(), self.closing.clone());
                        self.connections.spawn(connection(client, upstream, way, closing));
                    }
                }
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    /// Resets all connections and waits until they are.
    async fn close(&mut self) {
        let next = CancellationToken::new();
        std::mem::replace(&mut self.closing, next).cancel();
        while self.connections.join_next().await.is_some() {}
    }
}

/// One client's connection, until both sides have closed it, one is gone, or it is reset.
async fn connection(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut way: watch::Receiver<Way>,
    closing: CancellationToken,
) {
    let connecting = async {
        way.wait_for(|way| !way.stalled).await.ok()?;
        TcpStream::connect(upstream).await.ok()
    };
    let Some(Some(mut server)) = closing.run_until_cancelled(connecting).await else {
        // As a server does that is not there.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // Borrowed: an owned half says an orderly end when it is dropped.
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let there = pump(from_client, to_server, way.clone());
    let back = pump(from_server, to_client, way);
    let both = async { tokio::try_join!(there, back) };
    if !matches!(closing.run_until_cancelled(both).await, Some(Ok(_))) {
        // One side was reset, so the other is too.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Forwards one direction of a connection until its end, and the end.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut way: watch::Receiver<Way>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    // The proxy is gone: nobody will mend it.
    let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
    loop {
        buffer.clear();
        let read = from.read_buf(&mut buffer).await?;
        let Way { delay, .. } = *way.wait_for(|way| !way.stalled).await.map_err(gone)?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
            way.wait_for(|way| !way.stalled).await.map_err(gone)?;
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer).await?;
    }
}
