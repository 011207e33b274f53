//! A proxy in front of an engine that breaks connections as real servers and proxies do.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use kentros::DockerHost;

/// What the proxy does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breakage {
    /// Closes a connection when it is used for a second request, without a response.
    CloseOnReuse,
    /// Sends only half of the first response to a request with `stream=false`.
    CutFirstSample,
    /// Cuts event streams at each call of [`BreakingProxy::cut`].
    CutEvents,
    /// Sends `100 Continue` and `103 Early Hints` before each response.
    Informational,
}

/// The proxy. It accepts connections until it is dropped.
#[derive(Debug)]
pub(crate) struct BreakingProxy {
    path: PathBuf,
    /// The number of connections or responses broken so far.
    broken: Arc<AtomicUsize>,
    event_streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl BreakingProxy {
    pub(crate) fn start(engine: &Path, breakage: Breakage) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kentros-breaking-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let broken = Arc::new(AtomicUsize::new(0));
        let (engine, counter, own) = (engine.to_owned(), Arc::clone(&broken), path.clone());
        let event_streams = Arc::<Mutex<Vec<UnixStream>>>::default();
        let cuttable = Arc::clone(&event_streams);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, Ok(engine)) = (client.unwrap(), UnixStream::connect(&engine)) else {
                    return;
                };
                if !own.exists() {
                    return;
                }
                serve(client, engine, breakage, &counter, &cuttable);
            }
        });
        Self { path, broken, event_streams }
    }

    pub(crate) fn host(&self) -> DockerHost {
        format!("unix://{}", self.path.display()).parse().unwrap()
    }

    /// Cuts the event streams.
    pub(crate) fn cut(&self) {
        for stream in self.event_streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
            self.broken.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn broken(&self) -> usize {
        self.broken.load(Ordering::SeqCst)
    }
}

impl Drop for BreakingProxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Handles one connection on threads of its own, which end with the connection.
fn serve(
    client: UnixStream,
    engine: UnixStream,
    breakage: Breakage,
    broken: &Arc<AtomicUsize>,
    event_streams: &Arc<Mutex<Vec<UnixStream>>>,
) {
    let (broken, event_streams) = (Arc::clone(broken), Arc::clone(event_streams));
    thread::spawn(move || {
        // Requests have no body, so each read of the client is one request.
        let mut request = vec![0; 64 << 10];
        let mut requests = 0;
        while let Ok(length @ 1..) = (&client).read(&mut request) {
            requests += 1;
            if breakage == Breakage::CloseOnReuse && requests > 1 {
                broken.fetch_add(1, Ordering::SeqCst);
                break;
            }
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            (&engine).write_all(&request[..length]).unwrap();
            match breakage {
                Breakage::CutFirstSample
                    if text.contains("stream=false")
                        && broken.fetch_add(1, Ordering::SeqCst) == 0 =>
                {
                    let mut response = vec![0; 64 << 10];
                    let length = (&engine).read(&mut response).unwrap();
                    let _ = (&client).write_all(&response[..length / 2]);
                    break;
                }
                Breakage::CutEvents if text.contains("/events") => {
                    event_streams.lock().unwrap().push(client.try_clone().unwrap());
                }
                Breakage::Informational => {
                    let early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n";
                    broken.fetch_add(1, Ordering::SeqCst);
                    let _ = (&client).write_all(early);
                }
                _ => {}
            }
            if requests == 1 {
                relay(engine.try_clone().unwrap(), client.try_clone().unwrap());
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = engine.shutdown(Shutdown::Both);
    });
}

fn relay(mut from: UnixStream, mut to: UnixStream) {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
