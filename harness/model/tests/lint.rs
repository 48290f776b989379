//! Lint: every refusal, with the place its caret stands at.

use mailproof_model::scenario;

const GOOD: &str = r#"id = "shadow/good"
title = "A good scenario"
rules = ["OUT-04", "H03"]
needs = ["relay", "takeover", "owns-mailbox", "duplicate-detection"]
[cluster]
nodes = 3
stores = 1
[time]
poll = "250 ms"
takeover = "2 s"
retry = "500 ms"
require = ["restart < takeover / 3"]
[workload]
messages = 100
size = "1 KiB..64 KiB"
recipients = "1..3"
sessions = 8
to = "round-robin"
[[step]]
crash = { node = "n1", at = "30% accepted", back = "same", after = "100 ms" }
[[step]]
wait = { until = "back", max = "10 s" }
[[step]]
pause = { node = "held", at = { link = "n2->m1", phase = "dot", nth = 3 }, for = "3 s" }
[[step]]
wait = { until = "takeover", max = "4 s" }
[[step]]
link = { at = { link = "client->n3", phase = "end-reply", nth = 5 }, act = "lose-reply" }
[[step]]
node-lost = { node = "n3", at = "80% accepted", back = "never" }
[expect]
delivered = "exactly-once"
level = "mailbox"
windows = ["takeover", "resume"]
deadline = "30 s"
"#;

/// A scenario without a fault.
const BARE: &str = r#"id = "shadow/bare"
title = "A bare scenario"
[cluster]
nodes = 3
stores = 0
[workload]
messages = 100
sender = "once"
[expect]
windows = []
"#;

#[test]
fn good_scenarios_have_no_problems() {
    scenario::lint("good.toml", GOOD).unwrap();
    scenario::lint("bare.toml", BARE).unwrap();
}

/// Each case: what is replaced by what, and every problem then found, with
/// the text below its caret.
fn refused(base: &str, cases: &[(&str, &str, &[&str])]) {
    for (from, to, said) in cases {
        assert_eq!(base.matches(from).count(), 1, "{from}");
        let found = match scenario::lint("s.toml", &base.replace(from, to)) {
            Ok(_) => Vec::new(),
            Err(found) => found
                .iter()
                .map(|d| {
                    let help = d.help().map(|h| format!(" ({h})")).unwrap_or_default();
                    format!("{d}{help} ^{}", d.at())
                })
                .collect(),
        };
        assert_eq!(found, *said, "{to}");
    }
}

#[test]
fn names() {
    refused(
        GOOD,
        &[
            (
                "\"shadow/good\"",
                "\"good\"",
                &[
                    "s.toml:1:6: `good` is no id of the form `family/name` (lower case letters, digits and hyphens, as in `shadow/primary-lost`) ^\"good\"",
                ],
            ),
            (
                "\"shadow/good\"",
                "\"Shadow/Good\"",
                &[
                    "s.toml:1:6: `Shadow/Good` is no id of the form `family/name` (lower case letters, digits and hyphens, as in `shadow/primary-lost`) ^\"Shadow/Good\"",
                ],
            ),
            (
                "\"shadow/good\"",
                "\"shadow/good/more\"",
                &[
                    "s.toml:1:6: `shadow/good/more` is no id of the form `family/name` (lower case letters, digits and hyphens, as in `shadow/primary-lost`) ^\"shadow/good/more\"",
                ],
            ),
            (
                "\"A good scenario\"",
                "\" \"",
                &[
                    "s.toml:2:9: the title is empty: one line that a user understands is expected ^\" \"",
                ],
            ),
            (
                "\"A good scenario\"",
                "\"A good scenario whose title is so long that it would not fit any line of any report on this whole earth at all\"",
                &[
                    "s.toml:2:9: the title has 110 characters; at most 100 are allowed ^\"A good scenario whose title is so long that it would not fit any line of any report on this whole earth at all\"",
                ],
            ),
            (
                "\"A good scenario\"",
                "\"A good\\nscenario\"",
                &[
                    "s.toml:2:9: the title has more than one line; `about` is for more ^\"A good\\nscenario\"",
                ],
            ),
            (
                "\"OUT-04\"",
                "\"OUT04\"",
                &["s.toml:3:10: no rule is called `OUT04` (did you mean `OUT-04`?) ^\"OUT04\""],
            ),
            (
                "\"OUT-04\"",
                "\"QQQ-99\"",
                &["s.toml:3:10: no rule is called `QQQ-99` ^\"QQQ-99\""],
            ),
            (
                "\"OUT-04\"",
                "\"H03\"",
                &["s.toml:3:17: `H03` is listed twice ^\"H03\""],
            ),
            (
                "\"relay\"",
                "\"relya\"",
                &[
                    "s.toml:4:10: no capability is called `relya` (did you mean `relay`?) ^\"relya\"",
                ],
            ),
            (
                "\"relay\"",
                "\"teleport\"",
                &["s.toml:4:10: no capability is called `teleport` ^\"teleport\""],
            ),
            (
                "\"relay\"",
                "\"takeover\"",
                &["s.toml:4:22: `takeover` is listed twice ^\"takeover\""],
            ),
        ],
    );
}

