//! The phases of a run, and its end: silence, listings, stopped nodes, read
//! stores.

use crate::event::{At, Fault, What};
use crate::order::Order;
use crate::party::Party;

use super::cluster::State;
use super::running::Waiting;
use super::{ANSWER, Director, READY, step};

/// How far a run has come.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Nothing was ordered yet.
    Fresh,
    /// Every node was started; not all answer.
    Starting,
    /// Mail is sent, steps act.
    Running,
    /// Silence is waited for.
    Quiet {
        /// When it is no longer waited for.
        cap: At,
    },
    /// Nodes were asked for their queues.
    Listing {
        /// Who has not answered yet.
        asked: Vec<Party>,
        /// Until when.
        until: At,
        /// Whether an answer showed mail that is not done.
        left: bool,
        /// Until when nodes are asked again.
        limit: At,
        /// As in [`Phase::Quiet`].
        cap: At,
        /// What moved before belongs to the silence that was seen.
        since: At,
    },
    /// Nodes will be asked again then.
    Again {
        /// When.
        at: At,
        /// As in [`Phase::Listing`].
        limit: At,
        /// As in [`Phase::Quiet`].
        cap: At,
    },
    /// Nodes were told to stop.
    Stopping {
        /// Until when they are waited for.
        until: At,
    },
    /// Stores are being read.
    Reading {
        /// Whose.
        asked: Vec<Party>,
        /// Until when.
        until: At,
    },
    /// It is over.
    Done,
}

impl Director {
    /// When the director next has something to do by itself; `None` when only
    /// events can bring it on.
    #[must_use]
    pub fn next_wake(&self) -> Option<At> {
        let cap = self.began.saturating_add(self.cap);
        match &self.phase {
            Phase::Fresh | Phase::Done => None,
            Phase::Starting => Some(self.began.saturating_add(READY)),
            Phase::Running => [
                self.sender.next_wake(),
                self.next_step(),
                Some(self.running_until()),
                Some(cap),
            ]
            .into_iter()
            .flatten()
            .min(),
            Phase::Quiet { cap } => {
                let quiet = self.quiet_since().saturating_add(self.quiet);
                Some(if self.sender.is_idle() {
                    quiet.min(*cap)
                } else {
                    *cap
                })
            }
            Phase::Again { at, .. } => Some(*at),
            Phase::Listing { until, .. }
            | Phase::Stopping { until }
            | Phase::Reading { until, .. } => Some(*until),
        }
    }

    /// Goes on as far as what is known allows.
    pub(super) fn advance(&mut self, out: &mut Vec<Order>) {
        loop {
            let before = std::mem::discriminant(&self.phase);
            match &self.phase {
                Phase::Fresh | Phase::Done => {}
                Phase::Starting => self.check_started(out),
                Phase::Running => self.run(out),
                Phase::Quiet { .. } => self.check_quiet(out),
                Phase::Listing { .. } => self.check_listing(out),
                Phase::Again { at, cap, limit } => {
                    if self.now >= *at {
                        let (limit, cap) = (*limit, *cap);
                        self.list(limit, cap, out);
                    }
                }
                Phase::Stopping { until } => {
                    let gone = self.cluster.iter().all(|n| n.state == State::Down);
                    if gone || self.now >= *until {
                        self.read_stores(out);
                    }
                }
                Phase::Reading { asked, until } => {
                    if asked.is_empty() || self.now >= *until {
                        self.phase = Phase::Done;
                        let why = self.why.take().unwrap_or_else(|| "finished".to_owned());
                        out.push(Order::Record(What::End { why }));
                    }
                }
            }
            if before == std::mem::discriminant(&self.phase) {
                return;
            }
        }
    }

    fn check_started(&mut self, out: &mut Vec<Order>) {
        let silent = self
            .cluster
            .iter()
            .find(|node| match node.state {
                State::Down => true,
                State::Starting { since } => self.now >= since.saturating_add(READY),
                State::Running | State::Paused => false,
            })
            .map(|node| (node.party, node.state));
        if let Some((node, state)) = silent {
            self.why = Some(match state {
                State::Down => format!("{node} never became ready: it exited"),
                _ => format!(
                    "{node} never became ready within {} s",
                    READY / 1_000_000_000
                ),
            });
            self.stop_nodes(out);
        } else if self.cluster.iter().all(|node| node.state == State::Running) {
            self.phase = Phase::Running;
            self.anchor = self.now;
            self.sender.progress = self.now;
            self.sender.first_outcome = self.now;
            // Points must be armed before the first byte is sent.
            self.run_steps(out);
            self.sender.start(self.now, out);
        }
    }

    fn run(&mut self, out: &mut Vec<Order>) {
        self.run_steps(out);
        self.run_repairs(out);
        // A repair can be what a wait waits for.
        self.run_steps(out);
        let acted = self.step == self.plan.scenario.steps.len();
        if acted
            && self.sender.is_settled()
            && self.sender.is_idle()
            && self.sender.is_drained()
            && self.all_back()
        {
            self.fall_silent();
            return;
        }
        if self.now >= self.began.saturating_add(self.cap) {
            self.why = Some("gave up waiting".to_owned());
        } else if self.now >= self.running_until() {
            if self.may_pass_over() {
                self.pass_over(out);
                return self.run(out);
            }
            if self.waiting == Some(Waiting::Armed) {
                // What has not come by now must not disturb the end.
                let fault = self.step as Fault;
                out.push(Order::Release { fault });
            }
            self.why = Some(match self.plan.scenario.steps.get(self.step) {
                Some(step) => format!("step {} never came: {}", self.step, step::text(step)),
                None => "deadline".to_owned(),
            });
        } else {
            return;
        }
        self.sender.stop(out);
        self.fall_silent();
    }

