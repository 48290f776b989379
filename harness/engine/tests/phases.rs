//! The model knows nothing of the wire and names its phases itself: the two
//! lists are one.

use mailproof_model::scenario::{PHASES, is_phase};
use mailproof_wire::phase::Phase;

#[test]
fn scenarios_name_the_phases_that_the_wire_finds() {
    let found: Vec<String> = Phase::all().map(|phase| phase.to_string()).collect();
    assert_eq!(found, PHASES);
}

#[test]
fn both_take_and_refuse_the_same_verbs() {
    let long = |letters| format!("verb({})", "X".repeat(letters));
    for name in [
        "verb(XSHADOW)",
        "verb-reply(xshadow)",
        "verb(X-1_2)",
        "verb()",
        "verb(A B)",
        "verb(X",
        "Dot",
        "",
        "verb(É)",
    ] {
        assert_eq!(name.parse::<Phase>().is_ok(), is_phase(name), "{name}");
    }
    for letters in [1, 16, 31, 32, 100] {
        let name = long(letters);
        assert_eq!(name.parse::<Phase>().is_ok(), is_phase(&name), "{letters}");
    }
}
