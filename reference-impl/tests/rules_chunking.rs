//! CHUNKING (RFC 3030), by the rules' names.

mod world;

use std::time::Duration;

use mailproof_node::mark::Mark;
use world::World;

const SHORT: Duration = Duration::from_secs(30);

const BEGIN: &str = "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n";
const CONTENT: &str = "X-Mailproof: m1\r\n\r\nHello\r\n";

fn chunk(text: &str, last: bool) -> String {
    let word = if last { " LAST" } else { "" };
    format!("BDAT {}{word}\r\n{text}", text.len())
}

/// Replies to what a client sends after its EHLO, and the world.
fn after(text: &str) -> (Vec<u16>, World, usize) {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    let codes = world.codes(client, text);
    (codes, world, client)
}

#[test]
fn x07_data_is_offered_too() {
    let mut world = World::cluster(1);
    let client = world.client(0);
    let ehlo = world.ask(client, "EHLO c\r\n")[1].clone();
    assert!(ehlo.contains("\r\n250-CHUNKING\r\n"), "{ehlo}");
    assert!(!ehlo.contains("BINARYMIME"), "{ehlo}");
    assert_eq!(
        world.codes(client, &format!("{BEGIN}DATA\r\n")),
        [250, 250, 354]
    );
    assert_eq!(world.codes(client, &format!("{CONTENT}.\r\n")), [250]);
}

#[test]
fn x08_every_chunk_is_answered_and_the_whole_arrives_at_any_cut() {
    let (first, rest) = CONTENT.split_at(21);
    let (second, third) = rest.split_at(1);
    let text = format!(
        "{BEGIN}{}{}{}QUIT\r\n",
        chunk(first, false),
        chunk(second, false),
        chunk(third, true)
    );
    for piece in [1, 2, 3, 7, usize::MAX] {
        let mut world = World::cluster(1);
        world.piece = piece;
        let client = world.greeted(0);
        let codes = world.codes(client, &text);
        assert_eq!(codes, [250, 250, 250, 250, 250, 221], "pieces of {piece}");
        world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
        assert!(world.sinks[0].taken[0].content.ends_with(CONTENT));
        assert_eq!(world.view(0).body_bytes, 0);
    }
}

#[test]
fn x09_nothing_follows_the_last_chunk() {
    let text = format!(
        "{BEGIN}{}{}",
        chunk(CONTENT, true),
        chunk("more\r\n", false)
    );
    let (codes, mut world, _) = after(&text);
    assert_eq!(codes, [250, 250, 250, 503]);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    assert!(!world.sinks[0].taken[0].content.contains("more"));
}

#[test]
fn x10_data_after_a_chunk_is_refused() {
    let text = format!("{BEGIN}{}DATA\r\n", chunk("A: b\r\n", false));
    let (codes, mut world, client) = after(&text);
    assert_eq!(codes, [250, 250, 250, 503]);
    // The transaction itself stands.
    let end = format!("RCPT TO:<b@x>\r\n{}", chunk(CONTENT, true));
    assert_eq!(world.codes(client, &end), [503, 250]);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
}

#[test]
fn x11_a_refused_chunk_is_read_and_dropped() {
    // What looks like commands is content of a chunk that nobody wants.
    let evil = "\r\nRSET\r\nMAIL FROM:<e@x>\r\nRCPT TO:<v@x>\r\n";
    for before in ["", "MAIL FROM:<s@x>\r\n"] {
        let (codes, mut world, client) = after(&format!("{before}{}NOOP\r\n", chunk(evil, true)));
        let tail = &codes[codes.len() - 2..];
        assert_eq!(tail, [503, 250], "{before}");
        assert_eq!(world.codes(client, "QUIT\r\n"), [221]);
        world.run(SHORT);
        assert!(world.sinks[0].taken.is_empty());
    }
}

