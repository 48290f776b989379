//! What shows, in a history, that copies were held and asked about all the
//! time: polls on every link between nodes while no next hop could be dialled,
//! and on each such link mail that passed before and was delivered after.

use std::collections::{BTreeMap, BTreeSet};

use mailproof_model::event::{At, Event, Msg, Stage, What};
use mailproof_model::party::{Link, Party, Witness};

/// The verb of a poll. It is asked again and again over sessions; the one who
/// asks holds copies for the one who answers.
const POLL: &str = "XQDISCARD";

/// Folds a history. See the module.
#[derive(Default)]
pub(super) struct Held {
    /// When the last of the faults began to act, and when the first was taken
    /// back.
    since: Option<At>,
    until: Option<At>,
    /// Copies that passed from one node to another before that, by message.
    copied: BTreeMap<Msg, Link>,
    delivered: BTreeSet<Msg>,
    /// Links whose copies stood for mail that was not delivered when the
    /// faults ended.
    live: BTreeSet<Link>,
    /// Answered polls while the faults stood, by link.
    polls: BTreeMap<Link, u64>,
}

impl Held {
    pub(super) fn fold(&mut self, event: &Event) {
        let link = match event.by {
            Witness::Link(link) => Some(link),
            _ => None,
        };
        match &event.ev {
            What::Fault {
                stage: Stage::Fired,
                ..
            } => {
                self.since = Some(event.at);
                self.polls.clear();
            }
            What::Fault {
                stage: Stage::Removed,
                ..
            } if self.until.is_none() => {
                self.until = Some(event.at);
                let waits = |msg: &Msg| !self.delivered.contains(msg);
                let copied = self.copied.iter();
                self.live = copied.filter(|(m, _)| waits(m)).map(|(_, l)| *l).collect();
            }
            What::Dot { msg: Some(msg), .. } if self.until.is_none() => {
                if let Some(link) = link.filter(between_nodes) {
                    self.copied.insert(*msg, link);
                }
            }
            What::Taken { msg, .. } => {
                self.delivered.insert(*msg);
            }
            What::Verb { verb, code, .. } if verb == POLL && code / 100 == 2 => {
                if let (Some(link), None) = (link, self.until) {
                    *self.polls.entry(link).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    /// Nanoseconds for which the copies stood, and the poll sessions in them.
    ///
    /// # Errors
    /// A node held no live copy for another, or did not ask about it in every
    /// interval of `poll` nanoseconds.
    pub(super) fn stood(&self, nodes: u16, poll: u64) -> Result<(u64, u64), String> {
        let (Some(since), Some(until)) = (self.since, self.until) else {
            return Err("no fault began and ended".to_owned());
        };
        let stood = until.saturating_sub(since);
        // One interval may be cut off at each end, and intervals begin when a
        // session ends.
        let least = (stood / poll).saturating_sub(2) * 99 / 100;
        let mut sum = 0;
        for holder in 1..=nodes {
            for primary in (1..=nodes).filter(|n| *n != holder) {
                let (holder, primary) = (Party::Node(holder), Party::Node(primary));
                if !self.live.contains(&Link::new(primary, holder)) {
                    return Err(format!("{holder} held no live copy for {primary}"));
                }
                let asked = Link::new(holder, primary);
                let polls = self.polls.get(&asked).copied().unwrap_or(0);
                if polls < least {
                    return Err(format!(
                        "{holder} asked {primary} {polls} times, not at least {least}"
                    ));
                }
                sum += polls;
            }
        }
        Ok((stood, sum))
    }
}

fn between_nodes(link: &Link) -> bool {
    matches!((link.from, link.to), (Party::Node(_), Party::Node(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Two nodes, a fault of 100 s, polls every 10 s on each of `asking`.
    fn held(asking: &[&str], delivered_early: bool) -> Held {
        let link = |name: &str| Witness::Link(name.parse().unwrap());
        let fault = |stage| What::Fault {
            fault: 0,
            stage,
            text: String::new(),
            node: None,
            link: None,
            conn: None,
        };
        let dot = |msg| What::Dot {
            conn: 1,
            msg: Some(msg),
            attempt: Some(1),
            rcpts: vec![0],
            strangers: Vec::new(),
            reverse: None,
            digest: String::new(),
        };
        let taken = What::Taken {
            conn: 1,
            from: Party::Node(1),
            msg: 0,
            attempt: 1,
            rcpts: vec![0],
            strangers: Vec::new(),
            digest: String::new(),
        };
        let mut events = vec![
            (0, link("n1->n2"), dot(0)),
            (0, link("n2->n1"), dot(1)),
            (SECOND, Witness::Injector, fault(Stage::Fired)),
        ];
        for n in 1..=9 {
            for name in asking {
                let poll = What::Verb {
                    conn: 2,
                    verb: POLL.to_owned(),
                    code: 250,
                };
                events.push((SECOND + n * 10 * SECOND, link(name), poll));
            }
        }
        if delivered_early {
            events.push((99 * SECOND, Witness::Mailbox, taken));
        }
        events.push((101 * SECOND, Witness::Injector, fault(Stage::Removed)));
        let mut held = Held::default();
        for (id, (at, by, ev)) in (0..).zip(events) {
            held.fold(&Event { id, at, by, ev });
        }
        held
    }

    #[test]
    fn every_node_holds_and_asks() {
        let both = held(&["n1->n2", "n2->n1"], false);
        assert_eq!(both.stood(2, 10 * SECOND), Ok((100 * SECOND, 18)));
    }

    #[test]
    fn a_copy_of_delivered_mail_is_not_live() {
        let early = held(&["n1->n2", "n2->n1"], true);
        assert_eq!(
            early.stood(2, 10 * SECOND),
            Err("n2 held no live copy for n1".to_owned())
        );
    }

    #[test]
    fn a_holder_that_does_not_ask_is_seen() {
        let silent = held(&["n1->n2"], false);
        assert_eq!(
            silent.stood(2, 10 * SECOND),
            Err("n2 asked n1 0 times, not at least 7".to_owned())
        );
        // Polls twice as far apart as they should be.
        let rare = held(&["n1->n2", "n2->n1"], false);
        assert!(rare.stood(2, 5 * SECOND).is_err());
    }
}
