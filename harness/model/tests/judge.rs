//! The judge over small histories written by hand in the test. The histories
//! under `fixtures/histories` hold the wide table; these show the shape.

use mailproof_model::history::History;
use mailproof_model::judge::{Ending, judge};
use mailproof_model::verdict::{Class, Verdict};

const PLAN: &str = r#"{"mailproof":"history/1","plan":{"run":"r","version":"0","engine":"sim","seed":1,"target":{"name":"t","capabilities":["takeover","store-readable"],"claims":[{"failure":"node-lost","guarantee":"no-loss"}]},"times":{"poll":1000,"takeover":10000,"retry":2000,"resend":2000,"patience":5000,"record":1000},"scenario":{"id":"a/b","title":"t","cluster":{"nodes":1},"workload":{"messages":1}}}}"#;

const CLEAN: &str = r#"
{"at":0,"by":"kernel","ev":{"start":{"node":"n1","life":1,"store":"empty"}}}
{"at":1,"by":"kernel","ev":{"ready":{"node":"n1","life":1}}}
{"at":10,"by":"client","ev":{"attempt":{"msg":0,"attempt":1,"session":0,"node":"n1","rcpts":[0]}}}
{"at":11,"by":"link:client->n1","ev":{"dot":{"conn":1,"msg":0,"attempt":1,"rcpts":[0],"digest":"aa"}}}
{"at":12,"by":"link:client->n1","ev":{"reply":{"conn":1,"to":"dot","msg":0,"attempt":1,"code":250}}}
{"at":13,"by":"client","ev":{"outcome":{"msg":0,"attempt":1,"rcpts":[250],"end":[250]}}}
{"at":20,"by":"link:n1->mb","ev":{"dot":{"conn":2,"msg":0,"attempt":1,"rcpts":[0],"digest":"aa"}}}
{"at":21,"by":"mailbox","ev":{"taken":{"conn":2,"from":"n1","msg":0,"attempt":1,"rcpts":[0],"digest":"aa"}}}
{"at":22,"by":"link:n1->mb","ev":{"reply":{"conn":2,"to":"dot","msg":0,"attempt":1,"code":250}}}
{"at":30000,"by":"director","ev":{"quiet":{"since":22,"lasted":20000}}}
{"at":30001,"by":"node:n1","ev":{"queues":{"node":"n1","rows":[]}}}
{"at":30002,"by":"disk:n1","ev":{"store-read":{"node":"n1","rows":[]}}}
{"at":30003,"by":"director","ev":{"end":{"why":"finished"}}}
"#;

fn verdict(lines: &str) -> mailproof_model::verdict::Judgement {
    let history = History::from_lines(&format!("{PLAN}{lines}")).expect("the lines are a history");
    judge(&history.plan, &history.events, &Ending::Sealed)
}

#[test]
fn a_clean_run_passes_and_sums() {
    let j = verdict(CLEAN);
    assert_eq!(j.verdict, Verdict::Pass, "{j:#?}");
    assert_eq!(j.equation(), "1 recipients = 1 delivered-once");
    assert_eq!(j.copies(), "1 copies = 1 first + 0 licensed + 0 unlicensed");
}

#[test]
fn a_message_that_no_store_holds_is_lost() {
    let lines: String = CLEAN
        .lines()
        .filter(|l| !l.contains("n1->mb") && !l.contains("mailbox"))
        .map(|l| format!("{l}\n"))
        .collect();
    let j = verdict(&lines);
    assert_eq!(j.verdict, Verdict::Fail, "{j:#?}");
    assert_eq!(j.classes.get(&Class::Lost), Some(&1));
    assert!(j.reason.contains("lost"), "{}", j.reason);
}

#[test]
fn without_a_proof_of_rest_nothing_passes() {
    let lines: String = CLEAN
        .lines()
        .filter(|l| !l.contains("quiet"))
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(verdict(&lines).verdict, Verdict::Inconclusive);
}

#[test]
fn a_second_copy_without_a_licence_fails() {
    let again = CLEAN
        .lines()
        .filter(|l| l.contains("n1->mb") || l.contains("mailbox"))
        .map(|l| {
            l.replace("\"conn\":2", "\"conn\":3")
                .replace("\"at\":2", "\"at\":3")
        })
        .collect::<Vec<_>>()
        .join("\n");
    let lines = CLEAN.replace("{\"at\":30000", &format!("{again}\n{{\"at\":30000"));
    let lines = lines.replace("\"since\":22", "\"since\":32");
    let j = verdict(&lines);
    assert_eq!(j.verdict, Verdict::Fail, "{j:#?}");
    assert_eq!(j.account.unlicensed, 1);
}

#[test]
fn an_unsealed_history_is_inconclusive() {
    let history = History::from_lines(&format!("{PLAN}{CLEAN}")).unwrap();
    let j = judge(
        &history.plan,
        &history.events,
        &Ending::Unsealed("torn".to_owned()),
    );
    assert_eq!(j.verdict, Verdict::Inconclusive);
}

#[test]
fn a_copy_that_no_link_saw_is_an_error_of_the_harness() {
    let lines: String = CLEAN
        .lines()
        .filter(|l| !l.contains("link:n1->mb"))
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(verdict(&lines).verdict, Verdict::Error);
}
