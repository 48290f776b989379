//! An authenticated peer that says anything, to a node with mail.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailproof_fuzz::{Rig, cut, pieces};

fuzz_target!(|data: &[u8]| {
    let (lengths, data) = pieces(data);
    let mut rig = Rig::new("");
    // A message of its own, accepted without a copy.
    let stranger = rig.accept(1);
    rig.bytes(
        stranger,
        b"EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
    );
    rig.bytes(stranger, b"Subject: t\r\n\r\ntext\r\n.\r\n");
    for _ in 0..4 {
        rig.answer_dials(|_| false);
    }
    let conn = rig.authenticated(2);
    cut(&lengths, data, |piece| {
        rig.bytes(conn, piece);
        rig.answer_dials(|_| false);
    });
    for _ in 0..20 {
        rig.pass();
        rig.answer_dials(|_| false);
    }
    rig.end();
});
