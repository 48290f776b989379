//! What keys must hold together, and names. Ranges are in the table of
//! parameters.

use std::time::Duration;

use super::{Config, ConfigError, Role};

impl Config {
    /// Checks every range and every condition between keys.
    ///
    /// # Errors
    /// The first that does not hold, with its key.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_names()?;
        self.check_cluster()?;
        self.check_routes()?;
        self.check_tls()?;
        self.check_ranges()?;
        self.check_times()?;
        self.check_sites()?;
        self.check_sizes()
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        host_name("name", &self.name)?;
        if self.metrics_listen.is_some_and(|at| !at.ip().is_loopback()) {
            return Err(ConfigError::bare(
                "metrics-listen",
                "expected a loopback address: nobody is asked who he is there",
            ));
        }
        for (at, domain) in self.local_domains.iter().enumerate() {
            host_name(&format!("local-domains[{at}]"), domain)?;
        }
        let local = !self.local_domains.is_empty();
        match self.role {
            Role::Mailbox if !local => Err(ConfigError::bare(
                "role",
                "role \"mailbox\" needs local-domains: the domains whose mail stays here",
            )),
            Role::Transport if local => Err(ConfigError::bare(
                "local-domains",
                "expected role = \"mailbox\" beside local-domains",
            )),
            _ => Ok(()),
        }?;
        if self.databases.is_empty() || self.databases.len() > 255 {
            return Err(ConfigError::bare("databases", "expected 1 to 255 names"));
        }
        for (at, name) in self.databases.iter().enumerate() {
            let key = format!("databases[{at}]");
            host_name(&key, name)?;
            if self.databases[..at].contains(name) {
                return Err(ConfigError::bare(&key, "expected a name of its own"));
            }
        }
        for (at, domain) in self.mailbox_domains.iter().enumerate() {
            host_name(&format!("mailbox-domains[{at}]"), domain)?;
        }
        if local && !self.mailbox_domains.is_empty() {
            return Err(ConfigError::bare(
                "mailbox-domains",
                "expected only local-domains on a mailbox node: they say the same",
            ));
        }
        for (at, name) in self.mounted_databases.iter().flatten().enumerate() {
            if !local || !self.databases.contains(name) {
                return Err(ConfigError::bare(
                    &format!("mounted-databases[{at}]"),
                    "expected one of `databases`, on a node of role \"mailbox\"",
                ));
            }
        }
        Ok(())
    }

    fn check_cluster(&self) -> Result<(), ConfigError> {
        if self.peers.len() > 255 {
            return Err(ConfigError::bare("peers", "expected at most 255 peers"));
        }
        for (at, peer) in self.peers.iter().enumerate() {
            host_name(&format!("peers[{at}].name"), &peer.name)?;
            if peer.name.eq_ignore_ascii_case(&self.name) {
                return Err(ConfigError::bare(
                    &format!("peers[{at}].name"),
                    "expected the name of another node: a node cannot hold its own copy",
                ));
            }
            let earlier = &self.peers[..at];
            if earlier
                .iter()
                .any(|p| p.name.eq_ignore_ascii_case(&peer.name) || p.address == peer.address)
            {
                return Err(ConfigError::bare(
                    &format!("peers[{at}]"),
                    "expected a name and an address that no earlier peer has",
                ));
            }
        }
        match &self.cluster_key {
            Some(key) if key.len() < 16 => Err(ConfigError::bare(
                "cluster-key",
                "expected 16 bytes or more, as text or as hexadecimal digits after \"hex:\"",
            )),
            None if !self.peers.is_empty() => Err(ConfigError::bare(
                "peers",
                "peers need a cluster-key: shadow verbs are only for authenticated peers",
            )),
            _ => Ok(()),
        }
    }

    fn check_routes(&self) -> Result<(), ConfigError> {
        if self.routes.len() > 10_000 {
            return Err(ConfigError::bare("routes", "expected at most 10000 routes"));
        }
        for (at, route) in self.routes.iter().enumerate() {
            if route.domain != "*" {
                let plain = route.domain.strip_prefix("*.").unwrap_or(&route.domain);
                host_name(&format!("routes[{at}].domain"), plain)?;
            }
            if self.routes[..at]
                .iter()
                .any(|r| r.domain.eq_ignore_ascii_case(&route.domain))
            {
                return Err(ConfigError::bare(
                    &format!("routes[{at}].domain"),
                    "expected a domain that no earlier route has",
                ));
            }
            self.check_hops(at)?;
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        let (low, high) = (Duration::from_secs(1), Duration::from_secs(90 * 86_400));
        let low = if self.test_times {
            Duration::from_millis(10)
        } else {
            low
        };
        if !(low..=high).contains(&self.safety_net_hold()) {
            return Err(ConfigError::bare(
                "safety-net-hold-time-interval",
                format!("expected {low:?} to {high:?}"),
            ));
        }
        if self.connection_inactivity_timeout >= self.connection_timeout {
            return Err(ConfigError::bare(
                "connection-inactivity-timeout",
                "expected less than connection-timeout",
            ));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        if self.body_budget_bytes < self.max_message_bytes {
            return Err(ConfigError::bare(
                "body-budget-bytes",
                "expected at least max-message-bytes",
            ));
        }
        if self.pressure_high_percent < self.pressure_medium_percent {
            return Err(ConfigError::bare(
                "pressure-high-percent",
                "expected at least pressure-medium-percent",
            ));
        }
        Ok(())
    }
}

/// A name that can stand in a greeting and in a command: letters, digits,
/// dots, hyphens, underscores; 1 to 255 octets.
pub(super) fn host_name(key: &str, name: &str) -> Result<(), ConfigError> {
    let good = (1..=255).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if good {
        Ok(())
    } else {
        Err(ConfigError::bare(
            key,
            "expected 1 to 255 letters, digits, dots, hyphens or underscores",
        ))
    }
}
