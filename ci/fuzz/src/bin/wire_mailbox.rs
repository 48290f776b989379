//! The harness's mailbox against a client that says anything. Where the stream
//! is cut changes nothing, and it speaks in reply lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailproof_fuzz::{cut, pieces, replies};
use mailproof_wire::{Mailbox, MailboxOptions, Policy, Reply};

fuzz_target!(|data: &[u8]| {
    let Some((flags, data)) = data.split_first() else {
        return;
    };
    let (lengths, data) = pieces(data);
    let run = |lengths: &[usize]| {
        let options = MailboxOptions {
            lmtp: flags & 1 != 0,
            starttls: flags & 2 != 0,
            ..MailboxOptions::default()
        };
        let mut mailbox = Mailbox::new(options, Policy::default());
        let (mut events, mut out) = (Vec::new(), Vec::new());
        mailbox.greet(&mut events);
        cut(lengths, data, |piece| {
            mailbox.received(piece, &mut events);
            while mailbox.is_waiting() {
                mailbox
                    .answer(&Reply::new(250, "taken"), &mut events)
                    .expect("a message waits");
            }
            mailbox.transmit(&mut out);
        });
        mailbox.transmit(&mut out);
        out
    };
    let said = run(&lengths);
    replies(&said);
    assert!(said == run(&[1]), "a cut changes the replies");
});