    /// When the middle of the run ends, if nothing more happens.
    fn running_until(&self) -> At {
        if self.step < self.plan.scenario.steps.len() {
            return if self.waits_for_mail() {
                let over = self.may_pass_over()
                    && self.sender.is_settled()
                    && self.sender.is_idle()
                    && self.sender.is_drained();
                // With all mail delivered only polls can still bring a point.
                let stall = if over {
                    self.quiet
                } else {
                    self.deadline
                        .saturating_add(self.sender.patience)
                        .saturating_add(self.sender.lull())
                };
                self.sender.progress.max(self.anchor).saturating_add(stall)
            } else {
                At::MAX
            };
        }
        if !self.all_back() {
            return At::MAX;
        }
        // What was accepted only at a later attempt, too, has all its time;
        // and whoever still delivers is not cut short.
        let mut from = self
            .anchor
            .max(self.sender.first_outcome)
            .max(self.sender.progress);
        // An attempt may still wait for a reply that never comes, and what came
        // of it has to be tried again. Whoever is refused hears that.
        if self.sender.is_unheard() {
            from = from
                .saturating_add(self.sender.patience)
                .saturating_add(self.sender.resend)
                .saturating_add(self.sender.lull());
        }
        from.saturating_add(self.deadline)
    }

    fn fall_silent(&mut self) {
        self.phase = Phase::Quiet {
            cap: self
                .now
                .saturating_add(self.deadline.max(self.quiet).saturating_mul(3)),
        };
    }

    fn quiet_since(&self) -> At {
        self.moved.max(self.anchor)
    }

    fn check_quiet(&mut self, out: &mut Vec<Order>) {
        let Phase::Quiet { cap } = self.phase else {
            return;
        };
        // What a fault still has to be repaired of goes on meanwhile.
        self.run_repairs(out);
        let since = self.quiet_since();
        if self.sender.is_idle() && self.now >= since.saturating_add(self.quiet) {
            let lasted = self.now - since;
            out.push(Order::Record(What::Quiet { since, lasted }));
        } else if self.now < cap {
            return;
        }
        let limit = self.anchor.saturating_add(self.deadline);
        let polls = self.plan.time("poll").saturating_mul(2);
        self.list(limit.max(self.now.saturating_add(polls)), cap, out);
    }

    fn list(&mut self, limit: At, cap: At, out: &mut Vec<Order>) {
        let asked: Vec<Party> = self.cluster.running().collect();
        out.extend(asked.iter().map(|node| Order::List { node: *node }));
        self.phase = Phase::Listing {
            asked,
            until: self.now.saturating_add(ANSWER),
            left: false,
            limit,
            cap,
            since: self.now,
        };
    }

    /// A node listed its queues, or its store was read, or neither can be had.
    pub(super) fn answered(&mut self, node: Party, more: bool) {
        match &mut self.phase {
            Phase::Listing { asked, left, .. } => {
                asked.retain(|n| *n != node);
                *left |= more;
            }
            Phase::Reading { asked, .. } => asked.retain(|n| *n != node),
            _ => {}
        }
    }

    fn check_listing(&mut self, out: &mut Vec<Order>) {
        let Phase::Listing {
            asked,
            until,
            left,
            limit,
            cap,
            since,
        } = &mut self.phase
        else {
            return;
        };
        // A node that died meanwhile will not answer.
        asked.retain(|node| self.cluster.state(*node) == State::Running);
        if !asked.is_empty() && self.now < *until {
            return;
        }
        let (left, limit, cap, since) = (*left, *limit, *cap, *since);
        let poll = self.plan.time("poll").max(1);
        if self.moved > since && self.now < cap {
            self.phase = Phase::Quiet { cap };
        } else if left && self.now.saturating_add(poll) <= limit {
            self.phase = Phase::Again {
                at: self.now.saturating_add(poll),
                limit,
                cap,
            };
        } else {
            self.stop_nodes(out);
        }
    }

    /// Stops every node that has a process.
    pub(super) fn stop_nodes(&mut self, out: &mut Vec<Order>) {
        for node in self.cluster.iter() {
            if node.state != State::Down {
                out.push(Order::Stop { node: node.party });
            }
        }
        self.phase = Phase::Stopping {
            until: self.now.saturating_add(ANSWER),
        };
    }

    fn read_stores(&mut self, out: &mut Vec<Order>) {
        let asked: Vec<Party> = self
            .cluster
            .iter()
            .filter(|node| node.store && node.state == State::Down)
            .map(|node| node.party)
            .collect();
        out.extend(asked.iter().map(|node| Order::Read { node: *node }));
        self.phase = Phase::Reading {
            asked,
            until: self.now.saturating_add(ANSWER),
        };
    }
}
