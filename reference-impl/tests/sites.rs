//! Sites and boundaries: which peers are asked for a copy, in which order and
//! how often, and what never crosses a boundary.

mod world;

use std::time::Duration;

use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use mailproof_node::{Config, Preference};
use world::{World, node_address};

const SHORT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_secs(120);
const TAKEOVER: Duration = Duration::from_secs(3 * 3600);

/// A group over two sites: n1 and n2 in one, n3 and n4 in the other.
const GROUP: [(&str, Option<&str>); 4] = [
    ("east", Some("dag")),
    ("east", Some("dag")),
    ("west", Some("dag")),
    ("west", Some("dag")),
];

fn same(_: &mut Config) {}

/// The peers that node `n` asked in vain, in order.
fn refused_by(world: &World, n: usize) -> Vec<String> {
    let events = world.nodes[n].events.iter();
    events
        .filter(|e| e.event == EventKind::HaRedirectFail && e.detail.starts_with("attempt "))
        .map(|e| e.server.clone())
        .collect()
}

/// Who made copies for node `n`, in order.
fn made_by(world: &World, n: usize) -> Vec<String> {
    let events = world.nodes[n].events.iter();
    events
        .filter(|e| e.event == EventKind::HaRedirect)
        .map(|e| e.server.clone())
        .collect()
}

/// Sends one message to n1 while every other node is down; who was asked.
fn asked_in_vain(mut world: World) -> Vec<String> {
    for n in 1..world.nodes.len() {
        world.kill(n, Crash::DropAll);
    }
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(0).counters.accepted_unshadowed, 1);
    refused_by(&world, 0)
}

#[test]
fn cre_05_a_copy_is_made_inside_the_boundary_only() {
    // Only peers outside: another group, another site, none in the own one.
    for places in [
        [("east", Some("one")), ("east", Some("two"))],
        [("east", None), ("west", None)],
        [("east", Some("one")), ("east", None)],
        [("east", None), ("east", Some("one"))],
    ] {
        let mut world = World::sites(&places, same);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250, "{places:?}");
        assert_eq!(world.view(1).counters.shadows_held, 0, "{places:?}");
        assert_eq!(world.view(0).counters.accepted_unshadowed, 1);
        assert_eq!(world.view(0).counters.shadow_attempts_failed, 0);
        assert_eq!(world.view(0).peers[0].place, "outside");
        let why = world.nodes[0]
            .events
            .iter()
            .find(|e| e.event == EventKind::HaRedirectFail)
            .map(|e| e.detail.clone());
        assert_eq!(
            why.as_deref(),
            Some("no peer inside the boundary on another machine")
        );
    }
    // A peer inside: a member of the group in another site; one of the site.
    for places in [
        [("east", Some("one")), ("west", Some("one"))],
        [("east", None), ("east", None)],
    ] {
        let mut world = World::sites(&places, same);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250, "{places:?}");
        assert_eq!(world.view(1).counters.shadows_held, 1, "{places:?}");
    }
}

#[test]
fn cre_06_a_member_does_not_use_a_non_member_of_its_site() {
    let places = [
        ("east", Some("dag")),
        ("east", None),
        ("west", Some("dag")),
        ("east", None),
    ];
    let mut world = World::sites(&places, same);
    for n in 0..5 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
        assert_eq!(world.deliver(1, &format!("k{n}"), &["a@x"]), 250);
    }
    assert_eq!(made_by(&world, 0), ["n3"; 5]);
    // Nor the other way round.
    assert_eq!(made_by(&world, 1), ["n4"; 5]);
    let asked = asked_in_vain(World::sites(&places, same));
    assert_eq!(asked, ["n3"; 4]);
}

#[test]
fn cre_07_other_sites_come_first_by_default() {
    let mut world = World::sites(&GROUP, same);
    for n in 0..6 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    let made = made_by(&world, 0);
    assert!(made.iter().all(|n| n == "n3" || n == "n4"), "{made:?}");
    assert_eq!(world.marked(Mark::CopyInOtherSite), 6);
    // The own site is asked when the others refused, and only then.
    world.kill(2, Crash::DropAll);
    world.kill(3, Crash::DropAll);
    assert_eq!(world.deliver(0, "late", &["a@x"]), 250);
    assert_eq!(made_by(&world, 0).last().map(String::as_str), Some("n2"));
    let asked = refused_by(&world, 0);
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|n| n == "n3" || n == "n4"), "{asked:?}");
    assert_eq!(world.marked(Mark::CopyInOwnSiteAfterOthers), 1);
}

