//! The scenario files of the project: sound, within the claims of the
//! reference target, and readable by the published schema.

use std::path::{Path, PathBuf};

use mailproof_model::plan::Plan;
use mailproof_model::scenario::{self, Scenario};
use mailproof_model::target;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every scenario file below `suites`: name, text.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("suites")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("suites can be listed") {
            let entry = entry.expect("an entry can be read");
            let path = entry.path();
            if entry.file_type().expect("an entry has a type").is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "toml")
                && path.file_name().is_some_and(|n| n != "Cargo.toml")
            {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(&path).expect("a scenario can be read");
                found.push((name, text));
            }
        }
    }
    found.sort();
    found
}

fn scenarios() -> Vec<Scenario> {
    let files = files();
    let files = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    scenario::lint_all(files).unwrap_or_else(|found| panic!("{found:#?}"))
}

#[test]
fn every_scenario_is_sound() {
    assert!(scenarios().len() >= 9);
}

#[test]
fn an_id_is_the_place_of_its_file() {
    for (name, text) in files() {
        let id = scenario::parse(&name, &text).unwrap().id;
        assert!(name.ends_with(&format!("suites/{id}.toml")), "{name}: {id}");
    }
}

#[test]
fn the_smoke_suite_is_within_what_the_reference_target_claims() {
    let path = root().join("fixtures/targets/reference.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let reference = target::parse("reference.toml", &text).unwrap();
    for scenario in scenarios().iter().filter(|s| s.id.starts_with("smoke/")) {
        let plan = Plan::build(scenario, &reference, "sim", 1, "r")
            .unwrap_or_else(|e| panic!("{}: {e}", scenario.id));
        assert!(!scenario.rules.is_empty(), "{}", scenario.id);
        assert_eq!(
            mailproof_model::claims::covers(&plan),
            mailproof_model::claims::Cover::Covered,
            "{}",
            scenario.id
        );
    }
}

#[test]
fn two_files_cannot_share_an_id() {
    let files = files();
    let (name, text) = &files[0];
    let twice = [
        ("first.toml", text.as_str()),
        (name.as_str(), text.as_str()),
    ];
    let found = scenario::lint_all(twice).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .message()
            .ends_with("is already that of first.toml")
    );
    assert!(found[0].at().starts_with('"') && found[0].line() == 1);
}
