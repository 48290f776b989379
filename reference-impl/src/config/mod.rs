//! The configuration of a node: one strict TOML file.
//!
//! Shadow-redundancy parameters carry their documented names in kebab-case,
//! with the documented defaults and ranges (see [`parameters`]).

mod check;
mod error;
pub mod parameter;
pub mod parameters;
mod sites;
mod text;
mod tls;
mod units;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use error::ConfigError;
pub(crate) use sites::Place;
pub use sites::Preference;
pub use tls::TlsPolicy;
pub use units::Network;
pub(crate) use units::duration;

/// What a node is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Relays mail along its routes.
    #[default]
    Transport,
    /// Keeps mail of its local domains in its own store, with duplicate
    /// detection; relays the rest like `Transport`.
    Mailbox,
}

/// How a message is made redundant; the same on every node of an
/// organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShadowModel {
    /// A copy on a peer before the `250` (the documented model of 2013 and
    /// later).
    #[default]
    Copy,
    /// The previous hop keeps its copy until the next hop reports delivery;
    /// delayed acknowledgement for senders that cannot (the documented model
    /// of 2010).
    Hold,
}

/// Another node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Peer {
    /// Its name, as in its own configuration.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The site it stands in; default `default`.
    #[serde(default = "sites::default_site")]
    pub site: String,
    /// The boundary it belongs to; none by default: its site.
    pub boundary: Option<String>,
    /// The machine it runs on; told by its address when absent.
    pub machine: Option<String>,
    /// When sessions to it use TLS; default `opportunistic`.
    #[serde(default)]
    pub tls: TlsPolicy,
    /// The name that its certificate has to be for, with `verified`.
    #[serde(default)]
    pub tls_name: String,
    /// What it is for; default `transport`. A `mailbox` peer may ask for
    /// replays of the Safety Net, and is never asked to hold copies.
    #[serde(default)]
    pub role: Role,
}

/// Where mail of some domains goes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Route {
    /// `*`, `example.org`, or `*.example.org` for everything below it. The
    /// most exact pattern wins.
    pub domain: String,
    /// Addresses to try, in this order.
    #[serde(default)]
    pub next_hops: Vec<SocketAddr>,
    /// The next hops are the recipient domain's mail exchangers, instead.
    #[serde(default)]
    pub mx: bool,
    /// The port of mail exchangers; default 25.
    #[serde(default = "tls::smtp_port")]
    pub port: u16,
    /// When sessions use TLS; default `opportunistic`.
    #[serde(default)]
    pub tls: TlsPolicy,
    /// The name that the next hops' certificates have to be for, with
    /// `verified`; with `mx` it is that of the mail exchanger.
    #[serde(default)]
    pub tls_name: String,
}

/// What a node does that finds its store damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStoreDamage {
    /// Saves what can be read into a new database and starts. The damaged files
    /// stay, renamed.
    #[default]
    Salvage,
    /// Does not start, and changes nothing.
    Refuse,
}

