//! `mailproof merge`: the stores of a campaign's parts become the store that
//! one machine would have made.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use mailproof_model::verdict::Verdict;

use super::identity::{self, Identity, ReadError};
use super::results::{self, Differs, Line};
use super::store::{Space, Store, StoreError};
use super::summary::{Merged, Summary};
use super::tried::Tried;
use super::{CHUNK, kept, refuse};
use crate::cli::{Format, MergeArgs};
use crate::context::Context;
use crate::examine;
use crate::exit_code::Exit;
use crate::{library, target_choice};

/// How deep below a given folder stores are looked for.
const DEEPEST: u32 = 4;

pub(crate) fn merge(context: &Context, args: &MergeArgs) -> Exit {
    match merged(context, args) {
        Ok(exit) => exit,
        Err(why) => refuse(context, &why),
    }
}

fn merged(context: &Context, args: &MergeArgs) -> Result<Exit, StoreError> {
    let mut stores = Vec::new();
    for dir in &args.dirs {
        find(dir, 0, &mut stores).map_err(StoreError::Refused)?;
    }
    let whole = agreed(&stores)?;
    let out_is_new = match fs::read_dir(&args.out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    };
    if !out_is_new {
        return Err(StoreError::Refused(format!(
            "{} is not an empty folder; merge into a new one",
            args.out.display()
        )));
    }
    let gathered = gather(&stores, &whole)?;
    let mut store = Store::open(&args.out, whole)?;
    for chunk in gathered.trials.chunks(CHUNK) {
        store.add(Line::Tried(chunk.to_vec()))?;
    }
    for differs in &gathered.differs {
        store.add(Line::Differs(differs.clone()))?;
    }
    let ids: Vec<&str> = store
        .identity
        .scenario
        .iter()
        .map(|s| s.id.as_str())
        .collect();
    let wanted = store.tally.kept();
    let nowhere = kept::gather(&args.out, &wanted, &ids, &stores).map_err(|e| {
        StoreError::Failed(format!(
            "kept runs cannot be copied to {}: {e}",
            args.out.display()
        ))
    })?;
    store.sync()?;
    let target = &store.identity.target;
    let known = target_choice::known(&context.extra).any(|(name, _)| name == target);
    let summary = Summary {
        identity: &store.identity,
        tally: &store.tally,
        trials: store.space.trials(),
        dir: &args.out,
        kept_dir: &args.out,
        here: None,
        merged: Some(Merged {
            stores: stores.len(),
            twice: gathered.twice,
            missing: missing(&store),
            nowhere,
        }),
        reproduce: &|scenario, seed| {
            let id = &store.identity.scenario[scenario].id;
            // The stores know ids and digests, not where files were.
            let scenario = library::scenario(id).map_or_else(
                || format!("<the file of {id}>"),
                |scenario| scenario.id.clone(),
            );
            let target = if known {
                target.clone()
            } else {
                format!("<the file of {target}>")
            };
            examine::command(&context.extra, &scenario, "sim", seed, &target)
        },
    };
    context.console.say(&summary.text(context.console.paint));
    if args.format == Format::Json {
        context.console.result(&summary.json());
    }
    Ok(context.done(summary.exit()))
}

/// The stores that a path means: itself, or those below it.
fn find(dir: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<(), String> {
    if dir.join(identity::FILE).exists() {
        found.push(dir.to_owned());
        return Ok(());
    }
    let before = found.len();
    let failed = |e| format!("{}: {e}", dir.display());
    let mut below = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            below.push(path);
        }
    }
    below.sort();
    if depth < DEEPEST {
        for path in below {
            // A folder without a store among those with one is no mistake.
            let _ = find(&path, depth + 1, found);
        }
    }
    if found.len() == before {
        return Err(format!(
            "{} is no store of a campaign and has none below it: there is no {}",
            dir.display(),
            identity::FILE
        ));
    }
    Ok(())
}

