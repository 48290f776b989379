//! Sites and the transport HA boundary: between which nodes copies travel.
//!
//! A *site* is a place: nodes of one site are close to each other and may be
//! lost together. A *boundary* is a named group of nodes that protect each
//! other's mail, wherever they stand; it is what the documents call a database
//! availability group. A node with a `boundary` is protected by the nodes that
//! name the same one, and by no other, not even one of its own site. A node
//! without is protected by the nodes of its site that have none either: its
//! site is its boundary. (The documents leave open whether a server outside
//! any group may use a member of one in its site. Not here: so the relation is
//! the same from both ends.)

use super::{Config, ConfigError, Peer};

/// The site of whoever names none.
const DEFAULT_SITE: &str = "default";

pub(super) fn default_site() -> String {
    DEFAULT_SITE.to_owned()
}

/// Where copies are made first in a boundary that spans several sites
/// (`ShadowMessagePreferenceSetting`). Elsewhere it has no effect (CRE-09).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preference {
    /// In other sites first, then in the own one.
    #[default]
    PreferRemote,
    /// In other sites only.
    RemoteOnly,
    /// In the own site only.
    LocalOnly,
}

/// Where a peer stands, seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Inside the boundary and in the own site.
    Local,
    /// Inside the boundary and in another site.
    Remote,
    /// Inside the boundary, but on the machine of this node: a copy there
    /// would be lost together with the original (CRE-22).
    SameMachine,
    /// Outside the boundary: mail may go there, copies and questions about
    /// them do not (CRE-05, MIX-07).
    Outside,
}

impl Place {
    /// Its name in views.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::SameMachine => "same-machine",
            Self::Outside => "outside",
        }
    }
}

impl Config {
    /// Where `peer` stands.
    pub(crate) fn place(&self, peer: &Peer) -> Place {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let same_site = same(&self.site, &peer.site);
        let inside = match (&self.boundary, &peer.boundary) {
            (Some(ours), Some(theirs)) => same(ours, theirs),
            (None, None) => same_site,
            _ => false,
        };
        let same_machine = match (&self.machine, &peer.machine) {
            (Some(ours), Some(theirs)) => same(ours, theirs),
            _ => {
                let ip = peer.address.ip();
                ip == self.listen.ip() && !ip.is_loopback()
            }
        };
        match (inside, same_machine, same_site) {
            (false, ..) => Place::Outside,
            (true, true, _) => Place::SameMachine,
            (true, false, true) => Place::Local,
            (true, false, false) => Place::Remote,
        }
    }

    /// Whether messages are tracked between this node and `peer` (hold model):
    /// not across a boundary. Sites do not matter where none is configured.
    pub(crate) fn tracks(&self, peer: &Peer) -> bool {
        match (&self.boundary, &peer.boundary) {
            (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
            (None, None) => true,
            _ => false,
        }
    }

    /// Most attempts to make a copy: in other sites and in the own one
    /// (CRE-10). `several_sites`: the boundary spans more than one.
    pub(crate) fn copy_attempts(&self, several_sites: bool) -> (usize, usize) {
        let remote = usize::from(self.max_retries_for_remote_site_shadow);
        let local = usize::from(self.max_retries_for_local_site_shadow);
        match self.shadow_message_preference_setting {
            _ if !several_sites => (0, local),
            Preference::PreferRemote => (remote, local),
            Preference::RemoteOnly => (remote, 0),
            Preference::LocalOnly => (0, local),
        }
    }

    /// Checks the names, and that all attempts fit into a sender's patience.
    pub(super) fn check_sites(&self) -> Result<(), ConfigError> {
        super::check::host_name("site", &self.site)?;
        let optional = |key: &str, name: &Option<String>| match name {
            Some(name) => super::check::host_name(key, name),
            None => Ok(()),
        };
        optional("boundary", &self.boundary)?;
        optional("machine", &self.machine)?;
        for (at, peer) in self.peers.iter().enumerate() {
            super::check::host_name(&format!("peers[{at}].site"), &peer.site)?;
            optional(&format!("peers[{at}].boundary"), &peer.boundary)?;
            optional(&format!("peers[{at}].machine"), &peer.machine)?;
        }
        // The sender waits 10 min for the reply to its final dot (RFC 5321
        // 4.5.3.2.6); all attempts have to fit in.
        let places = |place| self.peers.iter().any(|peer| self.place(peer) == place);
        let (remote, local) = self.copy_attempts(places(Place::Remote));
        let attempts = u32::try_from(remote + local).unwrap_or(u32::MAX);
        let all = self.shadow_attempt_timeout.saturating_mul(attempts);
        if all > std::time::Duration::from_secs(600) {
            return Err(ConfigError::bare(
                "shadow-attempt-timeout",
                format!(
                    "expected {attempts} attempts to fit into the 10 min that a sender waits \
                     after its final dot"
                ),
            ));
        }
        Ok(())
    }
}
