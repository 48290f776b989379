//! Faults of disks: that an operation failed, that damage was read.

use super::{Proof, node};
use crate::event::Harm;
use crate::ledger::{Fired, Ledger};
use crate::party::Witness;
use crate::scenario::{DiskAct, DiskFault, Step};
use crate::verdict::EvidenceKind;

/// Operations that failed, or took longer: the disk says which.
pub(super) fn on_disk(
    proof: &mut Proof,
    ledger: &Ledger,
    label: &str,
    n: u32,
    fault: &DiskFault,
    fired: Fired,
) {
    let Some(node) = fired.node else {
        proof.lack(format!("{label} names no node"));
        return;
    };
    let right = |how: Harm, amount: u64| match fault.act {
        DiskAct::Error => how == Harm::Eio,
        DiskAct::Full => how == Harm::Enospc,
        DiskAct::ReadOnly => how == Harm::Erofs,
        DiskAct::SyncError => how == Harm::SyncEio && amount > 0,
        DiskAct::Torn => how == Harm::Torn && amount > 0,
        DiskAct::Slow(_) => how == Harm::Slow && amount > 0,
    };
    let harm = ledger
        .harms
        .iter()
        .find(|h| h.fault == n && h.node == node && right(h.how, h.amount));
    match harm {
        Some(h) => {
            let text = match h.how {
                Harm::Eio => "an operation failed with EIO".to_owned(),
                Harm::Enospc => "an operation failed with ENOSPC".to_owned(),
                Harm::Erofs => "an operation failed with EROFS".to_owned(),
                Harm::SyncEio => format!("a sync failed and {} writes were dropped", h.amount),
                Harm::Torn => format!("of a write only {} bytes are on the medium", h.amount),
                Harm::Slow => format!("an operation took {} ns longer", h.amount),
            };
            proof.add(
                EvidenceKind::FaultEffect,
                Witness::Disk(node),
                h.mark,
                format!("{label}: {text}"),
            );
        }
        None => proof.lack(format!(
            "{label}: no operation of the disk of {node} was hit by it"
        )),
    }
    if fault.act == DiskAct::Torn {
        node::gone(proof, ledger, label, false, node, fired);
    }
    node::in_flight(proof, ledger, label, node, fired.mark);
}

/// Files that were damaged, and a node that read them.
pub(super) fn damaged(
    proof: &mut Proof,
    ledger: &Ledger,
    label: &str,
    n: u32,
    step: &Step,
    fired: Fired,
) {
    let Some(node) = fired.node else {
        proof.lack(format!("{label} names no node"));
        return;
    };
    node::ended(proof, ledger, label, step, node, fired);
    let damage = ledger
        .damages
        .iter()
        .find(|d| d.fault == n && d.node == node && d.bytes > 0 && d.mark.id > fired.mark.id);
    match damage {
        Some(d) => {
            proof.add(
                EvidenceKind::FaultEffect,
                Witness::Disk(node),
                d.mark,
                format!(
                    "{label}: {} bytes of its files are others, or gone",
                    d.bytes
                ),
            );
            match d.read {
                Some(mark) => proof.add(
                    EvidenceKind::FaultEffect,
                    Witness::Disk(node),
                    mark,
                    format!("{label}: {node} read the damage after its start"),
                ),
                None => proof.lack(format!("{label}: {node} never read what was damaged")),
            }
        }
        None => proof.lack(format!(
            "{label}: no byte of the files of {node} was damaged"
        )),
    }
    node::in_flight(proof, ledger, label, node, fired.mark);
}
