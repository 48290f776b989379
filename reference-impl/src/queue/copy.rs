//! Having a copy of a message made on a peer.
//!
//! Only peers inside the boundary and on other machines are asked. In a
//! boundary of several sites those of other sites come first, then those of
//! the own one, as `shadow-message-preference-setting` allows;
//! `max-retries-for-remote-site-shadow` and `max-retries-for-local-site-shadow`
//! are the total numbers of attempts there, as documented. Within a site
//! attempts go to different peers while there are untried ones, to the least
//! loaded first and in turn among equals; peers that could not be reached
//! lately come last.
//!
//! Documents do not say what becomes of a message whose copy is lost with its
//! holder. Here the primary has another one made as soon as the holder shows
//! up with a new database, or was silent for `shadow-resubmit-time-span`. A
//! holder that comes back after all is told to drop its copy (its question
//! about it is answered with "unknown"), lest two of them take the message
//! over one day. A message that was accepted without any copy stays without.

use super::message::{CopyState, Holder, Message, Phase, boot_of};
use super::{Host, Peer, PeerId, Queue, Timer};
use crate::config::Place;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::Header;

/// Messages that are protected again in one turn, so that a lost peer does not
/// make for more attempts at once than the others can take.
const PROTECT: usize = 1000;

/// One attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) sequence: u64,
    pub(crate) peer: PeerId,
    /// How many came before it; tells a late result from a current one.
    pub(crate) number: usize,
    /// When it is given up, on the monotonic clock.
    pub(crate) deadline: u64,
}

impl Queue {
    /// The peer to ask next for a copy of `message`; `None` when the attempts
    /// are used up or there is no peer.
    pub(crate) fn choose_peer(&mut self, message: &Message) -> Option<PeerId> {
        let several_sites = self.peers.iter().any(|p| p.place == Place::Remote);
        let (remote, local) = self.config.copy_attempts(several_sites);
        // Other sites first: which of the two are wanted at all, and how
        // often, says the preference.
        self.choose_in(message, Place::Remote, remote)
            .or_else(|| self.choose_in(message, Place::Local, local))
    }

    /// The peer of this place to ask next, with at most `attempts` in all.
    fn choose_in(&mut self, message: &Message, place: Place, attempts: usize) -> Option<PeerId> {
        let asked = message.asked.iter();
        if asked.filter(|p| self.peers[**p].place == place).count() >= attempts {
            return None;
        }
        let known = self.peers.iter().enumerate();
        let old_primary = message.taken_from.as_ref().map(|from| from.peer);
        let usable: Vec<PeerId> = known
            .filter(|(at, peer)| {
                peer.place == place && peer.takes_copies && peer.holds && Some(*at) != old_primary
            })
            .map(|(at, _)| at)
            .collect();
        let untried = |peer: &PeerId| !message.asked.contains(peer);
        let any_untried = usable.iter().any(untried);
        self.turn = self.turn.wrapping_add(1);
        let (turn, count) = (self.turn, self.peers.len());
        let now = self.now.mono;
        usable
            .into_iter()
            .filter(|peer| !any_untried || untried(peer))
            .min_by_key(|at| {
                let peer = &self.peers[*at];
                let down = peer
                    .host
                    .is_some_and(|host: usize| self.hosts[host].down_until > now);
                let failed = message.holders.iter().any(|h| h.peer == *at);
                (down, failed, peer.copying, (*at + turn) % count)
            })
    }

    /// Asks `peer` for a copy, or gives the copy up when there is none.
    pub(crate) fn try_copy(&mut self, sequence: u64, peer: Option<PeerId>) {
        let deadline = self.later(self.config.shadow_attempt_timeout);
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        let Some((peer, host)) = peer.and_then(|p| Some((p, self.peers[p].host?))) else {
            message.copy = CopyState::Failed;
            let attempts = message.asked.len();
            let server = message
                .asked
                .last()
                .map(|p| self.peers[*p].name.to_string());
            let detail = match attempts {
                0 => self.nobody_to_ask(),
                n => format!("{n} attempts failed"),
            };
            let server = server.unwrap_or_default();
            self.log(
                EventKind::HaRedirectFail,
                Some(sequence),
                "",
                &server,
                detail,
            );
            return self.check_accept(sequence);
        };
        message.copy = CopyState::Trying(peer);
        message.asked.push(peer);
        let number = message.asked.len();
        let attempt = Attempt {
            sequence,
            peer,
            number,
            deadline,
        };
        self.peers[peer].copying += 1;
        let entry: &mut Host = &mut self.hosts[host];
        entry.copies.push_back(attempt);
        let open = entry.copies.len();
        if !self.engage(host, open) {
            // It waits for a session; not longer than the attempt may take.
            let entry = &mut self.hosts[host];
            Self::arm(
                &mut self.timers,
                Timer::Host(host),
                deadline,
                &mut entry.armed,
            );
        }
        #[cfg(feature = "defects")]
        if self.config.has(crate::defect::Defect::AckBeforeCopy) {
            self.check_accept(sequence);
        }
    }

