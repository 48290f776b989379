//! The hand-made histories under `fixtures/histories`: each gives what stands
//! beside it, sealed or not, and so does each mutant of one.
//!
//! `ci/fold.py --fixtures` holds the second implementation to the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use mailproof_model::event::Event;
use mailproof_model::history::{History, Reader, Tail};
use mailproof_model::judge::{Ending, judge};
use mailproof_model::plan::Plan;
use mailproof_model::verdict::Judgement;
use serde::Deserialize;
use serde_json::Value;

/// What stands beside a history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    title: String,
    plan: String,
    #[serde(default)]
    r#override: Option<Value>,
    /// `unsealed`: judged as if the harness had died.
    ending: Option<String>,
    /// A verdict, or `altered`: it cannot be read.
    verdict: String,
    #[serde(default)]
    classes: BTreeMap<String, u64>,
    #[serde(default)]
    licensed: BTreeMap<String, u64>,
    #[serde(default)]
    unlicensed: u64,
    /// Kinds of the findings that fail.
    #[serde(default)]
    findings: BTreeSet<String>,
    /// A part of each sentence about missing evidence, in order.
    #[serde(default)]
    missing: Vec<String>,
    #[serde(default)]
    evidence: BTreeSet<String>,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutants {
    mutant: Vec<Mutant>,
}

/// One change to one history, and what it does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    title: String,
    base: String,
    op: String,
    select: Select,
    at: Option<u64>,
    witness: Option<String>,
    name: Option<String>,
    set: Option<Value>,
    expect: Expect,
}

/// Which event a mutant means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Select {
    ev: Option<String>,
    by: Option<String>,
    nth: Option<usize>,
    #[serde(default)]
    all: bool,
    with: Option<serde_json::Map<String, Value>>,
}

/// What a mutant states; what is left out is not looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    verdict: Option<String>,
    classes: Option<BTreeMap<String, u64>>,
    licensed: Option<BTreeMap<String, u64>>,
    unlicensed: Option<u64>,
    findings: Option<BTreeSet<String>>,
    missing: Option<Vec<String>>,
}

/// What a history came to.
enum Got {
    Judged(Box<Judgement>),
    Altered(String),
}

