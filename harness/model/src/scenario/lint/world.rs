//! Names, cluster, workload and times.

use super::Lint;
use crate::party::Party;
use crate::planning;
use crate::rules;
use crate::scenario::{Back, Inequality, Pick, Spread};
use crate::suggest::nearest;
use crate::target::CAPABILITIES;

/// The longest title, in characters: it must fit one line of a report.
const TITLE: usize = 100;

/// The most messages of one scenario.
const MESSAGES: u32 = 10_000_000;

/// The largest message, in bytes.
pub(super) const SIZE: u64 = 64 << 20;

impl Lint<'_> {
    pub(super) fn identity(&mut self) {
        let scenario = self.scenario;
        let word = |w: &str| {
            w.starts_with(|c: char| c.is_ascii_lowercase())
                && w.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        let good = scenario.id.len() <= 80
            && scenario
                .id
                .split_once('/')
                .is_some_and(|(family, name)| word(family) && word(name));
        if !good {
            self.wrong_with(
                "id",
                format!("`{}` is no id of the form `family/name`", scenario.id),
                "lower case letters, digits and hyphens, as in `shadow/primary-lost`",
            );
        }
        let title = scenario.title.trim();
        let length = title.chars().count();
        if title.is_empty() {
            self.wrong(
                "title",
                "the title is empty: one line that a user understands is expected",
            );
        } else if length > TITLE {
            self.wrong(
                "title",
                format!("the title has {length} characters; at most {TITLE} are allowed"),
            );
        } else if title.contains('\n') {
            self.wrong(
                "title",
                "the title has more than one line; `about` is for more",
            );
        }
        for (i, id) in scenario.rules.iter().enumerate() {
            let path = format!("rules[{i}]");
            if rules::get(id).is_none() {
                let near = rules::nearest(id).map(|rule| rule.id.as_str());
                self.unknown(&path, format!("no rule is called `{id}`"), near);
            } else if scenario.rules[..i].contains(id) {
                self.wrong(&path, format!("`{id}` is listed twice"));
            }
        }
        for (i, name) in scenario.needs.iter().enumerate() {
            let path = format!("needs[{i}]");
            if !CAPABILITIES.iter().any(|(known, _)| known == name) {
                let near = nearest(name, CAPABILITIES.iter().map(|c| c.0));
                self.unknown(&path, format!("no capability is called `{name}`"), near);
            } else if scenario.needs[..i].contains(name) {
                self.wrong(&path, format!("`{name}` is listed twice"));
            }
        }
    }

    pub(super) fn cluster(&mut self) {
        let cluster = &self.scenario.cluster;
        if !(1..=50).contains(&cluster.nodes) {
            self.wrong("cluster.nodes", "expected 1 to 50 transport nodes");
        }
        if !(1..=10).contains(&cluster.sites) || cluster.sites > cluster.nodes.max(1) {
            self.wrong("cluster.sites", "expected 1 to 10 sites, each with a node");
        }
        if cluster.stores > 10 {
            self.wrong(
                "cluster.stores",
                "expected at most 10 nodes that own mailboxes",
            );
        } else if cluster.stores > 0 && !self.needs("owns-mailbox") {
            self.wrong_with(
                "cluster.stores",
                "nodes that own mailboxes need a target that has them",
                "add \"owns-mailbox\" to `needs`",
            );
        }
    }

    pub(super) fn workload(&mut self) {
        let workload = &self.scenario.workload;
        if !self.document.has("workload") {
            self.wrong_with(
                "workload",
                "`workload` is missing: a scenario without mail proves nothing",
                "add [workload] with `messages`, or [chaos], from which each seed draws",
            );
        } else if workload.messages == 0 {
            self.wrong(
                "workload.messages",
                "a scenario without mail proves nothing: at least 1 message is expected",
            );
        } else if workload.messages > MESSAGES {
            self.wrong(
                "workload.messages",
                format!("expected at most {MESSAGES} messages"),
            );
        }
        if workload.recipients.least == 0 {
            self.wrong(
                "workload.recipients",
                "a message without recipients proves nothing: at least 1 is expected",
            );
        } else if workload.recipients.most > 100 {
            self.wrong_with(
                "workload.recipients",
                "expected at most 100 recipients a message",
                "100 is what every server must take in one transaction (RFC 5321 4.5.3.1.8)",
            );
        }
        if workload.size.most > SIZE {
            self.wrong("workload.size", "expected at most 64 MiB a message");
        } else if workload.size.most == 0 {
            self.wrong("workload.size", "expected messages of more than 0 bytes");
        }
        if !(1..=256).contains(&workload.sessions) {
            self.wrong("workload.sessions", "expected 1 to 256 sessions");
        }
        if let Spread::Only(node) = workload.to {
            match node {
                Party::Node(_) if self.exists(node) => self.only(node),
                Party::Node(_) => self.no_node("workload.to", node),
                _ => self.wrong(
                    "workload.to",
                    format!(
                        "the sender has no link to `{node}`; it talks to transport nodes (`n1`, …)"
                    ),
                ),
            }
        }
    }

    /// A session that waits between messages waits for some time.
    pub(super) fn pace(&mut self) {
        if let Some(pace) = &self.scenario.workload.pace {
            self.span("workload.pace", pace);
        }
    }

    /// All mail goes to one node: it must not be lost for good.
    fn only(&mut self, node: Party) {
        let lost = self.scenario.steps.iter().position(|step| {
            super::node_fault(step)
                .is_some_and(|f| f.node == Pick::Node(node) && f.back == Back::Never)
        });
        if let Some(step) = lost {
            self.wrong_with(
                "workload.to",
                format!("all mail goes to `{node}`, which step {step} takes away for good: what was not accepted before then never can be"),
                "send to \"round-robin\", or to another node",
            );
        }
    }

    /// Whether the cluster has such a node.
    pub(super) fn exists(&self, node: Party) -> bool {
        let cluster = &self.scenario.cluster;
        match node {
            Party::Node(n) => n <= cluster.nodes,
            Party::Store(m) => m <= cluster.stores,
            Party::Client => true,
            Party::Mailbox => cluster.stores == 0,
        }
    }

    /// What to say of a party that the cluster does not have.
    pub(super) fn absent(&self, node: Party) -> String {
        let cluster = &self.scenario.cluster;
        match node {
            Party::Store(_) if cluster.stores == 0 => {
                format!(
                    "there is no `{node}`: the cluster has no nodes that own mailboxes (`stores = 0`)"
                )
            }
            Party::Store(_) if cluster.stores == 1 => {
                format!("there is no `{node}`: the one node that owns mailboxes is `m1`")
            }
            Party::Store(_) => format!(
                "there is no `{node}`: the nodes that own mailboxes are `m1` to `m{}`",
                cluster.stores
            ),
            Party::Mailbox => {
                format!("there is no `{node}`: mail ends at the nodes that own mailboxes (`m1`, …)")
            }
            _ if cluster.nodes == 1 => {
                format!("there is no `{node}`: the one transport node is `n1`")
            }
            _ => format!(
                "there is no `{node}`: the transport nodes are `n1` to `n{}`",
                cluster.nodes
            ),
        }
    }

    pub(super) fn no_node(&mut self, path: &str, node: Party) {
        let message = self.absent(node);
        self.wrong(path, message);
    }

    pub(super) fn times(&mut self) {
        let time = &self.scenario.time;
        let written = [
            ("poll", &time.poll),
            ("takeover", &time.takeover),
            ("retry", &time.retry),
            ("resend", &time.resend),
            ("patience", &time.patience),
        ];
        // In order: a time may refer to those before it.
        for (name, default) in planning::TIMES {
            let span = written.iter().find(|(n, _)| *n == name);
            let value = match span.and_then(|(_, span)| span.as_ref()) {
                Some(span) => self.span(&format!("time.{name}"), span).unwrap_or(default),
                None => default,
            };
            self.times.insert(name.to_owned(), value);
        }
        if self.time("poll") > self.time("takeover") {
            let words = planning::in_words(&self.times, ["poll", "takeover"].into_iter());
            self.wrong_with(
                if time.poll.is_some() {
                    "time.poll"
                } else {
                    "time.takeover"
                },
                format!("a shadow holder would take over before it polls once: {words}"),
                "poll must not be longer than takeover",
            );
        }
        for (i, inequality) in time.require.iter().enumerate() {
            self.inequality(&format!("time.require[{i}]"), inequality);
        }
    }

    fn inequality(&mut self, path: &str, inequality: &Inequality) {
        let mut known = true;
        for name in inequality.left.names().chain(inequality.right.names()) {
            let measured = planning::MEASURED
                .iter()
                .any(|m| name == *m || name.strip_suffix('s') == Some(m));
            if !measured && !self.resolves(name) {
                known = false;
                self.no_time(path, name, true);
            }
        }
        if known && inequality.holds(&self.times) == Some(false) {
            let words = planning::in_words(
                &self.times,
                inequality.left.names().chain(inequality.right.names()),
            );
            self.wrong(
                path,
                format!("`{inequality}` does not hold with the planned times: {words}"),
            );
        }
    }
}
