//! Clients that hold connections: half of them never end the head of a request, the others never its body.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Addresses of this machine that the connections come from, so that no one reaches the bound of an address.
const ADDRESSES: usize = if cfg!(target_os = "linux") { 8 } else { 1 };
/// Pause between two bytes, and before a new connection in place of one that the server ended.
const PAUSE: Duration = Duration::from_secs(1);

/// Slow clients; gone when dropped.
#[derive(Debug)]
pub struct SlowClients(JoinSet<()>);

impl SlowClients {
    /// Opens this many connections, and has each send a byte a second. One that the server ends is opened again.
    ///
    /// # Errors
    /// When a connection can't be opened.
    pub async fn start(address: SocketAddr, count: usize) -> Result<Self> {
        let mut clients = JoinSet::new();
        for number in 0..count {
            let stream = connect(address, number).await?;
            clients.spawn(async move {
                hold(stream, address, number).await;
                loop {
                    sleep(PAUSE).await;
                    if let Ok(stream) = connect(address, number).await {
                        hold(stream, address, number).await;
                    }
                }
            });
        }
        Ok(Self(clients))
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

async fn connect(address: SocketAddr, number: usize) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if ADDRESSES > 1 {
        let own = Ipv4Addr::new(127, 0, 1, (number % ADDRESSES) as u8 + 1);
        socket.bind(SocketAddr::new(IpAddr::V4(own), 0))?;
    }
    Ok(socket.connect(address).await?)
}

/// Sends a byte now and then until the server ends the connection.
async fn hold(mut stream: TcpStream, address: SocketAddr, number: usize) {
    // Clients of one address do both.
    let begin = match (number / ADDRESSES).is_multiple_of(2) {
        true => format!("GET /api/lm/loras/list HTTP/1.1\r\nHost: {address}\r\nX-Slow: "),
        false => format!(
            "POST /api/lm/loras/bulk-edit HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 99999\r\n\r\n"
        ),
    };
    if stream.write_all(begin.as_bytes()).await.is_err() {
        return;
    }
    let mut answer = [0; 1_024];
    loop {
        match timeout(PAUSE, stream.read(&mut answer)).await {
            Ok(_) => return,
            Err(_) if stream.write_all(b"a").await.is_err() => return,
            Err(_) => {}
        }
    }
}
