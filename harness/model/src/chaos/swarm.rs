//! Which kinds of fault a seed has, and how often it draws each.

use super::{chance, weighted};
use crate::rng::Rng;
use crate::scenario::ChaosKind;

/// The kinds that are on, with their weights; at least one of `may`.
pub(super) fn kinds(may: &[ChaosKind], rng: &mut Rng) -> Vec<(ChaosKind, u64)> {
    let single = chance(rng, 15);
    // So many in a hundred are on.
    let on = weighted(rng, &[(25, 2), (50, 3), (75, 2), (100, 1)]).unwrap_or(50);
    let mut kinds: Vec<ChaosKind> = may
        .iter()
        .copied()
        .filter(|_| chance(rng, on))
        .filter(|_| !single)
        .collect();
    if kinds.is_empty() {
        let all: Vec<(ChaosKind, u64)> = may.iter().map(|kind| (*kind, felt(*kind))).collect();
        kinds.extend(weighted(rng, &all));
    }
    kinds
        .into_iter()
        .map(|kind| (kind, felt(kind) << rng.below(4)))
        .collect()
}

/// How likely such a fault is felt: kinds that often pass unnoticed are drawn
/// less often.
fn felt(kind: ChaosKind) -> u64 {
    match kind {
        ChaosKind::Refuse | ChaosKind::DiskFull | ChaosKind::SlowDisk | ChaosKind::Clock => 1,
        ChaosKind::HalfClose
        | ChaosKind::Throttle
        | ChaosKind::DiskError
        | ChaosKind::ReadOnly
        | ChaosKind::SyncError
        | ChaosKind::Torn => 2,
        _ => 4,
    }
}
