//! The `[sweep]` table: acts that its points can have, and no steps beside
//! it.

use super::Lint;
use crate::scenario::{Over, Sweep, SweepAct};

/// The most pairs of one sweep.
const PAIRS: u32 = 100_000;

impl Lint<'_> {
    pub(super) fn sweep(&mut self, sweep: &Sweep) {
        if self.document.has("step") {
            self.wrong_with(
                "step",
                "`step` and `sweep` exclude each other: the sweep places the faults",
                "remove the steps",
            );
        }
        if sweep.acts.is_empty() {
            self.wrong("sweep.acts", "a sweep that does nothing proves nothing");
        }
        if sweep.every == 0 {
            self.wrong("sweep.every", "expected 1 (every point) or more");
        }
        if sweep.pairs > PAIRS {
            self.wrong("sweep.pairs", format!("expected at most {PAIRS} pairs"));
        }
        let phases = sweep.over == Over::SmtpPhase;
        for (i, act) in sweep.acts.iter().enumerate() {
            let path = format!("sweep.acts[{i}]");
            if sweep.acts[..i].contains(act) {
                self.wrong(&path, format!("`{act}` is listed twice"));
            } else if !phases && !act.on_node() {
                self.wrong(
                    &path,
                    format!("`{act}` needs a dialogue; a sweep over `{}` can `crash`, `power-cut`, `node-lost` or `cut-off`", sweep.over),
                );
            } else if act.on_disk() && sweep.over != Over::DiskOp {
                self.wrong(
                    &path,
                    format!(
                        "`{act}` hits an operation of a disk; a sweep over `{}` has none",
                        sweep.over
                    ),
                );
            } else if matches!(act, SweepAct::Answer(500..)) && !self.scenario.expect.bounces {
                self.wrong_with(
                    &path,
                    "a next hop that refuses for good makes mail bounce",
                    "add `bounces = true` to [expect]",
                );
            }
        }
        if !phases && !sweep.links.is_empty() {
            self.wrong(
                "sweep.links",
                format!("a sweep over `{}` has no links", sweep.over),
            );
        }
        for (i, link) in sweep.links.iter().enumerate() {
            for party in [link.from, link.to] {
                if !self.exists(party) {
                    self.no_node(&format!("sweep.links[{i}]"), party);
                }
            }
        }
        for (i, node) in sweep.nodes.iter().enumerate() {
            let path = format!("sweep.nodes[{i}]");
            if !node.is_node() {
                self.wrong(&path, format!("`{node}` is no node of the target"));
            } else if !self.exists(*node) {
                self.no_node(&path, *node);
            }
        }
    }
}