#[test]
fn x12_after_a_failure_only_rset_helps() {
    let mut world = World::cluster_with(1, |config| {
        config.max_message_bytes = 64 << 10;
        config.body_budget_bytes = 64 << 10;
    });
    let client = world.greeted(0);
    let big = "x".repeat(70_000);
    let text = format!(
        "{BEGIN}{}{}{}{}",
        chunk("A: b\r\n", false),
        chunk(&big, false),
        chunk("B: c\r\n", false),
        chunk("C: d\r\n", true)
    );
    assert_eq!(world.codes(client, &text), [250, 250, 250, 552, 503, 503]);
    assert_eq!(world.view(0).body_bytes, 0);
    let again = format!(
        "MAIL FROM:<s@x>\r\nDATA\r\nRSET\r\n{BEGIN}{}",
        chunk(CONTENT, true)
    );
    assert_eq!(world.codes(client, &again), [503, 503, 250, 250, 250, 250]);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    assert_eq!(world.sinks[0].taken.len(), 1);
    assert!(world.marked(Mark::ChunkRefused) >= 3);
}

#[test]
fn x13_an_empty_last_chunk_ends_the_message_and_dots_mean_nothing() {
    let body = "A: b\r\nX-Mailproof: m1\r\n\r\n.\r\n..\r\n.x\r\n";
    let text = format!("{BEGIN}{}BDAT 0 last\r\n", chunk(body, false));
    let (codes, mut world, _) = after(&text);
    assert_eq!(codes, [250, 250, 250, 250]);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    assert!(world.sinks[0].taken[0].content.ends_with(body));
}

#[test]
fn x14_binarymime_is_not_taken() {
    let (codes, _, _) = after("MAIL FROM:<s@x> BODY=BINARYMIME\r\n");
    assert_eq!(codes, [501]);
    for bare in ["a\nb\r\n", "a\rb\r\n", "\n", "a\r"] {
        let (head, tail) = bare.split_at(1);
        let text = format!("{BEGIN}{}{}", chunk(head, false), chunk(tail, true));
        let (codes, mut world, _) = after(&text);
        assert_eq!(codes[2..], [250, 554], "{bare:?}");
        world.run(SHORT);
        assert!(world.sinks[0].taken.is_empty());
    }
}

#[test]
fn x11_chunks_without_a_size_end_the_session() {
    for bad in [
        "BDAT",
        "BDAT x",
        "BDAT -1 LAST",
        "BDAT 18446744073709551616 LAST",
        "BDAT 1 2",
    ] {
        let (codes, mut world, client) = after(&format!("{BEGIN}{bad}\r\nRSET\r\nNOOP\r\n"));
        assert_eq!(codes, [250, 250, 501, 421], "{bad}");
        assert!(world.clients[client].closed);
        assert_eq!(world.view(0).body_bytes, 0);
        assert_eq!(world.marked(Mark::ChunkGarbled), 1);
        world.run(SHORT);
    }
}

#[test]
fn r049_a_client_that_goes_away_in_a_chunk_leaves_nothing() {
    for cut in 0..CONTENT.len() + 20 {
        let mut world = World::cluster(1);
        let client = world.greeted(0);
        let text = format!("{BEGIN}BDAT 5\r\nA: b\r{}", chunk(&CONTENT[5..], true));
        let end = text.len().min(BEGIN.len() + cut);
        let whole = end == text.len();
        world.codes(client, &text[..end]);
        world.hang_up(client);
        world.run(SHORT);
        assert!(whole || world.sinks[0].taken.is_empty(), "cut at {cut}");
        assert_eq!(world.view(0).body_bytes, 0, "cut at {cut}");
    }
}

#[test]
fn r032_a_drain_between_chunks_is_said() {
    let (codes, mut world, client) = after(&format!("{BEGIN}{}", chunk("A: b\r\n", false)));
    assert_eq!(codes, [250, 250, 250]);
    world.drain(0);
    assert_eq!(world.codes(client, ""), [421]);
    assert_eq!(world.view(0).body_bytes, 0);
}

#[test]
fn too_many_errors_between_chunks_give_the_memory_back() {
    let (codes, mut world, client) = after(&format!("{BEGIN}{}", chunk("A: b\r\n", false)));
    assert_eq!(codes, [250, 250, 250]);
    let codes = world.codes(client, &"WHAT\r\n".repeat(100));
    assert_eq!(codes.last(), Some(&421));
    assert_eq!(world.view(0).body_bytes, 0);
}
