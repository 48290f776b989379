//! Random plans: whatever breaks whenever, a run comes to an end, and nothing
//! that was accepted vanishes as long as no store was lost.

use mailproof_model::event::RowState;
use mailproof_model::rng::Rng;

use super::tests::run_of;
use super::*;

fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[usize::try_from(rng.below(of.len() as u64)).unwrap()]
}

const LINKS: [&str; 7] = [
    "client->n1",
    "client->n2",
    "n1->mb",
    "n2->mb",
    "n1->n2",
    "n2->n3",
    "n3->n1",
];

const PHASES: [&str; 14] = [
    "connect",
    "greeting",
    "ehlo-reply",
    "mail",
    "rcpt-reply",
    "data",
    "data-reply",
    "content",
    "dot",
    "after-dot",
    "end-reply",
    "after-end-reply",
    "quit",
    "verb(XPEER)",
];

/// One step, as a scenario writes it.
fn step(rng: &mut Rng) -> String {
    let node = pick(rng, &["n1", "n2", "n3", "busiest", "any"]);
    let at = pick(
        rng,
        &[
            "start",
            "10% accepted",
            "60% accepted",
            "40% delivered",
            "150 ms",
        ],
    );
    let (link, phase) = (pick(rng, &LINKS), pick(rng, &PHASES));
    let nth = rng.between(1, 4);
    let point = format!("{{ link = \"{link}\", phase = \"{phase}\", nth = {nth} }}");
    match rng.below(5) {
        0 => {
            let lasts = pick(rng, &["200 ms", "1 s", "4 s"]);
            format!("pause = {{ node = \"{node}\", at = \"{at}\", for = \"{lasts}\" }}")
        }
        1 | 2 => {
            let fault = pick(rng, &["crash", "power-cut", "restart", "node-lost"]);
            let after = pick(rng, &["0 s", "300 ms", "5 s"]);
            let (node, at) = if rng.below(2) == 0 {
                ("held", point)
            } else {
                (node, format!("\"{at}\""))
            };
            format!("{fault} = {{ node = \"{node}\", at = {at}, after = \"{after}\" }}")
        }
        3 => {
            let act = pick(rng, &["reset", "half-close", "blackhole", "refuse", "hold"]);
            let lasts = if rng.below(4) == 0 {
                ""
            } else {
                ", for = \"1 s\""
            };
            let lasts = match act {
                "reset" | "half-close" => "",
                _ => lasts,
            };
            format!("link = {{ at = {point}, act = \"{act}\"{lasts} }}")
        }
        _ => {
            let act = pick(
                rng,
                &[
                    "\"reset\"",
                    "\"refuse\"",
                    "{ delay = \"80 ms\" }",
                    "\"blackhole\"",
                ],
            );
            let lasts = if act == "\"reset\"" {
                ""
            } else {
                ", for = \"2 s\""
            };
            format!("link = {{ at = \"{at}\", on = \"{link}\", act = {act}{lasts} }}")
        }
    }
}

#[test]
fn every_run_comes_to_an_end_and_nothing_vanishes() {
    for seed in 0..300 {
        let mut rng = Rng::keyed(seed, "random plan", 0);
        let mut text = "[workload]\nmessages = 40\nrecipients = \"1..3\"\n".to_owned();
        for _ in 0..rng.between(1, 4) {
            text += &format!("[[step]]\n{}\n", step(&mut rng));
        }
        let run = run_of(&text, seed);
        assert!(!run.end().is_empty());
        assert!(!run.has(|w| matches!(w, What::Trouble { .. })), "{text}");

        // Whoever was told yes is owed: taken, or in a store that was read.
        let (delivered, accepted) = run.account();
        let mut kept = std::collections::BTreeSet::new();
        for event in &run.events {
            let What::StoreRead { rows, damage, .. } = &event.ev else {
                continue;
            };
            assert_eq!(damage, &None, "seed {seed}\n{text}");
            for row in rows.iter().filter(|r| r.state != RowState::Done) {
                for rcpt in &row.rcpts {
                    kept.extend(row.msg.map(|msg| (msg, *rcpt)));
                }
            }
        }
        for owed in accepted {
            assert!(
                delivered.contains_key(&owed) || kept.contains(&owed),
                "seed {seed}: {owed:?} vanished\n{text}"
            );
        }
    }
}