/// A checked configuration.
///
/// Read one with [`Config::from_toml`], or start from [`Config::new`], set
/// fields and call [`Config::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Name of the node: in its greeting, its `Received` fields and towards
    /// its peers.
    pub name: String,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Address to dial from; the system's choice when absent.
    pub source: Option<IpAddr>,
    /// Directory of the store.
    pub store: PathBuf,
    /// Size of one store segment in bytes; 64 KiB to 1 GiB, default 16 MiB.
    pub segment_bytes: u64,
    /// What becomes of a store that is found damaged at the start; default
    /// salvage.
    pub on_store_damage: OnStoreDamage,
    /// Path of the admin socket (Unix); none when absent.
    pub admin: Option<PathBuf>,
    /// Where Prometheus text is served over HTTP; a loopback address, none
    /// when absent.
    pub metrics_listen: Option<SocketAddr>,
    /// Events below this level are not written out; default `info`.
    pub log_level: crate::event::Level,
    /// Role; default `transport`.
    pub role: Role,
    /// The site it stands in; default `default`.
    pub site: String,
    /// The transport HA boundary it belongs to, which may span sites; none by
    /// default: its boundary is its site.
    pub boundary: Option<String>,
    /// The machine it runs on. Peers of the same machine hold no copies for
    /// it; where one of the two names no machine, the same address that is not
    /// a loopback one tells.
    pub machine: Option<String>,
    /// The other nodes of the cluster, inside the boundary and outside.
    pub peers: Vec<Peer>,
    /// Shared secret of the cluster; required when there are peers. 16 bytes
    /// at least, as text or as hexadecimal digits after `hex:`.
    pub cluster_key: Option<Vec<u8>>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Name servers to ask for MX records, in this order; needed with routes
    /// that have `mx`.
    pub resolvers: Vec<SocketAddr>,
    /// Certificate chain in PEM, for STARTTLS; not offered without one.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Certificates in PEM of those who may have issued a next hop's or
    /// peer's, with `verified`.
    pub tls_roots: Option<PathBuf>,
    /// File of users who may relay after AUTH; not offered without one.
    pub users: Option<PathBuf>,
    /// Networks that may relay to domains that are not local. None by
    /// default; authenticated peers always may.
    pub relay_from: Vec<Network>,
    /// Domains delivered into the own store (role `mailbox`).
    pub local_domains: Vec<String>,
    /// Domains whose mailboxes are in `databases`, on other nodes (role
    /// `transport`): mail for them is kept in the Safety Net. On a mailbox
    /// node these are its `local-domains`.
    pub mailbox_domains: Vec<String>,
    /// Names of the mailbox databases of the whole organisation, the same and
    /// in the same order on every node; a recipient belongs to one of them by
    /// a stable hash of its address. Default: one, `mailbox`.
    pub databases: Vec<String>,
    /// Databases that a mailbox node mounts at its first start; afterwards
    /// it remembers what the administrator said last. Default: all.
    pub mounted_databases: Option<Vec<String>>,
    /// How far this node's copies of databases lag: what `mount NAME lagged`
    /// gives up; 0 s to 14 d, default 0 s. More than the Safety Net holds is
    /// warned of.
    pub replay_lag_time: Duration,
    /// Wait before mail is tried again for a database that is not mounted;
    /// 1 s to 1 d, default 5 min.
    pub mailbox_delivery_queue_retry_interval: Duration,
    /// How long processed messages and acknowledged copies are kept for a
    /// replay; 1 s to 90 d, default 2 d.
    pub safety_net_hold_time: Duration,
    /// Another hold time for this node alone, as for a hub without
    /// mailboxes; 1 s to 90 d, absent by default.
    pub safety_net_hold_time_interval: Option<Duration>,
    /// How long a node that is to replay may not answer before its peers are
    /// asked for the copies they held for it; 1 s to 14 d, default 12 h.
    pub safety_net_shadow_delay: Duration,
    /// Wait before the first retry; 1 s to 12 h, default 1 min.
    pub retry_interval: Duration,
    /// Waits before the later retries; the last one repeats. 1 s to 20 d
    /// each; default 1 min three times, 5 min six times, 10 min.
    pub retry_steps: Vec<Duration>,
    /// Age at which a message is returned; 5 s to 90 d, default 2 d.
    pub message_expiration_timeout: Duration,
    /// Age at which a delay is reported to the sender of a message that
    /// waits; 0 s to 30 d, default 4 h. 0 s: never.
    pub delay_notification_timeout: Duration,
    /// Whether copies are made and held; default true. Must be the same on
    /// every node.
    pub shadow_redundancy_enabled: bool,
    /// Which model of redundancy; default `copy`. Must be the same on every
    /// node of an organisation; nodes of the other model are served as
    /// PROTOCOL.md says.
    pub shadow_model: ShadowModel,
    /// Hold model: wait before a next hop that keeps mail of ours is asked
    /// for discards; 1 s to 1 d, default 15 min.
    pub shadow_heartbeat_timeout_interval: Duration,
    /// Hold model: consecutive time-outs after which a next hop counts as
    /// failed; 1 to 15, default 12.
    pub shadow_heartbeat_retry_count: u8,
    /// Hold model: longest time for which the `250` to a sender without
    /// shadow support is withheld; 0 s (never) to 5 min, default 30 s.
    pub max_acknowledgement_delay: Duration,
    /// Hold model: whether that `250` comes at once where the wait is
    /// hopeless; default true.
    pub delayed_ack_skipping_enabled: bool,
    /// Hold model: messages that may be queued for a destination before a
    /// further one is not waited for; 0 to 1 000 000, default 100 (ours: the
    /// documents give none).
    pub delayed_ack_skipping_queue_length: u32,
    /// Hold model: whether mail that would be acknowledged unverified goes to
    /// another transport server first; default false.
    pub shadow_redundancy_promotion_enabled: bool,
    /// Longest time between two contacts to a primary for which copies are
    /// held; 1 s to 1 d, default 2 min.
    pub shadow_heartbeat_frequency: Duration,
    /// A primary unreachable this long loses its copies to takeover; 1 s to
    /// 1 d, default 3 h.
    pub shadow_resubmit_time_span: Duration,
    /// How long a discard notification is kept for a peer that does not ask;
    /// 5 s to 90 d, default 2 d.
    pub shadow_message_auto_discard_interval: Duration,
    /// Whether a message without a copy is refused (`451 4.4.0`); default
    /// false.
    pub reject_message_on_shadow_failure: bool,
    /// Where copies are made first in a boundary of several sites; default
    /// `prefer-remote`. Without effect in a single site.
    pub shadow_message_preference_setting: Preference,
    /// Number of attempts to make a copy in other sites; 0 to 255, default 4.
    /// 0: never try there.
    pub max_retries_for_remote_site_shadow: u8,
    /// Number of attempts to make a copy in the own site; 0 to 255, default 2.
    /// 0: never try there.
    pub max_retries_for_local_site_shadow: u8,
    /// Time one attempt may take; 1 s to 5 min, default 30 s.
    pub shadow_attempt_timeout: Duration,
    /// Idle time after which a client gets `421`; 1 s to 1 d, default 5 min.
    pub connection_inactivity_timeout: Duration,
    /// Age at which the session of a client gets `421` even while data
    /// flows; 1 s to 1 d, more than the inactivity timeout, default 10 min.
    /// Authenticated peers are exempt.
    pub connection_timeout: Duration,
    /// Longest wait for a reply of a next hop; 1 s to 1 d, default 10 min.
    pub send_connection_inactivity_timeout: Duration,
    /// How long an idle session to a next hop or a peer is kept; 0 s to 1 h,
    /// default 30 s. 0: close after the last message.
    pub send_connection_idle_time: Duration,
    /// Largest message in bytes; 64 KiB to 200 MiB, default 36 MiB.
    pub max_message_bytes: u64,
    /// Bytes of message content held in memory over all sessions, queues and
    /// shadow queues; `452` beyond. At least `max-message-bytes`, default
    /// 512 MiB.
    pub body_budget_bytes: u64,
    /// Bytes of the store beyond which the node counts as full; 1 MiB to
    /// 1 PiB, default 64 GiB.
    pub store_budget_bytes: u64,
    /// Messages and copies beyond which the node counts as full; 1 to
    /// 100 000 000, default 500 000.
    pub queue_budget_messages: u64,
    /// Percent of any budget from which copies, and mail of anybody but
    /// authenticated peers, are refused; 1 to 100, default 75.
    pub pressure_medium_percent: u8,
    /// Percent of any budget from which all mail is refused; at least the
    /// percent above, at most 100, default 90.
    pub pressure_high_percent: u8,
    /// Client connections at one time; 1 to 65 536, default 5 000; `421`
    /// beyond.
    pub max_connections: u32,
    /// Of these, from one address (an IPv6 network of 64 bits); 1 to 65 536,
    /// default 500; `421` beyond.
    pub max_connections_per_source: u32,
    /// Largest header of a message in bytes; 16 KiB to 200 MiB, default
    /// 256 KiB; `552` beyond.
    pub max_header_bytes: u64,
    /// Recipients of one transaction; 100 to 50 000, default 1 000; `452`
    /// beyond.
    pub max_recipients: u32,
    /// Sessions to one next hop at one time; 1 to 1 000, default 20.
    pub max_connections_per_host: u32,
    /// Sessions to one peer at one time; 1 to 1 000, default 64.
    pub max_connections_per_peer: u32,
    /// How long the mailbox store remembers a delivery for duplicate
    /// detection; 1 h to 100 years, default 168 h.
    pub duplicate_detection_window: Duration,
    /// Lifts the lower bound of every time to 10 ms, for harnesses. The
    /// documented ranges hold when it is false, the default.
    pub test_times: bool,
    /// The planted defect.
    #[cfg(feature = "defects")]
    pub defect: Option<crate::defect::Defect>,
}