/// What all stores search, as a whole.
fn agreed(stores: &[PathBuf]) -> Result<Identity, StoreError> {
    let mut agreed: Option<(&Path, Identity)> = None;
    for dir in stores {
        let identity = Identity::read(dir).map_err(|why| match why {
            ReadError::Missing => StoreError::Refused(format!("{}: {why}", dir.display())),
            ReadError::Broken(why) => StoreError::Failed(format!("{}: {why}", dir.display())),
        })?;
        let whole = identity.whole();
        match &agreed {
            None => agreed = Some((dir, whole)),
            Some((first, due)) => {
                let differences = due.differences(&whole);
                if !differences.is_empty() {
                    return Err(StoreError::Refused(format!(
                        "{} and {} are not parts of the same campaign: {}",
                        first.display(),
                        dir.display(),
                        differences.join("; ")
                    )));
                }
            }
        }
    }
    agreed
        .map(|(_, whole)| whole)
        .ok_or_else(|| StoreError::Refused("no store was given".to_owned()))
}

/// All that the stores have, each trial once.
struct Gathered {
    /// By seed, then scenario.
    trials: Vec<Tried>,
    differs: Vec<Differs>,
    /// How many trials more than one store has.
    twice: u64,
}

fn gather(stores: &[PathBuf], whole: &Identity) -> Result<Gathered, StoreError> {
    let space = Space::of(whole).map_err(StoreError::Refused)?;
    let mut trials: BTreeMap<u64, (Tried, usize)> = BTreeMap::new();
    let mut differs = Vec::new();
    let mut twice = 0;
    for (n, dir) in stores.iter().enumerate() {
        let failed = |e: &dyn std::fmt::Display| StoreError::Failed(e.to_string());
        let path = dir.join(results::FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            // Killed before it had tried anything.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(StoreError::Failed(format!("{}: {e}", path.display()))),
        };
        results::read(&path, file, &mut |line| {
            let tried = match line {
                Line::Tried(tried) => tried,
                Line::Differs(one) if one.scenario < whole.scenario.len() => {
                    differs.push(one);
                    return Ok(());
                }
                Line::Differs(one) => {
                    return Err(format!("there is no scenario {}", one.scenario));
                }
            };
            for tried in tried {
                let number = space
                    .number(&tried)
                    .ok_or_else(|| format!("seed {} is none of this search", tried.seed))?;
                match trials.entry(number) {
                    Entry::Vacant(vacant) => {
                        vacant.insert((tried, n));
                    }
                    Entry::Occupied(there) => {
                        let (one, of) = there.get();
                        if *of == n {
                            return Err(format!("seed {} was counted before", tried.seed));
                        }
                        twice += 1;
                        differs.extend(differ(one, &tried, &stores[*of], dir));
                    }
                }
            }
            Ok(())
        })
        .map_err(|e| failed(&e))?;
    }
    differs.sort();
    differs.dedup();
    Ok(Gathered {
        trials: trials.into_values().map(|(tried, _)| tried).collect(),
        differs,
        twice,
    })
}

/// How the same trial came out in two stores, if not alike.
fn differ(one: &Tried, other: &Tried, dir: &Path, other_dir: &Path) -> Option<Differs> {
    let same = one.verdict == other.verdict && one.root == other.root && one.marks == other.marks;
    // What was not the same twice within one store has been told already.
    let known =
        one.root.is_none() && one.verdict == Verdict::Error && other.verdict == Verdict::Error;
    if same || known {
        return None;
    }
    let came = |tried: &Tried| {
        let root = tried.root.as_deref().unwrap_or("none");
        format!("{} (history {root})", tried.verdict)
    };
    Some(Differs {
        scenario: one.scenario,
        seed: one.seed,
        how: format!(
            "{} has {}, {} has {}",
            dir.display(),
            came(one),
            other_dir.display(),
            came(other)
        ),
    })
}