#[test]
fn cre_08_remote_only_never_asks_its_own_site_and_local_only_no_other() {
    let only = |preference| {
        move |config: &mut Config| config.shadow_message_preference_setting = preference
    };
    let asked = asked_in_vain(World::sites(&GROUP, only(Preference::RemoteOnly)));
    assert!(asked.iter().all(|n| n == "n3" || n == "n4"), "{asked:?}");
    let asked = asked_in_vain(World::sites(&GROUP, only(Preference::LocalOnly)));
    assert!(asked.iter().all(|n| n == "n2"), "{asked:?}");
    // A peer that the preference excludes gets nothing although it would do.
    let mut world = World::sites(&GROUP, only(Preference::RemoteOnly));
    world.kill(2, Crash::DropAll);
    world.kill(3, Crash::DropAll);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(1).counters.shadows_held, 0);
    let mut world = World::sites(&GROUP, only(Preference::LocalOnly));
    world.kill(1, Crash::DropAll);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    for n in [2, 3] {
        assert_eq!(world.view(n).counters.shadows_held, 0);
    }
}

#[test]
fn cre_09_in_a_single_site_the_preference_is_ignored() {
    let group = [("east", Some("dag")); 3];
    let no_group = [("east", None); 3];
    for places in [group, no_group] {
        for preference in [
            Preference::PreferRemote,
            Preference::RemoteOnly,
            Preference::LocalOnly,
        ] {
            let change =
                move |config: &mut Config| config.shadow_message_preference_setting = preference;
            let mut world = World::sites(&places, change);
            assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
            let held: u64 = (1..3).map(|n| world.view(n).counters.shadows_held).sum();
            assert_eq!(held, 1, "{preference:?}");
            let asked = asked_in_vain(World::sites(&places, change));
            assert_eq!(asked.len(), 2, "the local count, {preference:?}");
        }
    }
}

#[test]
fn cre_10_the_number_of_attempts_follows_preference_and_parameters() {
    let count = |preference, remote, local| {
        let asked = asked_in_vain(World::sites(&GROUP, |config| {
            config.shadow_message_preference_setting = preference;
            config.max_retries_for_remote_site_shadow = remote;
            config.max_retries_for_local_site_shadow = local;
        }));
        let own = asked.iter().filter(|n| *n == "n2").count();
        (asked.len() - own, own)
    };
    use Preference::{LocalOnly, PreferRemote, RemoteOnly};
    // The defaults.
    assert_eq!(count(PreferRemote, 4, 2), (4, 2));
    assert_eq!(count(RemoteOnly, 4, 2), (4, 0));
    assert_eq!(count(LocalOnly, 4, 2), (0, 2));
    let single = asked_in_vain(World::sites(&[("east", None); 4], same));
    assert_eq!(single.len(), 2);
    // Other values; 0 means never.
    assert_eq!(count(PreferRemote, 1, 3), (1, 3));
    assert_eq!(count(PreferRemote, 0, 2), (0, 2));
    assert_eq!(count(PreferRemote, 3, 0), (3, 0));
    assert_eq!(count(RemoteOnly, 0, 2), (0, 0));
    assert_eq!(count(LocalOnly, 4, 0), (0, 0));
}

#[test]
fn cre_11_attempts_go_to_different_peers_while_there_are_untried_ones() {
    let mut places = vec![("east", Some("dag")); 3];
    places.extend([("west", Some("dag")); 4]);
    let asked = asked_in_vain(World::sites(&places, same));
    assert_eq!(asked.len(), 6);
    let mut distinct = asked.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 6, "{asked:?}");
    // With fewer peers than attempts each one is asked before any is again.
    let asked = asked_in_vain(World::sites(&GROUP, same));
    assert_ne!(asked[0], asked[1], "{asked:?}");
}

#[test]
fn cre_22_neither_the_node_itself_nor_another_of_its_machine_holds_its_copy() {
    // Itself: such a configuration is refused.
    let mut config = world::config(0, 2);
    config.peers[0].name = "N1".to_owned();
    let error = config.check().unwrap_err().to_string();
    assert!(error.contains("a node cannot hold its own copy"), "{error}");
    // Two services of one machine, by its name.
    let machines = |config: &mut Config| {
        let machine = |name: &str| Some(if name == "n3" { "two" } else { "one" }.to_owned());
        config.machine = machine(&config.name);
        for peer in &mut config.peers {
            peer.machine = machine(&peer.name);
        }
    };
    let mut world = World::cluster_with(3, machines);
    for n in 0..4 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    assert_eq!(made_by(&world, 0), ["n3"; 4]);
    assert_eq!(world.view(0).peers[0].place, "same-machine");
    world.kill(2, Crash::DropAll);
    assert_eq!(world.deliver(0, "late", &["a@x"]), 250);
    assert_eq!(world.view(0).counters.accepted_unshadowed, 1);
    assert_eq!(world.view(1).counters.shadows_held, 0);
    // By its address, unless it is one of a loopback.
    let mut config = world::config(0, 2);
    config.listen = "192.0.2.1:25".parse().unwrap();
    config.peers[0].address = "192.0.2.1:26".parse().unwrap();
    let mut world = World::new(vec![config]);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(0).peers[0].place, "same-machine");
    assert_eq!(world.view(0).counters.shadow_attempts_failed, 0);
}

