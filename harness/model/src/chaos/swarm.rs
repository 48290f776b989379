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
        let at = usize::try_from(rng.below(may.len() as u64)).unwrap_or(0);
        kinds.extend(may.get(at));
    }
    kinds
        .into_iter()
        .map(|kind| (kind, 1 << rng.below(4)))
        .collect()
}
