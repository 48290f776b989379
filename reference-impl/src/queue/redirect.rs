//! Redirecting: everything in the delivery queues goes to a peer, because this
//! node is to be taken out of service.
//!
//! The peer takes the messages as ordinary mail and so becomes their primary,
//! with copies of its own (CRE-23). Shadow queues stay: their primaries know
//! this node as the holder (ADM-02). New mail and new copies are refused
//! meanwhile. It lasts until the node is started anew.

use std::collections::VecDeque;

use super::delivery::Route;
use super::message::{LegState, Phase};
use super::{LOCAL, PeerId, Queue};
use crate::event::EventKind;
use crate::mark::Mark;

/// Why nothing was redirected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is no peer of this node; it has: {peers}")]
pub struct NoSuchPeer {
    name: String,
    /// Those there are.
    peers: String,
}

impl Queue {
    /// The configured peer of this name.
    pub(crate) fn redirect_target(&self, name: &str) -> Result<PeerId, NoSuchPeer> {
        let peer = self.find_peer(name);
        peer.filter(|at| self.peers[*at].host.is_some())
            .ok_or_else(|| {
                let known = self.config.peers.iter().map(|p| p.name.as_str());
                NoSuchPeer {
                    name: name.to_owned(),
                    peers: match known.collect::<Vec<_>>().join(", ") {
                        none if none.is_empty() => "none".to_owned(),
                        names => names,
                    },
                }
            })
    }

    /// Sends everything that waits for delivery to `peer`, and whatever will
    /// be there later.
    pub(crate) fn redirect(&mut self, peer: PeerId) {
        let Some(host) = self.peers[peer].host else {
            return;
        };
        let name = self.peers[peer].name.to_string();
        let route = self.routes.list.len();
        self.routes.list.push(Route {
            domain: name.clone(),
            hops: vec![host],
            ready: VecDeque::new(),
            exchange: None,
            resolved: None,
            put_off: 0,
            stuck: false,
        });
        self.hosts[host].routes.push(route);
        self.redirected = Some(route);
        for old in &mut self.routes.list[..route] {
            old.ready.clear();
        }
        let mut moved = 0;
        for (sequence, message) in &mut self.messages {
            if message.phase != Phase::Active {
                continue;
            }
            for (at, leg) in message.legs.iter_mut().enumerate() {
                if leg.route >= LOCAL {
                    continue;
                }
                match leg.state {
                    // What is under way ends as it ends.
                    LegState::Done | LegState::InFlight => continue,
                    LegState::Recording => {}
                    LegState::Ready | LegState::Retry(_) => {
                        leg.state = LegState::Ready;
                        self.routes.list[route].ready.push_back((*sequence, at));
                    }
                }
                leg.route = route;
                moved += 1;
            }
        }
        self.mark(Mark::Redirected);
        let detail = format!("{moved} parts of messages");
        self.log(EventKind::Redirect, None, "", &name, detail);
        self.kick_route(route);
    }
}
