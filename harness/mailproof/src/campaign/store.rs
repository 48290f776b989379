//! The folder of a campaign: what is searched, what came of it so far.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::identity::{Identity, ReadError};
use super::results::{Differs, Line, Results};
use super::tally::Tally;
use super::tried::Tried;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// It is somebody else's, or not of this search: another folder helps.
    #[error("{0}")]
    Refused(String),
    /// It cannot be read or written.
    #[error("{0}")]
    Failed(String),
}

/// A store that this command writes.
#[derive(Debug)]
pub(super) struct Store {
    /// Its folder.
    pub(super) dir: PathBuf,
    /// What is searched.
    pub(super) identity: Identity,
    /// The trials of this search.
    pub(super) space: Space,
    /// What was tried.
    pub(super) tally: Tally,
    /// Which trials were made.
    pub(super) done: Done,
    results: Results,
}

impl Store {
    /// Begins a store, or goes on with one of the same search.
    pub(super) fn open(dir: &Path, identity: Identity) -> Result<Self, StoreError> {
        let failed = |e: io::Error| StoreError::Failed(format!("{}: {e}", dir.display()));
        fs::create_dir_all(dir).map_err(failed)?;
        match Identity::read(dir) {
            Ok(there) => {
                let differences = there.differences(&identity);
                if !differences.is_empty() {
                    return Err(StoreError::Refused(format!(
                        "{} holds the results of another search (it is the one, this call the other): {}; choose another folder",
                        dir.display(),
                        differences.join("; ")
                    )));
                }
            }
            Err(ReadError::Missing) => {
                if !vacant(dir).map_err(failed)? {
                    return Err(StoreError::Refused(format!(
                        "{} is not empty and holds no campaign; choose another folder",
                        dir.display()
                    )));
                }
                identity.write(dir).map_err(failed)?;
            }
            Err(why) => {
                return Err(StoreError::Refused(format!("{}: {why}", dir.display())));
            }
        }
        let space = Space::of(&identity).map_err(StoreError::Refused)?;
        let mut tally = Tally::default();
        let mut done = Done::new(&space);
        let results = Results::open(dir, &mut |line| {
            count(line, &identity, &space, &mut tally, &mut done)
        })
        .map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok(Self {
            dir: dir.to_owned(),
            identity,
            space,
            tally,
            done,
            results,
        })
    }

    /// Writes a line down and counts it.
    pub(super) fn add(&mut self, line: Line) -> Result<(), StoreError> {
        self.results
            .add(&line)
            .map_err(|e| StoreError::Failed(e.to_string()))?;
        count(
            line,
            &self.identity,
            &self.space,
            &mut self.tally,
            &mut self.done,
        )
        .map_err(StoreError::Failed)
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.results
            .sync()
            .map_err(|e| StoreError::Failed(e.to_string()))
    }

    /// The trials that are still to be made.
    pub(super) fn missing(&self) -> u64 {
        self.space.trials() - self.tally.trials
    }
}

