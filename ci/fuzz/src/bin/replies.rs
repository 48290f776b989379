//! The node as a client: next hop and peer answer anything. A peer's proof is
//! filled in, or it would never come further than the handshake.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailproof_fuzz::{Rig, peer, prove};

/// Where a peer's answer to XPEER stands in the input.
const PROOF: &[u8] = b"@P";

fuzz_target!(|data: &[u8]| {
    let mut rig = Rig::new("reject-message-on-shadow-failure = false\n");
    let stranger = rig.accept(1);
    rig.bytes(
        stranger,
        b"EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n",
    );
    rig.bytes(stranger, b"Subject: t\r\n\r\ntext\r\n.\r\n");
    let mut peers = Vec::new();
    let mut steps = data;
    // A step: whom it concerns, what happens, how long the bytes are.
    while let [who, length, rest @ ..] = steps {
        for (conn, to) in rig.dials.clone() {
            if to == peer() {
                peers.push(conn);
            }
        }
        rig.answer_dials(|_| who & 0x80 == 0);
        let dialled: Vec<_> = rig.open.iter().filter(|c| c.dialled()).copied().collect();
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        steps = rest;
        let Some(conn) = dialled.get(usize::from(who & 0x0f) % dialled.len().max(1)) else {
            rig.pass();
            continue;
        };
        match who & 0x70 {
            0x60 => rig.pass(),
            0x70 => rig.close(*conn, bytes.is_empty()),
            _ => {
                let mut bytes = bytes.to_vec();
                if peers.contains(conn)
                    && let Some(at) = bytes.windows(2).position(|w| w == PROOF)
                {
                    let said = rig.said(*conn);
                    let asked = said.lines().find(|line| line.starts_with("XPEER"));
                    let nonce = asked.and_then(|line| line.split(' ').nth(3));
                    if let Some(nonce) = nonce {
                        let ours = "11".repeat(16);
                        let proof = prove(b"S", "n1", "n2", nonce, &ours, "");
                        let reply = format!("250 2.7.0 n2 {ours} {proof}\r\n");
                        bytes.splice(at..at + 2, reply.into_bytes());
                    }
                }
                rig.bytes(*conn, &bytes);
            }
        }
    }
    for _ in 0..8 {
        rig.pass();
        rig.answer_dials(|_| false);
    }
    rig.end();
});