struct Fixture {
    name: String,
    beside: Beside,
    plan: Plan,
    values: Vec<Value>,
    got: Got,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/histories")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A plan with some members put in the place of its own; `(none)` takes one
/// out.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value == "(none)" {
                    base.remove(key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn plan(beside: &Beside) -> Plan {
    let path = folder().join("plans").join(format!("{}.json", beside.plan));
    let mut value: Value = serde_json::from_str(&read(&path)).expect("a plan is JSON");
    if let Some(over) = &beside.r#override {
        merge(&mut value, over);
    }
    serde_json::from_value(value).unwrap_or_else(|e| panic!("{}: {e}", beside.title))
}

fn ending(beside: &Beside) -> Ending {
    match beside.ending.as_deref() {
        None => Ending::Sealed,
        Some("unsealed") => Ending::Unsealed("it ends without a seal".to_owned()),
        Some(other) => panic!("no ending: {other}"),
    }
}

fn judged(plan: &Plan, text: &str, ending: &Ending) -> Got {
    match History::from_lines_with(plan.clone(), text) {
        Ok(history) => Got::Judged(Box::new(judge(&history.plan, &history.events, ending))),
        Err(e) => Got::Altered(e.to_string()),
    }
}

fn all() -> Vec<Fixture> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder()).expect("the fixtures can be listed") {
        let path = entry.expect("an entry can be read").path();
        if path.extension().is_none_or(|e| e != "jsonl") {
            continue;
        }
        let name = path
            .file_stem()
            .and_then(|n| n.to_str())
            .expect("a name is UTF-8")
            .to_owned();
        let beside: Beside = toml::from_str(&read(&path.with_extension("toml")))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = read(&path);
        let plan = plan(&beside);
        let got = judged(&plan, &text, &ending(&beside));
        let values = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .map(|l| serde_json::from_str(l).expect("a line is JSON"))
            .collect();
        found.push(Fixture {
            name,
            beside,
            plan,
            values,
            got,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// A value's name as JSON has it.
fn named<T: serde::Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        other => panic!("not a name: {other:?}"),
    }
}

fn counts<K: serde::Serialize + Copy>(map: &BTreeMap<K, u64>) -> BTreeMap<String, u64> {
    map.iter().map(|(k, n)| (named(*k), *n)).collect()
}

fn failing(j: &Judgement) -> BTreeSet<String> {
    j.findings
        .iter()
        .filter(|f| f.fails)
        .map(|f| f.kind.clone())
        .collect()
}

/// Each stated member that came out otherwise.
fn differences(stated: &Expect, got: &Got) -> Vec<String> {
    let j = match got {
        Got::Judged(j) => j,
        Got::Altered(why) => {
            return match stated.verdict.as_deref() {
                Some("altered") => Vec::new(),
                _ => vec![format!("it cannot be read: {why}")],
            };
        }
    };
    let mut found = Vec::new();
    let mut hold = |what: &str, stated: Option<String>, got: String| {
        if let Some(stated) = stated.filter(|s| *s != got) {
            found.push(format!("{what}: stated {stated}, found {got}"));
        }
    };
    hold("verdict", stated.verdict.clone(), named(j.verdict));
    let text = |map: &BTreeMap<String, u64>| format!("{map:?}");
    hold(
        "classes",
        stated.classes.as_ref().map(text),
        text(&counts(&j.classes)),
    );
    hold(
        "licensed",
        stated.licensed.as_ref().map(text),
        text(&counts(&j.account.licensed)),
    );
    hold(
        "unlicensed",
        stated.unlicensed.map(|n| n.to_string()),
        j.account.unlicensed.to_string(),
    );
    hold(
        "findings",
        stated.findings.as_ref().map(|f| format!("{f:?}")),
        format!("{:?}", failing(j)),
    );
    if let Some(missing) = &stated.missing {
        let alike = missing.len() == j.missing.len()
            && missing.iter().zip(&j.missing).all(|(s, g)| g.contains(s));
        if !alike {
            found.push(format!(
                "missing: stated {missing:?}, found {:?}",
                j.missing
            ));
        }
    }
    found
}

fn stated(beside: &Beside) -> Expect {
    Expect {
        verdict: Some(beside.verdict.clone()),
        classes: Some(beside.classes.clone()),
        licensed: Some(beside.licensed.clone()),
        unlicensed: Some(beside.unlicensed),
        findings: Some(beside.findings.clone()),
        missing: Some(beside.missing.clone()),
    }
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_history_gives_what_stands_beside_it() {
    let all = all();
    let mut wrong = Vec::new();
    if all.len() < 60 {
        wrong.push(format!("only {} histories", all.len()));
    }
    for f in &all {
        let mut found = differences(&stated(&f.beside), &f.got);
        let reason = match &f.got {
            Got::Judged(j) => {
                let kinds: BTreeSet<_> = j.evidence.iter().map(|e| named(e.kind)).collect();
                if kinds != f.beside.evidence {
                    found.push(format!(
                        "evidence: stated {:?}, found {kinds:?}",
                        f.beside.evidence
                    ));
                }
                &j.reason
            }
            Got::Altered(why) => why,
        };
        if *reason != f.beside.reason {
            found.push(format!("reason: found {reason}"));
        }
        wrong.extend(found.iter().map(|d| format!("{}: {d}", f.name)));
    }
    report(&wrong);
}

/// What holds of every judgement, whatever it says.
#[test]
fn every_account_sums_and_every_piece_of_evidence_is_an_event() {
    for f in all() {
        let Got::Judged(j) = &f.got else { continue };
        let classes: u64 = j.classes.values().sum();
        assert_eq!(classes, j.account.recipients, "{}", f.name);
        let licensed: u64 = j.account.licensed.values().sum();
        assert_eq!(
            j.account.copies,
            j.account.first_copies + licensed + j.account.unlicensed,
            "{}",
            f.name
        );
        for e in &j.evidence {
            let event = &f.values[usize::try_from(e.event).expect("an id is small")];
            assert_eq!(event["by"], named(e.witness), "{}: {e:?}", f.name);
            assert_ne!(event["by"], "injector", "{}: {e:?}", f.name);
        }
        for finding in &j.findings {
            assert!(
                finding
                    .timeline
                    .iter()
                    .all(|id| *id < f.values.len() as u64),
                "{}: {finding:?}",
                f.name
            );
        }
    }
}

#[test]
fn a_sealed_history_is_judged_as_the_lines_it_was_made_from() {
    for f in all() {
        let Got::Judged(before) = &f.got else {
            continue;
        };
        let text: Vec<String> = f.values.iter().map(Value::to_string).collect();
        let history = History::from_lines_with(f.plan.clone(), &text.join("\n"))
            .unwrap_or_else(|e| panic!("{}: {e}", f.name));
        let mut file = Vec::new();
        history.write(&mut file).expect("memory can be written");
        let mut reader = Reader::new(file.as_slice()).unwrap_or_else(|e| panic!("{}: {e}", f.name));
        let events: Vec<Event> = reader
            .by_ref()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|e| panic!("{}: {e}", f.name));
        assert!(
            matches!(reader.tail(), Some(Tail::Sealed { .. })),
            "{}: {:?}",
            f.name,
            reader.tail()
        );
        let after = judge(reader.plan(), &events, &ending(&f.beside));
        assert_eq!(**before, after, "{}", f.name);
    }
}

#[test]
fn every_mutant_changes_what_it_states() {
    let mutants: Mutants = toml::from_str(&read(&folder().join("mutants.toml")))
        .unwrap_or_else(|e| panic!("mutants.toml: {e}"));
    let all = all();
    let mut wrong = Vec::new();
    if mutants.mutant.len() < 40 {
        wrong.push(format!("only {} mutants", mutants.mutant.len()));
    }
    for m in &mutants.mutant {
        let name = format!("mutant of {}: {}", m.base, m.title);
        let base = all
            .iter()
            .find(|f| f.name == m.base)
            .unwrap_or_else(|| panic!("{name}: no such history"));
        if differences(&m.expect, &base.got).is_empty() {
            wrong.push(format!(
                "{name}: it states nothing that its base does not give"
            ));
        }
        let text: Vec<String> = mutate(base, m, &name)
            .iter()
            .map(Value::to_string)
            .collect();
        let got = judged(&base.plan, &text.join("\n"), &ending(&base.beside));
        wrong.extend(
            differences(&m.expect, &got)
                .iter()
                .map(|d| format!("{name}: {d}")),
        );
    }
    report(&wrong);
}

fn matches(value: &Value, select: &Select) -> bool {
    let (name, fields) = what(value);
    select.ev.as_deref().is_none_or(|ev| ev == name)
        && select.by.as_deref().is_none_or(|by| value["by"] == by)
        && select
            .with
            .iter()
            .flatten()
            .all(|(key, v)| fields.get(key) == Some(v))
}

/// The name and the fields of an event.
fn what(value: &Value) -> (&str, &Value) {
    let ev = value["ev"].as_object().expect("an event is an object");
    let (name, fields) = ev.iter().next().expect("an event has a name");
    (name, fields)
}

/// The events of a history with one thing changed.
fn mutate(base: &Fixture, m: &Mutant, name: &str) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    let mut nth = 0;
    let mut hit = false;
    for value in &base.values {
        if !matches(value, &m.select) {
            out.push(value.clone());
            continue;
        }
        nth += 1;
        if !m.select.all && nth != m.select.nth.unwrap_or(1) {
            out.push(value.clone());
            continue;
        }
        hit = true;
        let mut changed = value.clone();
        if let Some(at) = m.at {
            changed["at"] = at.into();
        }
        if let Some(witness) = &m.witness {
            changed["by"] = witness.clone().into();
        }
        let (old, fields) = what(value);
        let mut fields = fields.clone();
        if let Some(set) = &m.set {
            merge(&mut fields, set);
        }
        let event = m.name.as_deref().unwrap_or(old).to_owned();
        changed["ev"] = Value::Object([(event, fields)].into_iter().collect());
        match m.op.as_str() {
            "drop" => {}
            "duplicate" => out.extend([value.clone(), changed]),
            "retime" | "swap-witness" | "edit" => out.push(changed),
            other => panic!("{name}: `{other}` is no operation"),
        }
    }
    assert!(hit, "{name}: it selects no event");
    if matches!(m.op.as_str(), "retime" | "duplicate") {
        out.sort_by_key(|v| v["at"].as_u64());
    }
    out
}
