//! Servers that `kentros` connects to. The test chooses what they send.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tungstenite::{Message, WebSocket};

/// Serves each connection on a thread of its own, until the test process ends.
fn serve(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// A server that answers each request with these bytes.
pub(crate) fn http(response: &str) -> SocketAddr {
    let response = response.to_owned();
    serve(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let _ = stream.write_all(response.as_bytes());
    })
}

/// A WebSocket server that runs `talk` for each client. A client may disconnect at any time.
pub(crate) fn hub(
    talk: impl Fn(&mut WebSocket<TcpStream>) -> tungstenite::Result<()> + Clone + Send + 'static,
) -> SocketAddr {
    serve(move |stream| {
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        let _ = talk(&mut socket);
        // Read up to the end, or a reset could overtake what was sent.
        while socket.read().is_ok() {}
    })
}

/// A WebSocket server that sends these messages to each client.
pub(crate) fn hub_sending(messages: Vec<Message>) -> SocketAddr {
    hub(move |socket| messages.iter().try_for_each(|message| socket.send(message.clone())))
}

/// A server that sends these bytes and then one byte of `dribble` again and again, ten in a second.
pub(crate) fn dribbling(first: Vec<u8>, dribble: u8) -> SocketAddr {
    serve(move |mut stream| {
        let sent = stream.write_all(&first);
        let bytes = crossbeam_channel::tick(Duration::from_millis(100));
        let mut more = sent.is_ok().then_some(()).into_iter().chain(bytes.iter().map(drop));
        while more.next().is_some_and(|()| stream.write_all(&[dribble]).is_ok()) {}
    })
}
