//! The inspection view of the queue.

use std::collections::BTreeMap;

use super::message::{CopyState, LegState, Message, Phase, RecipientState};
use super::{LOCAL, Queue, header, name_of};
use crate::record::{CopyKey, Kept};
use crate::view::{
    DatabaseRow, DiscardRow, MessageRow, MessageState, Origin, PeerRow, QueueRow, QueuesView,
    RecipientRow, RequestRow, SafetyNetView, ShadowRow,
};

impl Queue {
    /// Everything, as rows.
    pub(crate) fn view(&self) -> QueuesView {
        QueuesView {
            node: self.config.name.clone(),
            database_id: self.database.to_string(),
            boot: self.boot,
            queues: self.queue_rows(),
            messages: self
                .messages
                .iter()
                .filter(|(_, message)| message.phase != Phase::Kept)
                .map(|(s, m)| self.message_row(*s, m))
                .collect(),
            shadows: self.shadow_rows(),
            discards: self.discard_rows(),
            peers: self.peer_rows(),
            databases: self.database_rows(),
            safety_net: self.safety_net(),
            requests: self.request_rows(),
            counters: self.counters,
            body_bytes: self.body_bytes,
            pressure: self.level.name().to_owned(),
            redirected_to: match self.redirected {
                Some(route) => self.routes.list[route].domain.clone(),
                None => String::new(),
            },
        }
    }

    fn queue_rows(&self) -> Vec<QueueRow> {
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        let mut retries: BTreeMap<usize, u64> = BTreeMap::new();
        for message in self.messages.values() {
            for leg in message
                .legs
                .iter()
                .filter(|leg| leg.state != LegState::Done)
            {
                *counts.entry(leg.route).or_default() += 1;
                if let LegState::Retry(at) = leg.state {
                    let next = retries.entry(leg.route).or_insert(at);
                    *next = at.min(*next);
                }
            }
        }
        let node = &self.config.name;
        let mut rows = Vec::new();
        for (route, count) in counts {
            if route >= LOCAL {
                rows.extend(self.database_queue(route, count, retries.get(&route).copied()));
                continue;
            }
            let entry = &self.routes.list[route];
            let hosts = || entry.hops.iter().map(|hop| &self.hosts[*hop]);
            let now = self.now.mono;
            let all_down = hosts().all(|host| host.down_until > now);
            let down_until = hosts()
                .map(|host| host.down_until)
                .min()
                .filter(|_| all_down);
            let status = if all_down {
                "Retry"
            } else if hosts().any(|host| host.sessions > host.connecting) {
                "Active"
            } else if hosts().any(|host| host.connecting > 0) {
                "Connecting"
            } else {
                "Ready"
            };
            let next = down_until.or(retries.get(&route).copied());
            rows.push(QueueRow {
                identity: format!("{node}\\{}", entry.domain),
                delivery_type: "SmtpRelay".to_owned(),
                next_hop_domain: entry.domain.clone(),
                status: status.to_owned(),
                message_count: count,
                last_error: hosts()
                    .map(|host| host.last_error.clone())
                    .find(|error| !error.is_empty())
                    .unwrap_or_default(),
                next_retry: next.map(|at| at.saturating_sub(now)),
            });
        }
        for (at, peer) in self.peers.iter().enumerate() {
            let count = peer.held.len() + peer.hold.kept.len();
            if count == 0 {
                continue;
            }
            let error = peer.host.map(|host| self.hosts[host].last_error.clone());
            rows.push(QueueRow {
                identity: format!("{node}\\Shadow\\{at}"),
                delivery_type: "ShadowRedundancy".to_owned(),
                next_hop_domain: peer.name.to_string(),
                status: if peer.reachable { "Ready" } else { "Retry" }.to_owned(),
                message_count: count as u64,
                last_error: error.unwrap_or_default(),
                next_retry: None,
            });
        }
        rows
    }

    /// The delivery queue of a mailbox database.
    fn database_queue(&self, route: usize, count: u64, next: Option<u64>) -> Option<QueueRow> {
        let database = self.databases.get(route - LOCAL)?;
        let (node, name) = (&self.config.name, &database.name);
        let (status, error) = if database.mounted {
            ("Active", String::new())
        } else {
            let why = format!("451 4.3.2 Mailbox database {name} is not mounted");
            ("Retry", why)
        };
        Some(QueueRow {
            identity: format!("{node}\\{name}"),
            delivery_type: "SmtpDeliveryToMailbox".to_owned(),
            next_hop_domain: name.to_string(),
            status: status.to_owned(),
            message_count: count,
            last_error: error,
            next_retry: next.map(|at| at.saturating_sub(self.now.mono)),
        })
    }

    fn database_rows(&self) -> Vec<DatabaseRow> {
        self.databases
            .iter()
            .map(|database| DatabaseRow {
                name: database.name.to_string(),
                mounted: database.mounted,
                at: database
                    .at
                    .map_or_else(String::new, |peer| self.peers[peer].name.to_string()),
                deliveries: database.deliveries.len() as u64,
            })
            .collect()
    }

    fn safety_net(&self) -> SafetyNetView {
        let mut view = SafetyNetView {
            since: self.safety.since,
            ..SafetyNetView::default()
        };
        for what in self.safety.entries.keys() {
            match what {
                Kept::Own(_) => view.primary += 1,
                Kept::Copy(..) => view.shadow += 1,
                Kept::Lost(_) => view.lost += 1,
            }
        }
        view
    }

