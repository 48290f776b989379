//! The published JSON Schema agrees with the types that read scenario files.

use std::path::Path;

use mailproof_model::scenario;
use serde_json::{Value, json};

/// What is wrong with a value by the schema, as far as the schema uses the
/// words below; other words would need a line here, which the last test
/// sees to.
fn wrong(value: &Value, schema: &Value, root: &Value) -> Option<String> {
    let Some(schema) = schema.as_object() else {
        return (schema == &Value::Bool(false)).then(|| "nothing may stand here".to_owned());
    };
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let name = name.strip_prefix("#/$defs/").expect("a local definition");
        return wrong(value, &root["$defs"][name], root);
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(options) = schema.get(word).and_then(Value::as_array) {
            let found: Vec<_> = options.iter().map(|o| wrong(value, o, root)).collect();
            let fit = found.iter().filter(|f| f.is_none()).count();
            if fit == 0 || (word == "oneOf" && fit > 1) {
                return Some(format!("{value} fits {fit} of {word}: {found:?}"));
            }
        }
    }
    if let Some(wanted) = schema.get("type") {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let wanted: Vec<&str> = match wanted {
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        if !wanted.contains(&kind) {
            return Some(format!("{value} is no {wanted:?}"));
        }
    }
    if schema.get("const").is_some_and(|c| c != value) {
        return Some(format!("{value} is not {}", schema["const"]));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        return Some(format!("{value} is none of {words:?}"));
    }
    if let Some(number) = value.as_i64() {
        let least = schema.get("minimum").and_then(Value::as_i64);
        let most = schema.get("maximum").and_then(Value::as_i64);
        if least.is_some_and(|l| number < l) || most.is_some_and(|m| number > m) {
            return Some(format!("{number} is out of range"));
        }
    }
    if let (Some(items), Some(item)) = (value.as_array(), schema.get("items")) {
        return items.iter().find_map(|v| wrong(v, item, root));
    }
    if let Some(entries) = value.as_object() {
        let known = schema.get("properties");
        if let Some(missing) = schema
            .get("required")
            .and_then(Value::as_array)
            .and_then(|names| {
                names
                    .iter()
                    .filter_map(Value::as_str)
                    .find(|n| !entries.contains_key(*n))
            })
        {
            return Some(format!("`{missing}` is missing"));
        }
        for (key, entry) in entries {
            match known.and_then(|k| k.get(key)) {
                Some(inner) => {
                    if let Some(found) = wrong(entry, inner, root) {
                        return Some(format!("{key}: {found}"));
                    }
                }
                None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    return Some(format!("`{key}` is unknown"));
                }
                None => {}
            }
        }
    }
    None
}

fn by_schema(text: &str) -> Option<String> {
    let schema = scenario::schema();
    let value: Value = toml::from_str(text).expect("TOML");
    wrong(&value, &schema, &schema)
}

#[test]
fn every_smoke_scenario_fits_the_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../suites/smoke");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the suite can be listed") {
        let path = entry.expect("an entry can be read").path();
        let text = std::fs::read_to_string(&path).expect("a scenario can be read");
        assert_eq!(by_schema(&text), None, "{}", path.display());
        count += 1;
    }
    assert!(count >= 9);
}

#[test]
fn every_chaos_scenario_fits_the_schema() {
    for family in ["chaos", "beyond", "sweep"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../suites")
            .join(family);
        for entry in std::fs::read_dir(folder).expect("the suite can be listed") {
            let path = entry.expect("an entry can be read").path();
            let text = std::fs::read_to_string(&path).expect("a scenario can be read");
            assert_eq!(by_schema(&text), None, "{}", path.display());
        }
    }
}

