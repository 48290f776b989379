//! `run.json`: what belongs to a run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::history::Seal;

/// The name of the manifest in a run directory.
pub const FILE: &str = "run.json";

/// Where it is written before it gets its name.
pub(super) const TEMPORARY: &str = "run.json.new";

/// The name and version of the manifest's format.
pub const SCHEMA: &str = "mailproof.bundle/1";

/// What precedes the digest in the file; the digest covers all before it.
const BEFORE_DIGEST: &str = ",\n  \"digest\": \"";
/// What follows the digest.
const AFTER_DIGEST: &str = "\"\n}\n";

/// What `run.json` says, but for its own digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// The run's id, as in its plan.
    pub run: String,
    /// The seal of the history.
    pub seal: SealText,
    /// Every regular file of the run: path below the directory, with `/`
    /// between its parts.
    pub files: BTreeMap<String, Digest>,
}

/// The seal of a history, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealText {
    /// How many events the history has.
    pub events: u64,
    /// The hash of all of it, 64 digits of lower-case hex.
    pub root: String,
}

/// What a file holds, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its bytes, 64 digits of lower-case hex.
    pub blake3: String,
}

impl Manifest {
    pub(super) fn new(run: &str, seal: &Seal) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            run: run.to_owned(),
            seal: SealText {
                events: seal.events,
                root: seal.root_hex(),
            },
            files: BTreeMap::new(),
        }
    }

    /// The bytes of the file: JSON whose last member, `digest`, is the BLAKE3
    /// of all bytes before the comma that precedes it.
    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_string_pretty(self)?;
        // Drop the closing "\n}".
        text.truncate(text.len() - 2);
        let digest = blake3::hash(text.as_bytes()).to_hex();
        text.push_str(BEFORE_DIGEST);
        text.push_str(&digest);
        text.push_str(AFTER_DIGEST);
        Ok(text.into_bytes())
    }

    /// Writes `run.json` so that it is there in full or not at all.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let temporary = dir.join(TEMPORARY);
        let mut file = File::create(&temporary)?;
        file.write_all(&self.to_bytes()?)?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    }

    /// Reads what a `run.json` holds.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        let altered = |why: &str| ReadError::Altered(why.to_owned());
        let split = bytes
            .len()
            .checked_sub(BEFORE_DIGEST.len() + 64 + AFTER_DIGEST.len())
            .ok_or_else(|| altered("it is too short"))?;
        let (body, end) = bytes.split_at(split);
        let digest = blake3::hash(body).to_hex();
        if end != format!("{BEFORE_DIGEST}{digest}{AFTER_DIGEST}").as_bytes() {
            return Err(altered("its digest is not that of its content"));
        }
        #[derive(Deserialize)]
        struct Schema {
            schema: String,
        }
        let text = [body, b"\n}"].concat();
        let Schema { schema } =
            serde_json::from_slice(&text).map_err(|e| ReadError::Altered(e.to_string()))?;
        if schema != SCHEMA {
            return Err(ReadError::Version(schema));
        }
        serde_json::from_slice(&text).map_err(|e| ReadError::Altered(e.to_string()))
    }
}

/// Why a `run.json` cannot be used.
pub(super) enum ReadError {
    /// It is not what was written.
    Altered(String),
    /// It is whole, and of this other format.
    Version(String),
}
