//! The inspection view: queues, messages, discards and counters as JSON.
//!
//! Columns follow the documented queue properties; what a node says here is a
//! claim about itself.

use serde::{Deserialize, Serialize};

/// Everything that [`Node::queues`](crate::Node::queues) tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QueuesView {
    /// Name of the node.
    pub node: String,
    /// Identity of its queue database, 32 hexadecimal digits.
    pub database_id: String,
    /// Number of the present start of this database, counted from 1.
    pub boot: u32,
    /// Delivery queues, then shadow queues; empty ones are left out.
    pub queues: Vec<QueueRow>,
    /// Messages in delivery queues, by sequence.
    pub messages: Vec<MessageRow>,
    /// Shadow messages held for other servers, by primary and sequence.
    pub shadows: Vec<ShadowRow>,
    /// Discard notifications not yet confirmed by the peer they are for.
    pub discards: Vec<DiscardRow>,
    /// What the node knows about each peer.
    pub peers: Vec<PeerRow>,
    /// The mailbox databases of this node.
    pub databases: Vec<DatabaseRow>,
    /// What the Safety Net keeps.
    pub safety_net: SafetyNetView,
    /// Resubmit requests, by number.
    pub requests: Vec<RequestRow>,
    /// Counters since the start.
    pub counters: Counters,
    /// Bytes of message content held in memory, against the budget.
    pub body_bytes: u64,
    /// Level of back pressure last found: `normal`, `medium` or `high`.
    #[serde(default)]
    pub pressure: String,
    /// The peer that everything in delivery queues is sent to; empty when none.
    #[serde(default)]
    pub redirected_to: String,
}

/// One mailbox database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DatabaseRow {
    /// Its name.
    pub name: String,
    /// Whether it is mounted here.
    pub mounted: bool,
    /// The peer where it is mounted instead; empty when none was named.
    pub at: String,
    /// Messages delivered into it.
    pub deliveries: u64,
}

/// What the Safety Net keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SafetyNetView {
    /// Messages of this node that are done.
    pub primary: u64,
    /// Copies whose primary is done with them.
    pub shadow: u64,
    /// Deliveries that their database has lost.
    pub lost: u64,
    /// Since when nothing is missing, Unix milliseconds.
    pub since: u64,
}

/// One resubmit request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RequestRow {
    /// Its number; later ones have larger numbers.
    pub id: u64,
    /// The database.
    pub database: String,
    /// First delivery time, Unix milliseconds.
    pub start: u64,
    /// Last delivery time.
    pub end: u64,
    /// The primary whose copies are replayed; empty: this node's own messages.
    pub shadow_of: String,
    /// The peer that asked; empty: this node.
    pub asker: String,
    /// `running`, `paused`, `disabled` or `done`.
    pub state: String,
    /// Messages replayed by this node since its start.
    pub replays: u64,
    /// Messages that could not be.
    pub failures: u64,
    /// Peers that have not finished their part.
    pub waiting_for: Vec<String>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QueueRow {
    /// `node\domain`, `node\database` or `node\Shadow\n`.
    pub identity: String,
    /// `SmtpRelay`, `SmtpDeliveryToMailbox` or `ShadowRedundancy`.
    pub delivery_type: String,
    /// Domain pattern of the route, or the name of the primary.
    pub next_hop_domain: String,
    /// `Active`, `Connecting`, `Retry` or `Ready`.
    pub status: String,
    /// Messages in it.
    pub message_count: u64,
    /// Last error met; empty when none.
    pub last_error: String,
    /// Monotonic nanoseconds until the next attempt; null when none is set.
    pub next_retry: Option<u64>,
}

/// State of a message as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// Received, not yet answered: waits for its own disk or for its copy.
    Pending,
    /// To be delivered as soon as a session is free.
    Ready,
    /// Waits for its next attempt.
    Retry,
    /// An attempt is under way.
    Delivering,
    /// Every recipient is settled; the completion is on its way to the disk.
    Completing,
    /// Being withdrawn after a refusal.
    Withdrawing,
}

/// One message in a delivery queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MessageRow {
    /// Name of the message: `boot.number`, both hexadecimal.
    pub id: String,
    /// The same as one number, unique in this database.
    pub sequence: u64,
    /// State.
    pub state: MessageState,
    /// Envelope sender; empty for the null sender.
    pub sender: String,
    /// Recipients not yet settled.
    pub recipients: Vec<RecipientRow>,
    /// Unix milliseconds of the first acceptance.
    pub arrival: u64,
    /// Peers that acknowledged a shadow copy of it.
    pub shadowed_at: Vec<String>,
    /// Accepted or running without a copy although copies are wanted.
    pub unshadowed: bool,
    /// Set when the message was taken over.
    pub taken_over_from: Option<Origin>,
    /// Value of its `Message-ID` field; empty when it has none.
    pub message_id: String,
    /// Raw value of its `X-Mailproof` field; empty when it has none.
    pub x_mailproof: String,
}

