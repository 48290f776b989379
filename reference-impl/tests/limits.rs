//! What strangers can cost: everything that one of them can make grow has a
//! bound, one address cannot keep others out, and nobody can hold a session
//! for ever.

mod world;

use std::time::Duration;

use world::World;

const SHORT: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);

/// Connects, greets, and sends lines; the codes of all replies so far.
fn session(world: &mut World, lines: &[&str]) -> usize {
    let client = world.client(0);
    world.send(client, "EHLO c\r\n");
    for line in lines {
        world.send(client, &format!("{line}\r\n"));
    }
    world.until("the replies", SHORT, |w| {
        w.clients[client].closed || w.clients[client].codes().len() == 2 + lines.len()
    });
    client
}

const OPEN: [&str; 3] = ["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"];

#[test]
fn one_address_cannot_keep_others_out() {
    let mut world = World::cluster_with(1, |config| {
        config.max_connections = 10;
        config.max_connections_per_source = 4;
    });
    world.one_source = true;
    let flood: Vec<usize> = (0..8).map(|_| world.client(0)).collect();
    world.run(SHORT);
    let codes: Vec<u16> = flood.iter().map(|c| world.clients[*c].codes()[0]).collect();
    assert_eq!(codes, [220, 220, 220, 220, 421, 421, 421, 421]);
    assert!(
        world.clients[flood[4]]
            .heard
            .contains("too many connections from there")
    );
    // Others get in and get their mail through.
    world.one_source = false;
    assert_eq!(world.deliver(0, "m1", &["a@x.example"]), 250);
    // One that goes makes room for one.
    world.one_source = true;
    world.hang_up(flood[0]);
    world.run(SHORT);
    let next: Vec<usize> = (0..2).map(|_| world.client(0)).collect();
    world.run(SHORT);
    let codes: Vec<u16> = next.iter().map(|c| world.clients[*c].codes()[0]).collect();
    assert_eq!(codes, [220, 421]);
}

#[test]
fn connections_have_a_total() {
    let mut world = World::cluster_with(1, |config| config.max_connections = 5);
    let clients: Vec<usize> = (0..7).map(|_| world.client(0)).collect();
    world.run(SHORT);
    let codes: Vec<u16> = clients
        .iter()
        .map(|c| world.clients[*c].codes()[0])
        .collect();
    assert_eq!(codes, [220, 220, 220, 220, 220, 421, 421]);
}

#[test]
fn a_silent_client_is_sent_away_in_every_state() {
    let states: [&[&str]; 4] = [&[], &["MAIL FROM:<a@b>"], &OPEN[..2], &OPEN];
    for lines in states {
        let mut world = World::cluster(1);
        let client = session(&mut world, lines);
        world.run(MINUTE * 4);
        assert!(!world.clients[client].closed, "{lines:?}");
        world.until("421", MINUTE * 2, |w| w.clients[client].closed);
        assert_eq!(
            world.clients[client].codes().last(),
            Some(&421),
            "{lines:?}"
        );
        assert_eq!(world.view(0).body_bytes, 0);
    }
}

/// Slow clients: a byte before each idle limit buys no more than the absolute
/// one, as a command line, as a header that never ends, as content.
#[test]
fn a_slow_client_is_sent_away_at_the_absolute_limit() {
    let rows: [(&[&str], &str); 4] = [
        (&[], "N"),
        (&[], "NOOP\r\n"),
        (&OPEN, "X-Slow: y\r\n"),
        (&OPEN, "."),
    ];
    for (lines, dribble) in rows {
        let mut world = World::cluster(1);
        let client = session(&mut world, lines);
        for _ in 0..9 {
            assert!(!world.clients[client].closed, "{dribble:?}");
            world.send(client, dribble);
            world.run(MINUTE);
        }
        world.until("the end", MINUTE * 2, |w| w.clients[client].closed);
        assert_eq!(
            world.clients[client].codes().last(),
            Some(&421),
            "{dribble:?}"
        );
        assert_eq!(world.view(0).body_bytes, 0);
        assert!(world.view(0).messages.is_empty());
    }
}

