//! Steps that can happen.

use super::{Lint, kind, node_fault};
use crate::party::{Link, Party};
use crate::scenario::phase::{PHASES, holds_command, holds_reply, is_phase, once_a_transaction};
use crate::scenario::{
    Back, DiskPoint, LinkAct, LinkFault, NodeFault, Pause, Pick, Point, Spread, Step, Trigger,
    Until, Wait,
};
use crate::suggest::nearest;

/// The most steps of one scenario.
const STEPS: usize = 200;

impl Lint<'_> {
    pub(super) fn steps(&mut self) {
        let scenario = self.scenario;
        if scenario.steps.len() > STEPS {
            self.wrong(
                &format!("step[{STEPS}]"),
                format!("expected at most {STEPS} steps"),
            );
            return;
        }
        for (i, step) in scenario.steps.iter().enumerate() {
            let path = format!("step[{i}].{}", kind(step));
            if let Some(fault) = node_fault(step) {
                self.node_fault(i, &path, step, fault);
            }
            match step {
                Step::Pause(pause) => self.pause(i, &path, pause),
                Step::Link(fault) => self.link(i, &path, fault),
                Step::Partition(partition) => self.partition(i, &path, partition),
                Step::Disk(fault) => self.disk(i, &path, fault),
                Step::Corrupt(fault) => self.corrupt(i, &path, fault),
                Step::Clock(fault) => self.clock(i, &path, fault),
                Step::Wait(wait) => self.wait(i, &path, wait),
                _ => {}
            }
        }
        self.all_gone();
    }

    // --- nodes ---------------------------------------------------------------

    fn node_fault(&mut self, i: usize, path: &str, step: &Step, fault: &NodeFault) {
        self.pick(i, path, fault.node, &fault.at);
        self.trigger(i, path, &fault.at);
        match (step, fault.back) {
            (Step::Restart(_), Back::Empty | Back::Never) => self.wrong_with(
                &format!("{path}.back"),
                "a restart starts the node again with its store",
                "for a node that does not come back, or comes back empty, use `node-lost`",
            ),
            (Step::Crash(_) | Step::PowerCut(_), Back::Empty) => self.wrong_with(
                &format!("{path}.back"),
                format!("a {} leaves the disk where it is", kind(step)),
                "for a node that loses its store, use `node-lost`",
            ),
            _ => {}
        }
        if let Some(after) = &fault.after {
            let at = format!("{path}.after");
            if fault.back == Back::Never {
                self.wrong_with(
                    &at,
                    "a node that never comes back has no time at which it does",
                    "remove `after`, or give `back` another value",
                );
            } else {
                self.span(&at, after);
            }
        }
    }

    fn pause(&mut self, i: usize, path: &str, pause: &Pause) {
        self.pick(i, path, pause.node, &pause.at);
        self.trigger(i, path, &pause.at);
        self.span(&format!("{path}.for"), &pause.lasts);
    }

    /// The node that a step hits: it is there, and it lives.
    pub(super) fn pick(&mut self, i: usize, path: &str, pick: Pick, at: &Trigger) {
        let place = format!("{path}.node");
        match pick {
            Pick::Node(node) if !self.exists(node) => self.no_node(&place, node),
            // A disk that works shows that its node lives.
            Pick::Node(node) if matches!(at, Trigger::Disk(p) if p.disk == node) => {}
            Pick::Node(node) => self.alive(i, &place, node),
            Pick::Held => {
                let held = matches!(at, Trigger::Point(_) | Trigger::Disk(_))
                    || self.scenario.steps[..i]
                        .iter()
                        .any(|s| matches!(s, Step::Link(l) if l.act == LinkAct::Hold));
                if !held {
                    self.wrong_with(
                        &place,
                        "no link stands held when this step acts",
                        "`held` needs a point, at = { link = \"n1->mb\", phase = \"dot\" }, or an earlier link step that holds",
                    );
                }
            }
            Pick::Busiest | Pick::Any => {}
        }
    }

    /// That no earlier step has taken the node away.
    fn alive(&mut self, i: usize, place: &str, node: Party) {
        if let Some(gone) = self.lost_before(i, node) {
            self.wrong(
                place,
                format!("`{node}` is gone: step {gone} took it away for good"),
            );
            return;
        }
        let steps = &self.scenario.steps;
        let last = steps[..i].iter().rposition(|s| hits(s, node));
        if let Some(last) = last {
            let waited = steps[last..i].iter().any(
                |s| matches!(s, Step::Wait(w) if matches!(w.until, Until::Back | Until::Drained)),
            );
            if !waited {
                self.wrong_with(
                    place,
                    format!("`{node}` may still be down from step {last} when this step acts"),
                    "put wait = { until = \"back\", max = … } between the two",
                );
            }
        }
    }

    /// The step before `i` that took the node away for good.
    fn lost_before(&self, i: usize, node: Party) -> Option<usize> {
        self.scenario.steps[..i].iter().position(|s| {
            node_fault(s).is_some_and(|f| f.node == Pick::Node(node) && f.back == Back::Never)
        })
    }

    /// That some transport node is left.
    fn all_gone(&mut self) {
        let mut named = Vec::new();
        let mut others = 0;
        for (i, step) in self.scenario.steps.iter().enumerate() {
            let Some(fault) = node_fault(step) else {
                continue;
            };
            if fault.back != Back::Never {
                continue;
            }
            match fault.node {
                Pick::Node(node @ Party::Node(_)) if !named.contains(&node) => named.push(node),
                Pick::Node(_) => continue,
                _ => others += 1,
            }
            if named.len() + others == usize::from(self.scenario.cluster.nodes) {
                self.wrong(
                    &format!("step[{i}].{}.back", kind(step)),
                    "with this step no transport node is left: nothing can be delivered",
                );
                return;
            }
        }
    }

    // --- triggers --------------------------------------------------------------

    pub(super) fn trigger(&mut self, i: usize, path: &str, trigger: &Trigger) {
        match trigger {
            Trigger::After(span) => {
                // A span of 0 is the same as "start".
                if self.value(span) != Some(0) {
                    self.span(&format!("{path}.at"), span);
                }
            }
            Trigger::Point(point) => self.point(i, &format!("{path}.at"), point),
            Trigger::Disk(point) => self.disk_point(i, &format!("{path}.at"), point),
            Trigger::Event(0) => {
                self.wrong(&format!("{path}.at.event"), "happenings are counted from 1");
            }
            Trigger::Start | Trigger::Accepted(_) | Trigger::Delivered(_) | Trigger::Event(_) => {}
        }
    }

    /// A disk that is there and in use.
    fn disk_point(&mut self, i: usize, path: &str, point: &DiskPoint) {
        let place = format!("{path}.disk");
        if !point.disk.is_node() {
            self.wrong(
                &place,
                format!("only nodes have disks, not `{}`", point.disk),
            );
        } else if !self.exists(point.disk) {
            self.no_node(&place, point.disk);
        } else if let Some(gone) = self.lost_before(i, point.disk) {
            self.wrong(
                &place,
                format!(
                    "`{}` is gone: step {gone} took it away for good",
                    point.disk
                ),
            );
        }
        if point.nth == 0 {
            self.wrong(&format!("{path}.nth"), "operations are counted from 1");
        }
    }

    fn point(&mut self, i: usize, path: &str, point: &Point) {
        let known = self.on_link(i, &format!("{path}.link"), point.link);
        if !is_phase(&point.phase) {
            self.unknown(
                &format!("{path}.phase"),
                format!(
                    "no phase is called `{}`; phases are {}, verb(NAME), verb-reply(NAME)",
                    point.phase,
                    PHASES.join(", ")
                ),
                nearest(&point.phase, PHASES),
            );
        }
        if point.nth == 0 {
            self.wrong(&format!("{path}.nth"), "passages are counted from 1");
        } else if known
            && point.link.from == Party::Client
            && once_a_transaction(&point.phase)
            && (1..point.nth).contains(&self.scenario.workload.messages)
        {
            self.wrong(
                &format!("{path}.nth"),
                format!(
                    "the workload has {} messages: passage {} of `{}` on `{}` never comes",
                    self.scenario.workload.messages, point.nth, point.phase, point.link
                ),
            );
        }
    }

    /// Whether the link is one of the cluster's and carries anything.
    pub(super) fn on_link(&mut self, i: usize, path: &str, link: Link) -> bool {
        for party in [link.from, link.to] {
            if !self.exists(party) {
                let message = self.absent(party);
                let problem = self.document.part(path, &party.to_string(), message);
                self.problems.push(problem);
                return false;
            }
        }
        let good = match (link.from, link.to) {
            (Party::Client, Party::Node(_)) => true,
            (Party::Node(_), Party::Mailbox | Party::Store(_)) => true,
            (Party::Node(a), Party::Node(b)) => a != b,
            _ => false,
        };
        if !good {
            let turned = Link::new(link.to, link.from);
            let can = matches!(
                (turned.from, turned.to),
                (Party::Client, Party::Node(_))
                    | (Party::Node(_), Party::Mailbox | Party::Store(_))
            );
            let message = format!(
                "nobody dials `{link}`; the links are client to transport node, between transport nodes, and from there to where mail ends"
            );
            self.unknown(path, message, can.then(|| turned.to_string()).as_deref());
            return false;
        }
        if let (Party::Client, Spread::Only(node)) = (link.from, self.scenario.workload.to)
            && node != link.to
            && matches!(node, Party::Node(_))
            && self.exists(node)
        {
            self.wrong(
                path,
                format!("the sender talks to `{node}` alone: nothing passes on `{link}`"),
            );
            return false;
        }
        for party in [link.from, link.to] {
            if let Some(gone) = self.lost_before(i, party) {
                self.wrong(
                    path,
                    format!("nothing passes on `{link}`: step {gone} took `{party}` away for good"),
                );
                return false;
            }
        }
        true
    }

    // --- links -------------------------------------------------------------------

    fn link(&mut self, i: usize, path: &str, fault: &LinkFault) {
        self.trigger(i, path, &fault.at);
        if let Some(link) = fault.on {
            self.on_link(i, &format!("{path}.on"), link);
        }
        let act = format!("{path}.act");
        let whole = matches!(
            fault.act,
            LinkAct::Reset
                | LinkAct::Blackhole
                | LinkAct::Mute(_)
                | LinkAct::Delay(_)
                | LinkAct::Throttle(_)
                | LinkAct::Refuse
        );
        let point = match &fault.at {
            Trigger::Point(point) => Some(point),
            _ => None,
        };
        match (point, fault.on) {
            (None, None) => self.wrong_with(
                &format!("{path}.at"),
                "which link is meant?",
                "give a point, at = { link = \"n1->mb\", phase = \"dot\" }, or name the link with `on`",
            ),
            (_, Some(_)) if !whole => self.wrong_with(
                &act,
                format!("`{}` is done at a point of one dialogue, not to a whole link", name(&fault.act)),
                "remove `on` and give a point, at = { link = …, phase = … }",
            ),
            (Some(point), None) => self.act_at(&act, &fault.act, point),
            _ => {}
        }
        match &fault.act {
            LinkAct::Delay(span) => {
                self.span(&format!("{act}.delay"), span);
            }
            LinkAct::Answer(reply) if !is_reply(reply) => self.wrong(
                &format!("{act}.answer"),
                "expected one reply line: three digits from 200 to 559, a space, text of at most 500 characters",
            ),
            _ => {}
        }
        let lasting = fault.act.lasts();
        match &fault.lasts {
            Some(_) if !lasting => self.wrong(
                &format!("{path}.for"),
                format!(
                    "`{}` is done in a moment: it does not last",
                    name(&fault.act)
                ),
            ),
            Some(span) => {
                self.span(&format!("{path}.for"), span);
            }
            None if fault.act == LinkAct::Hold && !self.held_later(i) => self.wrong_with(
                &act,
                "nothing ever releases this link",
                "say how long with `for`, or let a later step hit the `held` node",
            ),
            None => {}
        }
    }

    fn held_later(&self, i: usize) -> bool {
        self.scenario.steps[i + 1..].iter().any(|s| match s {
            Step::Pause(p) => p.node == Pick::Held,
            Step::Disk(f) => f.node == Pick::Held,
            Step::Corrupt(f) => f.node == Pick::Held,
            other => node_fault(other).is_some_and(|f| f.node == Pick::Held),
        })
    }

    /// Whether the act can be done at that phase.
    fn act_at(&mut self, path: &str, act: &LinkAct, point: &Point) {
        let phase = point.phase.as_str();
        if !is_phase(phase) {
            return;
        }
        match act {
            LinkAct::LoseReply if !holds_reply(phase) => self.wrong_with(
                path,
                format!("no reply stands at `{phase}` that could be lost"),
                "choose `end-reply` or another phase that ends in -reply",
            ),
            LinkAct::Answer(_) if !holds_command(phase) => self.wrong_with(
                path,
                format!("no command stands at `{phase}` that could be answered"),
                "choose ehlo, mail, rcpt, data, dot, quit or verb(NAME)",
            ),
            _ => {}
        }
    }

    // --- waits ---------------------------------------------------------------------

    fn wait(&mut self, i: usize, path: &str, wait: &Wait) {
        let until = format!("{path}.until");
        let max = self.span(&format!("{path}.max"), &wait.max);
        let before = &self.scenario.steps[..i];
        match wait.until {
            Until::Takeover => {
                if !before.iter().any(|s| self.outlasts_takeover(s)) {
                    self.wrong_with(
                        &until,
                        "no earlier step keeps a node away for longer than its peers wait: there is nothing to take over",
                        "a takeover needs a node that is lost, or away for longer than `takeover`",
                    );
                } else if self.scenario.cluster.nodes < 2 {
                    self.wrong(
                        &until,
                        "a single transport node has no peer that could take over",
                    );
                } else if let (Some(max), false) =
                    (max, matches!(before.last(), Some(Step::Wait(_)) | None))
                    && max < self.time("takeover")
                {
                    self.wrong(
                        &format!("{path}.max"),
                        format!(
                            "`{}` is over before a takeover may begin: takeover = {}",
                            wait.max,
                            crate::scenario::Span::nanoseconds(self.time("takeover"))
                        ),
                    );
                }
            }
            Until::Back => {
                let returns = before.iter().any(|s| match s {
                    Step::Pause(_) | Step::Corrupt(_) => true,
                    Step::Disk(f) => f.back != Back::Never,
                    Step::Link(fault) => fault.lasts.is_some(),
                    Step::Partition(p) => p.lasts.is_some(),
                    Step::Clock(c) => c.lasts.is_some(),
                    other => node_fault(other).is_some_and(|f| f.back != Back::Never),
                });
                if !returns {
                    self.wrong(&until, "no earlier step breaks anything that comes back");
                }
            }
            Until::Drained | Until::Sent | Until::Elapsed => {}
        }
    }
}