/// Where a copy comes from: the triple that binds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// Name of the primary.
    pub primary: String,
    /// The primary's database ID when it made the copy.
    pub database_id: String,
    /// The primary's sequence.
    pub sequence: u64,
}

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecipientRow {
    /// Address as given.
    pub address: String,
    /// Last reply or error; empty when none.
    pub last_error: String,
    /// Monotonic nanoseconds until the next attempt; null when none is set.
    pub next_retry: Option<u64>,
}

/// One shadow message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowRow {
    /// The binding triple.
    pub origin: Origin,
    /// Envelope sender; empty for the null sender.
    pub sender: String,
    /// Envelope recipients.
    pub recipients: Vec<String>,
    /// Unix milliseconds of the first acceptance at the primary.
    pub arrival: u64,
    /// Value of its `Message-ID` field; empty when it has none.
    pub message_id: String,
    /// Raw value of its `X-Mailproof` field; empty when it has none.
    pub x_mailproof: String,
}

/// Notifications that wait for one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiscardRow {
    /// The peer that holds the copies.
    pub peer: String,
    /// Sequences whose copies it may drop.
    pub sequences: Vec<u64>,
    /// The subset that stems from withdrawn (refused) messages.
    pub withdrawn: Vec<u64>,
}

/// What the node knows of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerRow {
    /// Its name.
    pub name: String,
    /// `local`, `remote`, `same-machine` or `outside` the boundary.
    #[serde(default)]
    pub place: String,
    /// The database ID it presented last; empty when never met since start.
    pub database_id: String,
    /// Whether the last contact attempt succeeded.
    pub reachable: bool,
    /// Nanoseconds since the last successful contact, or since start.
    pub since_contact: u64,
    /// Copies held here for it.
    pub held: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters since the start; they never go down.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Messages answered `250`.
    accepted,
    /// Of these, without a copy although copies are wanted.
    accepted_unshadowed,
    /// Messages answered `4yz` or `5yz` at the end of data.
    refused,
    /// Recipients delivered to a next hop.
    delivered,
    /// Recipients put off.
    deferred,
    /// Recipients failed for good.
    failed,
    /// Recipients delivered into local mailboxes.
    mailbox_delivered,
    /// Deliveries dropped by duplicate detection.
    mailbox_duplicates,
    /// DSNs generated.
    dsns,
    /// Copies made on peers.
    shadows_made,
    /// Attempts to make a copy that failed.
    shadow_attempts_failed,
    /// Copies taken for peers.
    shadows_held,
    /// Copies dropped on notification.
    shadows_discarded,
    /// Deliveries that a database mounted as of an earlier time has lost.
    mailbox_lost,
    /// Messages replayed from the Safety Net.
    resubmitted,
    /// Times that a peer could not be asked for a replay.
    resubmits_deferred,
    /// Recipients or messages whose replay failed for good.
    resubmits_failed,
    /// Copies promoted.
    shadows_taken_over,
    /// Hold model: parts of messages kept for a next hop that took them.
    shadows_kept,
    /// Hold model: of these, dropped because the next hop reported them done.
    shadows_released,
    /// Hold model: messages whose 250 was withheld.
    acknowledgements_delayed,
    /// Hold model: messages answered 250 before delivery was verified.
    accepted_unverified,
    /// Hold model: messages relayed to another server because their delivery
    /// could not be verified.
    promoted,
    /// Copies dropped because the primary never kept the message.
    shadows_orphaned,
    /// Notifications confirmed by the peers they were for.
    discards_confirmed,
    /// Notifications dropped unqueried after shadow-message-auto-discard-interval.
    discards_expired,
    /// Withdrawals that no peer confirmed within shadow-resubmit-time-span: the
    /// refused message may have been resubmitted there.
    withdrawals_unconfirmed,
    /// Heartbeats that failed.
    heartbeats_failed,
    /// How often there was no space for the next segment of the store; new mail
    /// is answered `452` meanwhile.
    disk_full,
    /// Records saved by the salvage at this start.
    records_salvaged,
    /// Records that it found lost.
    records_lost,
    /// Salvaged messages that were delivered although a peer that may have had
    /// a copy did not make its inventory in time: it may have delivered too.
    salvage_unanswered,
    /// Private verbs refused for want of authentication.
    private_verbs_refused,
    /// Messages refused under pressure.
    pressure_refused_mail,
    /// Copies of peers refused under pressure.
    pressure_refused_shadows,
    /// Copies dropped because of their age: their primary never reported them.
    shadows_expired,
}
