//! The harness's observer between two parties that say anything: offsets hold,
//! and where the stream is cut changes nothing that it sees.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailproof_wire::{Observer, Seen};

fuzz_target!(|data: &[u8]| {
    let run = |size: usize| {
        let mut observer = Observer::default();
        let mut sent = [0, 0];
        let mut all = Vec::new();
        let mut rest = data;
        while let [head, tail @ ..] = rest {
            let client = head & 0x80 != 0;
            let (bytes, tail) = tail.split_at(usize::from(head & 0x7f).min(tail.len()));
            rest = tail;
            for chunk in bytes.chunks(size) {
                let mut points = Vec::new();
                if client {
                    observer.client_bytes(chunk, &mut points);
                } else {
                    observer.server_bytes(chunk, &mut points);
                }
                for point in points {
                    assert!(point.start <= point.end && point.end <= chunk.len());
                    let end = match point.seen {
                        // How much could not be followed depends on the cut.
                        Seen::Lost(_) => 0,
                        _ => sent[usize::from(client)] + point.end,
                    };
                    all.push(format!("{end} {:?} {:?}", point.phase(), point.seen));
                }
                sent[usize::from(client)] += chunk.len();
            }
        }
        all
    };
    let whole = run(usize::MAX);
    for size in [1, 7] {
        let parts = run(size);
        assert!(
            whole == parts,
            "whole {whole:#?}\nin pieces of {size} {parts:#?}"
        );
    }
});