#[test]
fn cluster_and_workload() {
    refused(
        GOOD,
        &[
            (
                "nodes = 3",
                "nodes = 51",
                &["s.toml:6:9: expected 1 to 50 transport nodes ^51"],
            ),
            (
                "nodes = 3",
                "nodes = 2",
                &[
                    "s.toml:28:33: there is no `n3`: the transport nodes are `n1` to `n2` ^n3",
                    "s.toml:30:22: there is no `n3`: the transport nodes are `n1` to `n2` ^\"n3\"",
                ],
            ),
            (
                "stores = 1",
                "stores = 11",
                &["s.toml:7:10: expected at most 10 nodes that own mailboxes ^11"],
            ),
            (
                "stores = 1\n",
                "\n",
                &[
                    "s.toml:24:45: there is no `m1`: the cluster has no nodes that own mailboxes (`stores = 0`) ^m1",
                    "s.toml:33:9: the cluster has no nodes that own mailboxes, so there is nothing to judge at that level (add `stores = 1` to [cluster], or judge at level \"wire\") ^\"mailbox\"",
                ],
            ),
            (
                "\"owns-mailbox\", ",
                "",
                &[
                    "s.toml:7:10: nodes that own mailboxes need a target that has them (add \"owns-mailbox\" to `needs`) ^1",
                    "s.toml:33:9: mailboxes are judged only where the target owns them (add \"owns-mailbox\" to `needs`) ^\"mailbox\"",
                ],
            ),
            (
                "messages = 100",
                "messages = 0",
                &[
                    "s.toml:14:12: a scenario without mail proves nothing: at least 1 message is expected ^0",
                ],
            ),
            (
                "messages = 100",
                "messages = 10000001",
                &["s.toml:14:12: expected at most 10000000 messages ^10000001"],
            ),
            (
                "\"1..3\"",
                "0",
                &[
                    "s.toml:16:14: a message without recipients proves nothing: at least 1 is expected ^0",
                ],
            ),
            (
                "\"1..3\"",
                "\"1..101\"",
                &[
                    "s.toml:16:14: expected at most 100 recipients a message (100 is what every server must take in one transaction (RFC 5321 4.5.3.1.8)) ^\"1..101\"",
                ],
            ),
            (
                "\"1 KiB..64 KiB\"",
                "\"1 KiB..65 MiB\"",
                &["s.toml:15:8: expected at most 64 MiB a message ^\"1 KiB..65 MiB\""],
            ),
            (
                "\"1 KiB..64 KiB\"",
                "\"0 B\"",
                &["s.toml:15:8: expected messages of more than 0 bytes ^\"0 B\""],
            ),
            (
                "sessions = 8",
                "sessions = 0",
                &["s.toml:17:12: expected 1 to 256 sessions ^0"],
            ),
            (
                "sessions = 8",
                "sessions = 257",
                &["s.toml:17:12: expected 1 to 256 sessions ^257"],
            ),
            (
                "\"round-robin\"",
                "\"n9\"",
                &["s.toml:18:6: there is no `n9`: the transport nodes are `n1` to `n3` ^\"n9\""],
            ),
            (
                "\"round-robin\"",
                "\"m1\"",
                &[
                    "s.toml:18:6: the sender has no link to `m1`; it talks to transport nodes (`n1`, …) ^\"m1\"",
                ],
            ),
            (
                "\"round-robin\"",
                "\"n3\"",
                &[
                    "s.toml:18:6: all mail goes to `n3`, which step 5 takes away for good: what was not accepted before then never can be (send to \"round-robin\", or to another node) ^\"n3\"",
                ],
            ),
        ],
    );
}

