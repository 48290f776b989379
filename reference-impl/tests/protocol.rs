//! PROTOCOL.md names what the server knows, and no more.

use mailproof_node::PRIVATE_VERBS;

const PROTOCOL: &str = include_str!("../PROTOCOL.md");

/// The verbs that the grammar of section 2 has: `xname = "XVERB" …`.
fn grammar() -> Vec<String> {
    let section = PROTOCOL
        .split("\n## ")
        .find(|section| section.starts_with("2. Grammar"))
        .unwrap_or_default();
    let mut verbs: Vec<String> = section
        .lines()
        .filter_map(|line| {
            let (rule, rest) = line.split_once('=')?;
            let verb = rest.trim_start().strip_prefix('"')?.split('"').next()?;
            verb.eq_ignore_ascii_case(rule.trim())
                .then(|| verb.to_owned())
        })
        .collect();
    verbs.sort();
    verbs
}

#[test]
fn every_verb_of_the_server_is_in_the_grammar_and_no_other() {
    let mut known: Vec<String> = PRIVATE_VERBS.iter().map(|v| (*v).to_owned()).collect();
    known.sort();
    assert_eq!(grammar(), known, "PROTOCOL.md section 2 and PRIVATE_VERBS");
}

/// Each verb is also shown in use or told about outside the grammar.
#[test]
fn every_verb_is_explained() {
    for verb in PRIVATE_VERBS {
        let told = PROTOCOL.matches(verb).count();
        assert!(told >= 2, "{verb} stands in the grammar only");
    }
}
