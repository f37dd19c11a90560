//! Failed tries: slowed for each address and for all together, logged, and kept for the page.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::LoginError;
use super::file::now;

/// Tries of an address that may fail before it has to wait.
const FREE: u32 = 5;
/// Longest wait of an address.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// After this long without a failed try an address begins anew.
const FORGET: Duration = Duration::from_secs(3600);
/// Failed tries of all addresses within a minute, after which everybody waits for the next minute.
const FREE_FOR_ALL: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// Most addresses that are remembered.
const MAX_ADDRESSES: usize = 10_000;
/// Most failed tries that the page shows.
const MAX_SHOWN: usize = 50;
/// Most password checks that wait for one another.
const MAX_WAITING: usize = 8;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A password.
    Password,
    /// A token.
    Token,
    /// A one-time link.
    Link,
}

impl Kind {
    /// The name in the log and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Token => "token",
            Self::Link => "link",
        }
    }
}

/// Failed tries of one address, one after the other.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Whose.
    pub address: IpAddr,
    /// Of the last one.
    pub kind: Kind,
    /// When the last one was, in seconds since 1970.
    pub at: i64,
    /// How many.
    pub count: u32,
}

#[derive(Debug)]
struct Tries {
    failed: u32,
    last: Instant,
    wait_until: Instant,
}

#[derive(Debug, Default)]
struct Counts {
    addresses: HashMap<IpAddr, Tries>,
    minute: Option<(Instant, u32)>,
    shown: VecDeque<Failure>,
}

/// Counts failed tries.
#[derive(Debug, Default)]
pub struct Throttle {
    counts: Mutex<Counts>,
    waiting: AtomicUsize,
    checking: Mutex<()>,
}

/// The only password check that runs.
pub struct Turn<'t> {
    _checking: MutexGuard<'t, ()>,
    waiting: &'t AtomicUsize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Throttle {
    /// Whether a try may be made from this address now.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self, address: IpAddr) -> Result<(), LoginError> {
        self.check_at(address, Instant::now())
    }

    fn check_at(&self, address: IpAddr, now: Instant) -> Result<(), LoginError> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.addresses.get(&network(address)).map(|tries| tries.wait_until);
        let all = counts
            .minute
            .filter(|(_, failed)| *failed >= FREE_FOR_ALL)
            .map(|(since, _)| since + MINUTE);
        match own.max(all).filter(|until| *until > now) {
            Some(until) => Err(LoginError::Slow(until - now)),
            None => Ok(()),
        }
    }

    /// Counts a failed try and logs it.
    pub fn failed(&self, address: IpAddr, kind: Kind) -> LoginError {
        let failed = self.failed_at(address, kind, Instant::now());
        let waits = wait(failed);
        if waits.is_zero() {
            tracing::warn!(%address, failed, "a login with a wrong {} failed", kind.name());
        } else {
            let seconds = waits.as_secs();
            tracing::warn!(%address, failed, seconds, "a login with a wrong {} failed; the address has to wait", kind.name());
        }
        LoginError::Wrong
    }

    fn failed_at(&self, address: IpAddr, kind: Kind, at: Instant) -> u32 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.minute = match counts.minute {
            Some((since, failed)) if at - since < MINUTE => Some((since, failed + 1)),
            _ => Some((at, 1)),
        };
        match counts.shown.iter().position(|shown| shown.address == address) {
            Some(index) => {
                if let Some(mut shown) = counts.shown.remove(index) {
                    (shown.kind, shown.at, shown.count) = (kind, now(), shown.count + 1);
                    counts.shown.push_front(shown);
                }
            }
            None => counts.shown.push_front(Failure {
                address,
                kind,
                at: now(),
                count: 1,
            }),
        }
        counts.shown.truncate(MAX_SHOWN);
        if counts.addresses.len() >= MAX_ADDRESSES {
            counts.addresses.retain(|_, tries| at - tries.last < FORGET);
        }
        if counts.addresses.len() >= MAX_ADDRESSES {
            // The limit for all together holds on.
            counts.addresses.clear();
        }
        let tries = counts.addresses.entry(network(address)).or_insert(Tries {
            failed: 0,
            last: at,
            wait_until: at,
        });
        if at - tries.last > FORGET {
            tries.failed = 0;
        }
        tries.failed += 1;
        tries.last = at;
        tries.wait_until = at + wait(tries.failed);
        tries.failed
    }

    /// Forgets the failed tries of an address.
    pub fn succeeded(&self, address: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.addresses.remove(&network(address));
    }

    /// Waits until no other password is checked.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn one_at_a_time(&self) -> Result<Turn<'_>, LoginError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(LoginError::Slow(Duration::from_secs(1)));
        }
        Ok(Turn {
            _checking: self.checking.lock().unwrap_or_else(PoisonError::into_inner),
            waiting: &self.waiting,
        })
    }

    /// The latest failed tries, newest first.
    pub fn failures(&self) -> Vec<Failure> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.shown.iter().cloned().collect()
    }
}

/// How long an address waits after so many failed tries.
fn wait(failed: u32) -> Duration {
    match failed.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1_u64 << (more + 1).min(20)).min(LONGEST),
    }
}

/// One household or server: an IPv4 address, or the 64 bits of an IPv6 network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_fails_often_waits_longer_each_time_and_others_do_not() {
        let throttle = Throttle::default();
        let (one, other, start) = (address("10.0.0.1"), address("10.0.0.2"), Instant::now());
        for _ in 0..FREE - 1 {
            throttle.failed_at(one, Kind::Password, start);
            assert!(throttle.check_at(one, start).is_ok());
        }
        throttle.failed_at(one, Kind::Password, start);
        assert!(matches!(throttle.check_at(one, start), Err(LoginError::Slow(wait)) if wait == Duration::from_secs(2)));
        let later = start + Duration::from_secs(2);
        assert!(throttle.check_at(one, later).is_ok() && throttle.check_at(other, start).is_ok());
        throttle.failed_at(one, Kind::Password, later);
        assert!(throttle.check_at(one, later + Duration::from_secs(3)).is_err());
        throttle.succeeded(one);
        assert!(throttle.check_at(one, later).is_ok());
        let shown = throttle.failures();
        assert_eq!((shown.len(), shown[0].count), (1, FREE + 1));
    }

    #[test]
    fn tries_from_many_addresses_together_make_everybody_wait_for_a_minute() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for host in 0..FREE_FOR_ALL {
            throttle.failed_at(IpAddr::from([10, 0, 0, host as u8]), Kind::Token, start);
        }
        assert!(throttle.check_at(address("192.168.0.1"), start).is_err());
        assert!(throttle.check_at(address("192.168.0.1"), start + MINUTE).is_ok());
        assert!(throttle.failures().len() <= MAX_SHOWN);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for host in 0..u128::from(FREE) {
            let six = Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | host);
            throttle.failed_at(IpAddr::V6(six), Kind::Token, start);
        }
        assert!(throttle.check_at(address("2001:db8::ffff"), start).is_err());
        assert!(throttle.check_at(address("2001:db9::ffff"), start).is_ok());
    }
}
