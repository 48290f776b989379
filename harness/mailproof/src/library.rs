//! The scenarios, targets and programs that the command carries in itself.

use std::sync::LazyLock;

use mailproof_model::scenario::{self, Scenario};

mod files {
    include!(concat!(env!("OUT_DIR"), "/library.rs"));
}

/// A scenario file that the command carries.
#[derive(Clone, Debug)]
pub struct Carried {
    /// Its path in the repository.
    pub path: &'static str,
    /// What it says.
    pub text: &'static str,
    /// Its id; the path where the file is broken.
    pub id: String,
}

static SCENARIOS: LazyLock<Vec<(Carried, Option<Scenario>)>> = LazyLock::new(|| {
    files::SCENARIOS
        .iter()
        .map(|(path, text)| {
            let scenario = scenario::parse(path, text).ok();
            let id = scenario
                .as_ref()
                .map_or_else(|| (*path).to_owned(), |s| s.id.clone());
            (Carried { path, text, id }, scenario)
        })
        .collect()
});

/// Every carried scenario, by path.
pub fn scenarios() -> impl Iterator<Item = &'static Carried> + Clone {
    SCENARIOS.iter().map(|(carried, _)| carried)
}

/// The carried scenario with that id.
#[must_use]
pub fn scenario(id: &str) -> Option<&'static Scenario> {
    SCENARIOS
        .iter()
        .filter_map(|(_, scenario)| scenario.as_ref())
        .find(|s| s.id == id)
}

/// Every carried target: its name (the file's), and what the file says.
pub fn targets() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
    files::TARGETS.iter().map(|(path, text)| {
        let file = path.rsplit('/').next().unwrap_or(path);
        (file.strip_suffix(".toml").unwrap_or(file), *text)
    })
}

/// The carried programs that targets start (`{{ programs }}`): file name, text.
pub(crate) fn programs() -> impl Iterator<Item = (&'static str, &'static str)> {
    files::PROGRAMS
        .iter()
        .map(|(path, text)| (path.rsplit('/').next().unwrap_or(path), *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_carried_scenario_can_be_read_and_ids_are_unique() {
        let mut ids = Vec::new();
        for carried in scenarios() {
            let scenario =
                scenario::parse(carried.path, carried.text).unwrap_or_else(|e| panic!("{e}"));
            let expected = carried
                .path
                .trim_start_matches("suites/")
                .trim_end_matches(".toml");
            assert_eq!(scenario.id, expected, "a file stands where its id says");
            ids.push(scenario.id);
        }
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
