//! The floor: a WebSocket server on the same library with the same buffers that sends every text back and does nothing else.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

/// Serves until it is killed.
pub(crate) async fn serve(listen: SocketAddr) -> std::io::Result<()> {
    let echo = |upgrade: WebSocketUpgrade| async {
        let upgrade = upgrade.max_message_size(64 * 1024).max_frame_size(64 * 1024);
        upgrade.read_buffer_size(2 * 1024).write_buffer_size(4 * 1024).max_write_buffer_size(256 * 1024).on_upgrade(
            |mut socket| async move {
                while let Some(Ok(message)) = socket.recv().await {
                    if let Message::Text(_) = &message
                        && socket.send(message).await.is_err()
                    {
                        return;
                    }
                }
            },
        )
    };
    let listener = TcpListener::bind(listen).await?.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    axum::serve(listener, Router::new().route("/", axum::routing::any(echo))).await
}
