//! Every key of the configuration: the one table.
//!
//! A new key is a field of [`Config`](super::Config) with its default, a line
//! in `text.rs` and a row here; then `ci/parameters` writes PARAMETERS.md
//! anew. Ranges are enforced from these rows. What keys must hold together is
//! in `check.rs`.

use std::time::Duration;

use super::parameter::Takes::{Bytes, Count, Switch, Time, Times, Words};
use super::parameter::source::{CONFIG, OURS, RECEIVE, SEND, SERVICE};
use super::parameter::{Group, Parameter};

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}
const fn min(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}
const fn h(n: u64) -> Duration {
    Duration::from_secs(n * 3_600)
}
const fn d(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A host or node name.
const NAME: &str = "1 to 255 letters, digits, `.`, `-`, `_`";
/// When TLS is used.
const TLS: &str = "`never`, `opportunistic`, `required`, `verified`";
const TLS_MEANING: &str = "When sessions use TLS. Only `verified` checks certificates.";
/// An address.
const ADDRESS: &str = "address and port";

/// All keys, by group.
pub const GROUPS: &[Group] = &[
    NODE, CLUSTER, SHADOW, DELIVERY, SESSIONS, MAILBOX, SAFETY_NET, HARNESS,
];

const NODE: Group = Group {
    title: "The node",
    rows: &[
        Parameter {
            key: "name",
            takes: Words(NAME, "required"),
            meaning: "Name in its greeting, its `Received` fields and towards its peers.",
            source: OURS,
        },
        Parameter {
            key: "listen",
            takes: Words(ADDRESS, "required"),
            meaning: "Where it takes mail.",
            source: OURS,
        },
        Parameter {
            key: "source",
            takes: Words("address", "the system's choice"),
            meaning: "Where it dials from.",
            source: OURS,
        },
        Parameter {
            key: "store",
            takes: Words("directory", "required"),
            meaning: "Its queue database, locked while it runs.",
            source: OURS,
        },
        Parameter {
            key: "segment-bytes",
            takes: Bytes(64 * KIB, GIB, |c| c.segment_bytes),
            meaning: "Size of one store segment.",
            source: OURS,
        },
        Parameter {
            key: "on-store-damage",
            takes: Words("`salvage`, `refuse`", "`salvage`"),
            meaning: "Whether a node whose store is damaged saves what it can read and starts with a new database ID, or does not start.",
            source: OURS,
        },
        Parameter {
            key: "admin",
            takes: Words("path", "none"),
            meaning: "Unix socket for `mailproof queue`, open to its owner only.",
            source: OURS,
        },
        Parameter {
            key: "metrics-listen",
            takes: Words("loopback address and port", "none"),
            meaning: "Where Prometheus text is served over HTTP, at `/metrics`.",
            source: OURS,
        },
        Parameter {
            key: "log-level",
            takes: Words("`info`, `warning`, `error`", "`info`"),
            meaning: "Events below it are not written to the log.",
            source: OURS,
        },
        Parameter {
            key: "role",
            takes: Words("`transport`, `mailbox`", "`transport`"),
            meaning: "Whether mail of local domains ends here.",
            source: OURS,
        },
    ],
};

const CLUSTER: Group = Group {
    title: "The cluster",
    rows: &[
        Parameter {
            key: "site",
            takes: Words(NAME, "`default`"),
            meaning: "The site it stands in: nodes close to each other, that may be lost together.",
            source: OURS,
        },
        Parameter {
            key: "boundary",
            takes: Words(NAME, "none"),
            meaning: "The group of nodes that protect each other's mail, in whatever sites. \
                      Without: the nodes of its site that have none either.",
            source: OURS,
        },
        Parameter {
            key: "machine",
            takes: Words(NAME, "told by the address"),
            meaning: "The machine it runs on; peers of the same one hold no copies for it. \
                      Where either has none, the same address tells, unless it is a loopback one.",
            source: OURS,
        },
        Parameter {
            key: "cluster-key",
            takes: Words("16 bytes or more, as text or after `hex:`", "none"),
            meaning: "Secret by which nodes prove themselves to each other; needed with peers.",
            source: OURS,
        },
        Parameter {
            key: "peers",
            takes: Words("at most 255", "none"),
            meaning: "The other nodes of the cluster, inside the boundary and outside.",
            source: OURS,
        },
        Parameter {
            key: "peers[].name",
            takes: Words(NAME, "required"),
            meaning: "Its name, as in its own configuration.",
            source: OURS,
        },
        Parameter {
            key: "peers[].address",
            takes: Words(ADDRESS, "required"),
            meaning: "Where it listens.",
            source: OURS,
        },
        Parameter {
            key: "peers[].tls",
            takes: Words(TLS, "`opportunistic`"),
            meaning: TLS_MEANING,
            source: OURS,
        },
        Parameter {
            key: "peers[].tls-name",
            takes: Words("a host name", "none"),
            meaning: "Whom its certificate has to be for.",
            source: OURS,
        },
        Parameter {
            key: "peers[].role",
            takes: Words("`transport`, `mailbox`", "`transport`"),
            meaning: "What it is for. A mailbox peer may ask for replays and holds no copies.",
            source: OURS,
        },
        Parameter {
            key: "peers[].site",
            takes: Words(NAME, "`default`"),
            meaning: "Its site, as in its own configuration.",
            source: OURS,
        },
        Parameter {
            key: "peers[].boundary",
            takes: Words(NAME, "none"),
            meaning: "Its boundary, as in its own configuration.",
            source: OURS,
        },
        Parameter {
            key: "peers[].machine",
            takes: Words(NAME, "told by the address"),
            meaning: "Its machine, as in its own configuration.",
            source: OURS,
        },
    ],
};

const SHADOW: Group = Group {
    title: "Shadow redundancy",
    rows: &[
        Parameter {
            key: "shadow-redundancy-enabled",
            takes: Switch(|c| c.shadow_redundancy_enabled),
            meaning: "Whether copies are made and held. The same on every node.",
            source: CONFIG,
        },
        Parameter {
            key: "shadow-model",
            takes: Words("`copy`, `hold`", "`copy`"),
            meaning: "A copy on a peer before the `250`, or the previous hop keeps its own until \
                      the next hop reports. The same on every node.",
            source: OURS,
        },
        Parameter {
            key: "shadow-heartbeat-timeout-interval",
            takes: Time(s(1), d(1), |c| c.shadow_heartbeat_timeout_interval),
            meaning: "Hold model: wait before a next hop that keeps mail of ours is asked for \
                      discards.",
            source: CONFIG,
        },
        Parameter {
            key: "shadow-heartbeat-retry-count",
            takes: Count(1, 15, |c| c.shadow_heartbeat_retry_count.into()),
            meaning: "Hold model: time-outs in a row after which a next hop counts as failed.",
            source: CONFIG,
        },
        Parameter {
            key: "max-acknowledgement-delay",
            takes: Time(s(0), min(5), |c| c.max_acknowledgement_delay),
            meaning: "Hold model: longest time for which the `250` to a sender without shadow \
                      support is withheld; 0: not at all. The upper end is ours.",
            source: RECEIVE,
        },
        Parameter {
            key: "delayed-ack-skipping-enabled",
            takes: Switch(|c| c.delayed_ack_skipping_enabled),
            meaning: "Hold model: whether that `250` comes at once where the wait is hopeless.",
            source: "EdgeTransport.exe.config",
        },
        Parameter {
            key: "delayed-ack-skipping-queue-length",
            takes: Count(0, 1_000_000, |c| c.delayed_ack_skipping_queue_length.into()),
            meaning: "Hold model: a longer destination queue is not waited for. Default and range \
                      are ours.",
            source: "EdgeTransport.exe.config",
        },
        Parameter {
            key: "shadow-redundancy-promotion-enabled",
            takes: Switch(|c| c.shadow_redundancy_promotion_enabled),
            meaning: "Hold model: whether mail that would be acknowledged unverified goes to \
                      another transport server of the site.",
            source: "EdgeTransport.exe.config",
        },
        Parameter {
            key: "shadow-heartbeat-frequency",
            takes: Time(s(1), d(1), |c| c.shadow_heartbeat_frequency),
            meaning: "Longest time between two contacts to a primary for which copies are held.",
            source: CONFIG,
        },
        Parameter {
            key: "shadow-resubmit-time-span",
            takes: Time(s(1), d(1), |c| c.shadow_resubmit_time_span),
            meaning: "A primary that was unreachable this long loses its copies to takeover.",
            source: CONFIG,
        },
        Parameter {
            key: "shadow-message-auto-discard-interval",
            takes: Time(s(5), d(90), |c| c.shadow_message_auto_discard_interval),
            meaning: "How long a discard notification is kept for a peer that does not ask.",
            source: CONFIG,
        },
        Parameter {
            key: "reject-message-on-shadow-failure",
            takes: Switch(|c| c.reject_message_on_shadow_failure),
            meaning: "Whether a message without a copy is refused (`451 4.4.0`).",
            source: CONFIG,
        },
        Parameter {
            key: "shadow-message-preference-setting",
            takes: Words(
                "`prefer-remote`, `remote-only`, `local-only`",
                "`prefer-remote`",
            ),
            meaning: "Where copies are made first in a boundary of several sites. No effect in \
                      a single site.",
            source: CONFIG,
        },
        Parameter {
            key: "max-retries-for-remote-site-shadow",
            takes: Count(0, 255, |c| c.max_retries_for_remote_site_shadow.into()),
            meaning: "Attempts in other sites in all, despite the name; 0: none.",
            source: CONFIG,
        },
        Parameter {
            key: "max-retries-for-local-site-shadow",
            takes: Count(0, 255, |c| c.max_retries_for_local_site_shadow.into()),
            meaning: "Attempts in the own site in all, despite the name; 0: none.",
            source: CONFIG,
        },
        Parameter {
            key: "shadow-attempt-timeout",
            takes: Time(s(1), min(5), |c| c.shadow_attempt_timeout),
            meaning: "Time one attempt may take. All attempts fit into the 10 min that a sender \
                      waits after its final dot (RFC 5321 4.5.3.2.6).",
            source: OURS,
        },
    ],
};

const DELIVERY: Group = Group {
    title: "Delivery",
    rows: &[
        Parameter {
            key: "routes",
            takes: Words("at most 10000", "none"),
            meaning: "Where mail of which domains goes.",
            source: OURS,
        },
        Parameter {
            key: "routes[].domain",
            takes: Words("a domain, `*.domain`, `*`", "required"),
            meaning: "The most exact pattern wins.",
            source: OURS,
        },
        Parameter {
            key: "routes[].next-hops",
            takes: Words("1 to 100 of address and port", "required without `mx`"),
            meaning: "Tried in this order.",
            source: OURS,
        },
        Parameter {
            key: "routes[].mx",
            takes: Words("true, false", "`false`"),
            meaning: "The next hops are the domain's mail exchangers, in place of `next-hops`.",
            source: "RFC 5321 5.1",
        },
        Parameter {
            key: "routes[].port",
            takes: Words("a port", "`25`"),
            meaning: "Port of mail exchangers.",
            source: OURS,
        },
        Parameter {
            key: "routes[].tls",
            takes: Words(TLS, "`opportunistic`"),
            meaning: TLS_MEANING,
            source: OURS,
        },
        Parameter {
            key: "routes[].tls-name",
            takes: Words("a host name", "none"),
            meaning: "Whom certificates have to be for; of mail exchangers their own name.",
            source: OURS,
        },
        Parameter {
            key: "resolvers",
            takes: Words(ADDRESS, "none"),
            meaning: "Name servers, asked in this order; needed with `mx`.",
            source: OURS,
        },
        Parameter {
            key: "tls-roots",
            takes: Words("path, PEM", "none"),
            meaning: "Issuers of certificates that count with `tls = \"verified\"`.",
            source: OURS,
        },
        Parameter {
            key: "retry-interval",
            takes: Time(s(1), h(12), |c| c.retry_interval),
            meaning: "Wait before the first retry.",
            source: SERVICE,
        },
        Parameter {
            key: "retry-steps",
            takes: Times(s(1), d(20), |c| &c.retry_steps),
            meaning: "Waits before the later retries; the last one repeats.",
            source: "Set-TransportService, in its three tiers",
        },
        Parameter {
            key: "message-expiration-timeout",
            takes: Time(s(5), d(90), |c| c.message_expiration_timeout),
            meaning: "Age at which a message is returned to its sender.",
            source: SERVICE,
        },
        Parameter {
            key: "delay-notification-timeout",
            takes: Time(s(0), d(30), |c| c.delay_notification_timeout),
            meaning: "Age at which the delay of a message that waits is reported to its sender, \
                      once; 0: never.",
            source: SERVICE,
        },
        Parameter {
            key: "send-connection-inactivity-timeout",
            takes: Time(s(1), d(1), |c| c.send_connection_inactivity_timeout),
            meaning: "Longest wait for a reply of a next hop.",
            source: SEND,
        },
        Parameter {
            key: "send-connection-idle-time",
            takes: Time(s(0), h(1), |c| c.send_connection_idle_time),
            meaning: "How long an idle session to a next hop or a peer is kept; 0: not at all.",
            source: OURS,
        },
        Parameter {
            key: "max-connections-per-host",
            takes: Count(1, 1_000, |c| c.max_connections_per_host.into()),
            meaning: "Sessions to one next hop at one time.",
            source: OURS,
        },
        Parameter {
            key: "max-connections-per-peer",
            takes: Count(1, 1_000, |c| c.max_connections_per_peer.into()),
            meaning: "Sessions to one peer at one time.",
            source: OURS,
        },
    ],
};

const SESSIONS: Group = Group {
    title: "Sessions of clients",
    rows: &[
        Parameter {
            key: "relay-from",
            takes: Words("networks as in `10.0.0.0/8`", "none"),
            meaning: "Who may relay to domains that are not local. Authenticated peers always may.",
            source: OURS,
        },
        Parameter {
            key: "tls-certificate",
            takes: Words("path, PEM", "none"),
            meaning: "Certificate chain; STARTTLS is offered with it and its key.",
            source: OURS,
        },
        Parameter {
            key: "tls-key",
            takes: Words("path, PEM", "none"),
            meaning: "Its private key.",
            source: OURS,
        },
        Parameter {
            key: "users",
            takes: Words("path", "none"),
            meaning: "Users and password hashes, one a line; AUTH PLAIN is offered under TLS, \
                      and who authenticates may relay.",
            source: OURS,
        },
        Parameter {
            key: "connection-inactivity-timeout",
            takes: Time(s(1), d(1), |c| c.connection_inactivity_timeout),
            meaning: "Idle time after which a client gets `421`; less than `connection-timeout`.",
            source: RECEIVE,
        },
        Parameter {
            key: "connection-timeout",
            takes: Time(s(1), d(1), |c| c.connection_timeout),
            meaning: "Age at which a session gets `421` even while data flows. Authenticated \
                      peers are exempt.",
            source: RECEIVE,
        },
        Parameter {
            key: "max-connections",
            takes: Count(1, 65_536, |c| c.max_connections.into()),
            meaning: "Client connections at one time; `421` beyond.",
            source: RECEIVE,
        },
        Parameter {
            key: "max-connections-per-source",
            takes: Count(1, 65_536, |c| c.max_connections_per_source.into()),
            meaning: "Of these, from one address (IPv6: one network of 64 bits); `421` beyond.",
            source: "Set-ReceiveConnector has such a limit; the figure is ours",
        },
        Parameter {
            key: "max-recipients",
            takes: Count(100, 50_000, |c| c.max_recipients.into()),
            meaning: "Recipients of one transaction; `452` beyond.",
            source: "RFC 5321 4.5.3.1.8",
        },
        Parameter {
            key: "max-message-bytes",
            takes: Bytes(64 * KIB, 200 * MIB, |c| c.max_message_bytes),
            meaning: "Largest message; `552` beyond.",
            source: "RFC 5321 4.5.3.1.7",
        },
        Parameter {
            key: "max-header-bytes",
            takes: Bytes(16 * KIB, 200 * MIB, |c| c.max_header_bytes),
            meaning: "Largest header of a message; `552` beyond.",
            source: "Set-ReceiveConnector has such a limit; the figure is ours",
        },
        Parameter {
            key: "body-budget-bytes",
            takes: Bytes(64 * KIB, 1_024 * GIB, |c| c.body_budget_bytes),
            meaning: "Message content held in memory over all sessions and queues; `452` beyond. \
                      At least `max-message-bytes`.",
            source: OURS,
        },
        Parameter {
            key: "store-budget-bytes",
            takes: Bytes(MIB, 1_048_576 * GIB, |c| c.store_budget_bytes),
            meaning: "Bytes of the store at which the node counts as full.",
            source: OURS,
        },
        Parameter {
            key: "queue-budget-messages",
            takes: Count(1, 100_000_000, |c| c.queue_budget_messages),
            meaning: "Messages and copies at which the node counts as full.",
            source: OURS,
        },
        Parameter {
            key: "pressure-medium-percent",
            takes: Count(1, 100, |c| c.pressure_medium_percent.into()),
            meaning: "Percent of any budget from which copies, and mail of anybody but \
                      authenticated peers, are refused (`452`).",
            source: OURS,
        },
        Parameter {
            key: "pressure-high-percent",
            takes: Count(1, 100, |c| c.pressure_high_percent.into()),
            meaning: "Percent of any budget from which all mail is refused (`452`). At least \
                      `pressure-medium-percent`.",
            source: OURS,
        },
    ],
};

const MAILBOX: Group = Group {
    title: "Role `mailbox`",
    rows: &[
        Parameter {
            key: "local-domains",
            takes: Words("domains", "none"),
            meaning: "Domains whose mail stays here; needed with `role = \"mailbox\"`.",
            source: OURS,
        },
        Parameter {
            key: "databases",
            takes: Words("1 to 255 names", "`[\"mailbox\"]`"),
            meaning: "Mailbox databases of the organisation, the same list on every node. A \
                      recipient belongs to one by a hash of its address.",
            source: OURS,
        },
        Parameter {
            key: "mounted-databases",
            takes: Words("some of `databases`", "all"),
            meaning: "Databases that this node mounts at its first start; later it remembers \
                      what it was told last.",
            source: OURS,
        },
        Parameter {
            key: "mailbox-delivery-queue-retry-interval",
            takes: Time(s(1), d(1), |c| c.mailbox_delivery_queue_retry_interval),
            meaning: "Wait before mail is tried again for a database that is not mounted.",
            source: "MailboxDeliveryQueueRetryInterval",
        },
        Parameter {
            key: "replay-lag-time",
            takes: Time(s(0), d(14), |c| c.replay_lag_time),
            meaning: "What `mount NAME lagged` gives up. More than the Safety Net holds is warned \
                      of.",
            source: "Set-MailboxDatabaseCopy",
        },
        Parameter {
            key: "duplicate-detection-window",
            takes: Time(h(1), d(36_600), |c| c.duplicate_detection_window),
            meaning: "How long a delivery is remembered for duplicate detection.",
            source: "last published figure, of 2007",
        },
    ],
};

const SAFETY_NET: Group = Group {
    title: "Safety Net",
    rows: &[
        Parameter {
            key: "mailbox-domains",
            takes: Words("domains", "none"),
            meaning: "Domains whose mailboxes are in `databases` on other nodes: their mail is \
                      kept for a replay. On a mailbox node `local-domains` say so.",
            source: OURS,
        },
        Parameter {
            key: "safety-net-hold-time",
            takes: Time(s(1), d(90), |c| c.safety_net_hold_time),
            meaning: "How long processed messages and acknowledged copies are kept; with \
                      `message-expiration-timeout` also the age at which a copy goes that its \
                      primary never reported.",
            source: "Set-TransportConfig; the range is ours",
        },
        Parameter {
            key: "safety-net-hold-time-interval",
            takes: Words("as `safety-net-hold-time`", "none"),
            meaning: "Another hold time for this node alone, as for a hub without mailboxes.",
            source: "SafetyNetHoldTimeInterval",
        },
        Parameter {
            key: "safety-net-shadow-delay",
            takes: Time(s(1), d(14), |c| c.safety_net_shadow_delay),
            meaning: "How long a node that is to replay may be silent before the copies held for \
                      it are replayed instead.",
            source: "documented as 12 h; that it can be set is ours",
        },
    ],
};

const HARNESS: Group = Group {
    title: "For harnesses",
    rows: &[Parameter {
        key: "test-times",
        takes: Switch(|c| c.test_times),
        meaning: "Lifts the lower end of every time to 10 ms.",
        source: OURS,
    }],
};
