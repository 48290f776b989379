//! Faults of disks that can be.

use super::Lint;
use crate::scenario::{Back, Corrupt, DiskAct, DiskFault, OpKind, Span, Trigger};

impl Lint<'_> {
    pub(super) fn disk(&mut self, i: usize, path: &str, fault: &DiskFault) {
        self.pick(i, path, fault.node, &fault.at);
        self.trigger(i, path, &fault.at);
        self.returns(path, fault.back, fault.after.as_ref());
        let act = format!("{path}.act");
        if let DiskAct::Slow(span) = &fault.act {
            self.span(&format!("{act}.slow"), span);
        }
        if let Trigger::Disk(point) = &fault.at
            && point.op != OpKind::Any
            && !fault.act.hits(point.op)
        {
            let name = fault.act.name();
            self.wrong(&act, format!("`{name}` never hits a `{}`", point.op));
        }
        let lasting = format!("{path}.for");
        match (&fault.lasts, &fault.act) {
            (Some(span), DiskAct::SyncError | DiskAct::Torn) => self.wrong(
                &lasting,
                format!(
                    "`{}` hits one operation: it does not last {span}",
                    fault.act.name()
                ),
            ),
            (Some(span), _) => {
                self.span(&lasting, span);
            }
            (None, DiskAct::Full | DiskAct::ReadOnly) if fault.back != Back::Never => self
                .wrong_with(
                    &act,
                    "the node cannot come back to a disk that never takes changes again",
                    "say how long with `for`, or give `back = \"never\"`",
                ),
            (None, DiskAct::Slow(_)) => {
                self.wrong_with(&act, "nothing ever ends this", "say how long with `for`")
            }
            _ => {}
        }
    }

    pub(super) fn corrupt(&mut self, i: usize, path: &str, fault: &Corrupt) {
        self.pick(i, path, fault.node, &fault.at);
        self.trigger(i, path, &fault.at);
        self.returns(path, fault.back, fault.after.as_ref());
        if fault.back == Back::Never {
            self.wrong_with(
                &format!("{path}.back"),
                "damage that nobody reads has no effect",
                "for a node that does not come back, use `node-lost`",
            );
        }
    }

    /// Whether the node comes back as it can.
    fn returns(&mut self, path: &str, back: Back, after: Option<&Span>) {
        if back == Back::Empty {
            self.wrong_with(
                &format!("{path}.back"),
                "the node keeps its disk",
                "for a node that loses its store, use `node-lost`",
            );
        }
        let Some(after) = after else { return };
        let at = format!("{path}.after");
        if back == Back::Never {
            self.wrong(
                &at,
                "a node that never comes back has no time at which it does",
            );
        } else {
            self.span(&at, after);
        }
    }
}