#[test]
fn times() {
    refused(
        GOOD,
        &[
            (
                "\"250 ms\"",
                "\"0 s\"",
                &["s.toml:9:8: `0 s` is no time at all: expected more than 0 ^\"0 s\""],
            ),
            (
                "\"250 ms\"",
                "\"3 s\"",
                &[
                    "s.toml:9:8: a shadow holder would take over before it polls once: poll = 3 s, takeover = 2 s (poll must not be longer than takeover) ^\"3 s\"",
                ],
            ),
            (
                "\"250 ms\"",
                "\"takeover / 8\"",
                &[
                    "s.toml:9:9: `takeover` has no value here yet (times are settled in the order poll, takeover, retry, resend, patience, record: each may refer to those before it) ^takeover",
                ],
            ),
            (
                "poll = \"250 ms\"\ntakeover = \"2 s\"",
                "takeover = \"100 ms\"",
                &[
                    "s.toml:9:12: a shadow holder would take over before it polls once: poll = 250 ms, takeover = 100 ms (poll must not be longer than takeover) ^\"100 ms\"",
                ],
            ),
            (
                "\"500 ms\"",
                "\"2 pols\"",
                &[
                    "s.toml:11:12: no time is called `pols`; times are poll, takeover, retry, resend, patience, record (did you mean `poll`?) ^pols",
                ],
            ),
            (
                "\"500 ms\"",
                "\"2 restarts\"",
                &[
                    "s.toml:11:12: `restarts` is known only after a run (inequalities may name it) ^restarts",
                ],
            ),
            (
                "\"restart < takeover / 3\"",
                "\"restrat < takeover / 3\"",
                &[
                    "s.toml:12:13: no time is called `restrat`; times are poll, takeover, retry, resend, patience, record, restart (did you mean `restart`?) ^restrat",
                ],
            ),
            (
                "\"restart < takeover / 3\"",
                "\"boot < takeover\"",
                &[
                    "s.toml:12:13: no time is called `boot`; times are poll, takeover, retry, resend, patience, record, restart ^boot",
                ],
            ),
            (
                "\"restart < takeover / 3\"",
                "\"takeover < 4 retries\"",
                &[
                    "s.toml:12:12: `takeover < 4 retries` does not hold with the planned times: takeover = 2 s, retries = 500 ms ^\"takeover < 4 retries\"",
                ],
            ),
            (
                "\"100 ms\"",
                "\"0 s\"",
                &["s.toml:20:68: `0 s` is no time at all: expected more than 0 ^\"0 s\""],
            ),
            (
                "\"100 ms\"",
                "\"takovers / 4\"",
                &[
                    "s.toml:20:69: no time is called `takovers`; times are poll, takeover, retry, resend, patience, record (did you mean `takeover`?) ^takovers",
                ],
            ),
            (
                "\"3 s\"",
                "\"2 restarts\"",
                &[
                    "s.toml:24:85: `restarts` is known only after a run (inequalities may name it) ^restarts",
                ],
            ),
            (
                "\"30 s\"",
                "\"1 s\"",
                &[
                    "s.toml:35:12: `1 s` is over before a takeover may begin: takeover = 2 s ^\"1 s\"",
                ],
            ),
            (
                "\"30 s\"",
                "\"poll - poll\"",
                &[
                    "s.toml:35:12: `poll - poll` is no time at all: expected more than 0 ^\"poll - poll\"",
                ],
            ),
            (
                "max = \"4 s\"",
                "max = \"1 s\"",
                &[
                    "s.toml:26:36: `1 s` is over before a takeover may begin: takeover = 2 s ^\"1 s\"",
                ],
            ),
            (
                "max = \"4 s\"",
                "max = \"0 s\"",
                &["s.toml:26:36: `0 s` is no time at all: expected more than 0 ^\"0 s\""],
            ),
        ],
    );
}

