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

/// Of the kinds that are on those that are felt wherever mail passes; where
/// there is none, of those that may be; else all that are on.
pub(super) fn certain(on: &[(ChaosKind, u64)], may: &[ChaosKind]) -> Vec<(ChaosKind, u64)> {
    let plain = |kind: &ChaosKind| {
        matches!(
            kind,
            ChaosKind::Crash
                | ChaosKind::PowerCut
                | ChaosKind::NodeSilent
                | ChaosKind::NodeLost
                | ChaosKind::Pause
                | ChaosKind::Restart
                | ChaosKind::Hold
                | ChaosKind::Reset
                | ChaosKind::LoseReply
                | ChaosKind::CutAt
        )
    };
    let of = |kinds: Vec<(ChaosKind, u64)>| {
        let certain = kinds.into_iter().filter(|(kind, _)| plain(kind));
        certain.collect::<Vec<_>>()
    };
    let mut certain = of(on.to_vec());
    if certain.is_empty() {
        certain = of(may.iter().map(|kind| (*kind, felt(*kind))).collect());
    }
    if certain.is_empty() {
        on.to_vec()
    } else {
        certain
    }
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