/// Two boundaries of two nodes; the first sends its mail through the second.
fn chain() -> World {
    let places = [
        ("east", Some("one")),
        ("east", Some("one")),
        ("west", Some("two")),
        ("west", Some("two")),
    ];
    let clients = Config::from_toml(
        "name = \"c\"\nlisten = \"127.0.0.1:25\"\nstore = \"s\"\nrelay-from = [\"127.0.3.0/24\"]\n",
        "clients.toml",
    );
    let clients = clients.expect("it is good").relay_from;
    let mut world = World::sites(&places, |config| {
        if config.boundary.as_deref() == Some("one") {
            config.routes[0].next_hops = vec![node_address(2)];
        }
        // Relayed because the peer proves itself, not because of its address.
        config.relay_from.clone_from(&clients);
    });
    world.capture = Some(std::collections::BTreeMap::new());
    world
}

#[test]
fn mix_05_beyond_the_boundary_nothing_is_resubmitted() {
    let mut world = chain();
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    // The far side acknowledged: for the near one the message is done.
    world.until("the near side is done", POLL * 2, |w| {
        w.view(0).messages.is_empty() && w.view(1).shadows.is_empty()
    });
    assert_eq!(world.count(1, EventKind::HaDiscard), 1);
    assert_eq!(world.view(2).messages.len(), 1);
    // Even if the far side is lost with all it has, nothing comes again.
    world.wipe(2);
    world.wipe(3);
    world.run(TAKEOVER * 2);
    world.sinks[0].rules.clear();
    world.start(2);
    world.start(3);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 0);
    for n in 0..2 {
        assert_eq!(world.count(n, EventKind::Resubmit), 0);
    }
}

#[test]
fn mix_06_protection_starts_anew_on_the_other_side() {
    let mut world = chain();
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("the other side answers", SHORT, |w| {
        w.count(0, EventKind::Deliver) == 1
    });
    // The far side had its own copy before it answered.
    let shadows = world.view(3).shadows;
    assert_eq!(shadows.len(), 1);
    assert_eq!(shadows[0].origin.primary, "n3");
    assert_eq!(world.view(2).counters.accepted_unshadowed, 0);
    // And it protects: the far primary is lost, its peer delivers.
    world.wipe(2);
    world.sinks[0].rules.clear();
    world.until("takeover on the far side", TAKEOVER + POLL * 2, |w| {
        w.taken("m1", "a@x") == 1
    });
}

#[test]
fn mix_07_no_shadow_traffic_crosses_the_boundary() {
    let mut world = chain();
    for n in 0..4 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
        assert_eq!(world.deliver(2, &format!("k{n}"), &["a@x"]), 250);
    }
    world.run(Duration::from_secs(3600));
    world.kill(0, Crash::DropAll);
    world.start(0);
    assert_eq!(world.deliver(0, "late", &["a@x"]), 250);
    world.run(TAKEOVER);
    for id in ["m0", "m3", "k0", "late"] {
        assert_eq!(world.taken(id, "a@x"), 1, "{id}");
    }
    let capture = world.capture.take().unwrap();
    let private = ["XSHADOWREQUEST 1", "XQ", "XSHADOWABORT"];
    for ((from, to), text) in &capture {
        let crosses = (*from < 2) != (*to < 2);
        let lines = || {
            text.lines()
                .filter(|l| private.iter().any(|v| l.starts_with(v)))
        };
        if crosses {
            let lines: Vec<&str> = lines().collect();
            assert!(lines.is_empty(), "n{} to n{}: {lines:?}", from + 1, to + 1);
        }
    }
    // The eye can see: inside there is some, and mail did cross.
    assert!(capture[&(0, 1)].contains("XSHADOWREQUEST 1"));
    assert!(capture[&(1, 0)].contains("XQDISCARD\r\n"));
    assert!(capture[&(0, 2)].contains("MAIL FROM"));
}

/// Two nodes that disagree about the boundary: the one outside is refused.
#[test]
fn a_request_from_outside_the_boundary_is_refused() {
    let mut configs: Vec<Config> = (0..2).map(|n| world::config(n, 2)).collect();
    configs[1].site = "west".to_owned();
    let mut world = World::new(configs);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(0).counters.accepted_unshadowed, 1);
    assert_eq!(world.view(1).counters.shadows_held, 0);
    assert_eq!(world.marked(Mark::CopyFromOutside), 2);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
}

/// A peer that leaves the boundary while copies are held for it is still asked
/// about them, so that they neither stay nor are sent again.
#[test]
fn copies_from_before_a_move_are_settled() {
    let mut world = World::cluster(2);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(1, Crash::DropAll);
    world.nodes[1].config.site = "west".to_owned();
    world.start(1);
    world.sinks[0].rules.clear();
    world.until("the copy goes", POLL * 20, |w| w.view(1).shadows.is_empty());
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(world.count(1, EventKind::HaDiscard), 1);
    assert_eq!(world.count(1, EventKind::Resubmit), 0);
}
