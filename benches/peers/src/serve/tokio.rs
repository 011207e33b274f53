//! tokio-tungstenite as its users write a hub: a broadcast channel and a task per client.

use std::io;
use std::net::Ipv4Addr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::broadcast::{self, Receiver};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{BACKLOG, lines};

pub fn run(port: u16) -> io::Result<()> {
    let runtime = Runtime::new()?;
    let (sender, _) = broadcast::channel::<Utf8Bytes>(1024);
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))?;
    rustix::net::listen(&listener, BACKLOG)?;
    let subscribe = sender.clone();
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, subscribe.subscribe()));
        }
    });
    lines(|line| {
        let _ = sender.send(line.into());
    })
}

async fn serve(socket: TcpStream, mut messages: Receiver<Utf8Bytes>) {
    let _ = socket.set_nodelay(true);
    // By default each client has a buffer of 128 KiB.
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let socket = tokio_tungstenite::accept_async_with_config(socket, Some(config)).await;
    let Ok(socket) = socket else { return };
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Ok(text) = message else { return };
                if sink.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
            incoming = stream.next() => {
                if !matches!(incoming, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}
