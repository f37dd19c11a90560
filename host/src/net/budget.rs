//! One budget of requests for each host, shared by whoever asks it: look-ups and downloads alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::host_of;
use crate::settings::ProviderSettings;

/// Requests to one host at once.
const AT_ONCE: usize = 8;
/// Failures in a row after which a host counts as away.
const FAILURES: u32 = 3;
/// How much longer than the first the rest after failures may get.
const LONGEST_REST: u32 = 10;
/// Longest wait that a host may ask for and that is waited for; longer ones are an error at once.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest wait that a host is believed.
const MOST: Duration = Duration::from_secs(1800);
/// How long requests pause after a 429 that does not say how long.
const PAUSE: Duration = Duration::from_millis(1500);

/// Why a host is not asked now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// It could not be reached lately.
    #[error("{host} could not be reached and is left alone for a while: {reason}")]
    Away {
        /// Its name.
        host: String,
        /// What happened.
        reason: String,
    },
    /// It asked for a long pause.
    #[error("{host} has had too many requests and wants a break of {} s", wait.as_secs().max(1))]
    Limited {
        /// Its name.
        host: String,
        /// What is left of the pause.
        wait: Duration,
    },
}

/// How a host does.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HostState {
    /// Its name, with the port where it is no usual one.
    pub host: String,
    /// Whether it could not be reached lately.
    pub offline: bool,
    /// Whether it asked for a pause that has not ended.
    pub limited: bool,
}

#[derive(Debug, Default)]
struct State {
    // When the next request may be made, by the rate alone.
    next: Option<Instant>,
    paused_until: Option<Instant>,
    failures: u32,
    // How often it rested in a row, and until when it does.
    rests: u32,
    resting_until: Option<Instant>,
    reason: String,
}

/// The budget of one host.
#[derive(Debug)]
pub struct HostBudget {
    host: String,
    between: Duration,
    burst: Duration,
    rest: Duration,
    slots: Arc<Semaphore>,
    state: Mutex<State>,
    told: watch::Sender<u64>,
}

/// The right to make one request; held until its answer is read.
#[derive(Debug)]
pub struct Turn {
    // None only where nothing bounds requests: the semaphore is never closed.
    _slot: Option<OwnedSemaphorePermit>,
}

impl HostBudget {
    /// Waits until one request may be made.
    ///
    /// # Errors
    /// At once when the host is resting after failures, or asked for a pause of more than two minutes.
    pub async fn turn(&self) -> Result<Turn, Held> {
        let slot = self.slots.clone().acquire_owned().await.ok();
        loop {
            match self.wait()? {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Ok(Turn { _slot: slot }),
            }
        }
    }

    /// How long to wait, or nothing when a request may be made now, which is then counted.
    fn wait(&self) -> Result<Option<Duration>, Held> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.resting_until.is_some_and(|until| until > now) {
            return Err(Held::Away {
                host: self.host.clone(),
                reason: state.reason.clone(),
            });
        }
        if let Some(left) = state.paused_until.and_then(|until| until.checked_duration_since(now)) {
            if left > PATIENCE {
                return Err(Held::Limited {
                    host: self.host.clone(),
                    wait: left,
                });
            }
            if !left.is_zero() {
                return Ok(Some(left));
            }
        }
        let due = state
            .next
            .unwrap_or(now)
            .max(now - self.burst.min(Duration::from_secs(60)));
        if let Some(left) = due.checked_duration_since(now).filter(|left| !left.is_zero()) {
            return Ok(Some(left));
        }
        state.next = Some(due + self.between);
        Ok(None)
    }

    /// The host answered, whatever it said.
    pub fn reached(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was = state.failures >= FAILURES;
        state.failures = 0;
        state.rests = 0;
        state.resting_until = None;
        drop(state);
        if was {
            tracing::info!(host = self.host, "can be reached again");
            self.tell();
        }
    }

    /// The host could not be reached.
    pub fn unreachable(&self, reason: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        reason.clone_into(&mut state.reason);
        if state.failures < FAILURES {
            return;
        }
        let rest = self.rest * (1 << state.rests.min(4)).min(LONGEST_REST);
        state.rests += 1;
        state.resting_until = Some(Instant::now() + rest);
        let first = state.failures == FAILURES;
        drop(state);
        if first {
            tracing::warn!(
                host = self.host,
                reason,
                "can't be reached; it is left alone for a while"
            );
            self.tell();
        }
    }

    /// The host asked for a pause: all requests to it wait that long. How long that is.
    pub fn limited(&self, retry_after: Option<Duration>, attempt: u32) -> Duration {
        let own = PAUSE * (1 << attempt.min(4));
        let pause = jitter(retry_after.filter(|wait| !wait.is_zero()).unwrap_or(own).min(MOST));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + pause;
        if state.paused_until.is_none_or(|other| other < until) {
            state.paused_until = Some(until);
        }
        drop(state);
        tracing::info!(host = self.host, seconds = pause.as_secs_f64(), "asks for a pause");
        self.tell();
        pause
    }

    fn state(&self) -> HostState {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        HostState {
            host: self.host.clone(),
            offline: state.failures >= FAILURES,
            limited: state.paused_until.is_some_and(|until| until > Instant::now()),
        }
    }

    fn tell(&self) {
        self.told.send_modify(|count| *count += 1);
    }
}