#[test]
fn lines_have_a_length_and_the_session_goes_on() {
    let mut world = World::cluster(1);
    let client = session(&mut world, &[]);
    for length in [2046, 2047, 10_000, 1_000_000] {
        world.send(client, &format!("NOOP {}\r\n", "x".repeat(length - 5)));
    }
    world.send(client, "NOOP\r\n");
    world.until("the replies", SHORT, |w| {
        w.clients[client].codes().len() == 7
    });
    assert_eq!(
        world.clients[client].codes()[2..],
        [250, 500, 500, 500, 250]
    );
}

#[test]
fn recipients_have_a_number_and_those_taken_are_delivered() {
    let mut world = World::cluster_with(1, |config| config.max_recipients = 100);
    let client = session(&mut world, &["MAIL FROM:<a@b>"]);
    for n in 0..150 {
        world.send(client, &format!("RCPT TO:<r{n}@x>\r\n"));
    }
    world.send(client, "DATA\r\n");
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, &world::content("m1"));
    world.until("delivery", SHORT, |w| w.sinks[0].taken.len() == 1);
    let codes = world.clients[client].codes();
    assert_eq!(codes[3..103], [250; 100]);
    assert_eq!(codes[103..153], [452; 50]);
    assert_eq!(world.sinks[0].taken[0].recipients.len(), 100);
}

/// Addresses may be long; an envelope as a whole may not.
#[test]
fn an_envelope_has_a_size() {
    let mut world = World::cluster_with(1, |config| config.max_recipients = 50_000);
    let client = session(&mut world, &["MAIL FROM:<a@b>"]);
    let long = format!("{}@{}", "l".repeat(300), vec!["d".repeat(60); 4].join("."));
    for _ in 0..1_200 {
        world.send(client, &format!("RCPT TO:<{long}>\r\n"));
    }
    world.until("the replies", SHORT, |w| {
        w.clients[client].codes().len() == 1_203
    });
    let taken = world.clients[client]
        .codes()
        .iter()
        .filter(|c| **c == 250)
        .count();
    assert!((900..1_000).contains(&taken), "{taken}");
    assert_eq!(world.clients[client].codes().last(), Some(&452));
}

#[test]
fn a_message_has_a_size_whatever_it_declares() {
    for (declared, code) in [("", 552), (" SIZE=10", 552), (" SIZE=70000", 0)] {
        let mut world = World::cluster_with(1, |config| {
            config.max_message_bytes = 64 << 10;
            config.body_budget_bytes = 256 << 10;
        });
        let mail = format!("MAIL FROM:<a@b>{declared}");
        let client = session(&mut world, &[&mail]);
        if code == 0 {
            assert_eq!(world.clients[client].codes().last(), Some(&552));
            continue;
        }
        world.send(client, "RCPT TO:<c@d>\r\nDATA\r\n");
        world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
        // Refused content is not kept while it comes.
        for _ in 0..40 {
            world.send(client, &"0123456789abcdef\r\n".repeat(500));
            world.run(Duration::from_millis(10));
            assert!(world.view(0).body_bytes <= 80 << 10);
        }
        world.send(client, ".\r\nNOOP\r\n");
        world.until("replies", SHORT, |w| {
            w.clients[client].codes().last() == Some(&250)
        });
        let codes = world.clients[client].codes();
        assert_eq!(codes[codes.len() - 2], code);
        assert_eq!(world.view(0).body_bytes, 0);
    }
}

#[test]
fn a_header_has_a_size_and_so_have_the_fields_in_it() {
    let rows = [
        (
            "one long field",
            format!("X-Long: {}\r\n", "y".repeat(20 << 10)),
        ),
        ("many fields", "X-Many: y\r\n".repeat(2_000)),
        (
            "a field that is folded without end",
            format!("X-Fold: y{}\r\n", "\r\n y".repeat(5_000)),
        ),
        ("no field at all", "y\r\n".repeat(7_000)),
    ];
    for (what, header) in rows {
        for (ended, code) in [(false, 552), (true, 552)] {
            let mut world = World::cluster_with(1, |config| config.max_header_bytes = 16 << 10);
            let client = session(&mut world, &OPEN);
            let end = if ended { "\r\ntext\r\n" } else { "" };
            world.send(client, &format!("{header}{end}.\r\n"));
            world.until("a reply", SHORT, |w| w.clients[client].codes().len() == 6);
            assert_eq!(world.clients[client].codes()[5], code, "{what}");
            assert_eq!(world.view(0).body_bytes, 0);
        }
    }
    // The same bytes below an empty line are content, and pass.
    let mut world = World::cluster_with(1, |config| config.max_header_bytes = 16 << 10);
    let client = session(&mut world, &OPEN);
    world.send(
        client,
        &format!("A: b\r\n\r\n{}.\r\n", "X-Many: y\r\n".repeat(2_000)),
    );
    world.until("a reply", SHORT, |w| w.clients[client].codes().len() == 6);
    assert_eq!(world.clients[client].codes()[5], 250);
}