impl Config {
    /// A configuration with every default, no peers and no routes.
    #[must_use]
    pub fn new(name: &str, listen: SocketAddr, store: PathBuf) -> Self {
        let min = |n: u64| Duration::from_secs(n * 60);
        let mut retry_steps = vec![min(1); 3];
        retry_steps.extend([min(5); 6]);
        retry_steps.push(min(10));
        Self {
            name: name.to_owned(),
            listen,
            source: None,
            store,
            segment_bytes: 16 << 20,
            on_store_damage: OnStoreDamage::Salvage,
            admin: None,
            metrics_listen: None,
            log_level: crate::event::Level::Info,
            role: Role::Transport,
            site: sites::default_site(),
            boundary: None,
            machine: None,
            peers: Vec::new(),
            cluster_key: None,
            routes: Vec::new(),
            resolvers: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            tls_roots: None,
            users: None,
            relay_from: Vec::new(),
            local_domains: Vec::new(),
            mailbox_domains: Vec::new(),
            databases: vec!["mailbox".to_owned()],
            mounted_databases: None,
            replay_lag_time: Duration::ZERO,
            mailbox_delivery_queue_retry_interval: min(5),
            safety_net_hold_time: min(2 * 24 * 60),
            safety_net_hold_time_interval: None,
            safety_net_shadow_delay: min(12 * 60),
            retry_interval: min(1),
            retry_steps,
            message_expiration_timeout: min(2 * 24 * 60),
            delay_notification_timeout: min(4 * 60),
            shadow_redundancy_enabled: true,
            shadow_model: ShadowModel::Copy,
            shadow_heartbeat_timeout_interval: min(15),
            shadow_heartbeat_retry_count: 12,
            max_acknowledgement_delay: Duration::from_secs(30),
            delayed_ack_skipping_enabled: true,
            delayed_ack_skipping_queue_length: 100,
            shadow_redundancy_promotion_enabled: false,
            shadow_heartbeat_frequency: min(2),
            shadow_resubmit_time_span: min(180),
            shadow_message_auto_discard_interval: min(2 * 24 * 60),
            reject_message_on_shadow_failure: false,
            shadow_message_preference_setting: Preference::PreferRemote,
            max_retries_for_remote_site_shadow: 4,
            max_retries_for_local_site_shadow: 2,
            shadow_attempt_timeout: Duration::from_secs(30),
            connection_inactivity_timeout: min(5),
            connection_timeout: min(10),
            send_connection_inactivity_timeout: min(10),
            send_connection_idle_time: Duration::from_secs(30),
            max_message_bytes: 36 << 20,
            body_budget_bytes: 512 << 20,
            store_budget_bytes: 64 << 30,
            queue_budget_messages: 500_000,
            pressure_medium_percent: 75,
            pressure_high_percent: 90,
            max_connections: 5_000,
            max_connections_per_source: 500,
            max_header_bytes: 256 << 10,
            max_recipients: 1_000,
            max_connections_per_host: 20,
            max_connections_per_peer: 64,
            duplicate_detection_window: min(168 * 60),
            test_times: false,
            #[cfg(feature = "defects")]
            defect: None,
        }
    }

