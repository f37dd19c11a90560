//! Requests over kept-alive connections, and how long each took.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::http::{Call, Connection};

/// How long a load runs before it is measured, at most.
const WARM_UP: Duration = Duration::from_millis(500);

/// What a load showed.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Requests per second, over all connections.
    pub rate: f64,
    /// Half of the requests took no longer.
    pub p50: Duration,
    /// 99 of 100 requests took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// Bytes of an answer's body, on average.
    pub bytes: usize,
}

/// Sends the calls in turn over this many connections, each waiting for its answer before it sends the next. Every
/// answer must be 200.
///
/// # Errors
/// When one isn't.
pub async fn load(address: SocketAddr, calls: &[Call], connections: usize, length: Duration) -> Result<Loaded> {
    let warm_up = WARM_UP.min(length / 2);
    let requests: Vec<Vec<u8>> = calls.iter().map(|call| call.bytes(address)).collect();
    let started = Instant::now();
    let (from, until) = (started + warm_up, started + warm_up + length);
    let each = (0..connections).map(|number| one(address, &requests, number, from, move || Instant::now() >= until));
    let mut times = Vec::new();
    let mut bytes = 0;
    for result in futures_util::future::join_all(each).await {
        let (own, received) = result?;
        times.extend(own);
        bytes += received;
    }
    summary(times, bytes, length)
}

/// Sends the calls in turn over one connection until it is told to stop.
///
/// # Errors
/// When an answer is not 200.
pub async fn during(address: SocketAddr, calls: &[Call], stop: impl Fn() -> bool) -> Result<Loaded> {
    let requests: Vec<Vec<u8>> = calls.iter().map(|call| call.bytes(address)).collect();
    let started = Instant::now();
    let (times, bytes) = one(address, &requests, 0, started, stop).await?;
    summary(times, bytes, started.elapsed())
}

fn summary(mut times: Vec<Duration>, bytes: usize, length: Duration) -> Result<Loaded> {
    if times.is_empty() {
        bail!("no request was answered in {length:?}");
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(Loaded {
        rate: times.len() as f64 / length.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
        bytes: bytes / times.len(),
    })
}

async fn one(
    address: SocketAddr,
    requests: &[Vec<u8>],
    number: usize,
    from: Instant,
    stop: impl Fn() -> bool,
) -> Result<(Vec<Duration>, usize)> {
    let mut connection = Connection::open(address).await?;
    let mut times = Vec::with_capacity(1 << 16);
    // Connections start at different places, so that they don't ask for the same at the same time.
    let mut turn = number * 31;
    let mut received = 0;
    loop {
        if stop() {
            return Ok((times, received));
        }
        let before = Instant::now();
        let (status, bytes) = connection.measure(&requests[turn % requests.len()]).await?;
        if status != 200 {
            bail!("answered {status}");
        }
        if before >= from {
            times.push(before.elapsed());
            received += bytes;
        }
        turn += 1;
    }
}