#[test]
fn commands_that_bring_no_message_have_a_number() {
    for line in ["NOOP", "RSET", "VRFY a", "HELP", "EHLO c", "HELO c"] {
        let mut world = World::cluster(1);
        let client = session(&mut world, &[]);
        world.send(client, &format!("{line}\r\n").repeat(1_100));
        world.until("the end", SHORT, |w| w.clients[client].closed);
        let codes = world.clients[client].codes();
        assert_eq!(codes.last(), Some(&421), "{line}");
        assert_eq!(codes.len(), 1 + 1 + 999 + 1, "{line}");
    }
    // A message makes room for as many again.
    let mut world = World::cluster(1);
    let client = session(&mut world, &[]);
    world.send(client, &"NOOP\r\n".repeat(900));
    world.send(client, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, &world::content("m1"));
    world.send(client, &"NOOP\r\n".repeat(900));
    world.send(client, "QUIT\r\n");
    world.until("the end", SHORT, |w| w.clients[client].closed);
    assert_eq!(world.clients[client].codes().last(), Some(&221));
}

#[test]
fn wrong_commands_have_a_number() {
    let mut world = World::cluster(1);
    let client = session(&mut world, &[]);
    world.send(client, &"WHAT\r\n".repeat(200));
    world.until("the end", SHORT, |w| w.clients[client].closed);
    let codes = world.clients[client].codes();
    assert_eq!(codes.iter().filter(|c| **c == 500).count(), 100);
    assert_eq!(codes.last(), Some(&421));
}

/// What is sent ahead of an answer that is long in coming has a bound over all
/// sessions: the budget for message content.
#[test]
fn what_clients_send_ahead_comes_out_of_the_budget() {
    let mut world = World::cluster_with(2, |config| {
        config.max_message_bytes = 64 << 10;
        config.body_budget_bytes = 1 << 20;
        // The budget is what is looked at, not the pressure before it.
        config.pressure_medium_percent = 100;
        config.pressure_high_percent = 100;
    });
    // The copy takes its time: nobody answers at the peer.
    world.cut(world::Party::Node(0), world::Party::Node(1));
    let mut refused = 0;
    let mut clients = Vec::new();
    for n in 0..20 {
        let client = world.mail(0, &format!("m{n}"), &["a@x"]);
        world.send(client, &"NOOP\r\n".repeat(20_000));
        world.run(Duration::from_millis(100));
        assert!(world.view(0).body_bytes <= 1 << 20);
        refused += usize::from(world.clients[client].closed);
        clients.push(client);
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "the budget bounds what is buffered");
    // It comes back with the sessions.
    for client in clients {
        world.hang_up(client);
    }
    world.until("the mail to be gone", MINUTE * 5, |w| {
        w.view(0).messages.is_empty()
    });
    assert_eq!(world.view(0).body_bytes, 0);
}

/// The same with QUIT in front of what is never read.
#[test]
fn what_is_never_read_is_given_back() {
    let mut world = World::cluster(1);
    world.nodes[0].disk_op = 1_000_000_000;
    let client = world.mail(0, "m1", &["a@x"]);
    world.send(client, &format!("QUIT\r\n{}", "x".repeat(100_000)));
    world.until("the end", SHORT, |w| w.clients[client].closed);
    world.until("an empty queue", SHORT, |w| w.view(0).messages.is_empty());
    assert_eq!(world.view(0).body_bytes, 0);
}
