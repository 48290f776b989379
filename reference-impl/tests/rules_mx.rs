//! Routing by MX records (RFC 5321 5.1, RFC 7505). The world takes the name
//! service's place.

mod world;

use std::net::IpAddr;
use std::time::Duration;

use mailproof_node::config::Route;
use mailproof_node::disk::Crash;
use mailproof_node::mark::Mark;
use mailproof_node::{Config, DnsError, DnsRecords};
use world::sink::Sink;
use world::{World, config, sink_address};

const SHORT: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

/// Mail for `client.example` (where DSNs go) to sink 0, all else by MX.
fn by_mx() -> Config {
    let mut config = config(0, 1);
    let text = "name = \"x\"\nlisten = \"127.0.0.1:25\"\nstore = \"s\"\nresolvers = [\"127.0.0.1:53\"]\n\
                routes = [{ domain = \"*\", mx = true }]\n";
    let mut routes: Vec<Route> = Config::from_toml(text, "t").expect("it is there").routes;
    routes.push(Route {
        domain: "client.example".to_owned(),
        ..config.routes[0].clone()
    });
    config.routes = routes;
    config.resolvers = vec!["127.0.0.1:53".parse().expect("it is there")];
    config.check().expect("it is there");
    config
}

/// A world with `count` sinks beside the one for DSNs.
fn world(count: usize) -> World {
    let mut world = World::new(vec![by_mx()]);
    for _ in 0..count {
        world.add_sink(Sink::default());
    }
    world
}

fn ip(sink: usize) -> IpAddr {
    sink_address(sink).ip()
}

fn mx(world: &mut World, domain: &str, list: &[(u16, &str)]) {
    let records = DnsRecords {
        mx: list.iter().map(|(p, h)| (*p, (*h).to_owned())).collect(),
        addresses: vec![],
        ttl: 300,
    };
    world.names.insert((domain.to_owned(), true), Ok(records));
}

fn address(world: &mut World, host: &str, list: &[IpAddr]) {
    let records = DnsRecords {
        mx: vec![],
        addresses: list.to_vec(),
        ttl: 300,
    };
    world.names.insert((host.to_owned(), false), Ok(records));
}

fn fails(world: &mut World, name: &str, mx: bool, error: DnsError) {
    world.names.insert((name.to_owned(), mx), Err(error));
}

fn took(world: &World, sink: usize, id: &str, recipient: &str) -> usize {
    world.sinks[sink].count(id, recipient)
}

/// The status that the one DSN gives.
fn status(world: &mut World) -> String {
    world.until("the report", HOUR, |w| w.dsns().len() == 1);
    let dsn = world.dsns()[0].to_owned();
    let (_, rest) = dsn.split_once("Status: ").expect("it is there");
    rest.lines().next().expect("it is there").to_owned()
}

#[test]
fn c005_mail_exchangers_are_tried_in_the_order_of_preference() {
    let mut world = world(3);
    mx(
        &mut world,
        "d.test",
        &[(30, "c.test"), (10, "a.test"), (20, "b.test")],
    );
    for (n, host) in [(1, "a.test"), (2, "b.test"), (3, "c.test")] {
        address(&mut world, host, &[ip(n)]);
    }
    assert_eq!(world.deliver(0, "m1", &["r@d.test"]), 250);
    world.until("delivery", SHORT, |w| took(w, 1, "m1", "r@d.test") == 1);
    world.sinks[1].listening = false;
    world.run(HOUR);
    assert_eq!(world.deliver(0, "m2", &["r@d.test"]), 250);
    world.until("delivery", SHORT, |w| took(w, 2, "m2", "r@d.test") == 1);
    assert_eq!(world.sinks[3].connections, 0);
}

#[test]
fn c006_equal_preference_is_drawn_anew() {
    let mut world = world(3);
    for (n, host) in [(1, "a.test"), (2, "b.test"), (3, "c.test")] {
        address(&mut world, host, &[ip(n)]);
    }
    let mut first = [0; 3];
    for domain in 0..60 {
        let domain = format!("d{domain}.test");
        let equal = [(10, "a.test"), (10, "b.test"), (10, "c.test")];
        mx(&mut world, &domain, &equal);
        let to = format!("r@{domain}");
        assert_eq!(world.deliver(0, "m1", &[&to]), 250);
        world.run(SHORT);
        for n in 1..=3 {
            first[n - 1] += took(&world, n, "m1", &to);
        }
    }
    // Each comes first about twenty times; the seed is fixed.
    assert!(first.iter().all(|n| *n >= 8), "{first:?}");
    assert_eq!(first.iter().sum::<usize>(), 60);
}

