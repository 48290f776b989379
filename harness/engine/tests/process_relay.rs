//! The process engine with a relay that shares no code with it: honest, it
//! passes whatever is done to its process; with a defect, it is found out.

mod process_support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use mailproof_engine::process::{SUBCOMMAND, reaper_main};
use mailproof_model::verdict::Verdict;
use process_support::{Stage, in_words, no_python, target};

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SUBCOMMAND) {
        return reaper_main();
    }
    let tests: [(&str, Test); 9] = [
        ("no_fault_passes", || expect("pyrelay", "", Verdict::Pass)),
        ("crash_and_back_passes", || {
            expect("pyrelay", CRASH, Verdict::Pass)
        }),
        ("pause_passes", || expect("pyrelay", PAUSE, Verdict::Pass)),
        ("lost_reply_passes", || {
            expect("pyrelay", REPLY_LOST, Verdict::Pass)
        }),
        ("crash_of_one_that_never_syncs_passes", || {
            expect("pyrelay-fsyncless", CRASH, Verdict::Pass)
        }),
        ("crash_of_a_forgetful_one_fails", || {
            expect("pyrelay-forgetful", CRASH, Verdict::Fail)
        }),
        ("crash_of_one_that_keeps_mail_in_memory_fails", || {
            expect("pyrelay-memory", CRASH, Verdict::Fail)
        }),
        ("crash_behind_an_early_250_fails", || {
            expect("pyrelay-early-ack", AT_REPLY, Verdict::Fail)
        }),
        ("crash_at_the_250_of_an_honest_one_passes", || {
            expect("pyrelay", AT_REPLY, Verdict::Pass)
        }),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| match no_python() {
            Some(why) => Trial::test(name, || Ok(()))
                .with_kind(why)
                .with_ignored_flag(true),
            None => Trial::test(name, test),
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

const CRASH: &str = r#"
[[step]]
crash = { node = "n1", at = { link = "n1->mb", phase = "data-reply", nth = 5 }, back = "same" }
[[step]]
wait = { until = "back", max = "10 s" }
"#;

const PAUSE: &str = r#"
[[step]]
pause = { node = "n1", at = { link = "n1->mb", phase = "data-reply", nth = 5 }, for = "1 s" }
[[step]]
wait = { until = "back", max = "10 s" }
"#;

const REPLY_LOST: &str = r#"
[[step]]
link = { at = { link = "client->n1", phase = "end-reply", nth = 5 }, act = "lose-reply" }
"#;

const AT_REPLY: &str = r#"
[[step]]
crash = { node = "n1", at = { link = "client->n1", phase = "end-reply", nth = 5 }, back = "same" }
[[step]]
wait = { until = "back", max = "10 s" }
"#;

fn expect(name: &str, steps: &str, verdict: Verdict) -> Result<(), Failed> {
    let scenario = format!(
        r#"
id = "test/relay"
title = "A relay under test"
needs = ["relay"]
[cluster]
nodes = 1
[time]
poll = "100 ms"
takeover = "500 ms"
retry = "200 ms"
resend = "200 ms"
[workload]
messages = 40
recipients = "1..3"
[expect]
delivered = "exactly-once"
windows = []
{steps}
"#
    );
    let stage = Stage::new("relay", target(name)?, &scenario)?;
    let (judgement, events) = stage.run()?;
    if judgement.verdict == verdict {
        return Ok(());
    }
    let tail: Vec<String> = events
        .iter()
        .map(|e| format!("{} {} {} {:?}", e.id, e.at / 1_000_000, e.by, e.ev))
        .collect();
    if let Some(dir) = std::env::var_os("MAILPROOF_TEST_TRACE") {
        std::fs::write(dir, tail.join("\n"))?;
    }
    Err(format!("expected {verdict}, got {}", in_words(&judgement)).into())
}
