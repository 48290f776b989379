use super::*;
use crate::scenario::{lint, parse, write};

fn scenario(sweep: &str) -> Scenario {
    let text = format!(
        "id = 'sweep/x'\ntitle = 't'\nneeds = ['relay', 'shadow-copy', 'takeover']\n[cluster]\nnodes = 2\n[workload]\nmessages = 4\nsessions = 1\n[expect]\nbounces = true\n[sweep]\n{sweep}"
    );
    parse("x.toml", &text).unwrap()
}

fn passages() -> Vec<(Link, String)> {
    let on = |link: &str, phase: &str| (link.parse().unwrap(), phase.to_owned());
    vec![
        on("client->n1", "mail"),
        on("client->n1", "dot"),
        on("n1->n2", "verb(XSHADOW)"),
        on("n1->n2", "end-reply"),
        on("client->n1", "end-reply"),
        on("client->n1", "mail"),
    ]
}

#[test]
fn every_point_has_every_act_that_means_something_there() {
    let s = scenario("over = 'smtp-phase'\nacts = ['reset', 'lose-reply', 'answer 451', 'crash']");
    let points = phases(&s, passages().into_iter());
    assert_eq!(points.len(), 6);
    let cases = cases(&s, &points);
    let what: Vec<&str> = cases.iter().map(|c| c.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "reset at mail #1 on client->n1",
            "answer 451 at mail #1 on client->n1",
            "crash n1 at mail #1 on client->n1",
            "reset at dot #1 on client->n1",
            "answer 451 at dot #1 on client->n1",
            "crash n1 at dot #1 on client->n1",
            "reset at verb(XSHADOW) #1 on n1->n2",
            "answer 451 at verb(XSHADOW) #1 on n1->n2",
            "crash n1 at verb(XSHADOW) #1 on n1->n2",
            "crash n2 at verb(XSHADOW) #1 on n1->n2",
            "reset at end-reply #1 on n1->n2",
            "lose-reply at end-reply #1 on n1->n2",
            "crash n1 at end-reply #1 on n1->n2",
            "crash n2 at end-reply #1 on n1->n2",
            "reset at end-reply #1 on client->n1",
            "lose-reply at end-reply #1 on client->n1",
            "crash n1 at end-reply #1 on client->n1",
            "reset at mail #2 on client->n1",
            "answer 451 at mail #2 on client->n1",
            "crash n1 at mail #2 on client->n1",
        ]
    );
    for (n, case) in cases.iter().enumerate() {
        assert_eq!(case.number as usize, n + 1);
        // Each is a file that can be run alone.
        let text = write(&case.scenario).unwrap();
        let read = lint("case.toml", &text).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
        assert_eq!(read, case.scenario);
    }
}

#[test]
fn links_nodes_and_every_leave_points_out() {
    let s = scenario("over = 'smtp-phase'\nacts = ['crash']\nlinks = ['n1->n2']\nnodes = ['n2']");
    let points = phases(&s, passages().into_iter());
    let what: Vec<String> = cases(&s, &points).into_iter().map(|c| c.what).collect();
    assert_eq!(
        what,
        [
            "crash n2 at verb(XSHADOW) #1 on n1->n2",
            "crash n2 at end-reply #1 on n1->n2"
        ]
    );
    let s = scenario("over = 'event'\nacts = ['crash', 'node-lost']\nnodes = ['n1']\nevery = 4");
    let points: Vec<Trigger> = (10..20).map(Trigger::Event).collect();
    let what: Vec<String> = cases(&s, &points).into_iter().map(|c| c.what).collect();
    assert_eq!(
        what,
        [
            "crash n1 at happening 10",
            "node-lost n1 at happening 10",
            "crash n1 at happening 14",
            "node-lost n1 at happening 14",
            "crash n1 at happening 18",
            "node-lost n1 at happening 18",
        ]
    );
}

#[test]
fn pairs_are_drawn_by_the_seed_and_bounded() {
    let s = scenario("over = 'smtp-phase'\nacts = ['reset', 'crash']\npairs = 30");
    let points = phases(&s, passages().into_iter());
    let draw = |seed| pairs(&s, &points, seed, 20, &|_| true);
    let drawn = draw(1);
    assert_eq!(drawn.len(), 30);
    assert_eq!(drawn, draw(1));
    assert_ne!(drawn, draw(2));
    assert_eq!(drawn[0].number, 21);
    for case in &drawn {
        assert_eq!(case.acts.len(), 2);
        let text = write(&case.scenario).unwrap();
        lint("case.toml", &text).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
    }
    assert!(pairs(&s, &points, 1, 0, &|_| false).is_empty());
    assert!(pairs(&s, &points[..1], 1, 0, &|_| true).is_empty());
}

#[test]
fn the_second_point_of_a_pair_is_counted_from_the_first() {
    let points = phases(
        &scenario("over = 'smtp-phase'\nacts = ['reset']"),
        passages().into_iter(),
    );
    let Trigger::Point(second) = &points[5] else {
        panic!("{points:?}");
    };
    assert_eq!((second.nth, after(&points[..=0], second)), (2, 1));
    assert_eq!(after(&[], second), 2);
}

#[test]
fn only_a_fault_that_was_not_felt_may_be_missing() {
    let unfelt = "not one of the 1 faults was seen to act: x";
    let stands = |verdict, missing: &[&str]| {
        let missing: Vec<String> = missing.iter().map(|m| (*m).to_owned()).collect();
        super::stands(verdict, "r", &missing)
    };
    assert_eq!(stands(Verdict::Pass, &[]), Standing::Full);
    assert_eq!(stands(Verdict::Inconclusive, &[unfelt]), Standing::Sound);
    assert_eq!(
        stands(Verdict::Inconclusive, &[unfelt, "no silence"]),
        Standing::Unproved("no silence".to_owned())
    );
    assert_eq!(
        stands(Verdict::Inconclusive, &[]),
        Standing::Unproved("r".to_owned())
    );
    assert_eq!(stands(Verdict::Fail, &[]), Standing::Failed(Verdict::Fail));
    assert_eq!(
        stands(Verdict::Error, &[]),
        Standing::Failed(Verdict::Error)
    );
}