#[test]
fn nodes() {
    refused(
        GOOD,
        &[
            (
                "node = \"n1\"",
                "node = \"n9\"",
                &["s.toml:20:18: there is no `n9`: the transport nodes are `n1` to `n3` ^\"n9\""],
            ),
            (
                "node = \"n1\"",
                "node = \"m2\"",
                &[
                    "s.toml:20:18: there is no `m2`: the one node that owns mailboxes is `m1` ^\"m2\"",
                ],
            ),
            (
                "node = \"n1\"",
                "node = \"held\"",
                &[
                    "s.toml:20:18: no link stands held when this step acts (`held` needs a point, at = { link = \"n1->mb\", phase = \"dot\" }, or an earlier link step that holds) ^\"held\"",
                ],
            ),
            (
                "back = \"same\", after",
                "back = \"empty\", after",
                &[
                    "s.toml:20:52: a crash leaves the disk where it is (for a node that loses its store, use `node-lost`) ^\"empty\"",
                ],
            ),
            (
                "crash = { node = \"n1\", at = \"30% accepted\", back = \"same\"",
                "power-cut = { node = \"n1\", at = \"30% accepted\", back = \"empty\"",
                &[
                    "s.toml:20:56: a power-cut leaves the disk where it is (for a node that loses its store, use `node-lost`) ^\"empty\"",
                ],
            ),
            (
                "crash = { node = \"n1\", at = \"30% accepted\", back = \"same\", after = \"100 ms\" }",
                "restart = { node = \"n1\", at = \"30% accepted\", back = \"never\" }",
                &[
                    "s.toml:20:54: a restart starts the node again with its store (for a node that does not come back, or comes back empty, use `node-lost`) ^\"never\"",
                    "s.toml:22:18: no earlier step breaks anything that comes back ^\"back\"",
                ],
            ),
            (
                "back = \"never\"",
                "back = \"never\", after = \"1 s\"",
                &[
                    "s.toml:30:73: a node that never comes back has no time at which it does (remove `after`, or give `back` another value) ^\"1 s\"",
                ],
            ),
            (
                "wait = { until = \"back\", max = \"10 s\" }",
                "crash = { node = \"n1\", at = \"start\" }",
                &[
                    "s.toml:22:18: `n1` may still be down from step 0 when this step acts (put wait = { until = \"back\", max = … } between the two) ^\"n1\"",
                ],
            ),
            (
                "crash = { node = \"n1\", at = \"30% accepted\", back = \"same\", after = \"100 ms\" }",
                "node-lost = { node = \"n3\", at = \"30% accepted\", back = \"never\" }",
                &[
                    "s.toml:22:18: no earlier step breaks anything that comes back ^\"back\"",
                    "s.toml:28:24: nothing passes on `client->n3`: step 0 took `n3` away for good ^\"client->n3\"",
                    "s.toml:30:22: `n3` is gone: step 0 took it away for good ^\"n3\"",
                ],
            ),
            (
                "wait = { until = \"back\", max = \"10 s\" }",
                "node-lost = { node = \"n2\", at = \"50% accepted\", back = \"never\" }",
                &[
                    "s.toml:24:40: nothing passes on `n2->m1`: step 1 took `n2` away for good ^\"n2->m1\"",
                ],
            ),
            (
                "wait = { until = \"back\", max = \"10 s\" }",
                "pause = { node = \"n1\", at = \"start\", for = \"1 s\" }",
                &[
                    "s.toml:22:18: `n1` may still be down from step 0 when this step acts (put wait = { until = \"back\", max = … } between the two) ^\"n1\"",
                ],
            ),
            (
                "node-lost = { node = \"n3\", at = \"80% accepted\", back = \"never\" }",
                "node-lost = { node = \"any\", at = \"80% accepted\", back = \"never\" }\n[[step]]\nnode-lost = { node = \"n1\", at = \"start\", back = \"never\" }\n[[step]]\nnode-lost = { node = \"busiest\", at = \"start\", back = \"never\" }",
                &[
                    "s.toml:34:54: with this step no transport node is left: nothing can be delivered ^\"never\"",
                ],
            ),
        ],
    );
}

