//! Partitions: the same cut on every link between two sides, once or again
//! and again.

use crate::event::{At, Fault};
use crate::order::{Act, Order};
use crate::scenario::{Partition, Step};

use super::Director;
use super::running::Repair;

impl Director {
    /// Every order that a partition can lead to.
    pub(super) fn preview_partition(
        &self,
        fault: Fault,
        partition: &Partition,
        lasts: bool,
        orders: &mut Vec<Order>,
    ) {
        let disarmed = self.disarmed(fault);
        for (link, act) in partition.crossing(&self.plan.links()) {
            let act = Act::Link(link, act);
            orders.push(Order::Break {
                fault,
                act: act.clone(),
                disarmed,
            });
            if lasts {
                orders.push(Order::Mend {
                    fault,
                    act,
                    disarmed,
                });
            }
        }
    }

    /// Cuts every link that crosses, and plans what comes after.
    pub(super) fn part(&mut self, fault: Fault, partition: &Partition, out: &mut Vec<Order>) {
        self.broken = true;
        self.takeover = false;
        self.cut(fault, partition, true, out);
        let times = &self.times[fault as usize];
        if let Some(lasts) = times.lasts {
            let until = self.now.saturating_add(lasts);
            let next = times.flap.map_or(until, |f| self.now.saturating_add(f));
            self.repairs.push(Repair::Partition {
                fault,
                at: next.min(until),
                until,
                cut: true,
            });
        }
    }

    /// Heals a partition, or cuts it again. When there is more to do, if
    /// there is; whether it is cut then.
    pub(super) fn flap(
        &self,
        fault: Fault,
        until: At,
        cut: bool,
        out: &mut Vec<Order>,
    ) -> Option<(At, bool)> {
        let over = self.now >= until;
        let step = self.plan.scenario.steps.get(fault as usize);
        let Some(Step::Partition(partition)) = step else {
            return None;
        };
        if cut || !over {
            self.cut(fault, partition, !cut, out);
        }
        let every = self.times[fault as usize].flap;
        let next = every.map(|f| self.now.saturating_add(f).min(until))?;
        (!over).then_some((next, !cut))
    }

    fn cut(&self, fault: Fault, partition: &Partition, cut: bool, out: &mut Vec<Order>) {
        let disarmed = self.disarmed(fault);
        for (link, act) in partition.crossing(&self.plan.links()) {
            let act = Act::Link(link, act);
            out.push(if cut {
                Order::Break {
                    fault,
                    act,
                    disarmed,
                }
            } else {
                Order::Mend {
                    fault,
                    act,
                    disarmed,
                }
            });
        }
    }
}
