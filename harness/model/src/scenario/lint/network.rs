//! Partitions and wrong clocks that can happen.

use super::Lint;
use crate::party::{Link, Party};
use crate::scenario::{ClockFault, Partition};

impl Lint<'_> {
    pub(super) fn partition(&mut self, i: usize, path: &str, partition: &Partition) {
        self.trigger(i, path, &partition.at);
        self.sides(&format!("{path}.sides"), partition);
        let lasts = partition
            .lasts
            .as_ref()
            .and_then(|span| self.span(&format!("{path}.for"), span));
        let Some(flap) = &partition.flap else { return };
        let at = format!("{path}.flap");
        let every = self.span(&at, flap);
        if partition.lasts.is_none() {
            self.wrong_with(
                &at,
                "a partition that flaps has to end some day",
                "say how long with `for`",
            );
        } else if let (Some(lasts), Some(every)) = (lasts, every)
            && every >= lasts
        {
            self.wrong(
                &at,
                format!(
                    "it is over before it heals for the first time: `{flap}` is not below `for`"
                ),
            );
        }
    }

    pub(super) fn clock(&mut self, i: usize, path: &str, fault: &ClockFault) {
        self.pick(i, path, fault.node, &fault.at);
        self.trigger(i, path, &fault.at);
        if fault.offset.is_none() && fault.drift.is_none_or(|d| d.ppm() == 0) {
            self.wrong_with(
                &format!("{path}.node"),
                "neither clock of this node changes",
                "give an `offset`, a `drift`, or both",
            );
        }
        if let Some(offset) = &fault.offset {
            let at = format!("{path}.offset");
            let most = 50 * 365 * 86_400 * 1_000_000_000_u64;
            if self.span(&at, offset.span()).is_some_and(|ns| ns > most) {
                self.wrong(&at, "no clock is wrong by more than fifty years");
            }
        }
        if let Some(lasts) = &fault.lasts {
            self.span(&format!("{path}.for"), lasts);
        }
    }

    fn sides(&mut self, path: &str, partition: &Partition) {
        let sides = &partition.sides;
        if sides.len() != 2 {
            self.wrong(path, format!("expected two sides, found {}", sides.len()));
            return;
        }
        let mut seen: Vec<Party> = Vec::new();
        for (n, side) in sides.iter().enumerate() {
            if side.is_empty() {
                self.wrong(&format!("{path}[{n}]"), "nobody is on this side");
                return;
            }
            for (k, party) in side.iter().enumerate() {
                let at = format!("{path}[{n}][{k}]");
                if !self.exists(*party) {
                    self.no_node(&at, *party);
                    return;
                }
                if seen.contains(party) {
                    self.wrong(&at, format!("`{party}` stands here twice"));
                    return;
                }
                seen.push(*party);
            }
        }
        let ends = |party: &Party| matches!(party, Party::Mailbox | Party::Store(_));
        let dialled = |a: &Party, b: &Party| match (a, b) {
            (Party::Node(_), Party::Node(_)) => true,
            (Party::Client, Party::Node(_)) | (Party::Node(_), Party::Client) => true,
            (Party::Node(_), other) | (other, Party::Node(_)) => ends(other),
            _ => false,
        };
        if !sides[0]
            .iter()
            .any(|a| sides[1].iter().any(|b| dialled(a, b)))
        {
            let example = Link::new(Party::Node(1), Party::Node(2));
            self.wrong(
                path,
                format!("no link crosses: nobody on one side dials the other, as in `{example}`"),
            );
        }
    }
}
