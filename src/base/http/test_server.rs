//! Server for tests, with exactly the given responses, including faults.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};

/// Request of a client.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path, or the whole URL when the client takes the server for a proxy.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }
}

/// Action of the server, before closing the connection.
pub(crate) enum ServerAction {
    Send(Vec<u8>),
    Stall(Duration),
    /// The same bytes several times, without having them all in memory.
    Repeat(Vec<u8>, usize),
}

/// A running server; each connection carries one request.
pub(crate) struct TestServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl TestServer {
    /// Starts a server; `answer` gets the request's number, from 0, and the request.
    pub(crate) fn start(
        answer: impl Fn(usize, &Request) -> Vec<ServerAction> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &seen, &*answer));
            }
        });
        Self { address, requests }
    }

    /// The host and port, as a registry is called.
    #[cfg(feature = "builder")]
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &dyn Fn(usize, &Request) -> Vec<ServerAction>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        line.split_once(':').map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
    });
    let mut words = first.split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let request = Request { method, path, headers: headers.collect() };
    // A connection that is closed with something unread is reset.
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    drop(std::io::copy(&mut reader.take(length.unwrap_or(0)), &mut std::io::sink()));
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    for step in answer(number, &request) {
        match step {
            ServerAction::Stall(time) => std::thread::sleep(time),
            // The client may have had enough.
            ServerAction::Send(bytes) => drop(stream.write_all(&bytes)),
            ServerAction::Repeat(bytes, times) => {
                drop((0..times).try_for_each(|_| stream.write_all(&bytes)));
            }
        }
    }
}

/// Address without a listener, reserved as long as the socket is open.
pub(crate) struct ClosedAddress {
    address: SocketAddr,
    _socket: OwnedFd,
}

impl ClosedAddress {
    pub(crate) fn new() -> Self {
        let (family, kind) = (AddressFamily::Inet, SockType::Stream);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let bound: SockaddrIn = getsockname(socket.as_raw_fd()).unwrap();
        Self { address: SocketAddr::from(([127, 0, 0, 1], bound.port())), _socket: socket }
    }

    /// The host and port, as a registry is called.
    #[cfg(feature = "builder")]
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Makes a response: status line and headers as text, then the body.
pub(crate) fn answer(head: &str, body: &[u8]) -> Vec<ServerAction> {
    let mut bytes = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    vec![ServerAction::Send(bytes)]
}

/// A whole file with status 200.
pub(crate) fn ok(body: &[u8]) -> Vec<ServerAction> {
    answer(&format!("200 OK\r\nContent-Length: {}", body.len()), body)
}