#[test]
fn c007_every_address_is_tried_until_one_works() {
    let mut world = world(4);
    mx(&mut world, "d.test", &[(10, "a.test"), (20, "b.test")]);
    address(&mut world, "a.test", &[ip(1), ip(2)]);
    address(&mut world, "b.test", &[ip(3), ip(4)]);
    for n in 1..=3 {
        world.sinks[n].listening = false;
    }
    assert_eq!(world.deliver(0, "m1", &["r@d.test"]), 250);
    world.until("delivery", SHORT, |w| took(w, 4, "m1", "r@d.test") == 1);
}

#[test]
fn c008_where_mx_records_lead_nowhere_the_domain_itself_is_not_tried() {
    let mut world = world(1);
    mx(&mut world, "d.test", &[(10, "a.test"), (20, "b.test")]);
    fails(&mut world, "a.test", false, DnsError::NoSuchName);
    address(&mut world, "b.test", &[]);
    address(&mut world, "d.test", &[ip(1)]);
    assert_eq!(world.deliver(0, "m1", &["r@d.test"]), 250);
    assert_eq!(status(&mut world), "5.4.4");
    assert_eq!(world.sinks[1].connections, 0);
    assert!(!world.asked.contains(&("d.test".to_owned(), false)));
}

#[test]
fn c009_no_such_domain_is_an_error_and_no_answer_is_none() {
    let mut world = world(1);
    fails(&mut world, "no.test", true, DnsError::NoSuchName);
    assert_eq!(world.deliver(0, "m1", &["r@no.test"]), 250);
    assert_eq!(status(&mut world), "5.1.2");

    // Nothing is known of d.test yet, nor of the addresses of e.test's host.
    mx(&mut world, "e.test", &[(10, "a.test")]);
    assert_eq!(world.deliver(0, "m2", &["r@d.test", "r@e.test"]), 250);
    world.run(HOUR);
    assert_eq!(world.view(0).messages.len(), 1);
    assert!(
        world.marked(Mark::NamesUnanswered) > 3,
        "asked again and again"
    );
    mx(&mut world, "d.test", &[(10, "a.test")]);
    address(&mut world, "a.test", &[ip(1)]);
    world.until("delivery", HOUR, |w| {
        took(w, 1, "m2", "r@d.test") + took(w, 1, "m2", "r@e.test") == 2
    });
    world.run(HOUR);
    assert_eq!(world.dsns().len(), 1);
}

#[test]
fn c009_what_is_never_answered_is_returned_in_the_end() {
    let mut world = world(0);
    assert_eq!(world.deliver(0, "m1", &["r@d.test"]), 250);
    world.run(47 * HOUR);
    assert_eq!(world.dsns().len(), 1, "the report of the delay");
    world.run(2 * HOUR);
    let dsns = world.dsns();
    assert_eq!(dsns.len(), 2);
    assert!(dsns[1].contains("Status: 5.4.7\r\n"), "{}", dsns[1]);
    assert_eq!(world.view(0).messages.len(), 0);
}

#[test]
fn c010_without_mx_records_the_domain_is_its_own_mail_exchanger() {
    let mut world = world(1);
    mx(&mut world, "d.test", &[]);
    address(&mut world, "d.test", &[ip(1)]);
    assert_eq!(world.deliver(0, "m1", &["r@D.Test"]), 250);
    world.until("delivery", SHORT, |w| took(w, 1, "m1", "r@D.Test") == 1);
}

#[test]
fn c011_this_node_and_worse_mail_exchangers_are_left_out() {
    // By name, and by address.
    let us = world::node_address(0).ip();
    for (host, ours) in [("n1", ip(2)), ("other.test", us)] {
        let mut world = world(3);
        mx(
            &mut world,
            "d.test",
            &[(10, "a.test"), (20, host), (20, "b.test"), (30, "c.test")],
        );
        address(&mut world, "a.test", &[ip(1)]);
        address(&mut world, host, &[ours]);
        address(&mut world, "b.test", &[ip(2)]);
        address(&mut world, "c.test", &[ip(3)]);
        world.sinks[1].listening = false;
        assert_eq!(world.deliver(0, "m1", &["r@d.test"]), 250);
        world.run(HOUR);
        assert_eq!(
            (world.sinks[2].connections, world.sinks[3].connections),
            (0, 0)
        );
        assert!(world.marked(Mark::ExchangerIsUs) > 0);
        world.sinks[1].listening = true;
        world.until("delivery", HOUR, |w| took(w, 1, "m1", "r@d.test") == 1);

        mx(&mut world, "e.test", &[(10, host), (30, "c.test")]);
        assert_eq!(world.deliver(0, "m2", &["r@e.test"]), 250);
        assert_eq!(status(&mut world), "5.4.6");
        assert_eq!(world.sinks[3].connections, 0);
    }
}

