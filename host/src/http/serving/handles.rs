//! File handles of the process.

/// Most handles that are asked of the system. Programs that close every possible handle get slow above that.
#[cfg(unix)]
const MOST: u64 = 65_536;

/// Raises the limit of open files as far as the system allows, and returns the number of files that may be open.
#[cfg(unix)]
pub fn raise_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current else { return MOST };
    let wanted = limit.maximum.map_or(MOST, |most| most.min(MOST));
    if current >= wanted {
        return current;
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, current, "the limit of open files could not be raised");
            current
        }
    }
}

/// Number of files that may be open. Other systems have no limit that matters here.
#[cfg(not(unix))]
pub fn raise_limit() -> u64 {
    65_536
}