/// By scenario, the ranges of seeds that a store lacks.
fn missing(store: &Store) -> Vec<(usize, Vec<(u64, u64)>)> {
    let mut missing: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    if store.missing() == 0 {
        return Vec::new();
    }
    for number in 0..store.space.trials() {
        if store.done.has(number) {
            continue;
        }
        let (scenario, seed) = store.space.trial(number);
        let ranges = missing.entry(scenario).or_default();
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == seed => *last = seed,
            _ => ranges.push((seed, seed)),
        }
    }
    missing.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::identity::tests::sample;
    use super::super::results::tests::{other, passed};
    use super::*;

    fn store(dir: &Path, seeds: &str, shard: &str, trials: Vec<Tried>) -> PathBuf {
        let mut store = Store::open(dir, sample(seeds, shard)).unwrap();
        store.add(Line::Tried(trials)).unwrap();
        dir.to_owned()
    }

    #[test]
    fn parts_are_gathered_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let of = |s: u64, seeds: &[u64]| -> Vec<Tried> {
            let both = seeds.iter().flat_map(|n| [passed(0, *n), passed(1, *n)]);
            both.filter(|t| !(t.seed == 3 && t.scenario as u64 == s))
                .collect()
        };
        let stores = [
            store(&dir.path().join("x"), "0..10", "0/2", of(9, &[0, 2, 4])),
            store(
                &dir.path().join("y"),
                "0..10",
                "1/2",
                of(1, &[1, 3, 5, 7, 9]),
            ),
        ];
        let mut found = Vec::new();
        find(dir.path(), 0, &mut found).unwrap();
        assert_eq!(found, stores);
        let whole = agreed(&stores).unwrap();
        let gathered = gather(&stores, &whole).unwrap();
        assert_eq!((gathered.trials.len(), gathered.twice), (15, 0));
        let out = store_of(&dir.path().join("out"), whole, gathered.trials);
        assert_eq!(
            missing(&out),
            [(0, vec![(6, 6), (8, 8)]), (1, vec![(3, 3), (6, 6), (8, 8)])]
        );
    }

    fn store_of(dir: &Path, whole: Identity, trials: Vec<Tried>) -> Store {
        let mut store = Store::open(dir, whole).unwrap();
        store.add(Line::Tried(trials)).unwrap();
        store
    }

    #[test]
    fn seeds_in_two_stores_count_once_and_must_agree() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let all = || (0..4).map(|n| passed(0, n)).collect::<Vec<_>>();
        let mut changed = all();
        changed[2] = other(0, 2, Verdict::Fail, "lost", 9);
        let stores = [
            store(&at("a"), "0..4", "0/1", all()),
            store(&at("b"), "0..4", "0/1", all()),
            store(&at("c"), "0..4", "0/1", changed),
        ];
        let whole = agreed(&stores).unwrap();
        let alike = gather(&stores[..2], &whole).unwrap();
        assert_eq!((alike.trials.len(), alike.twice), (4, 4));
        assert!(alike.differs.is_empty());
        let differing = gather(&stores, &whole).unwrap();
        assert_eq!((differing.trials.len(), differing.twice), (4, 8));
        let [one] = &differing.differs[..] else {
            panic!("{:?}", differing.differs)
        };
        assert_eq!(one.seed, 2);
        assert!(
            one.how.contains("PASS") && one.how.contains("FAIL"),
            "{one:?}"
        );
    }

    #[test]
    fn parts_of_different_campaigns_are_refused_with_the_difference() {
        let dir = tempfile::tempdir().unwrap();
        let stores = [
            store(&dir.path().join("a"), "0..4", "0/2", vec![passed(0, 0)]),
            store(&dir.path().join("b"), "0..5", "1/2", vec![passed(0, 1)]),
        ];
        let why = agreed(&stores).unwrap_err().to_string();
        assert!(why.contains("the seeds are 0..4 in one, 0..5"), "{why}");
        let nothing = dir.path().join("empty");
        fs::create_dir(&nothing).unwrap();
        assert!(find(&nothing, 0, &mut Vec::new()).is_err());
    }
}
