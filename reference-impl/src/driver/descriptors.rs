//! How many sockets the process may have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// The largest number of sockets that leaves descriptors for the store, for
/// dials and for the admin socket. Raises the soft limit to the hard one first:
/// it is often 1024, less than `max-connections`.
pub(super) fn sockets() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        let mut raised = limit;
        raised.current = limit.maximum;
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let all = limit.current.unwrap_or(u64::MAX);
    usize::try_from(all - spare(all)).unwrap_or(usize::MAX)
}

/// Descriptors that are kept free of clients.
fn spare(all: u64) -> u64 {
    (all / 4).clamp(32, 512).min(all)
}

#[cfg(test)]
mod tests {
    #[test]
    fn some_are_always_spared() {
        for (all, spared) in [(0, 0), (10, 10), (64, 32), (1024, 256), (1 << 20, 512)] {
            assert_eq!(super::spare(all), spared);
        }
    }
}
