//! `kept/`: the run directories of the seeds that are worth a look. Which
//! ones is for [`Tally::kept`] to say; here they are made and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Search;
use super::results::Differs;
use super::tally::{Keep, Key, Tally};
use super::tried::short;
use crate::context::Extra;
use crate::interrupt::Interrupt;

/// The folder.
pub(super) const FOLDER: &str = "kept";

/// How the folder of a run begins that is not complete yet.
const UNFINISHED: &str = ".new-";

/// The kept runs of a store.
#[derive(Debug)]
pub(super) struct Kept {
    folder: PathBuf,
    there: BTreeSet<Key>,
}

impl Kept {
    /// What a store has kept so far; what a killed command left unfinished is
    /// removed.
    pub(super) fn open(store: &Path, ids: &[&str]) -> io::Result<Self> {
        let folder = store.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path())?;
            } else {
                there.extend(key(name, ids));
            }
        }
        Ok(Self { folder, there })
    }

    /// Makes what is to be kept and is not there, and removes what is no
    /// longer to be kept. Tells which runs came out otherwise than their
    /// trials.
    pub(super) fn settle(
        &mut self,
        extra: &Extra,
        search: &Search,
        tally: &Tally,
    ) -> io::Result<Vec<Differs>> {
        let wanted = tally.kept();
        let mut differ = Vec::new();
        for (key, keep) in &wanted {
            if !self.there.contains(key) {
                differ.extend(self.make(extra, search, *key, keep)?);
                self.there.insert(*key);
            }
        }
        let superfluous: Vec<Key> = self
            .there
            .iter()
            .filter(|key| !wanted.contains_key(key))
            .copied()
            .collect();
        for key in superfluous {
            fs::remove_dir_all(self.folder.join(name(search.id(key.0), key.1)))?;
            self.there.remove(&key);
        }
        Ok(differ)
    }

    /// Runs a seed again, into a run directory.
    fn make(
        &self,
        extra: &Extra,
        search: &Search,
        key: Key,
        keep: &Keep,
    ) -> io::Result<Option<Differs>> {
        let (scenario, seed) = key;
        let name = name(search.id(scenario), seed);
        let unfinished = self.folder.join(format!("{UNFINISHED}{name}"));
        let job = search.job(scenario, seed, unfinished.clone());
        // It takes milliseconds: whoever wants the process to end can wait.
        let outcome = job.run(extra, &Interrupt::default(), &mut |_, _| {});
        let root = outcome.root().map(short);
        // Of a trial without a root only the verdict is known; when it was not
        // the same twice, nothing is.
        let same = keep.verdict == outcome.verdict() && keep.root == root
            || keep.root.is_none() && keep.verdict == mailproof_model::verdict::Verdict::Error;
        if unfinished.exists() {
            fs::rename(&unfinished, self.folder.join(name))?;
        }
        if same {
            return Ok(None);
        }
        let history = |root: &Option<String>| {
            root.as_ref().map_or("no whole history".to_owned(), |root| {
                format!("history {root}")
            })
        };
        Ok(Some(Differs {
            scenario,
            seed,
            how: format!(
                "tried in memory it came to {} ({}), run again for its directory to {} ({})",
                keep.verdict,
                history(&keep.root),
                outcome.verdict(),
                history(&root)
            ),
        }))
    }
}

/// The folder of a kept run, as `run` names it.
pub(super) fn name(id: &str, seed: u64) -> String {
    format!("{}-{seed}", id.replace('/', "."))
}

/// The trial that a folder is named after.
fn key(name: &str, ids: &[&str]) -> Option<Key> {
    let (id, seed) = name.rsplit_once('-')?;
    let seed = seed.parse().ok()?;
    let scenario = ids.iter().position(|of| of.replace('/', ".") == id)?;
    Some((scenario, seed))
}

/// Copies kept runs of other stores: those that `wanted` names and `from`
/// has. The ones that nobody has come back.
pub(super) fn gather(
    store: &Path,
    wanted: &BTreeMap<Key, Keep>,
    ids: &[&str],
    from: &[PathBuf],
) -> io::Result<Vec<Key>> {
    let folder = store.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let mut nowhere = Vec::new();
    for key in wanted.keys() {
        let name = name(ids[key.0], key.1);
        let found = from
            .iter()
            .map(|store| store.join(FOLDER).join(&name))
            .find(|path| path.is_dir());
        match found {
            Some(path) => copy(&path, &folder.join(name))?,
            None => nowhere.push(*key),
        }
    }
    Ok(nowhere)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_trial() {
        let ids = ["smoke/no-fault", "chaos/a-1"];
        for key_of in [(0, 7), (1, 0), (1, u64::MAX)] {
            assert_eq!(key(&name(ids[key_of.0], key_of.1), &ids), Some(key_of));
        }
        for other in ["smoke.no-fault", "letter", "x-1", ""] {
            assert_eq!(key(other, &ids), None, "{other}");
        }
    }
}
