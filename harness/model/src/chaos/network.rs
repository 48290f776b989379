//! Cuts between groups of parties, and links that carry little.

use super::fault::{Draft, Drawn, MS, rounded};
use super::{chance, log_between};
use crate::party::Party;
use crate::rng::Rng;
use crate::scenario::{LinkAct, LinkFault, Partition, Rate, Spread, Step, Trigger};

impl Draft<'_> {
    /// A partition: one node or a few against others, both ways or one, for
    /// once or again and again.
    pub(super) fn partition(&self, rng: &mut Rng) -> Option<Drawn> {
        let nodes = self.place.nodes();
        let scenario = self.place.scenario;
        let end: Vec<Party> = match scenario.cluster.stores {
            0 => vec![Party::Mailbox],
            n => (1..=n).map(Party::Store).collect(),
        };
        let first = self.place.busy(rng)?;
        // With the first node stand those that fall on its side.
        let few = nodes.len() > 2 && chance(rng, 25);
        let (mut here, mut there) = (vec![first], Vec::new());
        for node in nodes.into_iter().filter(|n| *n != first) {
            if few && chance(rng, 30) {
                here.push(node);
            } else {
                there.push(node);
            }
        }
        // Whom it is cut off from: its peers, the end of mail, the client.
        let known = match scenario.workload.to {
            Spread::Only(only) => only == first,
            Spread::RoundRobin => true,
        };
        match rng.below(10) {
            0..=3 => there.extend(end),
            4 | 5 => {}
            6 | 7 => there = end,
            8 if known => there = vec![Party::Client],
            _ => {
                there.extend(end);
                there.push(Party::Client);
            }
        }
        if there.is_empty() {
            return None;
        }
        let lasts = log_between(rng, 50 * MS, self.takeover * 2);
        let flap =
            chance(rng, 25).then(|| rounded(log_between(rng, 10 * MS, (lasts / 3).max(11 * MS))));
        let (lasts, flap) = match flap {
            // It heals once at least.
            Some(flap) => (rounded(lasts.max(40 * MS)), Some(flap)),
            None => (rounded(lasts), None),
        };
        let one_way = chance(rng, 30);
        let sides = if one_way && chance(rng, 50) {
            vec![there, here]
        } else {
            vec![here, there]
        };
        let at = if chance(rng, 60) {
            self.crossing(rng, &sides)
                .unwrap_or_else(|| self.moment(rng))
        } else {
            self.moment(rng)
        };
        Some(Drawn {
            step: Step::Partition(Partition {
                sides,
                at,
                lasts: Some(lasts),
                one_way,
                flap,
            }),
            node: None,
        })
    }

    /// A point on a link that crosses.
    fn crossing(&self, rng: &mut Rng, sides: &[Vec<Party>]) -> Option<Trigger> {
        for _ in 0..8 {
            let link = self.place.link(rng, true)?;
            let side = |party| sides.iter().position(|side| side.contains(&party));
            if let (Some(a), Some(b)) = (side(link.from), side(link.to))
                && a != b
            {
                return self.place.point(rng, link, None).map(Trigger::Point);
            }
        }
        None
    }

    /// A link that carries little for a time.
    pub(super) fn throttle(&self, rng: &mut Rng) -> Option<Drawn> {
        let link = self.place.link(rng, true)?;
        // A message has to get through within the time that it lasts, or
        // nobody sees it act.
        let size = self.place.scenario.workload.size;
        let lasts = log_between(rng, self.takeover / 4, self.takeover * 2);
        let most = (size.most.max(200) * 8).saturating_mul(1_000 * MS) / lasts.max(MS);
        let rate = log_between(rng, (most / 8).max(64), most.max(256));
        Some(Drawn {
            step: Step::Link(LinkFault {
                at: self.moment(rng),
                on: Some(link),
                act: LinkAct::Throttle(Rate::new(rate)),
                lasts: Some(rounded(lasts)),
            }),
            node: None,
        })
    }
}
