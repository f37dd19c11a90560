//! A small HTTP/1.1 client.
//!
//! Tests want to send what a well-behaved client wouldn't, and the benchmark shares two cores with the server: both
//! need the bytes on the wire to be exactly those that were meant, and cheap to make and read.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Call {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// A request for this target, which is sent as it stands.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A `GET`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` of a JSON value, as one of the server's own pages sends it.
    pub fn post(target: &str, body: &Value) -> Self {
        Self::new("POST", target)
            .header("Content-Type", "application/json")
            .header("Sec-Fetch-Site", "same-origin")
            .body(body.to_string())
    }

    /// Adds query parameters, percent-encoded.
    #[must_use]
    pub fn query(mut self, pairs: &[(&str, &str)]) -> Self {
        for (name, value) in pairs {
            self.target.push(if self.target.contains('?') { '&' } else { '?' });
            self.target.push_str(&encode(name));
            self.target.push('=');
            self.target.push_str(&encode(value));
        }
        self
    }

    /// Sets a header; an earlier one of the same name is replaced, so that `Host` can be too.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether it has a header.
    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// Removes a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes of the request, to a server at this address.
    pub fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let mut add = |name: &str, value: &str| {
            text.push_str(&format!("{name}: {value}\r\n"));
        };
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("Host") {
            add("Host", &address.to_string());
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        if !has("Content-Length") && (!self.body.is_empty() || self.method == "POST") {
            add("Content-Length", &self.body.len().to_string());
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it over a connection of its own.
    ///
    /// # Errors
    /// When the connection fails or what comes is no HTTP.
    pub async fn send(&self, address: SocketAddr) -> Result<Reply> {
        let mut connection = Connection::open(address).await?;
        let bytes = self.bytes(address);
        let exchanged = connection.exchange(&bytes, self.method == "HEAD").await;
        exchanged.with_context(|| format!("{} {}", self.method, self.target))
    }
}

/// HTTP Basic with a token as password.
pub fn basic(token: &str) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("x:{token}"));
    format!("Basic {encoded}")
}

/// Percent-encodes everything but letters and digits.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name (in lower case); empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none; the message shows what it is.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let start: String = self.text().chars().take(400).collect();
            anyhow!("status {}: no JSON ({error}): {start}", self.status)
        })
    }
}

/// A kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Where the parts of an answer lie in the buffer.
struct Head {
    status: u16,
    /// Length of the head with its empty line.
    end: usize,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(1 << 16),
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is no HTTP/1.1.
    pub async fn exchange(&mut self, request: &[u8], head_only: bool) -> io::Result<Reply> {
        let head = self.send(request).await?;
        let headers = header_lines(&self.buffer[..head.end])
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let bodyless = head_only || head.status == 204 || head.status == 304 || head.status < 200;
        let framing = if bodyless { Framing::Length(0) } else { head.framing };
        let body = self.body(head.end, framing).await?;
        Ok(Reply {
            status: head.status,
            headers,
            body,
        })
    }

    /// Sends a request and reads the answer without keeping it: its status and the length of its body. For load.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub async fn measure(&mut self, request: &[u8]) -> io::Result<(u16, usize)> {
        let head = self.send(request).await?;
        let Framing::Length(length) = head.framing else {
            let body = self.body(head.end, head.framing).await?;
            return Ok((head.status, body.len()));
        };
        while self.buffer.len() < head.end + length {
            self.fill().await?;
        }
        self.buffer.clear();
        Ok((head.status, length))
    }

    async fn send(&mut self, request: &[u8]) -> io::Result<Head> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(end) = end_of_head(&self.buffer) {
                return parse_head(&self.buffer[..end]);
            }
            if self.fill().await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before an answer"));
            }
        }
    }

    async fn body(&mut self, start: usize, framing: Framing) -> io::Result<Vec<u8>> {
        match framing {
            Framing::Length(length) => {
                let end = start + length;
                while self.buffer.len() < end {
                    if self.fill().await? == 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside a body"));
                    }
                }
                let body = self.buffer[start..end].to_vec();
                self.buffer.drain(..end);
                Ok(body)
            }
            Framing::UntilClosed => {
                while self.fill().await? > 0 {}
                let body = self.buffer.split_off(start);
                self.buffer.clear();
                Ok(body)
            }
            Framing::Chunked => loop {
                if let Some((body, end)) = unchunk(&self.buffer[start..])? {
                    self.buffer.drain(..start + end);
                    return Ok(body);
                }
                if self.fill().await? == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside a chunk"));
                }
            },
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(1 << 16);
        self.stream.read_buf(&mut self.buffer).await
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP/1.1: {what}"))
}

fn header_lines(head: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    std::str::from_utf8(head)
        .unwrap_or_default()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
}

fn parse_head(head: &[u8]) -> io::Result<Head> {
    let status = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
        .ok_or_else(|| broken("status line"))?;
    let mut framing = Framing::UntilClosed;
    for (name, value) in header_lines(head) {
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.parse().map_err(|_| broken("content-length"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
        }
    }
    Ok(Head {
        status,
        end: head.len(),
        framing,
    })
}

/// The body and the length of its chunks, once they are all there.
fn unchunk(bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[at..at + line])
            .ok()
            .and_then(|text| usize::from_str_radix(text.split(';').next()?.trim(), 16).ok())
            .ok_or_else(|| broken("chunk size"))?;
        let start = at + line + 2;
        let end = start + size + 2;
        if bytes.len() < end {
            return Ok(None);
        }
        body.extend_from_slice(&bytes[start..start + size]);
        at = end;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_once_all_are_there() {
        let whole = b"4\r\nWiki\r\n5;x=1\r\npedia\r\n0\r\n\r\n";
        assert_eq!(unchunk(whole).unwrap(), Some((b"Wikipedia".to_vec(), whole.len())));
        assert_eq!(unchunk(&whole[..12]).unwrap(), None);
        assert!(unchunk(b"zz\r\n").is_err());
    }

    #[test]
    fn a_call_is_sent_as_it_stands() {
        let address = "127.0.0.1:80".parse().unwrap();
        let call = Call::get("/a")
            .query(&[("q", "x y&z"), ("p", "1")])
            .header("Host", "other");
        assert_eq!(
            call.bytes(address),
            b"GET /a?q=x%20y%26z&p=1 HTTP/1.1\r\nHost: other\r\n\r\n"
        );
    }
}
