//! Orders: what the director can have done to the simulated world.

use mailproof_model::event::{Fault, Stage, What};
use mailproof_model::history::Sink;
use mailproof_model::order::{Act, Order, Unavailable, WorldError};
use mailproof_model::party::{Link, Party, Witness};
use mailproof_model::rng::Rng;
use mailproof_model::scenario::{DiskAct, LinkAct};

use super::SimWorld;
use crate::link::{offers_act, offers_point};

impl<W: Sink> SimWorld<W> {
    /// Whether an order can be carried out here.
    pub(super) fn check(&self, order: &Order) -> Result<(), Unavailable> {
        let node = |party: Party| {
            self.node_index(party).map(drop).ok_or_else(|| Unavailable {
                what: format!("the node `{party}`"),
                why: "the cluster of this scenario has no such node".to_owned(),
            })
        };
        let link = |link: Link| {
            self.by_link
                .get(&link)
                .map(drop)
                .ok_or_else(|| Unavailable {
                    what: format!("the link `{link}`"),
                    why: "the cluster of this scenario has no such link".to_owned(),
                })
        };
        let span = |act: &LinkAct| match act {
            LinkAct::Delay(span) => {
                span.resolve(&self.plan.times)
                    .map(drop)
                    .map_err(|error| Unavailable {
                        what: "the delay".to_owned(),
                        why: error.to_string(),
                    })
            }
            _ => Ok(()),
        };
        match order {
            Order::Start { node: party, .. }
            | Order::List { node: party }
            | Order::Read { node: party }
            | Order::Stop { node: party } => node(*party),
            Order::Submit { node: to, .. } => link(Link::new(Party::Client, *to)),
            Order::Arm { point, act, .. } => {
                link(point.link)?;
                offers_point(point, act)?;
                span(act)
            }
            Order::Break { act, .. } | Order::Mend { act, .. } => match act {
                Act::Crash(party)
                | Act::PowerCut(party)
                | Act::NodeLost { node: party, .. }
                | Act::Pause(party)
                | Act::Clock { node: party, .. }
                | Act::Restart(party)
                | Act::Corrupt(party, _) => node(*party),
                Act::Disk(party, act) => {
                    node(*party)?;
                    match act {
                        DiskAct::Slow(by) => span(&LinkAct::Delay(by.clone())),
                        _ => Ok(()),
                    }
                }
                Act::Link(on, act) => {
                    link(*on)?;
                    offers_act(act)?;
                    span(act)
                }
            },
            Order::Await { .. }
            | Order::Hangup { .. }
            | Order::Release { .. }
            | Order::Record(_) => Ok(()),
            Order::ArmDisk { point, .. } => node(point.disk),
        }
    }

    pub(super) fn carry_out(&mut self, order: Order) -> Result<(), WorldError> {
        match order {
            Order::Start { node, store } => {
                let node = self.index(node)?;
                self.start(node, store);
            }
            Order::Submit {
                session,
                msg,
                attempt,
                rcpts,
                node,
            } => {
                self.prelude.get_or_insert(self.clock.happened());
                if !std::mem::replace(&mut self.sending, true) {
                    let now = self.clock.now();
                    for host in &mut self.nodes {
                        host.storage.begin_count(now);
                    }
                }
                self.submit(session, msg, attempt, &rcpts, node);
            }
            Order::Hangup { session } => self.hangup(session),
            Order::Break {
                fault,
                act: Act::Link(link, act),
                disarmed,
            } => {
                let link = self.link_index(link)?;
                self.links[link].break_now(fault, &act, disarmed, &mut self.link_out)?;
                self.link_outputs(link);
            }
            // It fires when an operation is hit.
            Order::Break {
                fault,
                act: Act::Disk(node, act),
                disarmed: false,
            } => {
                let node = self.index(node)?;
                self.trouble_disk(node, fault, &act)?;
            }
            Order::Break {
                fault,
                act,
                disarmed,
            } => {
                let read = self.clock_of(&act)?;
                if let Some(node) = read {
                    self.read_clock(node, Some(fault));
                }
                self.receipt(fault, Stage::Fired, &act);
                if !disarmed {
                    self.break_node(fault, &act)?;
                }
                if let Some(node) = read {
                    self.read_clock(node, Some(fault));
                }
            }
            Order::Mend {
                fault,
                act: Act::Link(link, act),
                disarmed,
            } => {
                let link = self.link_index(link)?;
                self.links[link].mend(fault, &act, disarmed, &mut self.link_out);
                self.link_outputs(link);
            }
            Order::Mend {
                fault,
                act,
                disarmed,
            } => {
                let read = self.clock_of(&act)?;
                if let Some(node) = read {
                    self.read_clock(node, Some(fault));
                }
                self.receipt(fault, Stage::Removed, &act);
                match act {
                    Act::Pause(node) if !disarmed => {
                        let node = self.index(node)?;
                        self.resume(node);
                    }
                    Act::Disk(node, _) if !disarmed => {
                        let node = self.index(node)?;
                        self.mend_disk(node, fault);
                    }
                    Act::Clock {
                        node,
                        offset,
                        drift,
                    } if !disarmed => {
                        let node = self.index(node)?;
                        self.shift_clock(node, -offset, -i64::from(drift));
                    }
                    _ => {}
                }
                if let Some(node) = read {
                    self.read_clock(node, Some(fault));
                }
            }
            Order::Arm {
                fault,
                point,
                act,
                disarmed,
            } => {
                let link = self.link_index(point.link)?;
                self.links[link].arm(fault, &point, &act, disarmed, &mut self.link_out)?;
                self.link_outputs(link);
            }
            // What is past never comes.
            Order::Await { fault, event } => {
                if event > self.clock.happened() {
                    self.awaited.insert(event, fault);
                }
            }
            Order::ArmDisk { fault, point } => {
                let node = self.index(point.disk)?;
                self.arm_disk(node, fault, point);
            }
            Order::Release { fault } => {
                self.awaited.retain(|_, of| *of != fault);
                for node in 0..self.nodes.len() {
                    self.release_disk(node, fault);
                }
                for link in 0..self.links.len() {
                    self.links[link].release(fault, &mut self.link_out);
                    self.link_outputs(link);
                }
            }
            Order::List { node } => {
                let node = self.index(node)?;
                self.list(node);
            }
            Order::Read { node } => {
                let node = self.index(node)?;
                self.read(node);
            }
            Order::Stop { node } => {
                let node = self.index(node)?;
                if self.reads_clocks {
                    self.read_clock(node, None);
                }
                self.nodes[node].storage.end_count();
                self.stop(node);
            }
            Order::Record(what) => {
                let by = what.recorder();
                self.record(by, what);
            }
        }
        Ok(())
    }

