//! Random events of every variant, for tests: awkward texts, edge numbers,
//! options there or not.

use crate::event::{Event, Harm, Row, RowState, Shut, Stage, StoreState, Stored, What};
use crate::party::{Link, Party, Witness};
use crate::scenario::Damage;

/// A seeded source of draws.
pub(super) struct Draw(blake3::OutputReader);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(
            blake3::Hasher::new()
                .update(&seed.to_le_bytes())
                .finalize_xof(),
        )
    }

    pub(super) fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.u64() % n as u64) as usize
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Small, large or at an edge.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(12) as u64,
            1 => 10u64
                .pow(self.below(20) as u32)
                .wrapping_sub(self.below(2) as u64),
            2 => u64::MAX,
            _ => {
                let bits = self.below(64);
                self.u64() >> bits
            }
        }
    }

    fn u32(&mut self) -> u32 {
        self.number() as u32
    }

    fn u16(&mut self) -> u16 {
        self.number() as u16
    }

    fn some<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.chance() { Some(f(self)) } else { None }
    }

    fn list<T>(&mut self, mut f: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let n = self.below(4);
        (0..n).map(|_| f(self)).collect()
    }

    fn text(&mut self) -> String {
        const PARTS: [&str; 14] = [
            "dot", "MAIL", "a b", "\"", "\\", "\n", "\u{0}", "\u{1f}", "\u{7f}", "é", "\u{2028}",
            "😀", "/", "}}",
        ];
        let n = self.below(5);
        (0..n).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }

    fn numbered(&mut self) -> u16 {
        self.u16().max(1)
    }

    fn party(&mut self) -> Party {
        match self.below(4) {
            0 => Party::Client,
            1 => Party::Node(self.numbered()),
            2 => Party::Store(self.numbered()),
            _ => Party::Mailbox,
        }
    }

    fn link(&mut self) -> Link {
        Link::new(self.party(), self.party())
    }

    pub(super) fn witness(&mut self) -> Witness {
        match self.below(8) {
            0 => Witness::Client,
            1 => Witness::Link(self.link()),
            2 => Witness::Mailbox,
            3 => Witness::Disk(self.party()),
            4 => Witness::Kernel,
            5 => Witness::Director,
            6 => Witness::Injector,
            _ => Witness::Node(self.party()),
        }
    }

    fn row(&mut self) -> Row {
        Row {
            msg: self.some(Self::u32),
            rcpts: self.list(Self::u16),
            state: [RowState::Queued, RowState::Shadow, RowState::Done][self.below(3)],
        }
    }

    fn stored(&mut self) -> Stored {
        Stored {
            msg: self.u32(),
            rcpt: self.u16(),
            copies: self.u32(),
            digest: self.text(),
        }
    }

    /// How many variants [`Draw::what`] knows.
    pub(super) const VARIANTS: usize = 41;

    /// An event of the given variant.
    pub(super) fn what(&mut self, variant: usize) -> What {
        let d = self;
        let (node, life, conn, note) = (d.party(), d.u32(), d.u32(), d.text());
        match variant {
            0 => What::Start {
                node,
                life,
                store: [StoreState::Same, StoreState::Empty][d.below(2)],
            },
            1 => What::Ready { node, life },
            2 => What::Exit {
                node,
                life,
                status: note,
            },
            3 => What::Paused { node, life },
            4 => What::Resumed { node, life },
            5 => What::Dropped {
                node,
                operations: d.number(),
            },
            6 => What::StoreGone { node },
            7 => What::StoreRead {
                node,
                rows: d.list(Self::row),
                stored: d.list(Self::stored),
                damage: d.some(Self::text),
            },
            8 => What::Fault {
                fault: d.u32(),
                stage: [Stage::Requested, Stage::Armed, Stage::Fired, Stage::Removed][d.below(4)],
                text: note,
                node: d.some(Self::party),
                link: d.some(Self::link),
                conn: d.some(Self::u32),
            },
            9 => What::Attempt {
                msg: d.u32(),
                attempt: d.u16(),
                session: d.u16(),
                node,
                rcpts: d.list(Self::u16),
                silent: d.chance(),
            },
            10 => What::Outcome {
                msg: d.u32(),
                attempt: d.u16(),
                rcpts: d.list(Self::u16),
                end: d.list(Self::u16),
                note: d.some(Self::text),
            },
            11 => What::GaveUp { msg: d.u32() },
            12 => What::Open { conn },
            13 => What::Refused {
                conn: d.some(Self::u32),
                note: d.some(Self::text),
            },
            14 => What::Shut {
                conn,
                how: [Shut::Fin, Shut::Reset, Shut::Silent][d.below(3)],
                from: d.some(Self::party),
            },
            15 => What::Dot {
                conn,
                msg: d.some(Self::u32),
                attempt: d.some(Self::u16),
                rcpts: d.list(Self::u16),
                strangers: d.list(Self::text),
                reverse: d.some(Self::text),
                digest: note,
            },
            16 => What::Reply {
                conn,
                to: note,
                msg: d.some(Self::u32),
                attempt: d.some(Self::u16),
                rcpts: d.some(|d| d.list(Self::u16)),
                code: d.u16(),
            },
            17 => What::Verb {
                conn,
                verb: note,
                code: d.u16(),
            },
            18 => What::Opaque { conn, note },
            19 => What::Held {
                conn,
                fault: d.u32(),
                phase: note,
            },
            20 => What::Released {
                conn,
                fault: d.u32(),
            },
            21 => What::Taken {
                conn,
                from: node,
                msg: d.u32(),
                attempt: d.u16(),
                rcpts: d.list(Self::u16),
                strangers: d.list(Self::text),
                digest: note,
            },
            22 => What::Dsn {
                conn,
                from: node,
                msg: d.u32(),
                action: note,
                rcpts: d.list(Self::u16),
            },
            23 => What::Phantom {
                conn,
                from: node,
                note,
            },
            24 => What::Queues {
                node,
                rows: d.list(Self::row),
                others: d.u32(),
            },
            25 => What::Unlisted { node, note },
            26 => What::Step {
                step: d.u32(),
                text: note,
            },
            27 => What::Choice {
                step: d.u32(),
                of: note,
                picked: node,
            },
            28 => What::Waited {
                step: d.u32(),
                until: note,
                came: d.chance(),
            },
            29 => What::Measured {
                name: note,
                took: d.number(),
            },
            30 => What::Quiet {
                since: d.number(),
                lasted: d.number(),
            },
            31 => What::End { why: note },
            39 => What::Clock {
                node,
                life,
                fault: d.some(Self::u32),
                wall: d.number(),
                mono: d.number(),
            },
            35 => What::Stalled { conn, from: node },
            32 => What::Happening {
                fault: d.u32(),
                number: d.number(),
            },
            34 => What::DiskHeld {
                node,
                fault: d.u32(),
                op: note,
                nth: d.number(),
            },
            33 => What::DiskReleased {
                node,
                fault: d.u32(),
            },
            36 => What::DiskHarm {
                node,
                fault: d.u32(),
                op: note,
                how: [
                    Harm::Eio,
                    Harm::Enospc,
                    Harm::Erofs,
                    Harm::SyncEio,
                    Harm::Torn,
                    Harm::Slow,
                ][d.below(6)],
                amount: d.number(),
            },
            37 => What::Damaged {
                node,
                fault: d.u32(),
                file: note,
                how: [
                    Damage::FlipBit,
                    Damage::ZeroBlock,
                    Damage::Truncate,
                    Damage::Delete,
                ][d.below(4)],
                bytes: d.number(),
            },
            38 => What::DamageRead {
                node,
                fault: d.u32(),
                file: note,
            },
            _ => What::Trouble { note },
        }
    }

    /// An event of the given variant; its witness may be a wrong one.
    pub(super) fn event(&mut self, variant: usize) -> Event {
        Event {
            id: self.number(),
            at: self.number(),
            by: self.witness(),
            ev: self.what(variant),
        }
    }

    /// A witness that may say such a thing.
    pub(super) fn witness_of(&mut self, what: &What) -> Witness {
        loop {
            let by = match what {
                What::Dropped { node, .. }
                | What::DiskHeld { node, .. }
                | What::DiskReleased { node, .. }
                | What::DiskHarm { node, .. }
                | What::Damaged { node, .. }
                | What::DamageRead { node, .. }
                | What::StoreGone { node }
                | What::StoreRead { node, .. } => Witness::Disk(*node),
                What::Queues { node, .. } => Witness::Node(*node),
                _ => self.witness(),
            };
            if what.admissible(by) {
                return by;
            }
        }
    }
}