    /// Why no peer was asked for a copy.
    fn nobody_to_ask(&self) -> String {
        let inside = |p: &Peer| matches!(p.place, Place::Local | Place::Remote);
        let why = if self.peers.is_empty() {
            "no peer"
        } else if self.peers.iter().any(inside) {
            "no attempt is allowed at a peer that could be asked"
        } else {
            "no peer inside the boundary on another machine"
        };
        why.to_owned()
    }

    /// Whether an attempt is still the current one of its message.
    pub(crate) fn attempt_stands(&self, attempt: Attempt) -> bool {
        self.messages.get(&attempt.sequence).is_some_and(|message| {
            message.copy == CopyState::Trying(attempt.peer) && message.asked.len() == attempt.number
        })
    }

    /// The content is about to leave: from here on the peer may hold a copy,
    /// whatever happens. The first choice stands in the MESSAGE record, any
    /// other gets a record of its own; a restart in between is healed by the
    /// peer's own question about its copies.
    pub(crate) fn copy_leaves(&mut self, attempt: Attempt) {
        let Some(message) = self.messages.get_mut(&attempt.sequence) else {
            return;
        };
        message.add_holder(attempt.peer, false);
        if attempt.number > 1 || message.phase == Phase::Active {
            self.record_holder(attempt.sequence, attempt.peer);
        }
    }

