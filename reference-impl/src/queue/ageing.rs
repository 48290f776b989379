//! Ageing: a copy that its primary never reports does not stay for ever.
//!
//! Its primary may live and not answer questions for years: then the copy goes
//! after `safety-net-hold-time` and `message-expiration-timeout` together, by
//! when the primary has delivered or returned the message (DIS-11). The time
//! counts from the taking of the copy, on the monotonic clock; after a restart
//! of the holder from the first acceptance, but never less than it takes to
//! ask the primary or to find it lost. A copy whose primary is silent does not
//! age: it is taken over one day.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{PeerId, Queue};
use crate::mark::Mark;
use crate::store::DatabaseId;

impl Queue {
    /// When a copy taken now is dropped, on the monotonic clock.
    pub(crate) fn copy_expiry(&self) -> u64 {
        self.later(self.copy_lifetime())
    }

    /// The same for a copy found at a start, by its first acceptance.
    pub(crate) fn copy_expiry_from(&self, arrival: u64) -> u64 {
        let age = Duration::from_millis(self.now.wall.saturating_sub(arrival));
        let least =
            self.config.shadow_resubmit_time_span + self.config.shadow_heartbeat_frequency * 2;
        self.later(self.copy_lifetime().saturating_sub(age).max(least))
    }

    fn copy_lifetime(&self) -> Duration {
        self.config.safety_net_hold_time + self.config.message_expiration_timeout
    }

    /// Drops the copies held for `peer` that are too old.
    pub(crate) fn age_copies(&mut self, peer: PeerId) {
        let now = self.now.mono;
        let lately = self.later(self.config.shadow_heartbeat_frequency * 2) - now;
        let entry = &self.peers[peer];
        if now.saturating_sub(entry.last_contact) > lately {
            return;
        }
        let mut old: BTreeMap<DatabaseId, Vec<u64>> = BTreeMap::new();
        for (key, held) in &entry.held {
            if held.durable && held.expires <= now {
                old.entry(key.database).or_default().push(key.sequence);
            }
        }
        for (database, sequences) in old {
            self.counters.shadows_expired += sequences.len() as u64;
            self.mark(Mark::CopyAged);
            self.remove_held(peer, database, sequences, "expired, never reported");
        }
    }
}
