//! A stranger's session with the node's server: any bytes, any cut. Where the
//! stream is cut changes no reply.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailproof_fuzz::{Rig, cut, pieces};

fuzz_target!(|data: &[u8]| {
    let (lengths, data) = pieces(data);
    let run = |lengths: &[usize]| {
        let mut rig = Rig::new("");
        let conn = rig.accept(1);
        cut(lengths, data, |piece| {
            rig.bytes(conn, piece);
            rig.answer_dials(|_| false);
        });
        let said = rig.written.get(&conn).cloned().unwrap_or_default();
        rig.end();
        said
    };
    let said = run(&lengths);
    if lengths != [usize::MAX] {
        let whole = run(&[usize::MAX]);
        assert!(
            said == whole,
            "cut: {}\nwhole: {}",
            String::from_utf8_lossy(&said),
            String::from_utf8_lossy(&whole)
        );
    }
});