    /// Records that a peer may hold a copy.
    pub(crate) fn record_holder(&mut self, sequence: u64, peer: PeerId) {
        let peer = self.peers[peer].name.clone();
        let seq = self.append(&Header::Holder { sequence, peer }, &[]);
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.records.push(seq);
        }
    }

    /// The peer acknowledged the copy.
    pub(crate) fn copy_made(&mut self, attempt: Attempt) {
        self.attempt_over(attempt.peer);
        self.counters.shadows_made += 1;
        let Some(message) = self.messages.get_mut(&attempt.sequence) else {
            return;
        };
        message.add_holder(attempt.peer, true);
        if !matches!(message.copy, CopyState::Trying(_)) {
            // Late: it must still be told when the message is done.
            return;
        }
        message.copy = CopyState::Made;
        let elsewhere = message.asked.first() != Some(&attempt.peer);
        let place = self.peers[attempt.peer].place;
        let own_site_after_others = place == Place::Local
            && message
                .asked
                .iter()
                .any(|p| self.peers[*p].place == Place::Remote);
        let taken = message.taken_from.is_some();
        if elsewhere {
            self.mark(Mark::CopyElsewhere);
        }
        if place == Place::Remote {
            self.mark(Mark::CopyInOtherSite);
        }
        if own_site_after_others {
            self.mark(Mark::CopyInOwnSiteAfterOthers);
        }
        if taken {
            self.mark(Mark::ProtectedAfterTakeover);
        }
        if self.logging {
            let server = self.peers[attempt.peer].name.to_string();
            self.log(
                EventKind::HaRedirect,
                Some(attempt.sequence),
                "",
                &server,
                String::new(),
            );
        }
        self.check_accept(attempt.sequence);
        self.check_complete(attempt.sequence);
    }

    /// The attempt failed; `maybe` when the peer may hold a copy all the same,
    /// because the connection ended between the final dot and the reply.
    pub(crate) fn copy_failed(&mut self, attempt: Attempt, why: &str, maybe: bool) {
        self.attempt_over(attempt.peer);
        self.counters.shadow_attempts_failed += 1;
        if maybe {
            self.mark(Mark::CopyUncertain);
        }
        if !self.attempt_stands(attempt) {
            return;
        }
        let Some(message) = self.messages.get_mut(&attempt.sequence) else {
            return;
        };
        // An earlier attempt at the same peer may have left a copy there.
        let first = message.asked.iter().filter(|p| **p == attempt.peer).count() == 1;
        if !maybe && first {
            message
                .holders
                .retain(|h| h.peer != attempt.peer || h.acknowledged);
        }
        message.copy = CopyState::Failed;
        let server = self.peers[attempt.peer].name.to_string();
        let detail = format!("attempt {}: {why}", attempt.number);
        self.log(
            EventKind::HaRedirectFail,
            Some(attempt.sequence),
            "",
            &server,
            detail,
        );
        self.copy_again(attempt.sequence);
    }

    fn attempt_over(&mut self, peer: PeerId) {
        let entry = &mut self.peers[peer];
        entry.copying = entry.copying.saturating_sub(1);
    }

    /// A peer lost its database, and with it every copy it held for us:
    /// messages that are still here are made redundant again. Of a holder whose
    /// store was salvaged (`kept`) nobody knows: it may have a copy.
    pub(crate) fn holder_lost(&mut self, peer: PeerId, kept: bool) {
        let mut bare = Vec::new();
        for (sequence, message) in &mut self.messages {
            let mut lost = false;
            for holder in message.holders.iter_mut().filter(|h| h.peer == peer) {
                lost |= std::mem::replace(&mut holder.acknowledged, false);
            }
            if lost && !kept {
                message.holders.retain(|h| h.peer != peer);
            }
            let over = !matches!(message.phase, Phase::Pending | Phase::Active);
            if lost && message.unshadowed() && !over {
                bare.push(*sequence);
            }
        }
        for sequence in bare {
            if let Some(message) = self.messages.get_mut(&sequence)
                && message.copy == CopyState::Made
            {
                message.copy = CopyState::Failed;
                message.asked.clear();
                self.mark(Mark::CopyRemade);
                self.copy_again(sequence);
            }
        }
    }

    /// Sets the time at which holders are looked at.
    pub(crate) fn arm_protect(&mut self) {
        if self.peers.is_empty() || !self.config.copies() {
            return;
        }
        let turn = self.config.shadow_resubmit_time_span / 4;
        let at = self.later(turn.max(self.config.shadow_heartbeat_frequency));
        Self::arm(
            &mut self.timers,
            Timer::Protect,
            at,
            &mut self.protect_armed,
        );
    }

    /// Has copies made again whose holders are silent for so long that they
    /// count as lost.
    pub(crate) fn protect_due(&mut self) {
        self.protect_armed = 0;
        if self.messages.is_empty() {
            return;
        }
        let bare: Vec<u64> = self
            .messages
            .iter()
            .filter(|(sequence, message)| {
                let idle = matches!(message.copy, CopyState::Made | CopyState::Failed);
                let had = !message.holders.is_empty()
                    || message.taken_from.is_some()
                    || boot_of(**sequence) < self.boot;
                let holds = |h: &Holder| self.holds(**sequence, *h);
                message.phase == Phase::Active
                    && !message.cancelled
                    && idle
                    && had
                    && !message.holders.iter().any(holds)
            })
            .map(|(sequence, _)| *sequence)
            .take(PROTECT)
            .collect();
        for sequence in bare {
            if let Some(message) = self.messages.get_mut(&sequence) {
                message.copy = CopyState::Failed;
                message.asked.clear();
                for holder in &mut message.holders {
                    holder.acknowledged = false;
                }
                self.mark(Mark::CopyRemade);
                self.copy_again(sequence);
            }
        }
        self.arm_protect();
    }

    /// Whether a peer can be relied on to have a copy. For a while after our
    /// own start that goes for those too that the store names.
    fn holds(&self, sequence: u64, holder: Holder) -> bool {
        let span = self.later(self.config.shadow_resubmit_time_span) - self.now.mono;
        let since = if holder.acknowledged {
            self.peers[holder.peer].last_contact
        } else if boot_of(sequence) < self.boot {
            self.started
        } else {
            return false;
        };
        self.now.mono.saturating_sub(since) < span
    }

    /// Whether the copy that `peer` has of a message is one too many: another
    /// peer, heard of lately, acknowledged one, and this one did not or was
    /// given up.
    pub(crate) fn surplus(&self, message: &Message, peer: PeerId) -> bool {
        let lately = self.later(self.config.shadow_heartbeat_frequency * 2) - self.now.mono;
        let ours = message.holders.iter().find(|h| h.peer == peer);
        message.phase == Phase::Active
            && ours.is_some_and(|h| !h.acknowledged)
            && message.holders.iter().any(|h| {
                let heard = self.peers[h.peer].last_contact;
                h.acknowledged && self.now.mono.saturating_sub(heard) < lately
            })
    }

    /// Starts the next attempt of a message that has none under way.
    pub(crate) fn copy_again(&mut self, sequence: u64) {
        let Some(message) = self.messages.remove(&sequence) else {
            return;
        };
        let wanted = matches!(message.phase, Phase::Pending | Phase::Active);
        let next = if wanted {
            self.choose_peer(&message)
        } else {
            None
        };
        self.messages.insert(sequence, message);
        if wanted && !self.check_complete(sequence) {
            self.try_copy(sequence, next);
        }
    }
}