#[test]
fn c023_a_mail_exchanger_that_does_not_greet_well_is_passed_over() {
    for greeting in ["421 busy\r\n", "554 no\r\n"] {
        let mut world = world(2);
        mx(&mut world, "d.test", &[(10, "a.test"), (20, "b.test")]);
        address(&mut world, "a.test", &[ip(1)]);
        address(&mut world, "b.test", &[ip(2)]);
        world.sinks[1].greeting = greeting.to_owned();
        assert_eq!(world.deliver(0, "m1", &["r@d.test"]), 250);
        world.until("delivery", SHORT, |w| took(w, 2, "m1", "r@d.test") == 1);
    }
}

#[test]
fn a_null_mx_says_that_the_domain_takes_no_mail() {
    let mut world = world(1);
    mx(&mut world, "d.test", &[(0, ".")]);
    address(&mut world, "d.test", &[ip(1)]);
    assert_eq!(world.deliver(0, "m1", &["r@d.test"]), 250);
    assert_eq!(status(&mut world), "5.1.10");
    // Beside others it means nothing (RFC 7505 3).
    mx(&mut world, "e.test", &[(0, "."), (10, "a.test")]);
    address(&mut world, "a.test", &[ip(1)]);
    assert_eq!(world.deliver(0, "m2", &["r@e.test"]), 250);
    world.until("delivery", SHORT, |w| took(w, 1, "m2", "r@e.test") == 1);
}

#[test]
fn an_address_literal_is_no_question() {
    let mut world = world(1);
    let to = format!("r@[{}]", ip(1));
    assert_eq!(world.deliver(0, "m1", &[&to]), 250);
    world.until("delivery", SHORT, |w| took(w, 1, "m1", &to) == 1);
    assert_eq!(world.deliver(0, "m2", &["r@[1.2.3]"]), 250);
    assert_eq!(status(&mut world), "5.1.2");
    assert!(world.asked.is_empty());
}

#[test]
fn what_is_known_is_kept_for_its_time() {
    let mut world = world(2);
    mx(&mut world, "d.test", &[(10, "a.test")]);
    address(&mut world, "a.test", &[ip(1)]);
    for id in ["m1", "m2", "m3"] {
        assert_eq!(world.deliver(0, id, &["r@d.test"]), 250);
        world.until("delivery", SHORT, |w| took(w, 1, id, "r@d.test") == 1);
    }
    assert_eq!(world.asked.len(), 2);
    // It moves; what was known was good for five minutes.
    address(&mut world, "a.test", &[ip(2)]);
    world.run(Duration::from_secs(300));
    assert_eq!(world.deliver(0, "m4", &["r@d.test"]), 250);
    world.until("delivery", SHORT, |w| took(w, 2, "m4", "r@d.test") == 1);
    assert_eq!(world.asked.len(), 4);
}

#[test]
fn mail_outlives_a_restart_before_its_name_is_answered() {
    let mut world = world(1);
    assert_eq!(world.deliver(0, "m1", &["r@d.test"]), 250);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(SHORT);
    mx(&mut world, "d.test", &[(10, "a.test")]);
    address(&mut world, "a.test", &[ip(1)]);
    world.until("delivery", HOUR, |w| took(w, 1, "m1", "r@d.test") == 1);
    world.until("an empty queue", SHORT, |w| w.view(0).messages.is_empty());
    assert_eq!(took(&world, 1, "m1", "r@d.test"), 1);
}

#[test]
fn thousands_of_domains_pass() {
    let mut world = world(1);
    address(&mut world, "a.test", &[ip(1)]);
    for batch in 0..5 {
        let to: Vec<String> = (0..500).map(|n| format!("r@d{batch}-{n}.test")).collect();
        for to in &to {
            mx(&mut world, &to[2..], &[(10, "a.test")]);
        }
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        assert_eq!(world.deliver(0, "m1", &to), 250);
        // One transaction for each domain.
        let due = (batch + 1) * 500;
        world.until("delivery", HOUR, |w| w.sinks[1].taken.len() == due);
        // Long enough for what is known to run out.
        world.run(HOUR);
    }
    let mut taken: Vec<&String> = world.sinks[1]
        .taken
        .iter()
        .flat_map(|taken| &taken.recipients)
        .collect();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 2_500);
}
