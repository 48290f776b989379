//! The table of parameters, and the files that are made from it.

use std::path::Path;

use mailproof_node::Config;
use mailproof_node::config::parameter::{Parameter, Takes, markdown};
use mailproof_node::config::parameters::GROUPS;

fn rows() -> impl Iterator<Item = &'static Parameter> {
    GROUPS.iter().flat_map(|group| group.rows)
}

fn defaults() -> Config {
    Config::new("n1", ([127, 0, 0, 1], 25).into(), "store".into())
}

/// With `UPDATE_PARAMETERS` set it writes the file (ci/parameters does that).
#[test]
fn parameters_md_is_generated_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PARAMETERS.md");
    if std::env::var_os("UPDATE_PARAMETERS").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == markdown(),
        "PARAMETERS.md is stale: run ci/parameters and commit what it writes"
    );
}

#[test]
fn every_default_lies_in_its_range() {
    defaults().check().unwrap();
}

/// A value just outside either end is refused at its place, each end itself
/// is taken as far as this key alone is asked.
#[test]
fn every_range_is_enforced_at_both_ends() {
    for row in rows() {
        let (good, bad) = match &row.takes {
            Takes::Time(low, high, _) => {
                let wrong = [low.as_millis().checked_sub(1), Some(high.as_millis() + 1)];
                (
                    [low.as_millis(), high.as_millis()].map(|v| format!("\"{v} ms\"")),
                    wrong.map(|v| v.map(|v| format!("\"{v} ms\""))),
                )
            }
            Takes::Times(low, high, _) => (
                [low.as_millis(), high.as_millis()].map(|v| format!("[\"{v} ms\"]")),
                [low.as_millis() - 1, high.as_millis() + 1].map(|v| Some(format!("[\"{v} ms\"]"))),
            ),
            Takes::Bytes(low, high, _) | Takes::Count(low, high, _) => (
                [*low, *high].map(|v| v.to_string()),
                [low.checked_sub(1), high.checked_add(1)].map(|v| v.map(|v| v.to_string())),
            ),
            Takes::Switch(_) | Takes::Words(..) => continue,
        };
        let read = |value: &str| {
            let text = format!(
                "name = \"n1\"\nlisten = \"127.0.0.1:25\"\nstore = \"s\"\n{} = {value}\n",
                row.key
            );
            Config::from_toml(&text, "f").map_err(|error| error.to_string())
        };
        let place = format!("f:4:{}: {}", row.key.len() + 4, row.key);
        for value in bad.into_iter().flatten() {
            let error = read(&value).unwrap_err();
            // A number that its type cannot hold is refused earlier.
            assert!(error.starts_with("f:4:"), "{value}: {error}");
            assert!(error.contains("expected"), "{} = {value}: {error}", row.key);
        }
        for value in good {
            if let Err(error) = read(&value) {
                // Another key may not go with this end; the range itself must
                // not be what is complained of.
                let range = row.takes.range();
                let range = range.trim_end_matches(" each");
                assert!(
                    !(error.starts_with(&place) && error.contains(range)),
                    "{} = {value}: {error}",
                    row.key
                );
            }
        }
    }
}

/// Keys inside lists are in the table as well: the reader's own complaint
/// about a key that nobody knows names those that it does know.
#[test]
fn keys_of_list_entries_are_in_the_table() {
    let base = "name = \"n1\"\nlisten = \"127.0.0.1:25\"\nstore = \"s\"\n";
    let lists: std::collections::BTreeSet<&str> = rows()
        .filter_map(|row| row.key.split_once("[]").map(|(list, _)| list))
        .collect();
    assert!(!lists.is_empty());
    for list in lists {
        let error = Config::from_toml(&format!("{base}[[{list}]]\nno-such-key = 1\n"), "f")
            .unwrap_err()
            .to_string();
        let first = error.lines().next().unwrap_or_default();
        let known = first.split_once(", expected ").map(|(_, known)| known);
        let known = known.unwrap_or_else(|| panic!("{list}: {error}"));
        let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let prefix = format!("{list}[].");
        let mut listed: Vec<&str> = rows()
            .filter_map(|row| row.key.strip_prefix(prefix.as_str()))
            .collect();
        known.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, known, "keys of {list}");
    }
}

/// `sample.toml` has every key, and where it shows a default it is the
/// default. A line that shows something else says so: `# example`.
#[test]
fn the_sample_shows_every_key_with_its_default() {
    let sample = include_str!("../sample.toml");
    let shown = |key: &str| -> Option<String> {
        sample.lines().find_map(|line| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
            let value = value.split_once("  #").map_or(value, |(value, _)| value);
            Some(value.trim().to_owned())
        })
    };
    for row in rows() {
        if let Some((list, key)) = row.key.split_once("[].") {
            assert!(sample.contains(key), "{key} of {list}");
            continue;
        }
        let list = sample.contains(&format!("[[{}]]", row.key));
        let value = shown(row.key);
        assert!(
            list || value.is_some(),
            "sample.toml does not show {}",
            row.key
        );
        if !matches!(row.takes, Takes::Words(..)) {
            assert_eq!(
                value,
                Some(row.takes.written(&defaults())),
                "sample.toml shows another value than the default of {}",
                row.key
            );
        }
    }
}
