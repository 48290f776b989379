//! Who may use the private verbs (NEG-05, design of the wire profile): nobody
//! but a peer that has proved itself, whatever address it comes from. What is
//! refused changes nothing and tells nothing, for every verb that the server
//! knows: the list is the server's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::time::Duration;

use mailproof_node::disk::{Disk as _, MemDisk};
use mailproof_node::view::{Counters, QueuesView};
use mailproof_node::{HANDSHAKE_VERBS, PRIVATE_VERBS};
use world::World;

const SHORT: Duration = Duration::from_secs(20);
/// The key of the test clusters.
const SECRET: &[u8] = b"a key for tests only";
const NONCE: &str = "00112233445566778899aabbccddeeff";

/// Two nodes that hold mail for each other: n1 cannot deliver, n2 holds the
/// copy, and n1 holds one for n2.
fn cluster() -> World {
    let mut world = World::cluster(2);
    world.sinks[0].rule("MAIL", "450 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["secret@x.example"]), 250);
    assert_eq!(world.deliver(1, "m2", &["secret@y.example"]), 250);
    world.until("two copies", SHORT, |w| {
        w.view(0).shadows.len() == 1 && w.view(1).shadows.len() == 1
    });
    world
}

/// What a stranger must not move. Time passes, so contacts and retries do.
fn state(world: &World) -> impl PartialEq + std::fmt::Debug + use<> {
    let view = world.view(0);
    let content = |disk: &MemDisk| -> Vec<Vec<u8>> {
        disk.list()
            .unwrap()
            .iter()
            .map(|(file, len)| disk.read(file, 0, *len as usize).unwrap())
            .collect()
    };
    let digest = blake3::hash(&content(&world.nodes[0].disk).concat());
    let messages: Vec<_> = view
        .messages
        .iter()
        .map(|m| (m.sequence, m.arrival))
        .collect();
    let peers: Vec<_> = view
        .peers
        .iter()
        .map(|p| (p.database_id.clone(), p.held))
        .collect();
    let counters = Counters {
        private_verbs_refused: 0,
        deferred: 0,
        ..view.counters
    };
    (
        messages,
        view.shadows,
        view.discards,
        peers,
        counters,
        digest,
    )
}

/// Forms of one verb: bare, with what it would take, with too much, with rubbish.
fn forms(verb: &str, view: &QueuesView) -> Vec<String> {
    let own = view.messages[0].sequence;
    let held = view.shadows[0].origin.sequence;
    vec![
        verb.to_owned(),
        format!("{verb} {own:x}"),
        format!("{verb} {held:x}"),
        format!("{verb} {own:x} 1795291381000"),
        format!("{} 0", verb.to_lowercase()),
        format!("{verb} {}", "f".repeat(400)),
        format!("{verb} {}", "1 ".repeat(150)),
        format!("{verb}  n2 n1 \u{1b}[31m {NONCE} \u{7f}"),
    ]
}

/// A client of n1 that has been greeted.
fn connect(world: &mut World) -> usize {
    let client = world.client(0);
    world.until("220", SHORT, |w| !w.clients[client].codes().is_empty());
    client
}

/// Sends lines one by one and answers with the code of each reply.
fn talk(world: &mut World, client: usize, lines: &[String]) -> Vec<u16> {
    let before = world.clients[client].codes().len();
    for line in lines {
        world.send(client, &format!("{line}\r\n"));
    }
    world.until("the replies", SHORT, |w| {
        w.clients[client].codes().len() == before + lines.len()
    });
    world.clients[client].codes()[before..].to_vec()
}

/// Nothing that only the cluster knows was said.
fn told_nothing(world: &World, client: usize) {
    let heard = &world.clients[client].heard;
    for n in 0..2 {
        let view = world.view(n);
        for secret in [
            view.database_id.clone(),
            format!("{:x}", view.messages[0].sequence),
            "secret@".to_owned(),
        ] {
            assert!(!heard.contains(&secret), "{secret} was told:\n{heard}");
        }
    }
}

#[test]
fn neg_05_every_private_verb_is_refused_to_who_did_not_authenticate() {
    let mut world = cluster();
    let before = state(&world);
    let view = world.view(0);
    let mut refused = 0;
    for verb in PRIVATE_VERBS
        .iter()
        .filter(|v| !HANDSHAKE_VERBS.contains(v))
    {
        // In every state a session can be in: before EHLO, after it, within a
        // transaction, after a handshake that was begun.
        let begun = format!("XPEER n2 n1 {NONCE}");
        for (opening, codes) in [
            (vec![], vec![]),
            (vec!["EHLO c".to_owned()], vec![250]),
            (
                ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"]
                    .map(String::from)
                    .to_vec(),
                vec![250; 3],
            ),
            (vec!["EHLO n2".to_owned(), begun], vec![250; 2]),
        ] {
            let client = connect(&mut world);
            assert_eq!(talk(&mut world, client, &opening), codes);
            let lines = forms(verb, &view);
            let codes = talk(&mut world, client, &lines);
            assert_eq!(codes, vec![530; lines.len()], "{verb}");
            refused += lines.len() as u64;
            told_nothing(&world, client);
            world.hang_up(client);
        }
    }
    world.run(SHORT);
    assert_eq!(state(&world), before);
    assert_eq!(world.view(0).counters.private_verbs_refused, refused);
}

/// A proof under PROTOCOL.md section 3.
fn proof(
    secret: &[u8],
    side: &[u8],
    client: &str,
    server: &str,
    nonces: [&str; 2],
    claims: &str,
) -> String {
    let key = blake3::derive_key("mailproof node peer authentication 1", secret);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(side);
    for nonce in nonces {
        hasher.update(&u128::from_str_radix(nonce, 16).unwrap().to_be_bytes());
    }
    for text in [client, server, claims] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Begins a handshake as `name`; the server's nonce and its proof.
fn begin(world: &mut World, client: usize, name: &str) -> (String, String) {
    talk(
        world,
        client,
        &["EHLO c".to_owned(), format!("XPEER {name} n1 {NONCE}")],
    );
    let reply = world.clients[client].replies().pop().unwrap();
    let words: Vec<&str> = reply.split(' ').collect();
    (words[3].to_owned(), words[4].to_owned())
}

#[test]
fn neg_05_every_private_verb_is_refused_to_who_authenticated_wrongly() {
    let mut world = cluster();
    let before = state(&world);
    let view = world.view(0);
    let claims = format!("{} 1", "ab".repeat(16));
    // What somebody without the key might try. Each gets the server's nonce
    // and proof of its session, and a good proof of a session before.
    let earlier = connect(&mut world);
    let (old, _) = begin(&mut world, earlier, "n2");
    let old_proof = proof(SECRET, b"C", "n2", "n1", [NONCE, &old], &claims);
    world.hang_up(earlier);
    type Try = Box<dyn Fn(&str, &str) -> (String, String)>;
    let tries: Vec<(&str, Try)> = vec![
        ("another key", {
            let claims = claims.clone();
            Box::new(move |nonce, _| {
                let with = proof(
                    b"another key entirely",
                    b"C",
                    "n2",
                    "n1",
                    [NONCE, nonce],
                    &claims,
                );
                (with, claims.clone())
            })
        }),
        ("the proof of an earlier session", {
            let (claims, old) = (claims.clone(), old_proof.clone());
            Box::new(move |_, _| (old.clone(), claims.clone()))
        }),
        ("the server's own proof sent back", {
            let claims = claims.clone();
            Box::new(move |_, theirs| (theirs.to_owned(), claims.clone()))
        }),
        ("a proof of another name", {
            let claims = claims.clone();
            Box::new(move |nonce, _| {
                (
                    proof(SECRET, b"C", "n3", "n1", [NONCE, nonce], &claims),
                    claims.clone(),
                )
            })
        }),
        ("a proof of the other direction", {
            let claims = claims.clone();
            Box::new(move |nonce, _| {
                (
                    proof(SECRET, b"C", "n1", "n2", [NONCE, nonce], &claims),
                    claims.clone(),
                )
            })
        }),
        ("a proof of other claims", {
            let claims = claims.clone();
            Box::new(move |nonce, _| {
                let of = proof(SECRET, b"C", "n2", "n1", [NONCE, nonce], &claims);
                (of, format!("{} 1", "cd".repeat(16)))
            })
        }),
        (
            "rubbish",
            Box::new(|_, _| ("zz".repeat(32), "x y".to_owned())),
        ),
    ];
    for (what, attempt) in &tries {
        let client = connect(&mut world);
        let (nonce, theirs) = begin(&mut world, client, "n2");
        let (with, claimed) = attempt(&nonce, &theirs);
        let code = talk(&mut world, client, &[format!("XPROVE {with} {claimed}")]);
        assert!(matches!(code[0], 501 | 535), "{what}: {code:?}");
        for verb in PRIVATE_VERBS
            .iter()
            .filter(|v| !HANDSHAKE_VERBS.contains(v))
        {
            let lines = &forms(verb, &view)[..4];
            assert_eq!(talk(&mut world, client, lines), [530; 4], "{what}, {verb}");
        }
        // One try for each challenge.
        assert_eq!(
            talk(&mut world, client, &[format!("XPROVE {with} {claimed}")]),
            [503]
        );
        told_nothing(&world, client);
        world.hang_up(client);
    }
    // Names that are no pair of this cluster get no challenge at all.
    let client = connect(&mut world);
    for name in ["n1", "n9", "", "n2.", "N2\u{a0}"] {
        let line = format!("XPEER {name} n1 {NONCE}");
        let code = talk(&mut world, client, &[line])[0];
        assert!(matches!(code, 501 | 535), "{name:?}: {code}");
    }
    world.run(SHORT);
    assert_eq!(state(&world), before);
}

/// What was pipelined behind a refused request for a copy is no ordinary mail.
#[test]
fn neg_05_a_copy_offered_by_a_stranger_never_passes_for_mail() {
    let mut world = cluster();
    let client = connect(&mut world);
    let lines = [
        "EHLO c",
        "XSHADOWREQUEST 1 1",
        "MAIL FROM:<a@b>",
        "RCPT TO:<c@d>",
        "DATA",
    ]
    .map(String::from);
    assert_eq!(talk(&mut world, client, &lines), [250, 530, 503, 503, 503]);
    assert_eq!(world.view(0).messages.len(), 1);
}

/// The same handshake with the right key passes: what is refused above is
/// refused for the reason given.
#[test]
fn the_right_proof_opens_every_private_verb() {
    let mut world = cluster();
    let claims = format!("{} 1", world.view(1).database_id);
    let client = connect(&mut world);
    let (nonce, theirs) = begin(&mut world, client, "n2");
    assert_eq!(theirs, proof(SECRET, b"S", "n2", "n1", [NONCE, &nonce], ""));
    let with = proof(SECRET, b"C", "n2", "n1", [NONCE, &nonce], &claims);
    assert_eq!(
        talk(&mut world, client, &[format!("XPROVE {with} {claims}")]),
        [250]
    );
    for verb in PRIVATE_VERBS
        .iter()
        .filter(|v| !HANDSHAKE_VERBS.contains(v))
    {
        let code = talk(
            &mut world,
            client,
            &[format!("{verb} zz zz zz zz"), "RSET".to_owned()],
        )[0];
        assert_ne!(code, 530, "{verb}");
        assert_ne!(code, 500, "{verb}");
    }
}
