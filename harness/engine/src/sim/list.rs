//! What a simulated node says that it holds, and what its store holds.

use mailproof_model::event::{Msg, Rcpt, Row, RowState, What};
use mailproof_model::history::Sink;
use mailproof_model::order::DIRECTOR;
use mailproof_model::party::Witness;
use mailproof_model::workload;
use mailproof_node::view::{MessageState, QueuesView};
use mailproof_wire::identify;

use super::SimWorld;
use super::node::State;
use crate::spool::{OnDisk, read_store};

impl<W: Sink> SimWorld<W> {
    /// Has a node list its queues.
    pub(super) fn list(&mut self, node: usize) {
        let host = &self.nodes[node];
        let party = host.party;
        match (&host.node, host.state) {
            (Some(core), State::Up) => {
                let (rows, others) = rows(&core.queues(), &self.plan.run);
                self.record(
                    Witness::Node(party),
                    What::Queues {
                        node: party,
                        rows,
                        others,
                    },
                );
            }
            _ => self.unlisted(node, "the node does not run"),
        }
    }

    fn unlisted(&mut self, node: usize, note: &str) {
        let what = What::Unlisted {
            node: self.nodes[node].party,
            note: note.to_owned(),
        };
        self.record(DIRECTOR, what);
    }

    /// Reads the store of a node that is down.
    pub(super) fn read(&mut self, node: usize) {
        if self.nodes[node].state != State::Down {
            self.unlisted(node, "the node still runs");
            return;
        }
        let host = &self.nodes[node];
        match read_store(&OnDisk(&host.storage.disk), &self.plan.run) {
            Ok(holdings) => {
                let party = host.party;
                self.record(Witness::Disk(party), holdings.event(party));
            }
            Err(error) => self.unlisted(node, &format!("its store cannot be read: {error}")),
        }
    }
}

/// A listing as rows: those of the workload's messages, and how many others.
pub(crate) fn rows(view: &QueuesView, run: &str) -> (Vec<Row>, u32) {
    let mut rows = Vec::new();
    let mut others = 0;
    let mut row = |x_mailproof: &str, addresses: &mut dyn Iterator<Item = &str>, state| {
        let Some(msg) = message(x_mailproof, run) else {
            others += 1;
            return;
        };
        let rcpts: Vec<Rcpt> = addresses
            .filter_map(|a| workload::read_address(a.as_bytes()))
            .filter(|(of, _)| *of == msg)
            .map(|(_, rcpt)| rcpt)
            .collect();
        // Without recipients nothing is owed any more.
        let state = if rcpts.is_empty() {
            RowState::Done
        } else {
            state
        };
        rows.push(Row {
            msg: Some(msg),
            rcpts,
            state,
        });
    };
    for m in &view.messages {
        let state = match m.state {
            MessageState::Completing | MessageState::Withdrawing => RowState::Done,
            MessageState::Pending
            | MessageState::Ready
            | MessageState::Retry
            | MessageState::Delivering => RowState::Queued,
        };
        let mut addresses = m.recipients.iter().map(|r| r.address.as_str());
        row(&m.x_mailproof, &mut addresses, state);
    }
    for s in &view.shadows {
        let mut addresses = s.recipients.iter().map(String::as_str);
        row(&s.x_mailproof, &mut addresses, RowState::Shadow);
    }
    (rows, others)
}

/// The message that the value of an identity header names.
fn message(value: &str, run: &str) -> Option<Msg> {
    if value.is_empty() {
        return None;
    }
    let header = format!("X-Mailproof: {value}\r\n\r\n");
    let identity = identify(header.as_bytes()).filter(|i| i.run == run)?;
    Msg::try_from(identity.message).ok()
}