#[test]
fn points() {
    refused(
        GOOD,
        &[
            (
                "\"n2->m1\"",
                "\"n9->m1\"",
                &["s.toml:24:41: there is no `n9`: the transport nodes are `n1` to `n3` ^n9"],
            ),
            (
                "\"n2->m1\"",
                "\"n2->m2\"",
                &["s.toml:24:45: there is no `m2`: the one node that owns mailboxes is `m1` ^m2"],
            ),
            (
                "\"n2->m1\"",
                "\"n2->mb\"",
                &[
                    "s.toml:24:45: there is no `mb`: mail ends at the nodes that own mailboxes (`m1`, …) ^mb",
                ],
            ),
            (
                "\"n2->m1\"",
                "\"m1->n2\"",
                &[
                    "s.toml:24:40: nobody dials `m1->n2`; the links are client to transport node, between transport nodes, and from there to where mail ends (did you mean `n2->m1`?) ^\"m1->n2\"",
                ],
            ),
            (
                "\"n2->m1\"",
                "\"n2->n2\"",
                &[
                    "s.toml:24:40: nobody dials `n2->n2`; the links are client to transport node, between transport nodes, and from there to where mail ends ^\"n2->n2\"",
                ],
            ),
            (
                "\"n2->m1\"",
                "\"client->m1\"",
                &[
                    "s.toml:24:40: nobody dials `client->m1`; the links are client to transport node, between transport nodes, and from there to where mail ends ^\"client->m1\"",
                ],
            ),
            (
                "\"dot\"",
                "\"dots\"",
                &[
                    "s.toml:24:58: no phase is called `dots`; phases are connect, greeting, ehlo, ehlo-reply, mail, mail-reply, rcpt, rcpt-reply, data, data-reply, content, dot, after-dot, end-reply, after-end-reply, quit, quit-reply, verb(NAME), verb-reply(NAME) (did you mean `dot`?) ^\"dots\"",
                ],
            ),
            (
                "\"dot\"",
                "\"afterwards\"",
                &[
                    "s.toml:24:58: no phase is called `afterwards`; phases are connect, greeting, ehlo, ehlo-reply, mail, mail-reply, rcpt, rcpt-reply, data, data-reply, content, dot, after-dot, end-reply, after-end-reply, quit, quit-reply, verb(NAME), verb-reply(NAME) ^\"afterwards\"",
                ],
            ),
            ("\"dot\"", "\"verb(XSHADOW)\"", &[]),
            (
                "nth = 3",
                "nth = 0",
                &["s.toml:24:71: passages are counted from 1 ^0"],
            ),
            (
                "nth = 5",
                "nth = 101",
                &[
                    "s.toml:28:65: the workload has 100 messages: passage 101 of `end-reply` on `client->n3` never comes ^101",
                ],
            ),
            (
                "at = \"30% accepted\"",
                "at = \"1 fortnight\"",
                &[
                    "s.toml:20:32: no time is called `fortnight`; times are poll, takeover, retry, resend, patience, record ^fortnight",
                ],
            ),
            (
                "to = \"round-robin\"",
                "to = \"n1\"",
                &[
                    "s.toml:28:24: the sender talks to `n1` alone: nothing passes on `client->n3` ^\"client->n3\"",
                ],
            ),
        ],
    );
}

