//! The harness's client against a server that says anything: every
//! transaction ends in exactly one outcome.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailproof_fuzz::{cut, pieces};
use mailproof_wire::{Client, ClientEvent, ClientOptions, Recipient, Transaction};

fuzz_target!(|data: &[u8]| {
    let Some((flags, data)) = data.split_first() else {
        return;
    };
    let (lengths, data) = pieces(data);
    let mut client = Client::new(ClientOptions {
        lmtp: flags & 1 != 0,
        pipelining: flags & 2 == 0,
        ..ClientOptions::default()
    });
    for _ in 0..3 {
        client.start(Transaction {
            from: "a@x".into(),
            params: String::new(),
            rcpts: vec![Recipient::from("b@y"), Recipient::from("c@y")],
            content: b".x\r\n".as_slice().into(),
        });
    }
    client.quit();
    let (mut events, mut out) = (Vec::new(), Vec::new());
    cut(&lengths, data, |piece| {
        client.received(piece, &mut events);
        client.transmit(&mut out);
    });
    client.closed(&mut events);
    let done = events.iter().filter(|e| matches!(e, ClientEvent::Done(_)));
    assert_eq!(done.count(), 3, "every transaction ends once");
});
