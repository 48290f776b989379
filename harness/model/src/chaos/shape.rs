//! Cluster, workload and times of a seed.

use super::{chance, count, log_between, weighted};
use crate::party::Party;
use crate::rng::Rng;
use crate::scenario::{
    Chaos, Cluster, Count, Persistence, Sender, Size, Span, Spread, Time, Workload,
};
use crate::target::{TargetFile, plain};

const MS: u64 = 1_000_000;
const KIB: u64 = 1024;

/// How many nodes; nodes that own mailboxes only where the target has them.
pub(super) fn cluster(chaos: &Chaos, target: &TargetFile, rng: &mut Rng) -> Cluster {
    let nodes = count(rng, chaos.nodes).clamp(1, 50) as u16;
    let stores = count(rng, chaos.stores).min(10) as u16;
    let owns = target.can("owns-mailbox") && target.can("duplicate-detection");
    Cluster {
        nodes,
        stores: if owns { stores } else { 0 },
        sites: 1,
        disk: Persistence::default(),
    }
}

/// The mail of a seed: most seeds have small messages, some only tiny ones,
/// few large ones.
///
/// `takeover` (nanoseconds) and the number of faults tell how long it must go
/// on to be still under way when the last of them comes.
pub(super) fn workload(
    chaos: &Chaos,
    cluster: &Cluster,
    takeover: u64,
    faults: u32,
    rng: &mut Rng,
) -> Workload {
    let shapes = [
        ((1, 200), 20),
        ((100, 2 * KIB), 50),
        ((512, 6 * KIB), 18),
        ((1, 12 * KIB), 9),
        ((4 * KIB, 64 * KIB), 3),
    ];
    let (least, most) = weighted(rng, &shapes).unwrap_or((100, 2 * KIB));
    let within = |bytes: u64| bytes.clamp(chaos.size.least, chaos.size.most);
    let size = Size {
        least: within(least),
        most: within(most),
    };
    let most = count(rng, chaos.recipients).max(1);
    let recipients = Count {
        least: chaos.recipients.least.clamp(1, most),
        most,
    };
    let messages = count(rng, chaos.messages);
    let sessions = count(rng, chaos.sessions).max(1);
    let to = if chance(rng, 12) {
        Spread::Only(Party::Node(rng.between(1, u64::from(cluster.nodes)) as u16))
    } else {
        Spread::RoundRobin
    };
    // Mail sent as fast as it goes is over before the second fault; mail that
    // comes in over seconds meets them all.
    let burst = if faults > 2 { 10 } else { 40 };
    let pace = (!chance(rng, burst)).then(|| {
        let all = log_between(
            rng,
            takeover / 2,
            takeover.saturating_mul(u64::from(faults) + 1),
        );
        let each = all.saturating_mul(u64::from(sessions)) / u64::from(messages.max(1));
        Span::nanoseconds((each / MS).max(1) * MS)
    });
    let sender = if chance(rng, 6) {
        Sender::Once
    } else {
        Sender::Mta
    };
    Workload {
        messages,
        size,
        recipients,
        sender,
        // At most 256, as the table is checked.
        sessions: sessions.min(256) as u16,
        to,
        pace,
    }
}

/// The times of a seed, in relations that a cluster may have: a takeover
/// takes several polls, and a sender waits for longer than a node needs to
/// find a peer for its copy.
pub(super) fn times(target: &TargetFile, rng: &mut Rng) -> Time {
    let poll = log_between(rng, 60 * MS, 600 * MS);
    let takeover = (poll * rng.between(3, 10)).max(400 * MS);
    let retry = log_between(rng, 100 * MS, 800 * MS);
    let resend = log_between(rng, 100 * MS, 1_000 * MS);
    let patience = log_between(rng, 2_000 * MS, 8_000 * MS);
    let can = |name: &str, ns: u64| match target.times.get(name) {
        None => Some(Span::nanoseconds(ns)),
        Some(time) if time.settable => {
            let least = time.least.as_ref().map_or(0, plain);
            let most = time.most.as_ref().map_or(u64::MAX, plain);
            Some(Span::nanoseconds(ns.max(least).min(most)))
        }
        // The target's own holds.
        Some(_) => None,
    };
    Time {
        poll: can("poll", poll),
        takeover: can("takeover", takeover),
        retry: can("retry", retry),
        resend: can("resend", resend),
        patience: can("patience", patience),
        require: Vec::new(),
    }
}