#[test]
fn links() {
    refused(
        GOOD,
        &[
            (
                "\"end-reply\", nth = 5 }",
                "\"dot\", nth = 5 }",
                &[
                    "s.toml:28:70: no reply stands at `dot` that could be lost (choose `end-reply` or another phase that ends in -reply) ^\"lose-reply\"",
                ],
            ),
            (
                "\"end-reply\", nth = 5 }",
                "\"after-end-reply\", nth = 5 }",
                &[
                    "s.toml:28:82: no reply stands at `after-end-reply` that could be lost (choose `end-reply` or another phase that ends in -reply) ^\"lose-reply\"",
                ],
            ),
            (
                "act = \"lose-reply\"",
                "act = { answer = \"451 4.4.0 try later\" }",
                &[
                    "s.toml:28:76: no command stands at `end-reply` that could be answered (choose ehlo, mail, rcpt, data, dot, quit or verb(NAME)) ^{ answer = \"451 4.4.0 try later\" }",
                ],
            ),
            (
                "\"end-reply\", nth = 5 }, act = \"lose-reply\"",
                "\"mail\", nth = 5 }, act = { answer = \"4xx no\" }",
                &[
                    "s.toml:28:82: expected one reply line: three digits from 200 to 559, a space, text of at most 500 characters ^\"4xx no\"",
                ],
            ),
            (
                "\"end-reply\", nth = 5 }, act = \"lose-reply\"",
                "\"mail\", nth = 5 }, act = { answer = \"451 4.4.0 try later\" }",
                &[],
            ),
            (
                "act = \"lose-reply\"",
                "act = \"lose-reply\", for = \"1 s\"",
                &["s.toml:28:96: `lose-reply` is done in a moment: it does not last ^\"1 s\""],
            ),
            (
                "act = \"lose-reply\"",
                "act = \"lose-reply\", on = \"client->n3\"",
                &[
                    "s.toml:28:76: `lose-reply` is done at a point of one dialogue, not to a whole link (remove `on` and give a point, at = { link = …, phase = … }) ^\"lose-reply\"",
                ],
            ),
            (
                "act = \"lose-reply\"",
                "act = \"hold\"",
                &[
                    "s.toml:28:76: nothing ever releases this link (say how long with `for`, or let a later step hit the `held` node) ^\"hold\"",
                ],
            ),
            (
                "act = \"lose-reply\"",
                "act = { delay = \"0 ms\" }",
                &["s.toml:28:86: `0 ms` is no time at all: expected more than 0 ^\"0 ms\""],
            ),
            (
                "act = \"lose-reply\"",
                "act = \"blackhole\", for = \"2 pols\"",
                &[
                    "s.toml:28:98: no time is called `pols`; times are poll, takeover, retry, resend, patience, record (did you mean `poll`?) ^pols",
                ],
            ),
            (
                "at = { link = \"client->n3\", phase = \"end-reply\", nth = 5 }, act = \"lose-reply\"",
                "at = \"start\", act = \"refuse\"",
                &[
                    "s.toml:28:15: which link is meant? (give a point, at = { link = \"n1->mb\", phase = \"dot\" }, or name the link with `on`) ^\"start\"",
                ],
            ),
            (
                "at = { link = \"client->n3\", phase = \"end-reply\", nth = 5 }, act = \"lose-reply\"",
                "at = \"start\", act = \"refuse\", on = \"n1->n7\"",
                &["s.toml:28:50: there is no `n7`: the transport nodes are `n1` to `n3` ^n7"],
            ),
            (
                "at = { link = \"client->n3\", phase = \"end-reply\", nth = 5 }, act = \"lose-reply\"",
                "at = \"start\", act = \"refuse\", on = \"n1->n2\", for = \"1 s\"",
                &[],
            ),
        ],
    );
}

#[test]
fn waits() {
    refused(
        GOOD,
        &[
            (
                "crash = { node = \"n1\", at = \"30% accepted\", back = \"same\", after = \"100 ms\" }",
                "node-lost = { node = \"n1\", at = \"30% accepted\", back = \"never\" }",
                &["s.toml:22:18: no earlier step breaks anything that comes back ^\"back\""],
            ),
            (
                "for = \"3 s\"",
                "for = \"1 s\"",
                &[
                    "s.toml:26:18: no earlier step keeps a node away for longer than its peers wait: there is nothing to take over (a takeover needs a node that is lost, or away for longer than `takeover`) ^\"takeover\"",
                ],
            ),
            (
                "wait = { until = \"back\", max = \"10 s\" }",
                "wait = { until = \"takeover\", max = \"10 s\" }",
                &[
                    "s.toml:22:18: no earlier step keeps a node away for longer than its peers wait: there is nothing to take over (a takeover needs a node that is lost, or away for longer than `takeover`) ^\"takeover\"",
                ],
            ),
            (
                "nodes = 3",
                "nodes = 1",
                &[
                    "s.toml:24:41: there is no `n2`: the one transport node is `n1` ^n2",
                    "s.toml:26:18: a single transport node has no peer that could take over ^\"takeover\"",
                    "s.toml:28:33: there is no `n3`: the one transport node is `n1` ^n3",
                    "s.toml:30:22: there is no `n3`: the one transport node is `n1` ^\"n3\"",
                    "s.toml:30:56: with this step no transport node is left: nothing can be delivered ^\"never\"",
                    "s.toml:34:12: this window can never be reached: no step keeps a node away for longer than its peers wait: there is nothing to take over ^\"takeover\"",
                ],
            ),
        ],
    );
}

