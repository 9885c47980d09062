//! A plain HTTP/1.1 client that shows what came over the wire, and a server of one test's own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

use std::io::{PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use whence_clickhouse_embedded::testing::EngineProcess;

/// A server and the folder its data is in.
pub struct Engine {
    pub process: EngineProcess,
    pub data: TempDir,
}

impl Engine {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let process = EngineProcess::start_with(data.path(), arguments).unwrap();
        Self { process, data }
    }

    /// With a standard input that has `rows` in it and does not end before the writer is dropped.
    pub fn start_with_input(rows: &[u8]) -> (Self, PipeWriter) {
        let data = tempfile::tempdir().unwrap();
        let (input, mut writer) = std::io::pipe().unwrap();
        writer.write_all(rows).unwrap();
        let process = EngineProcess::start_with_input(data.path(), &[] as &[&str], input).unwrap();
        (Self { process, data }, writer)
    }

    /// The result of a statement that must succeed, without the last line feed.
    pub fn query(&self, sql: &str) -> String {
        let answer = self.post("/", &[], sql.as_bytes());
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text().trim_end().to_owned()
    }

    /// As the owner.
    pub fn post(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let own = basic("default", self.process.password());
        let headers = [headers, &[("authorization", own.as_str())]].concat();
        request(self.process.address(), "POST", target, &headers, body)
    }

    /// As the reader.
    pub fn read(&self, target: &str, sql: &str) -> Answer {
        let own = basic("reader", self.process.reader_password());
        request(self.process.address(), "POST", target, &[("authorization", &own)], sql.as_bytes())
    }

    /// As the owner.
    pub fn get(&self, target: &str) -> Answer {
        let own = basic("default", self.process.password());
        request(self.process.address(), "GET", target, &[("authorization", &own)], &[])
    }
}

/// The header of HTTP basic authentication.
pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// A request of the owner's for a statement, as it goes over the wire.
pub fn post(engine: &Engine, sql: &str) -> String {
    let own = basic("default", engine.process.password());
    let length = sql.len();
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: {own}\r\ncontent-length: {length}\r\n\r\n{sql}"
    )
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub complete: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn code(&self) -> Option<u16> {
        self.header("x-clickhouse-exception-code").map(|code| code.parse().unwrap())
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    stream
}

/// Sends one request on a connection of its own and reads the response.
pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    send(address, &format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\n"), headers, body)
}

/// The same for a statement, by another host.
pub fn request_to(host: &str, address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    send(address, &format!("POST / HTTP/1.1\r\nhost: {host}\r\n"), headers, body)
}

fn send(address: SocketAddr, head: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = connect(address);
    let mut head = format!("{head}connection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // A server that has heard enough answers and closes; what it said is read below.
    let _ = stream.write_all(body);
    read_answer(&mut stream)
}

/// Reads a response to the end of its connection.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a response has a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let body = &bytes[end + 4..];
    let chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
    let (body, complete) = if chunked {
        unchunk(body)
    } else {
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, length)| length.parse().unwrap());
        (body.to_vec(), body.len() == length)
    };
    Answer { status, headers, body, complete }
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let rest = &bytes[line + 2..];
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..size.min(rest.len())]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        bytes = &rest[size + 2..];
    }
    (body, false)
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(240);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}
