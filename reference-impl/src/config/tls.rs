//! When a session of ours uses TLS.

use std::net::SocketAddr;

use super::{Config, ConfigError};

/// When a session to a next hop or a peer uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsPolicy {
    /// Not even where it is offered.
    Never,
    /// Where it is offered; in the clear where not, or where the handshake
    /// failed. Certificates are not checked.
    #[default]
    Opportunistic,
    /// Else the mail waits. Certificates are not checked.
    Required,
    /// Required, and the certificate has to be the named server's, issued by
    /// one of `tls-roots`.
    Verified,
}

/// The port of mail exchangers.
pub(super) fn smtp_port() -> u16 {
    25
}

impl Config {
    /// What concerns TLS and names must go together.
    pub(super) fn check_tls(&self) -> Result<(), ConfigError> {
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            let key = if self.tls_key.is_some() {
                "tls-key"
            } else {
                "tls-certificate"
            };
            return Err(ConfigError::bare(
                key,
                "expected tls-certificate and tls-key together, or neither",
            ));
        }
        if self.users.is_some() && self.tls_certificate.is_none() {
            return Err(ConfigError::bare(
                "users",
                "users need tls-certificate and tls-key: passwords are taken under TLS only",
            ));
        }
        let routes = self.routes.iter().enumerate().map(|(at, route)| {
            let named = !route.tls_name.is_empty() || route.mx;
            (format!("routes[{at}].tls"), route.tls, named)
        });
        let peers = self.peers.iter().enumerate().map(|(at, peer)| {
            (
                format!("peers[{at}].tls"),
                peer.tls,
                !peer.tls_name.is_empty(),
            )
        });
        for (key, policy, named) in routes.chain(peers) {
            if policy == TlsPolicy::Verified && (self.tls_roots.is_none() || !named) {
                return Err(ConfigError::bare(
                    &key,
                    "\"verified\" needs tls-roots, and a tls-name unless the route has mx = true",
                ));
            }
        }
        Ok(())
    }

    /// Next hops of a route: listed, or found by MX records.
    pub(super) fn check_hops(&self, at: usize) -> Result<(), ConfigError> {
        let route = &self.routes[at];
        let key = |name: &str| format!("routes[{at}].{name}");
        let hops: &[SocketAddr] = &route.next_hops;
        if route.mx {
            return if !hops.is_empty() {
                Err(ConfigError::bare(
                    &key("mx"),
                    "expected either next-hops or mx = true",
                ))
            } else if self.resolvers.is_empty() {
                Err(ConfigError::bare(
                    &key("mx"),
                    "a route by MX records needs resolvers: the name servers to ask",
                ))
            } else {
                Ok(())
            };
        }
        if hops.is_empty() || hops.len() > 100 {
            return Err(ConfigError::bare(
                &key("next-hops"),
                "expected 1 to 100 addresses, or mx = true",
            ));
        }
        if hops.contains(&self.listen) {
            return Err(ConfigError::bare(
                &key("next-hops"),
                "expected other addresses than the one listened on: mail would loop",
            ));
        }
        Ok(())
    }
}
