//! `campaign.toml`: what a campaign searches. A store that holds results of
//! one search never takes those of another.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::shard::Shard;
use crate::cli::Engine;
use crate::seeds::Seeds;
use crate::source::Source;
use crate::target_choice::Choice;

/// The file of a store that says what is searched.
pub(super) const FILE: &str = "campaign.toml";

/// The name and version of the store's format.
pub(super) const SCHEMA: &str = "mailproof.campaign-store/1";

/// What is searched, and by which program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Identity {
    /// [`SCHEMA`].
    schema: String,
    /// Version of mailproof.
    version: String,
    /// BLAKE3 of the command's file: results of a node or judge that has been
    /// changed since are not mixed with those of the new one.
    build: String,
    /// Always `sim`.
    engine: String,
    /// The target's name.
    pub(super) target: String,
    /// BLAKE3 of the target file.
    target_digest: String,
    /// `A..B`.
    seeds: String,
    /// `i/n`, i counted from 0.
    shard: String,
    /// Steps whose faults are only pretended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    disarm: Vec<u32>,
    /// Whether every seed is run twice.
    twice: bool,
    /// What is run, in this order.
    pub(super) scenario: Vec<Searched>,
}

/// One scenario of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Searched {
    /// Its id.
    pub(super) id: String,
    /// BLAKE3 of the scenario file.
    digest: String,
}

/// Why what a store searches cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// There is none.
    #[error("there is no {FILE}")]
    Missing,
    /// It cannot be read or understood.
    #[error("{FILE}: {0}")]
    Broken(String),
}