    /// The resubmit requests.
    pub(crate) fn request_rows(&self) -> Vec<RequestRow> {
        self.safety
            .requests
            .values()
            .map(|request| RequestRow {
                id: request.kept.id,
                database: request.kept.database.to_string(),
                start: request.kept.start,
                end: request.kept.end,
                shadow_of: request.kept.shadow_of.to_string(),
                asker: request.kept.asker.to_string(),
                state: request.state().to_owned(),
                replays: request.replays,
                failures: request.failures,
                waiting_for: request
                    .kept
                    .asked
                    .iter()
                    .filter(|asked| !asked.done)
                    .map(|asked| asked.peer.to_string())
                    .collect(),
            })
            .collect()
    }

    fn message_row(&self, sequence: u64, message: &Message) -> MessageRow {
        let now = self.now.mono;
        let state = match message.phase {
            Phase::Pending | Phase::TakingOver => MessageState::Pending,
            Phase::Completing | Phase::Kept => MessageState::Completing,
            Phase::Withdrawing => MessageState::Withdrawing,
            Phase::Active if message.in_flight() => MessageState::Delivering,
            Phase::Active if message.legs.iter().any(|l| l.state == LegState::Ready) => {
                MessageState::Ready
            }
            Phase::Active => MessageState::Retry,
        };
        let retry_of = |at: u32| {
            let leg = message
                .legs
                .iter()
                .find(|leg| leg.recipients.contains(&at))?;
            match leg.state {
                LegState::Retry(at) => Some(at.saturating_sub(now)),
                _ => None,
            }
        };
        let recipients = message
            .recipients
            .iter()
            .enumerate()
            .filter(|(_, r)| matches!(r.state, RecipientState::Waiting | RecipientState::Failed))
            .map(|(at, r)| RecipientRow {
                address: message.envelope.recipients[at].to_string(),
                last_error: r.last_error.as_deref().unwrap_or_default().to_owned(),
                next_retry: retry_of(at as u32),
            })
            .collect();
        MessageRow {
            id: name_of(sequence),
            sequence,
            state,
            sender: message.envelope.sender.to_string(),
            recipients,
            arrival: message.arrival,
            shadowed_at: message
                .holders
                .iter()
                .filter(|h| h.acknowledged)
                .map(|h| self.peers[h.peer].name.to_string())
                .collect(),
            unshadowed: message.copy == CopyState::Failed && message.unshadowed(),
            taken_over_from: message
                .taken_from
                .as_ref()
                .map(|from| origin(&self.peers[from.peer].name, &from.key)),
            message_id: header::text(&message.body, "Message-ID"),
            x_mailproof: header::text(&message.body, "X-Mailproof"),
        }
    }

    fn shadow_rows(&self) -> Vec<ShadowRow> {
        let mut rows = Vec::new();
        for peer in &self.peers {
            for (key, held) in &peer.held {
                rows.push(ShadowRow {
                    origin: origin(&peer.name, key),
                    sender: held.envelope.sender.to_string(),
                    recipients: held
                        .envelope
                        .recipients
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                    arrival: held.arrival,
                    message_id: header::text(&held.body, "Message-ID"),
                    x_mailproof: header::text(&held.body, "X-Mailproof"),
                });
            }
        }
        for message in self.messages.values() {
            for fork in &message.forks {
                let address = |at: &u32| message.envelope.recipients[*at as usize].to_string();
                rows.push(ShadowRow {
                    origin: origin(&self.peers[fork.peer].name, &fork.key),
                    sender: message.envelope.sender.to_string(),
                    recipients: fork.recipients.iter().map(address).collect(),
                    arrival: message.arrival,
                    message_id: header::text(&message.body, "Message-ID"),
                    x_mailproof: header::text(&message.body, "X-Mailproof"),
                });
            }
        }
        rows
    }

    fn discard_rows(&self) -> Vec<DiscardRow> {
        self.peers
            .iter()
            .filter(|peer| !(peer.discards.is_empty() && peer.hold.reports.is_empty()))
            .map(|peer| DiscardRow {
                peer: peer.name.to_string(),
                sequences: peer
                    .discards
                    .keys()
                    .copied()
                    .chain(peer.hold.reports.keys().map(|key| key.sequence))
                    .collect(),
                withdrawn: peer
                    .discards
                    .iter()
                    .filter(|(_, d)| d.withdrawn)
                    .map(|(s, _)| *s)
                    .collect(),
            })
            .collect()
    }

    fn peer_rows(&self) -> Vec<PeerRow> {
        self.peers
            .iter()
            .map(|peer| PeerRow {
                name: peer.name.to_string(),
                place: peer.place.name().to_owned(),
                database_id: peer.database.map(|id| id.to_string()).unwrap_or_default(),
                reachable: peer.reachable,
                since_contact: self.now.mono.saturating_sub(peer.last_contact),
                held: (peer.held.len() + peer.hold.kept.len()) as u64,
            })
            .collect()
    }
}

fn origin(primary: &str, key: &CopyKey) -> Origin {
    Origin {
        primary: primary.to_owned(),
        database_id: key.database.to_string(),
        sequence: key.sequence,
    }
}