    fn index(&self, party: Party) -> Result<usize, WorldError> {
        self.node_index(party)
            .ok_or_else(|| WorldError(format!("there is no node `{party}`")))
    }

    fn link_index(&self, link: Link) -> Result<usize, WorldError> {
        self.by_link
            .get(&link)
            .copied()
            .ok_or_else(|| WorldError(format!("there is no link `{link}`")))
    }

    fn receipt(&mut self, fault: Fault, stage: Stage, act: &Act) {
        let (text, node) = match act {
            Act::Crash(node) => ("kill", Some(*node)),
            Act::PowerCut(node) => ("cut the power", Some(*node)),
            Act::NodeLost { node, wipe: false } => ("lose the node", Some(*node)),
            Act::NodeLost { node, wipe: true } => ("lose the node with its store", Some(*node)),
            Act::Pause(node) => ("pause", Some(*node)),
            Act::Restart(node) => ("ask to stop", Some(*node)),
            Act::Disk(node, act) => (act.name(), Some(*node)),
            Act::Corrupt(node, how) => (how.name(), Some(*node)),
            // It takes nothing away, so it is no outage of the node; which one
            // it is says the kernel, who reads its clocks.
            Act::Clock { .. } => ("wrong clocks", None),
            Act::Link(..) => ("link", None),
        };
        self.record(
            Witness::Injector,
            What::Fault {
                fault,
                stage,
                text: text.to_owned(),
                node,
                link: None,
                conn: None,
            },
        );
    }

    /// The node whose clocks an act changes.
    fn clock_of(&self, act: &Act) -> Result<Option<usize>, WorldError> {
        match act {
            Act::Clock { node, .. } => self.index(*node).map(Some),
            _ => Ok(None),
        }
    }

    fn break_node(&mut self, fault: Fault, act: &Act) -> Result<(), WorldError> {
        match act {
            Act::Crash(node) => {
                let node = self.index(*node)?;
                self.end_process(node, "signal 9");
            }
            Act::PowerCut(party) => {
                let node = self.index(*party)?;
                self.go_dark(fault, *party, node);
            }
            Act::NodeLost { node: party, wipe } => {
                let node = self.index(*party)?;
                self.go_dark(fault, *party, node);
                if *wipe {
                    self.nodes[node].storage.disk.wipe();
                    let node = *party;
                    self.record(Witness::Disk(node), What::StoreGone { node });
                }
            }
            Act::Pause(node) => {
                let node = self.index(*node)?;
                self.pause(node);
            }
            Act::Restart(node) => {
                let node = self.index(*node)?;
                self.stop(node);
            }
            Act::Corrupt(node, how) => {
                let node = self.index(*node)?;
                self.corrupt(node, fault, *how);
            }
            Act::Clock {
                node,
                offset,
                drift,
            } => {
                let node = self.index(*node)?;
                self.shift_clock(node, *offset, i64::from(*drift));
            }
            Act::Disk(..) | Act::Link(..) => {}
        }
        Ok(())
    }

    /// A node falls silent at once, and its disk forgets what it had not made
    /// durable.
    pub(super) fn go_dark(&mut self, fault: Fault, party: Party, node: usize) {
        for link in 0..self.links.len() {
            if self.links[link].link().touches(party) {
                self.links[link].silence(party, &mut self.link_out);
                self.link_outputs(link);
            }
        }
        self.end_process(node, "signal 9");
        let mut rng = Rng::keyed(self.plan.seed, "cut", fault.into());
        let operations = self.nodes[node].storage.disk.cut(&mut rng);
        let node = party;
        self.record(Witness::Disk(node), What::Dropped { node, operations });
    }
}
