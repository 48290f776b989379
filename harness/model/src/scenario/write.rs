//! Writing a scenario as a file that people read.

use std::fmt::Write as _;

use super::Scenario;

/// The scenario as a file: the tables in the order of the suites, one line a
/// step. [`super::parse`] gives the same scenario back.
///
/// # Errors
/// A value that TOML cannot hold: an integer beyond 63 bits.
pub fn write(scenario: &Scenario) -> Result<String, toml::ser::Error> {
    let mut rest = scenario.clone();
    let steps = std::mem::take(&mut rest.steps);
    let table = toml::Table::try_from(&rest)?;
    let mut text = String::new();
    let mut tables = Vec::new();
    // `id` and `title` first; every other key in the order of the language.
    for key in ["id", "title", "about", "rules", "needs"] {
        if let Some(value) = table.get(key) {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    for (key, value) in &table {
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => tables.push((key, inner)),
            _ => {}
        }
    }
    // What follows the steps in every file of the suites is `expect`.
    tables.sort_by_key(|(key, _)| match key.as_str() {
        "cluster" => 0,
        "time" => 1,
        "workload" => 2,
        "expect" => 4,
        _ => 3,
    });
    let steps_at = tables.iter().filter(|(key, _)| *key != "expect").count();
    for at in 0..=tables.len() {
        if at == steps_at {
            for step in &steps {
                let _ = write!(text, "\n[[step]]\n");
                for (key, value) in &toml::Table::try_from(step)? {
                    let _ = writeln!(text, "{key} = {value}");
                }
            }
        }
        let Some((key, inner)) = tables.get(at) else {
            break;
        };
        let _ = write!(text, "\n[{key}]\n");
        for (key, value) in *inner {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;

    #[test]
    fn what_is_written_is_what_is_read() {
        let text = r#"id = "a/b"
title = 'A title with "quotes"'
rules = ["R052"]
needs = ["relay", "takeover"]

[cluster]
nodes = 3
stores = 0

[time]
poll = "1 s"
require = ["poll < takeover"]

[workload]
messages = 5
recipients = "1..3"
sender = "mta"
sessions = 4
size = "1 KiB..4 KiB"
to = "n1"

[[step]]
link = { act = { answer = "452 4.3.1 try later" }, at = { link = "client->n1", nth = 2, phase = "mail" } }

[[step]]
wait = { max = "10 s", until = "elapsed" }

[expect]
bounces = false
delivered = "exactly-once"
level = "wire"
windows = []
"#;
        let scenario = parse("a.toml", text).unwrap();
        let written = write(&scenario).unwrap();
        assert_eq!(parse("b.toml", &written).unwrap(), scenario);
        assert_eq!(written, text);
    }
}