/// Whether a folder is empty, but for what a killed command may leave before
/// there is a store.
fn vacant(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        if entry?.file_name() != "campaign.toml.new" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Counts a line; every trial once, and only those of the search.
fn count(
    line: Line,
    identity: &Identity,
    space: &Space,
    tally: &mut Tally,
    done: &mut Done,
) -> Result<(), String> {
    match line {
        Line::Tried(trials) => {
            for tried in &trials {
                let number = space.number(tried).ok_or_else(|| {
                    format!(
                        "seed {} of scenario {} is none of this search",
                        tried.seed, tried.scenario
                    )
                })?;
                if !done.put(number) {
                    return Err(format!(
                        "seed {} of scenario {} was counted before",
                        tried.seed, tried.scenario
                    ));
                }
                tally.add(&identity.scenario[tried.scenario].id, tried);
            }
        }
        Line::Differs(differs) => {
            let Differs { scenario, .. } = differs;
            if scenario >= identity.scenario.len() {
                return Err(format!("there is no scenario {scenario} in this search"));
            }
            tally.differs.insert(differs);
        }
    }
    Ok(())
}

/// The trials of a search, numbered: seed by seed, of each seed every
/// scenario, so that a search that was broken off has seen all scenarios.
#[derive(Clone, Debug)]
pub(super) struct Space {
    first: u64,
    seeds: u64,
    shard: super::shard::Shard,
    scenarios: u64,
}

impl Space {
    /// Of a search.
    pub(super) fn of(identity: &Identity) -> Result<Self, String> {
        let seeds = identity.seeds()?;
        let space = Self {
            first: seeds.first(),
            seeds: seeds.count(),
            shard: identity.shard()?,
            scenarios: identity.scenario.len() as u64,
        };
        Ok(space)
    }

    /// How many trials there are.
    pub(super) fn trials(&self) -> u64 {
        self.shard.count(self.seeds) * self.scenarios
    }

    /// Scenario and seed of a trial.
    pub(super) fn trial(&self, number: u64) -> (usize, u64) {
        // There are far fewer scenarios than 2^32.
        let scenario = (number % self.scenarios) as usize;
        let seed = self.first + self.shard.offset(number / self.scenarios);
        (scenario, seed)
    }

    /// The number of a trial, if it belongs here.
    pub(super) fn number(&self, tried: &Tried) -> Option<u64> {
        let scenario = tried.scenario as u64;
        let offset = tried.seed.checked_sub(self.first)?;
        if scenario >= self.scenarios || offset >= self.seeds {
            return None;
        }
        Some(self.shard.nth(offset)? * self.scenarios + scenario)
    }
}

/// Which trials were made.
#[derive(Clone, Debug)]
pub(super) struct Done {
    bits: Vec<u64>,
}

impl Done {
    pub(super) fn new(space: &Space) -> Self {
        // At most 10^8 seeds: this fits into memory wherever the rest does.
        let words = space.trials().div_ceil(64) as usize;
        Self {
            bits: vec![0; words],
        }
    }

    /// Whether this one was.
    pub(super) fn has(&self, number: u64) -> bool {
        self.bits
            .get((number / 64) as usize)
            .is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Notes one; whether it is new.
    pub(super) fn put(&mut self, number: u64) -> bool {
        let new = !self.has(number);
        if let Some(word) = self.bits.get_mut((number / 64) as usize) {
            *word |= 1 << (number % 64);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::tests::sample;
    use super::super::results::tests::passed;
    use super::*;

    #[test]
    fn every_trial_has_one_number() {
        for (seeds, shard) in [("5..5005", "0/1"), ("7..16", "2/4"), ("7..8", "3/4")] {
            let space = Space::of(&sample(seeds, shard)).unwrap();
            let mut done = Done::new(&space);
            for number in 0..space.trials() {
                let (scenario, seed) = space.trial(number);
                assert_eq!(space.number(&passed(scenario, seed)), Some(number));
                assert!(!done.has(number));
                assert!(done.put(number));
                assert!(done.has(number));
                assert!(!done.put(number));
            }
        }
        let space = Space::of(&sample("5..9", "1/2")).unwrap();
        for (scenario, seed) in [(2, 6), (0, 4), (0, 5), (0, 10)] {
            assert_eq!(space.number(&passed(scenario, seed)), None);
        }
    }

    #[test]
    fn a_store_goes_on_where_it_was_left_and_counts_each_seed_once() {
        let dir = tempfile::tempdir().unwrap();
        let open = |seeds| Store::open(dir.path(), sample(seeds, "0/1"));
        let mut store = open("0..3").unwrap();
        store
            .add(Line::Tried(vec![passed(0, 1), passed(1, 1)]))
            .unwrap();
        assert_eq!((store.tally.trials, store.missing()), (2, 4));
        drop(store);
        let mut store = open("0..3").unwrap();
        assert_eq!((store.tally.trials, store.missing()), (2, 4));
        store.add(Line::Tried(vec![passed(0, 2)])).unwrap();
        drop(store);

        let why = open("0..4").unwrap_err().to_string();
        assert!(
            why.contains("the seeds are 0..3 in one, 0..4 in the other"),
            "{why}"
        );

        // A line that was put in by hand.
        let mut store = open("0..3").unwrap();
        store.results.add(&Line::Tried(vec![passed(0, 2)])).unwrap();
        drop(store);
        let why = open("0..3").unwrap_err().to_string();
        assert!(
            why.contains("line 3: seed 2 of scenario 0 was counted before"),
            "{why}"
        );
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("letter"), "dear").unwrap();
        let refused = Store::open(dir.path(), sample("0..3", "0/1"));
        assert!(matches!(refused, Err(StoreError::Refused(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
