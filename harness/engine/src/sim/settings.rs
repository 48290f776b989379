//! What a seed decides about the world itself: how far parties are apart, how
//! fast disks are, how streams are cut.

use mailproof_model::party::Party;
use mailproof_model::rng::Rng;

use super::draws::Draws;

use super::timepiece::Timepiece;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Least latency from a link to a party, and how much more it may be.
    pub(super) latency: (u64, u64),
    /// One write to a disk: least, and how much more.
    pub(super) write: (u64, u64),
    /// One sync of a disk: least, and how much more.
    pub(super) sync: (u64, u64),
    /// From the start of a process until it serves: least, and how much more.
    pub(super) boot: (u64, u64),
    /// One piece of a stream in so many arrives in two parts; 0: none does.
    pub(super) cut_one_in: u64,
}

impl Settings {
    /// The settings that go with a seed.
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::keyed(seed, "settings", 0);
        let mut pick = |choices: &[(u64, u64)]| {
            let at = rng.below(choices.len() as u64);
            choices[usize::try_from(at).unwrap_or(0)]
        };
        Self {
            latency: pick(&[(20 * US, 30 * US), (50 * US, 500 * US), (MS, 4 * MS)]),
            write: pick(&[(5 * US, 10 * US), (20 * US, 200 * US)]),
            sync: pick(&[(50 * US, 50 * US), (200 * US, MS), (2 * MS, 8 * MS)]),
            boot: pick(&[(5 * MS, 20 * MS), (50 * MS, 200 * MS)]),
            cut_one_in: pick(&[(0, 0), (64, 0), (8, 0)]).0,
        }
    }

    /// The clocks that a node has from the start: right in one seed of two,
    /// else some seconds and some parts per million off.
    pub(super) fn timepiece(seed: u64, party: Party) -> Timepiece {
        let mut rng = Rng::keyed(seed, "clocks", 0);
        let (offset, ppm) = match rng.below(4) {
            0 | 1 => (0, 0),
            2 => (500 * MS, 20),
            _ => (5_000 * MS, 200),
        };
        let number = match party {
            Party::Node(n) => u64::from(n),
            Party::Store(n) => u64::from(n) << 16,
            Party::Client | Party::Mailbox => 0,
        };
        let mut rng = Rng::keyed(seed, "clock", number);
        let mut draw = |most: u64| {
            let most = most.min(i64::MAX as u64 / 2);
            rng.below(2 * most + 1) as i64 - most as i64
        };
        let ahead = draw(offset);
        Timepiece::new(ahead, draw(ppm))
    }

    /// A draw between a least and how much more.
    pub(super) fn time(range: (u64, u64), rng: &mut Draws) -> u64 {
        range.0 + rng.below(range.1 + 1)
    }
}
