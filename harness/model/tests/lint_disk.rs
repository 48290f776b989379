//! Lint: faults of disks, and steps at disk operations.

use mailproof_model::scenario;

/// What lint says of a scenario with these steps, each problem with the text
/// below its caret.
fn said(steps: &[&str]) -> Vec<String> {
    let steps: String = steps.iter().map(|s| format!("[[step]]\n{s}\n")).collect();
    let text = format!("id = 'disk/test'\ntitle = 't'\n[workload]\nmessages = 9\n{steps}");
    match scenario::lint("s.toml", &text) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .iter()
            .map(|d| {
                let help = d.help().map(|h| format!(" ({h})")).unwrap_or_default();
                // All steps stand on the sixth line; the text below the caret
                // tells where on it.
                let said = d.to_string();
                let said = said.strip_prefix("s.toml:6:").unwrap_or(&said);
                let said = said.split_once(": ").map_or(said, |(_, said)| said);
                format!("{said}{help} ^{}", d.at())
            })
            .collect(),
    }
}

#[test]
fn steps_at_disk_operations_are_good() {
    for step in [
        "crash = { node = 'held', at = { disk = 'n1', op = 'sync', nth = 7 } }",
        "power-cut = { node = 'n2', at = { disk = 'n1', op = 'any' } }",
        "pause = { node = 'n1', at = { disk = 'n1', op = 'sync-dir', nth = 2 }, for = '1 s' }",
        "link = { at = { disk = 'n1', op = 'write', nth = 2 }, on = 'n1->n2', act = 'reset' }",
        "disk = { node = 'held', at = { disk = 'n1', op = 'sync', nth = 7 }, act = 'sync-error' }",
        "disk = { node = 'n1', at = { disk = 'n1', op = 'any', nth = 7 }, act = 'torn' }",
        "disk = { node = 'busiest', at = '30% accepted', act = { slow = '10 ms' }, for = '1 s' }",
        "disk = { node = 'n1', at = '1 s', act = 'full', for = '1 s', after = '1 s' }",
        "disk = { node = 'n1', at = '1 s', act = 'read-only', back = 'never' }",
        "corrupt = { node = 'any', at = 'start', act = 'zero-block', after = '1 s' }",
    ] {
        assert_eq!(said(&[step]), [""; 0], "{step}");
    }
    // A disk that works shows that its node lives.
    let crash = "crash = { node = 'n1', at = 'start' }";
    let again = "crash = { node = 'n1', at = { disk = 'n1', op = 'sync', nth = 20 } }";
    assert_eq!(said(&[crash, again]), [""; 0]);
}

#[test]
fn what_cannot_be_is_said_where_it_stands() {
    for (step, problem) in [
        (
            "crash = { node = 'n1', at = { disk = 'n9', op = 'sync' } }",
            "there is no `n9`: the transport nodes are `n1` to `n3` ^'n9'",
        ),
        (
            "crash = { node = 'n1', at = { disk = 'mb', op = 'sync' } }",
            "only nodes have disks, not `mb` ^'mb'",
        ),
        (
            "crash = { node = 'n1', at = { disk = 'n1', op = 'sync', nth = 0 } }",
            "operations are counted from 1 ^0",
        ),
        (
            "disk = { node = 'n1', at = { disk = 'n1', op = 'write' }, act = 'sync-error' }",
            "`sync-error` never hits a `write` ^'sync-error'",
        ),
        (
            "disk = { node = 'n1', at = 'start', act = 'torn', for = '1 s' }",
            "`torn` hits one operation: it does not last 1 s ^'1 s'",
        ),
        (
            "disk = { node = 'n1', at = 'start', act = 'full' }",
            "the node cannot come back to a disk that never takes changes again (say how long with `for`, or give `back = \"never\"`) ^'full'",
        ),
        (
            "disk = { node = 'n1', at = 'start', act = { slow = '1 ms' } }",
            "nothing ever ends this (say how long with `for`) ^{ slow = '1 ms' }",
        ),
        (
            "disk = { node = 'n1', at = 'start', act = 'error', back = 'empty' }",
            "the node keeps its disk (for a node that loses its store, use `node-lost`) ^'empty'",
        ),
        (
            "disk = { node = 'n1', at = 'start', act = 'error', back = 'never', after = '1 s' }",
            "a node that never comes back has no time at which it does ^'1 s'",
        ),
        (
            "corrupt = { node = 'n1', at = 'start', act = 'delete', back = 'never' }",
            "damage that nobody reads has no effect (for a node that does not come back, use `node-lost`) ^'never'",
        ),
        (
            "corrupt = { node = 'n4', at = 'start', act = 'delete' }",
            "there is no `n4`: the transport nodes are `n1` to `n3` ^'n4'",
        ),
    ] {
        assert_eq!(said(&[step]), [problem], "{step}");
    }
}

#[test]
fn an_unknown_operation_or_act_is_named() {
    for (step, part) in [
        (
            "crash = { node = 'n1', at = { disk = 'n1', op = 'fsync' } }",
            "fsync",
        ),
        (
            "disk = { node = 'n1', at = 'start', act = 'broken' }",
            "broken",
        ),
        (
            "corrupt = { node = 'n1', at = 'start', act = 'flip' }",
            "flip",
        ),
        (
            "crash = { node = 'n1', at = { disk = 'n1', op = 'sync', phase = 'dot' } }",
            "phase",
        ),
    ] {
        let found = said(&[step]);
        assert!(
            found.len() == 1 && found[0].contains(part),
            "{step}: {found:?}"
        );
    }
}