const ALL: &str = r#"
id = "a/b"
title = "t"
about = "more"
rules = ["R052"]
needs = ["relay"]
cluster = { nodes = 3, stores = 1 }
time = { poll = "1 s", takeover = "6 s", retry = "1 s", resend = "1 s", patience = "2 s", require = ["poll < retry"] }
workload = { messages = 3, size = "1 KiB..2 KiB", recipients = "1..3", sender = "once", sessions = 2, to = "n1", pace = "1 s" }
step = [
    { crash = { node = "busiest", at = "30% accepted", back = "same", after = "1 s" } },
    { power-cut = { node = "any", at = "start" } },
    { node-lost = { node = "n1", at = "1 s", back = "never" } },
    { restart = { node = "n1", at = "1 s" } },
    { pause = { node = "held", at = { link = "n1->m1", phase = "dot", nth = 2 }, for = "1 s" } },
    { link = { at = "start", on = "n1->n2", act = "refuse", for = "1 s" } },
    { link = { at = { link = "n1->m1", phase = "dot" }, act = { cut-at = 3 } } },
    { link = { at = { link = "n1->m1", phase = "dot" }, act = { delay = "1 s" } } },
    { link = { at = { link = "n1->m1", phase = "mail" }, act = { answer = "451 no" } } },
    { wait = { until = "drained", max = "1 s" } },
]
expect = { delivered = "at-most-once", level = "mailbox", windows = ["takeover"], deadline = "9 s", bounces = true, faults = "any" }
drawn = "chaos/x seed 1"
chaos = { messages = "100..250", size = "1 B..2 KiB", recipients = "1..3", sessions = 3, nodes = "2..6", stores = 0, faults = "1..6", kinds = ["crash", "half-close"], verbs = ["XPEER"], within = "anything" }
"#;

#[test]
fn what_the_types_take_the_schema_takes() {
    scenario::parse("all.toml", ALL).unwrap();
    assert_eq!(by_schema(ALL), None);
}

#[test]
fn what_the_types_refuse_the_schema_refuses() {
    for (from, to) in [
        ("title = \"t\"", "titel = \"t\""),
        ("nodes = 3", "nodes = \"3\""),
        ("nodes = 3", "nods = 3"),
        ("sender = \"once\"", "sender = \"twice\""),
        ("messages = 3", "messages = -3"),
        ("{ crash = {", "{ crush = {"),
        ("back = \"never\"", "back = \"newer\""),
        ("node = \"busiest\"", "node = 3"),
        ("nth = 2", "nht = 2"),
        ("cut-at = 3", "cut = 3"),
        ("act = \"refuse\"", "act = \"refused\""),
        ("until = \"drained\"", "until = \"dry\""),
        ("deadline = \"9 s\"", "deadline = 9"),
        ("bounces = true", "bounces = 1"),
        ("faults = \"any\"", "faults = \"some\""),
        ("pace = \"1 s\"", "pace = 1"),
        ("kinds = [\"crash\"", "kinds = [\"crush\""),
        ("within = \"anything\"", "within = \"all\""),
        ("sessions = 3", "session = 3"),
    ] {
        assert_eq!(ALL.matches(from).count(), 1, "{from}");
        let text = ALL.replace(from, to);
        assert!(scenario::parse("all.toml", &text).is_err(), "{to}");
        assert!(by_schema(&text).is_some(), "{to}");
    }
}

#[test]
fn the_schema_uses_no_word_that_these_tests_do_not_know() {
    fn words(schema: &Value, found: &mut Vec<String>) {
        let Some(entries) = schema.as_object() else {
            return;
        };
        for (word, inner) in entries {
            found.push(word.clone());
            match (word.as_str(), inner) {
                ("properties" | "$defs", Value::Object(named)) => {
                    named.values().for_each(|s| words(s, found));
                }
                ("oneOf" | "anyOf", Value::Array(many)) => {
                    many.iter().for_each(|s| words(s, found));
                }
                ("items" | "additionalProperties", one) => words(one, found),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    words(&scenario::schema(), &mut found);
    found.sort();
    found.dedup();
    let known = [
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maximum",
        "minimum",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ];
    found.retain(|word| !known.contains(&word.as_str()));
    assert_eq!(json!(found), json!([]));
}