#[test]
fn expectations() {
    refused(
        GOOD,
        &[
            (
                "\"takeover\", \"owns-mailbox\", \"duplicate-detection\"",
                "\"takeover\", \"owns-mailbox\"",
                &[
                    "s.toml:32:13: at level \"mailbox\" no second copy may show, which only duplicate detection can grant (add \"duplicate-detection\" to `needs`) ^\"exactly-once\"",
                ],
            ),
            (
                "needs = [\"relay\", \"takeover\", ",
                "needs = [\"relay\", ",
                &[
                    "s.toml:26:18: only a target that takes over can get there (add \"takeover\" to `needs`) ^\"takeover\"",
                    "s.toml:34:12: only a target that takes over can get there (add \"takeover\" to `needs`) ^\"takeover\"",
                ],
            ),
            (
                "[\"takeover\", \"resume\"]",
                "[\"takeover\", \"takeover\"]",
                &["s.toml:34:24: this window is listed twice ^\"takeover\""],
            ),
            (
                "pause = { node = \"held\", at = { link = \"n2->m1\", phase = \"dot\", nth = 3 }, for = \"3 s\" }",
                "crash = { node = \"held\", at = { link = \"n2->m1\", phase = \"dot\", nth = 3 }, after = \"3 s\" }",
                &[
                    "s.toml:34:24: this window can never be reached: no step pauses a node ^\"resume\"",
                ],
            ),
            ("deadline = \"30 s\"", "bounces = true", &[]),
            ("to = \"round-robin\"", "sender = \"once\"", &[]),
        ],
    );
}

#[test]
fn windows() {
    refused(
        BARE,
        &[
            (
                "windows = []",
                "windows = [\"takeover\"]",
                &[
                    "s.toml:10:12: this window can never be reached: no step keeps a node away for longer than its peers wait: there is nothing to take over ^\"takeover\"",
                    "s.toml:10:12: only a target that takes over can get there (add \"takeover\" to `needs`) ^\"takeover\"",
                ],
            ),
            (
                "windows = []",
                "windows = [\"recovery\"]",
                &[
                    "s.toml:10:12: this window can never be reached: no step takes a node away that comes back with its store ^\"recovery\"",
                ],
            ),
            (
                "windows = []",
                "windows = [\"retry\"]",
                &[
                    "s.toml:10:12: this window can never be reached: a sender of kind \"once\" never tries again ^\"retry\"",
                ],
            ),
            (
                "windows = []",
                "windows = [\"reply-lost\"]",
                &[
                    "s.toml:10:12: this window can never be reached: no step breaks a connection on which a reply could get lost ^\"reply-lost\"",
                ],
            ),
            (
                "windows = []",
                "windows = [\"resume\"]",
                &[
                    "s.toml:10:12: this window can never be reached: no step pauses a node ^\"resume\"",
                ],
            ),
            (
                "windows = []",
                "windows = [\"degraded\"]",
                &[
                    "s.toml:10:12: this window can never be reached: no step takes a node away ^\"degraded\"",
                ],
            ),
            (
                "windows = []",
                "windows = []\nbounces = true",
                &[
                    "s.toml:11:11: no step makes a next hop refuse mail, so that nothing may bounce ^true",
                ],
            ),
            (
                "windows = []",
                "windows = []\nlevel = \"mailbox\"",
                &[
                    "s.toml:11:9: the cluster has no nodes that own mailboxes, so there is nothing to judge at that level (add `stores = 1` to [cluster], or judge at level \"wire\") ^\"mailbox\"",
                ],
            ),
            (
                "stores = 0",
                "stores = 1",
                &[
                    "s.toml:5:10: nodes that own mailboxes need a target that has them (add \"owns-mailbox\" to `needs`) ^1",
                ],
            ),
            (
                "nodes = 3",
                "nodes = 0",
                &["s.toml:4:9: expected 1 to 50 transport nodes ^0"],
            ),
        ],
    );
}