/// Whether a step takes that very node away.
fn hits(step: &Step, node: Party) -> bool {
    match step {
        Step::Pause(p) => p.node == Pick::Node(node),
        Step::Disk(f) => f.node == Pick::Node(node),
        Step::Corrupt(f) => f.node == Pick::Node(node),
        other => node_fault(other).is_some_and(|f| f.node == Pick::Node(node)),
    }
}

fn name(act: &LinkAct) -> &'static str {
    match act {
        LinkAct::Hold => "hold",
        LinkAct::Reset => "reset",
        LinkAct::HalfClose => "half-close",
        LinkAct::LoseReply => "lose-reply",
        LinkAct::CutAt(_) => "cut-at",
        LinkAct::Blackhole => "blackhole",
        LinkAct::Delay(_) => "delay",
        LinkAct::Mute(_) => "mute",
        LinkAct::Throttle(_) => "throttle",
        LinkAct::Refuse => "refuse",
        LinkAct::Answer(_) => "answer",
    }
}

/// One reply line without its CR LF (RFC 5321 4.2).
fn is_reply(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 504
        && bytes.len() >= 3
        && (b'2'..=b'5').contains(&bytes[0])
        && (b'0'..=b'5').contains(&bytes[1])
        && bytes[2].is_ascii_digit()
        && bytes.get(3).is_none_or(|b| *b == b' ')
        && bytes.iter().all(|b| (b' '..=b'~').contains(b))
}
