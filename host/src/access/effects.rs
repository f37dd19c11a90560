//! What a request may do beside reading. Routes declare it, and the parts that write, ask the network or call a plugin
//! demand it of the request that they run for.

use std::future::Future;

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// Change models, settings or other kept state.
    pub write: bool,
    /// Ask providers and other hosts.
    pub network: bool,
    /// Run a plugin's route.
    pub plugin: bool,
}

/// An effect by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changing what is kept.
    Write,
    /// Asking another host.
    Network,
}

/// A request does what its route does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this request may not {}; its route does not declare it", match .0 { Effect::Write => "change anything", Effect::Network => "ask other hosts" })]
pub struct Undeclared(pub Effect);

impl Effects {
    /// Reading alone.
    pub const NONE: Self = Self {
        write: false,
        network: false,
        plugin: false,
    };
    /// Changes.
    pub const WRITE: Self = Self {
        write: true,
        ..Self::NONE
    };
    /// Asks other hosts.
    pub const NETWORK: Self = Self {
        network: true,
        ..Self::NONE
    };

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self {
            write: self.write || other.write,
            network: self.network || other.network,
            plugin: self.plugin || other.plugin,
        }
    }

    fn has(self, effect: Effect) -> bool {
        match effect {
            Effect::Write => self.write,
            Effect::Network => self.network,
        }
    }

    /// Runs a request's work with these effects and no others.
    pub async fn within<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Runs blocking work of a request with these effects and no others.
    pub fn within_blocking<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    /// The effects of the request that runs here; none outside of requests, as for scans and queued downloads.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|effects| *effects).ok()
    }
}

tokio::task_local! {
    static CURRENT: Effects;
}

/// Demands that the request that runs here may have an effect. Work of the server's own may have all.
///
/// # Errors
/// When the route of the request does not declare it; that is a fault of the program.
pub fn require(effect: Effect) -> Result<(), Undeclared> {
    match Effects::current() {
        Some(effects) if !effects.has(effect) => {
            tracing::error!(?effect, "a request does what its route does not declare");
            Err(Undeclared(effect))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_has_the_effects_of_its_route_and_no_others() {
        let inside = async { (require(Effect::Write).is_ok(), require(Effect::Network).is_ok()) };
        assert_eq!(Effects::NETWORK.within(inside).await, (false, true));
        assert!(require(Effect::Write).is_ok(), "work of the server's own");
        assert!(Effects::NONE.within_blocking(|| require(Effect::Write)).is_err());
    }
}