/// A chaos scenario.
const CHAOS: &str = r#"id = "chaos/good"
title = "Good chaos"
needs = ["relay"]
[chaos]
messages = "100..250"
size = "1 B..64 KiB"
recipients = "1..4"
sessions = "1..12"
nodes = "2..6"
stores = "0..2"
faults = "1..6"
kinds = ["crash", "reset"]
verbs = ["XPEER"]
within = "claim"
"#;

#[test]
fn chaos() {
    scenario::lint("chaos.toml", CHAOS).unwrap();
    refused(
        CHAOS,
        &[
            (
                "messages = \"100..250\"",
                "messages = \"99..250\"",
                &["s.toml:5:12: expected a number or a range within 100..10000 ^\"99..250\""],
            ),
            (
                "nodes = \"2..6\"",
                "nodes = \"0..6\"",
                &["s.toml:9:9: expected a number or a range within 1..50 ^\"0..6\""],
            ),
            (
                "faults = \"1..6\"",
                "faults = 0",
                &["s.toml:11:10: expected a number or a range within 1..50 ^0"],
            ),
            (
                "size = \"1 B..64 KiB\"",
                "size = \"0 B\"",
                &["s.toml:6:8: expected messages of more than 0 bytes and at most 64 MiB ^\"0 B\""],
            ),
            (
                "kinds = [\"crash\", \"reset\"]",
                "kinds = []",
                &[
                    "s.toml:12:9: chaos without any kind of fault proves nothing (remove `kinds` to draw from every kind) ^[]",
                ],
            ),
            (
                "kinds = [\"crash\", \"reset\"]",
                "kinds = [\"crash\", \"crash\"]",
                &["s.toml:12:19: this kind is listed twice ^\"crash\""],
            ),
            (
                "verbs = [\"XPEER\"]",
                "verbs = [\"X PEER\"]",
                &["s.toml:13:10: `X PEER` is not the name of an SMTP verb ^\"X PEER\""],
            ),
            (
                "within = \"claim\"",
                "within = \"claim\"\n[workload]\nmessages = 100",
                &[
                    "s.toml:15:1: `workload` and `chaos` exclude each other: each seed draws its own (remove `workload`; the ranges to draw from stand in [chaos]) ^[workload]",
                ],
            ),
            (
                "within = \"claim\"",
                "within = \"claim\"\n[[step]]\ncrash = { node = \"n1\", at = \"start\" }",
                &[
                    "s.toml:15:1: `step` and `chaos` exclude each other: each seed draws its own (remove `step`; the ranges to draw from stand in [chaos]) ^[[step]]",
                ],
            ),
            (
                "needs = [\"relay\"]",
                "drawn = \"chaos/good seed 1\"",
                &[
                    "s.toml:3:9: a scenario that was drawn has no [chaos] table any more ^\"chaos/good seed 1\"",
                ],
            ),
        ],
    );
    let wrong = CHAOS.replace("\"crash\"", "\"crush\"");
    let found = scenario::lint("s.toml", &wrong).unwrap_err();
    assert!(
        found[0].to_string().starts_with(
            "s.toml:12:10: `crush` is no word that may stand here; expected one of `crash`"
        ),
        "{}",
        found[0]
    );
}

#[test]
fn mail_is_needed_and_any_fault_will_do_only_where_there_is_one() {
    refused(
        BARE,
        &[
            (
                "[workload]\nmessages = 100\nsender = \"once\"\n",
                "",
                &[
                    "s.toml:1:1: `workload` is missing: a scenario without mail proves nothing (add [workload] with `messages`, or [chaos], from which each seed draws) ^",
                ],
            ),
            (
                "windows = []",
                "windows = []\nfaults = \"any\"",
                &[
                    "s.toml:11:10: no step is a fault: there is none of which one could act ^\"any\"",
                ],
            ),
            (
                "sender = \"once\"",
                "sender = \"once\"\npace = \"0 s\"",
                &["s.toml:9:8: `0 s` is no time at all: expected more than 0 ^\"0 s\""],
            ),
        ],
    );
}
