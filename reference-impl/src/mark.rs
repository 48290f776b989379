//! Coverage marks: rare conditions that a search should reach.
//!
//! A mark is what the node says of itself, so it proves nothing about mail; it
//! tells a campaign which corners its seeds have turned, and which they have
//! not.

/// Defines [`Mark`]: variant, name in reports, and what has happened.
macro_rules! marks {
    ($($variant:ident $name:literal $what:literal)*) => {
        /// A rare condition.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mark {
            $(#[doc = $what] $variant,)*
        }

        impl Mark {
            /// Every mark, in the order of reports.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What has happened, in words: one sentence.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$variant => $what,)*
                }
            }
        }
    };
}

marks! {
    // Takeover.
    TakeoverBySilence "takeover-by-silence"
        "A shadow took over mail of a primary that was silent for too long."
    TakeoverByDatabase "takeover-by-database"
        "A shadow took over mail of a primary that came back with another database."
    TakeoverAfterOwnStart "takeover-after-own-start"
        "A shadow took over mail of a primary that it had not heard of since its own start."
    TakeoverDuringReport "takeover-during-report"
        "A shadow took over mail while its question for discards was under way."
    TakeoverSparesCopy "takeover-spares-copy"
        "A takeover left a copy alone that was not durable yet."
    ReturnDuringTakeover "return-during-takeover"
        "A primary came back with its database while mail taken over from it was not settled."
    ProtectedAfterTakeover "protected-after-takeover"
        "A message taken over was made redundant again on another peer."
    BounceAfterTakeover "bounce-after-takeover"
        "A message taken over could not be delivered and was returned."
    // Discards, at the holder.
    DiscardAfterTakeover "discard-after-takeover"
        "A primary reported a message done that its shadow had taken over."
    DiscardDuringDelivery "discard-during-delivery"
        "A primary reported a message done while its shadow was delivering it after a takeover."
    DiscardDuringPromotion "discard-during-promotion"
        "A primary reported a message done while the record of its takeover was not durable."
    DiscardNotHeld "discard-not-held"
        "A primary reported a message done of which no copy was held."
    DiscardRepeated "discard-repeated"
        "A primary reported a message done once more that it had reported before."
    DiscardReportLost "discard-report-lost"
        "The session ended before the answer to a question for discards came."
    DiscardConfirmLost "discard-confirm-lost"
        "The session ended before it was known that a report of discards is confirmed."
    OrphanDropped "orphan-dropped"
        "A copy was dropped because its primary did not know the message."
    // Discards, at the primary.
    DiscardUnconfirmed "discard-unconfirmed"
        "A report of discards was made again because the last one was not confirmed."
    DiscardInParts "discard-in-parts"
        "There were more discards to report than one report holds."
    DiscardExpired "discard-expired"
        "A discard was dropped because nobody asked for it in time."
    AbortSent "abort-sent"
        "A refused message was withdrawn from a peer that may hold a copy."
    AbortLost "abort-lost"
        "The session ended before a withdrawal was answered."
    AbortAfterTakeover "abort-after-takeover"
        "A withdrawal came when the copy had been taken over."
    AbortUnconfirmed "abort-unconfirmed"
        "A withdrawal stayed unanswered for so long that the copy may have been taken over."
    // The hold model.
    ReportBeforeReply "report-before-reply"
        "A next hop reported a message done on one session before its 250 came on another."
    ForksKept "forks-kept"
        "A message was kept for more than one next hop."
    KeptUnknown "kept-unknown"
        "A shadow was dropped because the next hop that took the message knows nothing of it any more."
    ResubmitBySilence "resubmit-by-silence"
        "Mail was resubmitted because the next hop that took it counts as failed."
    ResubmitByDatabase "resubmit-by-database"
        "Mail was resubmitted because the next hop that took it came back with another database."
    ForkResubmitted "fork-resubmitted"
        "One part of a message was resubmitted while another was not settled."
    FailedWithoutRoute "failed-without-route"
        "A next hop counted as failed and its shadows stayed because there is no other route."
    AckSkipped "ack-skipped"
        "A 250 was not withheld because waiting for delivery was hopeless."
    AckUnverified "ack-unverified"
        "A 250 was given before delivery was verified."
    Promoted "promoted"
        "A message was relayed to another server because its delivery could not be verified."
    PromotionFailed "promotion-failed"
        "No server took a message that was to be promoted."
    PromotionWithoutPeer "promotion-without-peer"
        "A message was to be promoted and there was no server to promote it to."
    PromotionLeavesPart "promotion-leaves-part"
        "A message was promoted without a part that was being sent or was settled elsewhere."
    PromotionMeetsReturn "promotion-meets-return"
        "A message was promoted although its next hop could be reached again by then."
    RecoveredKept "recovered-kept"
        "A start found a shadow kept for a next hop."
    // Making copies.
    CopyElsewhere "copy-elsewhere"
        "A copy was made on another peer than the one asked first."
    CopyInOtherSite "copy-in-other-site"
        "A copy was made in another site of the boundary."
    CopyInOwnSiteAfterOthers "copy-in-own-site-after-others"
        "A copy was made in the own site because no other site took it."
    CopyFromOutside "copy-from-outside"
        "A peer outside the boundary asked to have a copy held, and was refused."
    CopyUncertain "copy-uncertain"
        "The session ended between the content of a copy and its answer."
    CopyWithoutSession "copy-without-session"
        "An attempt at a copy was given up because no session came about in time."
    CopySentTwice "copy-sent-twice"
        "A peer was sent a copy that it already held."
    CopyTooLate "copy-too-late"
        "A peer refused a copy of a message that was done with or taken over."
    CopyWithdrawnInFlight "copy-withdrawn-in-flight"
        "A copy was dropped before it was durable."
    CopyRemade "copy-remade"
        "A message got another copy because the holder of the first had lost it or was silent."
    CopySurplus "copy-surplus"
        "A holder was told to drop its copy because another peer holds one as well."
    CopyAfterRecovery "copy-after-recovery"
        "A message found at a start got a copy because nobody could hold one."
    HolderLearnt "holder-learnt"
        "A primary learnt from a peer's question that it holds a copy."
    AcceptedUnshadowed "accepted-unshadowed"
        "A message was accepted although no copy could be made."
    RefusedUnshadowed "refused-unshadowed"
        "A message was refused because no copy could be made."
    CopyAged "copy-aged"
        "A copy was dropped because of its age."
    PressureMedium "pressure-medium"
        "The node came under medium pressure."
    PressureHigh "pressure-high"
        "The node came under high pressure."
    Redirected "redirected"
        "The delivery queues were sent to another server."
    // Clients.
    ClientGoneBeforeAnswer "client-gone-before-answer"
        "A client went away while it waited for the answer to its message."
    ClientHalfClosed "client-half-closed"
        "A client closed its half of the connection while it waited for an answer."
    ClientGoneInData "client-gone-in-data"
        "A client went away in the middle of a message."
    TimeoutInData "timeout-in-data"
        "A client was silent for too long in the middle of a message."
    ChunkRefused "chunk-refused"
        "A chunk of content was read to its end and refused."
    ChunkGarbled "chunk-garbled"
        "A session ended because the size of a chunk could not be read."
    TlsInjection "tls-injection"
        "A client sent something behind STARTTLS in the clear, and it was dropped."
    LoginDenied "login-denied"
        "A client gave a wrong password."
    LastHearing "last-hearing"
        "A session whose time was up spoke at the last hearing."
    DrainInFlight "drain-in-flight"
        "The node was told to drain while mail was under way."
    // Delivery.
    ReplyLost "reply-lost"
        "The session with a next hop ended between the content and its answer."
    PartlyDelivered "partly-delivered"
        "One attempt ended differently for different recipients."
    DeferredThenBounced "deferred-then-bounced"
        "A recipient failed for good after it had been put off."
    Expired "expired"
        "A message was returned because of its age."
    DsnOtherThanFailure "dsn-other-than-failure"
        "A DSN about a delay or about success was made."
    FailureUnreported "failure-unreported"
        "A recipient failed and its sender had asked not to hear of it."
    TlsFailed "tls-failed"
        "A TLS handshake with a server failed."
    NamesUnanswered "names-unanswered"
        "The mail exchangers of a domain could not be found out for now."
    ExchangerIsUs "exchanger-is-us"
        "The node left itself and worse mail exchangers out of a domain's list."
    OtherNextHop "other-next-hop"
        "A delivery went to another next hop because the first was down."
    LeftByServer "left-by-server"
        "A server left with 421 in the middle of a transaction."
    IdleDismissed "idle-dismissed"
        "A session broke in its work, and the idle ones to the same host were given up."
    DuplicateSuppressed "duplicate-suppressed"
        "A mailbox did not take a message again that it had taken before."
    // Mailbox databases and the Safety Net.
    DatabaseAway "database-away"
        "Mail for a mailbox database that is not mounted was put off."
    DatabaseMounted "database-mounted"
        "A mailbox database was mounted by the administrator."
    DeliveryLost "delivery-lost"
        "A mailbox database mounted as of an earlier time lost a delivery."
    DuplicateForgotten "duplicate-forgotten"
        "A delivery was forgotten by duplicate detection because of its age."
    KeptPrimary "kept-primary"
        "A message that was done went into the primary Safety Net."
    KeptShadow "kept-shadow"
        "A copy that was acknowledged went into the shadow Safety Net."
    KeptLost "kept-lost"
        "A delivery that its database lost went into the Safety Net."
    HoldTimeOver "hold-time-over"
        "Something left the Safety Net because its hold time was over."
    ReplayedPrimary "replayed-primary"
        "A message was replayed from the primary Safety Net."
    ReplayedShadow "replayed-shadow"
        "A message was replayed from the shadow Safety Net."
    ReplayedLost "replayed-lost"
        "A delivery that its database lost was replayed."
    ReplayLate "replay-late"
        "Something was replayed that was not over when its request came."
    ReplayHole "replay-hole"
        "A request reached back before a Safety Net began, so that peers were asked for the rest."
    ReplayFromShadows "replay-from-shadows"
        "Copies were asked for because the node that is to replay does not answer."
    ReplayPaused "replay-paused"
        "A replay waited because memory was short."
    ReplayFailed "replay-failed"
        "A replay failed for good."
    RecoveredSafetyNet "recovered-safety-net"
        "A start found something in the Safety Net."
    RecoveredReplay "recovered-replay"
        "A start found a replay that was not over."
    // The store.
    CommitWaited "commit-waited"
        "Records were appended while a batch was on its way to the disk."
    SegmentRemoved "segment-removed"
        "A segment of the log was removed."
    RecordsMoved "records-moved"
        "Old records were written again so that their segment can go."
    TornTail "torn-tail"
        "A start found a batch that was not written whole, and dropped it."
    UnreportedBatch "unreported-batch"
        "A start found a whole last batch that may never have been reported durable."
    DiskFull "disk-full"
        "There was no space for the next segment, and new mail was refused."
    Salvaged "salvaged"
        "A start found the log damaged and salvaged what could be read."
    RecoveredPartly "recovered-partly"
        "A start found a message of which some recipients were settled."
    RecoveredTakeover "recovered-takeover"
        "A start found a message that had been taken over."
    RecoveredDiscards "recovered-discards"
        "A start found discards that peers had not confirmed."
    // After a salvage.
    InventoryAwaited "inventory-awaited"
        "A salvaged message waited for the inventory of a peer that may have a copy."
    SalvageSeen "salvage-seen"
        "A primary was met whose store had been salvaged."
    SalvageWithInventory "salvage-with-inventory"
        "A peer made its inventory with a node whose store had been salvaged."
    InventoryKept "inventory-kept"
        "An inventory named a copy of a message that its primary still has."
    InventoryDone "inventory-done"
        "An inventory named a copy of a message that its primary is done with."
    InventoryLost "inventory-lost"
        "An inventory named a copy of a message whose record its primary has lost."
    InventoryCeded "inventory-ceded"
        "A salvaged message was left to the peer that had taken it over."
    InventoryGone "inventory-gone"
        "A salvaged message was ended because a peer knew that it had been done with."
    InventoryBroken "inventory-broken"
        "The session ended in the middle of an inventory."
    InventoryLate "inventory-late"
        "Copies were taken over because the inventory was not made in time."
    InventoryUnanswered "inventory-unanswered"
        "A salvaged message was delivered although a peer that may have a copy did not answer."
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn names_are_one_each_and_sentences_are_sentences() {
        let mut names: Vec<&str> = Mark::ALL.iter().map(|mark| mark.name()).collect();
        for name in &names {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{name}"
            );
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Mark::ALL.len());
        for mark in Mark::ALL {
            let what = mark.what();
            assert!(
                what.ends_with('.') && what.matches('.').count() == 1,
                "{what}"
            );
        }
        assert!(Mark::ALL.is_sorted());
    }
}
