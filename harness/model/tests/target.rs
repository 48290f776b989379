//! Target files: those of the project are sound, and each thing that can be
//! wrong with one is refused at its place.

use mailproof_model::scenario::{self, Span};
use mailproof_model::{plan::Plan, target};

const REFERENCE: &str = include_str!("../../../fixtures/targets/reference.toml");

#[test]
fn the_reference_target_is_sound() {
    let reference = target::parse("reference.toml", REFERENCE).unwrap();
    assert_eq!(reference.name, "reference");
    assert!(reference.sim.is_some() && reference.can("takeover"));
    assert!(reference.process(true) == &reference.node);
    let written = toml::to_string(&reference).unwrap();
    assert_eq!(
        target::parse("written.toml", &written),
        Ok(reference.clone())
    );
    let scenario = scenario::parse(
        "s.toml",
        "id = 'a/b'\ntitle = 't'\n[time]\npoll = '100 ms'\n[workload]\nmessages = 1\n",
    )
    .unwrap();
    for engine in ["sim", "process"] {
        let plan = Plan::build(&scenario, &reference, engine, 1, "r").unwrap();
        assert_eq!(plan.time("poll"), 100_000_000);
        assert_eq!(plan.target.claims.len(), reference.claims.len());
    }
}

const GOOD: &str = r#"
name = "some-mta"
title = "Some MTA"
capabilities = ["relay", "takeover", "queue-listing"]
[node]
command = ["mta", "-c", "{{ dir }}/mta.conf"]
env = { TZ = "UTC" }
[[file]]
path = "etc/mta.conf"
text = "listen {{ listen }}"
[ready]
greeting = "9 s"
[stop]
signal = "INT"
max = "3 s"
[queue]
lister = ["mta-list"]
store = "queue"
[times]
retry = { default = "30 s", settable = true, least = "5 s" }
[[claim]]
failure = "node-lost"
at-once = 2
spacing = "1 min"
condition = "shadowed"
guarantee = "no-loss"
"#;

#[test]
fn a_good_file_says_what_it_says() {
    let good = target::parse("good.toml", GOOD).unwrap();
    let claim = &good.target(None).claims[0];
    assert_eq!((claim.at_once, claim.spacing), (2, 60_000_000_000));
    assert_eq!(
        good.times.retry.unwrap().default,
        "30 s".parse::<Span>().unwrap()
    );
}

#[test]
fn each_wrong_value_is_refused_at_its_place() {
    let cases = [
        (
            "\"some-mta\"",
            "\"Some MTA\"",
            "t.toml:2:8: a target's name has 1 to 40 lower case letters, digits and hyphens and begins with a letter ^\"Some MTA\"",
        ),
        (
            "\"takeover\"",
            "\"takover\"",
            "t.toml:4:26: no capability is called `takover` (did you mean `takeover`?) ^\"takover\"",
        ),
        (
            "\"takeover\"",
            "\"relay\"",
            "t.toml:4:26: `relay` is listed twice ^\"relay\"",
        ),
        (
            "lister = [\"mta-list\"]\n",
            "",
            "t.toml:4:38: `queue-listing` needs `builtin` or `lister` in [queue] ^\"queue-listing\"",
        ),
        (
            "[\"mta\", \"-c\", \"{{ dir }}/mta.conf\"]",
            "[]",
            "t.toml:6:11: the command names no program: expected [program, argument, …] ^[]",
        ),
        (
            "TZ =",
            "\"T=Z\" =",
            "t.toml:7:9: `T=Z` cannot be the name of an environment variable ^\"T=Z\"",
        ),
        (
            "\"etc/mta.conf\"",
            "\"../mta.conf\"",
            "t.toml:9:8: `../mta.conf` does not stay in the node's directory: expected a relative path without `..` ^\"../mta.conf\"",
        ),
        (
            "\"9 s\"",
            "\"2 polls\"",
            "t.toml:12:12: `2 polls` depends on other times: expected one with a unit, `2 s` ^\"2 polls\"",
        ),
        (
            "\"INT\"",
            "\"KILL\"",
            "t.toml:14:10: `KILL` is no word that may stand here; expected one of `TERM`, `INT`, `QUIT` ^\"KILL\"",
        ),
        (
            "[\"mta-list\"]",
            "[\"\"]",
            "t.toml:17:10: the command names no program: expected [program, argument, …] ^[\"\"]",
        ),
        (
            "lister =",
            "builtin = \"reference\"\nlister =",
            "t.toml:18:10: `builtin` and `lister` exclude each other ^[\"mta-list\"]",
        ),
        (
            "\"queue\"",
            "\"/queue\"",
            "t.toml:18:9: the store lies in the node's directory: expected a relative path without `..` ^\"/queue\"",
        ),
        (
            "\"5 s\"",
            "\"40 s\"",
            "t.toml:20:21: the default `30 s` is outside its own bounds: `least` is `40 s` ^\"30 s\"",
        ),
        (
            "settable = true, ",
            "",
            "t.toml:20:37: `least` needs `settable = true` ^\"5 s\"",
        ),
        (
            "retry =",
            "retires =",
            "t.toml:20:1: `retires` is no key that may stand here; expected one of `poll`, `takeover`, `retry`, `record` ^retires",
        ),
        (
            "at-once = 2",
            "at-once = 0",
            "t.toml:23:11: expected 1 to 50 nodes at once ^0",
        ),
        (
            "\"shadowed\"",
            "\"sometimes\"",
            "t.toml:25:13: no condition is called `sometimes`; the one known is `shadowed` ^\"sometimes\"",
        ),
        (
            "\"no-loss\"",
            "\"no loss\"",
            "t.toml:26:13: `no loss` is no word that may stand here; expected one of `no-loss`, `no-loss-no-duplicates` (did you mean `no-loss`?) ^\"no loss\"",
        ),
        (
            "[node]",
            "sim = \"reference\"\n[node]",
            "t.toml:5:7: the simulator's model reads its configuration from the file `node.toml`, which is not here ^\"reference\"",
        ),
    ];
    for (from, to, message) in cases {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let found = target::parse_all("t.toml", &GOOD.replace(from, to)).unwrap_err();
        let shown: Vec<String> = found
            .iter()
            .map(|d| {
                let help = d.help().map(|h| format!(" ({h})")).unwrap_or_default();
                format!("{d}{help} ^{}", d.at())
            })
            .collect();
        assert_eq!(shown, [message], "{to}");
    }
}
