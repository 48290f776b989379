//! One fault of a kind.

use super::place::{Place, pick};
use super::{chance, log_between, weighted};
use crate::party::Party;
use crate::rng::Rng;
use crate::scenario::{
    Back, ChaosKind, LinkAct, LinkFault, NodeFault, OpKind, Pause, Pick, Span, Step, Times, Trigger,
};

pub(super) const MS: u64 = 1_000_000;

/// Temporary refusals that a server could give (RFC 5321 4.2.3).
const REFUSALS: [&str; 4] = [
    "451 4.3.0 Local error in processing",
    "452 4.3.1 Insufficient system storage",
    "450 4.2.0 Mailbox busy",
    "421 4.3.2 Shutting down",
];

/// A fault to come.
pub(super) struct Draft<'a> {
    pub(super) place: Place<'a>,
    /// The share of the mail, in percent, at which the next fault may come
    /// first.
    pub(super) share: u8,
    /// Nanoseconds.
    pub(super) takeover: u64,
}

/// A step, and what must be known of it that it does not say.
pub(super) struct Drawn {
    pub(super) step: Step,
    /// The node that it hits, where that is known before the run.
    pub(super) node: Option<Party>,
}

impl Draft<'_> {
    /// A fault of that kind; `None` where the cluster has no place for it.
    pub(super) fn fault(&self, rng: &mut Rng, kind: ChaosKind) -> Option<Drawn> {
        match kind {
            ChaosKind::Crash
            | ChaosKind::PowerCut
            | ChaosKind::NodeSilent
            | ChaosKind::NodeLost
            | ChaosKind::Restart
            | ChaosKind::Pause => self.of_node(rng, kind),
            ChaosKind::Hold
            | ChaosKind::HalfClose
            | ChaosKind::LoseReply
            | ChaosKind::CutAt
            | ChaosKind::Answer => self.at_point(rng, kind),
            ChaosKind::Reset | ChaosKind::Blackhole | ChaosKind::Delay | ChaosKind::Refuse => {
                if self.place.sure || chance(rng, 50) {
                    self.at_point(rng, kind)
                } else {
                    self.of_link(rng, kind)
                }
            }
            ChaosKind::Throttle => self.throttle(rng),
            ChaosKind::Partition => self.partition(rng),
            ChaosKind::DiskError
            | ChaosKind::DiskFull
            | ChaosKind::ReadOnly
            | ChaosKind::SyncError
            | ChaosKind::Torn
            | ChaosKind::SlowDisk => self.of_disk(rng, kind),
            ChaosKind::Clock => self.of_clock(rng),
        }
    }

    // --- nodes ---------------------------------------------------------------

    fn of_node(&self, rng: &mut Rng, kind: ChaosKind) -> Option<Drawn> {
        let lost = kind == ChaosKind::NodeLost;
        let stores = self.place.scenario.cluster.stores;
        let (pick, at, node) = if stores > 0 && !lost && !self.place.sure && chance(rng, 25) {
            let node = Party::Store(rng.between(1, u64::from(stores)) as u16);
            (Pick::Node(node), self.moment(rng), Some(node))
        } else {
            self.transport(rng)?
        };
        let fault = |rng: &mut Rng, back: Back| NodeFault {
            node: pick,
            at: at.clone(),
            back,
            after: if back == Back::Never {
                None
            } else {
                self.returns_after(rng)
            },
        };
        let step = match kind {
            ChaosKind::Crash => Step::Crash(fault(rng, Back::Same)),
            ChaosKind::PowerCut => Step::PowerCut(fault(rng, Back::Same)),
            ChaosKind::NodeSilent => Step::NodeLost(fault(rng, Back::Same)),
            ChaosKind::Restart => Step::Restart(fault(rng, Back::Same)),
            ChaosKind::NodeLost => {
                // One that the sender knows alone must come back.
                let only = matches!(self.place.scenario.workload.to, crate::scenario::Spread::Only(n) if Some(n) == node || node.is_none());
                let last = self.place.nodes().len() < 2;
                let back = if only || last || chance(rng, 50) {
                    Back::Empty
                } else {
                    Back::Never
                };
                Step::NodeLost(fault(rng, back))
            }
            ChaosKind::Pause => Step::Pause(Pause {
                node: pick,
                at: at.clone(),
                lasts: rounded(log_between(rng, 20 * MS, self.takeover * 3)),
            }),
            _ => return None,
        };
        Some(Drawn { step, node })
    }

    /// How long after its end a node comes back: some before their peers take
    /// over, some long after; nothing: at once.
    pub(super) fn returns_after(&self, rng: &mut Rng) -> Option<Span> {
        let spans = [
            (None, 2),
            (Some((1, 4)), 3),
            (Some((4, 8)), 3),
            (Some((9, 16)), 3),
            (Some((17, 40)), 2),
        ];
        let (least, most) = weighted(rng, &spans).flatten()?;
        Some(rounded(self.takeover / 8 * rng.between(least, most)))
    }

    /// A transport node and the moment at which it is hit.
    fn transport(&self, rng: &mut Rng) -> Option<(Pick, Trigger, Option<Party>)> {
        let node = self.place.node(rng)?;
        let how = if self.place.sure { 0 } else { rng.below(12) };
        Some(match how {
            // Before an operation of its disk, or between any two events.
            10 if self.place.inside => {
                let ops = [(OpKind::Any, 3), (OpKind::Write, 2), (OpKind::Sync, 3)];
                let op = weighted(rng, &ops)?;
                let point = self.operation(rng, node, op);
                (Pick::Node(node), Trigger::Disk(point), Some(node))
            }
            11 if self.place.inside => (Pick::Node(node), self.happening(rng), Some(node)),
            // In the middle of a dialogue.
            0..=4 => {
                let link = self.place.link(rng, true)?;
                let point = self.place.point(rng, link, None)?;
                let near = if link.from.is_node() {
                    link.from
                } else {
                    link.to
                };
                // Mostly the node at whose link the traffic stands, sometimes
                // the one at its other end.
                let far = matches!((link.from, link.to), (Party::Node(_), Party::Node(_)));
                if far && chance(rng, 40) {
                    (Pick::Node(link.to), Trigger::Point(point), Some(link.to))
                } else {
                    (Pick::Held, Trigger::Point(point), Some(near))
                }
            }
            5..=7 => (Pick::Busiest, self.moment(rng), None),
            8 => (Pick::Any, self.moment(rng), None),
            _ => (Pick::Node(node), self.moment(rng), Some(node)),
        })
    }

    /// A moment that is no point of a dialogue.
    pub(super) fn moment(&self, rng: &mut Rng) -> Trigger {
        let share = self.share.max(1);
        let later = |rng: &mut Rng| share.saturating_add(rng.below(15) as u8).min(97);
        match rng.below(10) {
            0..=5 => Trigger::Accepted(later(rng)),
            6..=8 => Trigger::Delivered(later(rng)),
            _ => Trigger::After(rounded(log_between(rng, MS, 400 * MS))),
        }
    }

    // --- links -----------------------------------------------------------------

    fn at_point(&self, rng: &mut Rng, kind: ChaosKind) -> Option<Drawn> {
        let act = self.act(rng, kind)?;
        let link = self.place.link(rng, true)?;
        let point = self.place.point(rng, link, Some(&act))?;
        let lasts = act.lasts().then(|| self.lasts(rng, &act));
        Some(Drawn {
            step: Step::Link(LinkFault {
                at: Trigger::Point(point),
                on: None,
                act,
                lasts,
            }),
            node: None,
        })
    }

    fn of_link(&self, rng: &mut Rng, kind: ChaosKind) -> Option<Drawn> {
        let act = self.act(rng, kind)?;
        let link = self.place.link(rng, true)?;
        let lasts = act.lasts().then(|| self.lasts(rng, &act));
        Some(Drawn {
            step: Step::Link(LinkFault {
                at: self.moment(rng),
                on: Some(link),
                act,
                lasts,
            }),
            node: None,
        })
    }

    fn act(&self, rng: &mut Rng, kind: ChaosKind) -> Option<LinkAct> {
        Some(match kind {
            ChaosKind::Hold => LinkAct::Hold,
            ChaosKind::Reset => LinkAct::Reset,
            ChaosKind::HalfClose => LinkAct::HalfClose,
            ChaosKind::LoseReply => LinkAct::LoseReply,
            ChaosKind::CutAt => LinkAct::CutAt(rng.between(1, 40) as u32),
            ChaosKind::Blackhole => LinkAct::Blackhole,
            ChaosKind::Delay => LinkAct::Delay(rounded(log_between(rng, 2 * MS, 500 * MS))),
            ChaosKind::Refuse => LinkAct::Refuse,
            ChaosKind::Answer => LinkAct::Answer(pick(rng, &REFUSALS)?.to_owned()),
            _ => return None,
        })
    }

    /// How long a link stays broken: mostly shorter than a takeover takes,
    /// sometimes longer.
    fn lasts(&self, rng: &mut Rng, act: &LinkAct) -> Span {
        let drawn = log_between(rng, 20 * MS, self.takeover * 2);
        // Mail that a link delays must get through while it does.
        let least = match act {
            LinkAct::Delay(span) => span.resolve(&Times::new()).unwrap_or(0) * 3,
            _ => 0,
        };
        rounded(drawn.max(least))
    }
}

/// A span in whole milliseconds, as people write it; at least one.
pub(super) fn rounded(ns: u64) -> Span {
    Span::nanoseconds((ns / MS).max(1) * MS)
}
