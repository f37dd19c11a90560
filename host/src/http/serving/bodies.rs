//! Bodies of requests: how fast they have to come, and how much memory all of them together may take.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::files::foreign;
use crate::http::error::ApiError;
use crate::settings::{ConnectionSettings, seconds};

/// Unit of reservations in bytes.
const UNIT: usize = 1 << 10;
/// The beginning of each body in units, which has memory of its own: large bodies never keep small ones waiting.
const SMALL: usize = 64;
/// Part of the memory that is for beginnings of bodies: one in so many.
const SMALL_SHARE: usize = 8;
/// Most memory for bodies in MiB unless the settings say otherwise.
const MOST_MIB: u64 = 512;
/// Least memory for bodies in MiB unless the settings say otherwise: more than the largest body, and what its values take.
const LEAST_MIB: u64 = 192;

/// Memory for the bodies of all requests, and how fast a body has to come.
pub struct BodyMemory {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    wait: Duration,
    stall: Duration,
    bytes_per_second: u64,
}

impl BodyMemory {
    /// As much as the settings say.
    pub fn new(settings: &ConnectionSettings) -> Self {
        let mib = match settings.bodies_mib {
            0 => (available_memory().unwrap_or(u64::MAX) >> 22).clamp(LEAST_MIB, MOST_MIB) as usize,
            mib => mib.min(1 << 20),
        };
        let units = mib * ((1 << 20) / UNIT);
        Self {
            small: Arc::new(Semaphore::new(units / SMALL_SHARE)),
            large: Arc::new(Semaphore::new(units - units / SMALL_SHARE)),
            wait: seconds(settings.bodies_wait_seconds),
            stall: seconds(settings.body_seconds),
            bytes_per_second: settings.body_bytes_per_second,
        }
    }

    /// The body with its bounds, and the memory that it takes; none for a request without a body.
    pub fn admit(self: Arc<Self>, body: Incoming) -> (Body, Option<BodyReservation>) {
        if body.is_end_stream() {
            return (Body::empty(), None);
        }
        let reservation = BodyReservation(Arc::new(Reserved {
            memory: self,
            permits: Mutex::default(),
            fault: OnceLock::new(),
        }));
        (Body::from_stream(bounded(body, reservation.clone())), Some(reservation))
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The client sent nothing, or too little.
    #[error("The request's body came too slowly.")]
    Slow,
    /// Other requests hold the memory.
    #[error("The server has too many large requests at once. Try again later.")]
    Busy,
}

impl BodyFault {
    /// The answer to the request.
    pub fn into_response(self) -> Response {
        let status = match self {
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = ApiError::new(status, self.to_string()).into_response();
        let headers = response.headers_mut();
        if self == Self::Busy {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Memory that a request holds for its body until it is answered. In the extensions of a request with a body.
#[derive(Clone)]
pub struct BodyReservation(Arc<Reserved>);

struct Reserved {
    memory: Arc<BodyMemory>,
    permits: Mutex<Permits>,
    fault: OnceLock<BodyFault>,
}

#[derive(Default)]
struct Permits {
    /// Units in all.
    units: usize,
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl BodyReservation {
    /// Why the body was not read, if it was not.
    pub fn fault(&self) -> Option<BodyFault> {
        self.0.fault.get().copied()
    }

    /// Reserves memory, so that the request holds at least `bytes`. Waits for other requests for a while.
    ///
    /// # Errors
    /// [`BodyFault::Busy`], with which the request is answered whatever its handler says.
    pub async fn hold(&self, bytes: usize) -> Result<(), BodyFault> {
        let wanted = bytes.div_ceil(UNIT);
        let held = self.0.permits.lock().unwrap_or_else(PoisonError::into_inner).units;
        if wanted <= held {
            return Ok(());
        }
        let small = wanted.min(SMALL).saturating_sub(held);
        let large = wanted - held - small;
        let memory = &self.0.memory;
        let acquire = async {
            let acquire = |from: &Arc<Semaphore>, units: usize| {
                let from = from.clone();
                async move {
                    match u32::try_from(units) {
                        Ok(0) => Ok(None),
                        Ok(units) => from
                            .acquire_many_owned(units)
                            .await
                            .map(Some)
                            .map_err(|_| BodyFault::Busy),
                        Err(_) => Err(BodyFault::Busy),
                    }
                }
            };
            Ok::<_, BodyFault>((
                acquire(&memory.small, small).await?,
                acquire(&memory.large, large).await?,
            ))
        };
        let Ok(Ok((small, large))) = timeout(memory.wait, acquire).await else {
            let _ = self.0.fault.set(BodyFault::Busy);
            return Err(BodyFault::Busy);
        };
        let mut permits = self.0.permits.lock().unwrap_or_else(PoisonError::into_inner);
        permits.units = wanted;
        add(&mut permits.small, small);
        add(&mut permits.large, large);
        Ok(())
    }
}

fn add(held: &mut Option<OwnedSemaphorePermit>, more: Option<OwnedSemaphorePermit>) {
    match (held.as_mut(), more) {
        (Some(held), Some(more)) => held.merge(more),
        (None, more) => *held = more,
        (Some(_), None) => {}
    }
}

/// A body that is being read.
struct Reading {
    body: Incoming,
    reservation: BodyReservation,
    received: usize,
    /// Time spent waiting for the client.
    waited: Duration,
}

fn bounded(body: Incoming, reservation: BodyReservation) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    let reading = Reading {
        body,
        reservation,
        received: 0,
        waited: Duration::ZERO,
    };
    unfold(Some(reading), async |reading| {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, axum::Error> {
        loop {
            let stall = self.reservation.0.memory.stall;
            let before = Instant::now();
            let Ok(frame) = timeout(stall, self.body.frame()).await else {
                return Err(self.slow());
            };
            self.waited += before.elapsed();
            let frame = match frame {
                None => return Ok(None),
                Some(frame) => frame.map_err(axum::Error::new)?,
            };
            // Trailers mean nothing to any handler.
            let Ok(bytes) = frame.into_data() else { continue };
            self.received += bytes.len();
            let least = self.reservation.0.memory.bytes_per_second as f64 * self.waited.as_secs_f64();
            if self.waited > stall && (self.received as f64) < least {
                return Err(self.slow());
            }
            self.reservation.hold(self.received).await.map_err(axum::Error::new)?;
            return Ok(Some(bytes));
        }
    }

    fn slow(&self) -> axum::Error {
        let _ = self.reservation.0.fault.set(BodyFault::Slow);
        axum::Error::new(BodyFault::Slow)
    }
}

/// Bytes of memory that the system has left for programs, within the bound of a container.
fn available_memory() -> Option<u64> {
    let text = foreign::kernel_text(Path::new("/proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024;
    let bound = foreign::kernel_text(Path::new("/sys/fs/cgroup/memory.max"));
    let bound = bound.and_then(|text| text.trim().parse().ok());
    Some(bound.map_or(available, |bound: u64| available.min(bound)))
}
