//! The `[chaos]` table: ranges that a scenario can have, and nothing beside
//! it that it draws.

use super::Lint;
use crate::scenario::{Chaos, Count, is_phase};

/// A seed with less mail than this says little.
const LEAST: u32 = 100;

/// The most messages of one seed.
const MESSAGES: u32 = 10_000;

/// The most faults of one seed.
const FAULTS: u32 = 50;

impl Lint<'_> {
    pub(super) fn chaos(&mut self, chaos: &Chaos) {
        for table in ["cluster", "time", "workload", "step", "sweep", "expect"] {
            if self.document.has(table) {
                self.wrong_with(
                    table,
                    format!("`{table}` and `chaos` exclude each other: each seed draws its own"),
                    format!("remove `{table}`; the ranges to draw from stand in [chaos]"),
                );
            }
        }
        if self.scenario.drawn.is_some() {
            self.wrong(
                "drawn",
                "a scenario that was drawn has no [chaos] table any more",
            );
        }
        self.range("messages", chaos.messages, LEAST, MESSAGES);
        self.range("recipients", chaos.recipients, 1, 100);
        self.range("sessions", chaos.sessions, 1, 256);
        self.range("nodes", chaos.nodes, 1, 50);
        self.range("stores", chaos.stores, 0, 10);
        self.range("faults", chaos.faults, 1, FAULTS);
        if chaos.size.most == 0 || chaos.size.most > super::world::SIZE {
            self.wrong(
                "chaos.size",
                "expected messages of more than 0 bytes and at most 64 MiB",
            );
        }
        if let Some(kinds) = &chaos.kinds {
            if kinds.is_empty() {
                self.wrong_with(
                    "chaos.kinds",
                    "chaos without any kind of fault proves nothing",
                    "remove `kinds` to draw from every kind",
                );
            }
            for (i, kind) in kinds.iter().enumerate() {
                if kinds[..i].contains(kind) {
                    self.wrong(&format!("chaos.kinds[{i}]"), "this kind is listed twice");
                }
                if kind.is_inside() && !chaos.inside {
                    self.wrong_with(
                        &format!("chaos.kinds[{i}]"),
                        "only the simulator has such disks and clocks",
                        "add `inside = true`: the scenario then runs in `sim` alone",
                    );
                }
            }
        }
        for (i, verb) in chaos.verbs.iter().enumerate() {
            let path = format!("chaos.verbs[{i}]");
            if !is_phase(&format!("verb({verb})")) {
                self.wrong(&path, format!("`{verb}` is not the name of an SMTP verb"));
            } else if chaos.verbs[..i].contains(verb) {
                self.wrong(&path, format!("`{verb}` is listed twice"));
            }
        }
    }

    fn range(&mut self, name: &str, range: Count, least: u32, most: u32) {
        if range.least < least || range.most > most {
            self.wrong(
                &format!("chaos.{name}"),
                format!("expected a number or a range within {least}..{most}"),
            );
        }
    }
}