    /// Reads and checks a configuration; `file` is only named in errors.
    ///
    /// # Errors
    /// A [`ConfigError`] that points at the place when the text is no TOML,
    /// has an unknown or missing key, or a value out of its range.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ConfigError> {
        text::read(text, file)
    }

    /// How long this node keeps what it has processed.
    #[must_use]
    pub fn safety_net_hold(&self) -> Duration {
        self.safety_net_hold_time_interval
            .unwrap_or(self.safety_net_hold_time)
    }

    /// What holds and yet deserves a second look; logged at every start.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.safety_net_hold() < self.replay_lag_time {
            warnings.push(format!(
                "safety-net-hold-time {:?} is less than replay-lag-time {:?}: mail between the \
                 two is lost when a lagged copy is mounted",
                self.safety_net_hold(),
                self.replay_lag_time
            ));
        }
        warnings
    }

    /// Whether the defect is switched on.
    #[cfg(feature = "defects")]
    pub(crate) fn has(&self, defect: crate::defect::Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether copies are made on peers before the `250`.
    pub(crate) fn copies(&self) -> bool {
        self.shadow_redundancy_enabled && self.shadow_model == ShadowModel::Copy
    }

    /// Whether copies are kept of what next hops took.
    pub(crate) fn holds(&self) -> bool {
        self.shadow_redundancy_enabled && self.shadow_model == ShadowModel::Hold
    }

    /// Wait before retry number `attempt` (the first is 0).
    pub(crate) fn retry_after(&self, attempt: u32) -> Duration {
        match attempt.checked_sub(1) {
            None => self.retry_interval,
            Some(step) => self
                .retry_steps
                .get(step as usize)
                .or(self.retry_steps.last())
                .copied()
                .unwrap_or(self.retry_interval),
        }
    }
}