/// A wait, up to a fifth longer, so that those who wait do not all come back at once.
pub fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + rand::random::<f64>() * 0.2)
}

impl Default for Budgets {
    fn default() -> Self {
        Self::new(&ProviderSettings::default())
    }
}

/// The budgets of all hosts.
#[derive(Debug)]
pub struct Budgets {
    between: Duration,
    rest: Duration,
    hosts: Mutex<HashMap<String, Arc<HostBudget>>>,
    told: watch::Sender<u64>,
}

impl Budgets {
    /// Budgets by settings.
    pub fn new(settings: &ProviderSettings) -> Self {
        let seconds = |value: f64| Duration::try_from_secs_f64(value).unwrap_or_default();
        let rate = settings.requests_per_second;
        Self {
            between: if rate > 0.0 {
                seconds(1.0 / rate)
            } else {
                Duration::ZERO
            },
            rest: seconds(settings.rest_seconds),
            hosts: Mutex::default(),
            told: watch::channel(0).0,
        }
    }

    /// The budget of the host of an address.
    pub fn of(&self, url: &reqwest::Url) -> Arc<HostBudget> {
        let host = host_of(url);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts
            .entry(host.clone())
            .or_insert_with(|| {
                Arc::new(HostBudget {
                    host,
                    between: self.between,
                    burst: if self.between.is_zero() {
                        Duration::ZERO
                    } else {
                        Duration::from_secs(2)
                    },
                    rest: self.rest,
                    slots: Arc::new(Semaphore::new(AT_ONCE)),
                    state: Mutex::default(),
                    told: self.told.clone(),
                })
            })
            .clone()
    }

    /// How long the host of an address wants to be left alone, as somebody was told: for requests that take no turn, since
    /// they are long.
    pub fn pause(&self, url: &reqwest::Url) -> Option<Duration> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.get(&host_of(url))?;
        let state = host.state.lock().unwrap_or_else(PoisonError::into_inner);
        let left = state.paused_until?.checked_duration_since(Instant::now())?;
        Some(left.min(MOST)).filter(|left| !left.is_zero())
    }

    /// Notes that the host of an address asked for a pause. One of no length is for that request alone.
    pub fn limited(&self, url: &reqwest::Url, retry_after: Option<Duration>) {
        if let Some(wait) = retry_after.filter(|wait| !wait.is_zero()) {
            self.of(url).limited(Some(wait), 0);
        }
    }

    /// All hosts that were asked, by name.
    pub fn states(&self) -> Vec<HostState> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut states: Vec<HostState> = hosts.values().map(|host| host.state()).collect();
        states.sort_by(|a, b| a.host.cmp(&b.host));
        states
    }

    /// Changes whenever a host goes away, comes back or asks for a pause.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// Forgets that hosts could not be reached: the way to them has changed.
    pub fn forget_failures(&self) {
        let hosts: Vec<_> = {
            let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.values().cloned().collect()
        };
        hosts.iter().for_each(|host| host.reached());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(rate: f64) -> Arc<HostBudget> {
        let settings = ProviderSettings {
            requests_per_second: rate,
            ..ProviderSettings::default()
        };
        Budgets::new(&settings).of(&"https://a.example:81/x".parse().unwrap())
    }

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let budget = budget(1.0);
        assert_eq!(budget.host, "a.example:81");
        let free = (0..10).take_while(|_| budget.wait().unwrap().is_none()).count();
        assert!((1..=3).contains(&free), "{free}");
        assert!(budget.wait().unwrap().unwrap() <= Duration::from_secs(1));
    }

    #[test]
    fn a_pause_holds_for_everybody_and_a_long_one_is_an_error() {
        let budget = budget(0.0);
        budget.limited(Some(Duration::from_secs(5)), 0);
        assert!(budget.wait().unwrap().unwrap() > Duration::from_secs(4));
        budget.limited(Some(Duration::from_secs(600)), 0);
        assert!(matches!(budget.wait(), Err(Held::Limited { .. })));
    }

    #[test]
    fn a_host_that_is_away_rests_and_its_first_answer_ends_that() {
        let budget = budget(0.0);
        for _ in 0..2 {
            budget.unreachable("refused");
        }
        assert!(budget.wait().unwrap().is_none() && !budget.state().offline);
        budget.unreachable("refused");
        assert!(matches!(budget.wait(), Err(Held::Away { .. })));
        assert!(budget.state().offline);
        budget.reached();
        assert!(budget.wait().unwrap().is_none() && !budget.state().offline);
    }
}
