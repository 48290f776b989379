//! Faults of a node's disk and clocks, and the moments that only its disk or
//! the simulation know.

use super::fault::{Draft, Drawn, MS, rounded};
use super::place::pick;
use super::{chance, log_between, weighted};
use crate::party::Party;
use crate::rng::Rng;
use crate::scenario::{
    Back, ChaosKind, ClockFault, DiskAct, DiskFault, DiskPoint, Drift, Offset, OpKind, Pick, Span,
    Step, Trigger,
};

/// Drifts in parts per million. What a clock gains over a takeover has to stay
/// well below the two polls that a takeover may come early.
const DRIFTS: [i32; 6] = [200, -200, 2_000, -2_000, 20_000, -20_000];

/// Jumps of the wall clock, in milliseconds: less than a message lives.
const JUMP: (u64, u64) = (10, 86_400_000);

impl Draft<'_> {
    /// A fault of a disk.
    pub(super) fn of_disk(&self, rng: &mut Rng, kind: ChaosKind) -> Option<Drawn> {
        let node = self.owner(rng)?;
        let (act, op) = match kind {
            ChaosKind::DiskError => {
                let ops = [
                    (OpKind::Write, 3),
                    (OpKind::Sync, 3),
                    (OpKind::Create, 1),
                    (OpKind::Any, 3),
                ];
                (DiskAct::Error, weighted(rng, &ops)?)
            }
            ChaosKind::DiskFull => (DiskAct::Full, OpKind::Create),
            ChaosKind::ReadOnly => (DiskAct::ReadOnly, OpKind::Any),
            ChaosKind::SyncError => (DiskAct::SyncError, OpKind::Sync),
            ChaosKind::Torn => (DiskAct::Torn, OpKind::Write),
            ChaosKind::SlowDisk => (
                DiskAct::Slow(rounded(log_between(rng, MS, 100 * MS))),
                OpKind::Any,
            ),
            _ => return None,
        };
        let hits_one = act.hits_one();
        let at = if hits_one || chance(rng, 50) {
            Trigger::Disk(self.operation(rng, node, op))
        } else {
            self.moment(rng)
        };
        let step = DiskFault {
            node: Pick::Node(node),
            at,
            lasts: (!hits_one).then(|| rounded(log_between(rng, 20 * MS, self.takeover))),
            back: Back::Same,
            after: match act {
                DiskAct::Slow(_) => None,
                _ => self.returns_after(rng),
            },
            act,
        };
        Some(Drawn {
            step: Step::Disk(step),
            node: Some(node),
        })
    }

    /// A clock that is wrong.
    pub(super) fn of_clock(&self, rng: &mut Rng) -> Option<Drawn> {
        let node = self.owner(rng)?;
        let offset = chance(rng, 70).then(|| {
            let ms = log_between(rng, JUMP.0, JUMP.1);
            Offset::new(chance(rng, 50), Span::nanoseconds(ms * MS))
        });
        let drift = if offset.is_none() || chance(rng, 50) {
            pick(rng, &DRIFTS).and_then(Drift::new)
        } else {
            None
        };
        let step = ClockFault {
            node: Pick::Node(node),
            at: self.moment(rng),
            offset,
            drift,
            lasts: chance(rng, 70).then(|| rounded(log_between(rng, 100 * MS, self.takeover * 3))),
        };
        Some(Drawn {
            step: Step::Clock(step),
            node: Some(node),
        })
    }

    /// A node of which mail can be expected.
    fn owner(&self, rng: &mut Rng) -> Option<Party> {
        let stores = self.place.scenario.cluster.stores;
        if stores > 0 && !self.place.sure && chance(rng, 25) {
            return Some(Party::Store(rng.between(1, u64::from(stores)) as u16));
        }
        if chance(rng, 80) {
            return pick(rng, &self.place.served());
        }
        self.place.node(rng)
    }

    /// An operation of a node's disk that comes, as far as one can tell before
    /// the run: a message takes a few of them at its primary, one write or
    /// sync where several are made durable together.
    pub(super) fn operation(&self, rng: &mut Rng, node: Party, op: OpKind) -> DiskPoint {
        let each = match op {
            OpKind::Any => 4,
            OpKind::Write | OpKind::Sync => 1,
            // A segment holds much.
            _ => return self.rare_operation(rng, node, op),
        };
        let nodes = u64::try_from(self.place.served().len()).unwrap_or(1).max(1);
        let all = u64::from(self.place.scenario.workload.messages) * each / nodes;
        let passed = all * u64::from(self.share.min(90)) / 100;
        let nth = passed + rng.between(1, (all / 5).max(4));
        DiskPoint {
            disk: node,
            op,
            nth: nth.max(8),
        }
    }

    fn rare_operation(&self, rng: &mut Rng, node: Party, op: OpKind) -> DiskPoint {
        DiskPoint {
            disk: node,
            op,
            nth: rng.between(2, 5),
        }
    }

    /// What the simulation's clock brings about as the N-th thing.
    pub(super) fn happening(&self, rng: &mut Rng) -> Trigger {
        let all = u64::from(self.place.scenario.workload.messages) * 25;
        let passed = all * u64::from(self.share.min(90)) / 100;
        Trigger::Event(passed + rng.between(100, (all / 5).max(200)))
    }
}