impl Identity {
    /// Of a search to come.
    ///
    /// # Errors
    /// The running command cannot be read.
    pub(super) fn of(
        sources: &[std::sync::Arc<Source>],
        target: &Choice,
        seeds: &Seeds,
        shard: Shard,
        disarm: &[u32],
        twice: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: digest(&fs::read(std::env::current_exe()?)?),
            engine: Engine::Sim.name().to_owned(),
            target: target.file.name.clone(),
            target_digest: digest(target.text.as_bytes()),
            seeds: seeds.to_string(),
            shard: shard.to_string(),
            disarm: disarm.to_vec(),
            twice,
            scenario: sources
                .iter()
                .map(|source| Searched {
                    id: source.scenario.id.clone(),
                    digest: digest(source.text.as_bytes()),
                })
                .collect(),
        })
    }

    /// The seeds of the whole campaign.
    pub(super) fn seeds(&self) -> Result<Seeds, String> {
        self.seeds.parse()
    }

    /// The part of them that is searched.
    pub(super) fn shard(&self) -> Result<Shard, String> {
        self.shard.parse()
    }

    /// The same, but for the whole.
    pub(super) fn whole(&self) -> Self {
        Self {
            shard: Shard::ALL.to_string(),
            ..self.clone()
        }
    }

    /// What another search has otherwise, a sentence each.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |what: &str, mine: &str, theirs: &str| {
            if mine != theirs {
                found.push(format!("{what} {mine} in one, {theirs} in the other"));
            }
        };
        let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
        let list = |all: &[u32]| format!("{all:?}");
        differ("the format is", &self.schema, &other.schema);
        differ("mailproof's version is", &self.version, &other.version);
        differ(
            "the command itself (another build) is",
            &short(&self.build),
            &short(&other.build),
        );
        differ("the engine is", &self.engine, &other.engine);
        differ("the target is", &self.target, &other.target);
        if self.target == other.target {
            differ(
                &format!("the file of the target {} is", self.target),
                &short(&self.target_digest),
                &short(&other.target_digest),
            );
        }
        differ("the seeds are", &self.seeds, &other.seeds);
        differ("the shard is", &self.shard, &other.shard);
        differ(
            "the disarmed steps are",
            &list(&self.disarm),
            &list(&other.disarm),
        );
        differ(
            "run twice is",
            &self.twice.to_string(),
            &other.twice.to_string(),
        );
        let ids = |of: &Self| -> Vec<String> { of.scenario.iter().map(|s| s.id.clone()).collect() };
        if ids(self) == ids(other) {
            for (mine, theirs) in self.scenario.iter().zip(&other.scenario) {
                differ(
                    &format!("the file of the scenario {} is", mine.id),
                    &short(&mine.digest),
                    &short(&theirs.digest),
                );
            }
        } else {
            differ(
                "the scenarios are",
                &ids(self).join(", "),
                &ids(other).join(", "),
            );
        }
        found
    }

    /// Reads what a store searches.
    pub(super) fn read(store: &Path) -> Result<Self, ReadError> {
        let text = match fs::read_to_string(store.join(FILE)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(ReadError::Missing),
            Err(e) => return Err(ReadError::Broken(e.to_string())),
        };
        #[derive(Deserialize)]
        struct Schema {
            schema: String,
        }
        let Schema { schema } =
            toml::from_str(&text).map_err(|e| ReadError::Broken(e.to_string()))?;
        if schema != SCHEMA {
            return Err(ReadError::Broken(format!(
                "its format is {schema}; this command reads {SCHEMA}"
            )));
        }
        let identity: Self = toml::from_str(&text).map_err(|e| ReadError::Broken(e.to_string()))?;
        identity.seeds().map_err(ReadError::Broken)?;
        identity.shard().map_err(ReadError::Broken)?;
        Ok(identity)
    }

    /// Writes it so that it is there in full or not at all.
    pub(super) fn write(&self, store: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let temporary = store.join(format!("{FILE}.new"));
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(temporary, store.join(FILE))
    }
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A search of two scenarios.
    pub(in crate::campaign) fn sample(seeds: &str, shard: &str) -> Identity {
        Identity {
            schema: SCHEMA.to_owned(),
            version: "0.0.0".to_owned(),
            build: digest(b"build"),
            engine: "sim".to_owned(),
            target: "reference".to_owned(),
            target_digest: digest(b"target"),
            seeds: seeds.to_owned(),
            shard: shard.to_owned(),
            disarm: vec![1],
            twice: false,
            scenario: ["a/b", "c/d"]
                .map(|id| Searched {
                    id: id.to_owned(),
                    digest: digest(id.as_bytes()),
                })
                .to_vec(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Identity::read(dir.path()),
            Err(ReadError::Missing)
        ));
        let identity = sample("0..9", "1/3");
        identity.write(dir.path()).unwrap();
        assert_eq!(Identity::read(dir.path()).unwrap(), identity);
        fs::write(dir.path().join(FILE), "schema = \"other/2\"").unwrap();
        let why = Identity::read(dir.path()).unwrap_err().to_string();
        assert!(why.contains("other/2"), "{why}");
    }

    #[test]
    fn every_member_that_differs_is_named() {
        let one = sample("0..9", "1/3");
        assert_eq!(one.differences(&one), [""; 0]);
        type Change = (&'static str, fn(&mut Identity));
        let changes: [Change; 10] = [
            ("version", |i| i.version = "9".to_owned()),
            ("another build", |i| i.build = digest(b"2")),
            ("the target is", |i| i.target = "other".to_owned()),
            ("file of the target", |i| i.target_digest = digest(b"2")),
            ("seeds", |i| i.seeds = "0..8".to_owned()),
            ("shard", |i| i.shard = "2/3".to_owned()),
            ("disarmed", |i| i.disarm.clear()),
            ("twice", |i| i.twice = true),
            ("scenario c/d", |i| i.scenario[1].digest = digest(b"2")),
            ("scenarios are a/b, c/d in one, a/b in", |i| {
                i.scenario.truncate(1);
            }),
        ];
        for (what, change) in changes {
            let mut other = one.clone();
            change(&mut other);
            let found = one.differences(&other);
            assert_eq!(found.len(), 1, "{what}: {found:?}");
            assert!(found[0].contains(what), "{what}: {found:?}");
        }
        assert!(
            one.whole()
                .differences(&sample("0..9", "2/3").whole())
                .is_empty()
        );
    }
}
