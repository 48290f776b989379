//! Users who may relay after AUTH: a file with one line for each,
//!
//! ```text
//! name:pbkdf2-sha256:600000:<salt in base64>:<hash in base64>
//! ```
//!
//! Empty lines and lines that begin with `#` do not count. The file is read
//! at the start.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::pbkdf2;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::DriverError;

/// Rounds of a new hash.
const ROUNDS: u32 = 600_000;
/// Most rounds that a line may ask for.
const MAX_ROUNDS: u32 = 10_000_000;
const SCHEME: &str = "pbkdf2-sha256";

/// What is kept of one password.
#[derive(Debug, Clone)]
struct Hash {
    rounds: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Hash {
    fn verify(&self, password: &str) -> bool {
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::verify(
            algorithm,
            self.rounds,
            &self.salt,
            password.as_bytes(),
            &self.hash,
        )
        .is_ok()
    }
}

/// All users.
#[derive(Debug)]
pub(super) struct Users {
    hashes: BTreeMap<String, Hash>,
    /// For names that nobody has, so that they take as long as others.
    decoy: Hash,
}

impl Users {
    pub(super) fn load(path: &Path) -> Result<Self, DriverError> {
        let named = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| DriverError::File {
            path: named.clone(),
            error,
        })?;
        let mut hashes = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| DriverError::Users {
                path: named.clone(),
                line: at + 1,
                expected: what.to_owned(),
            };
            let (name, hash) =
                parse(line).ok_or_else(|| wrong("expected name:pbkdf2-sha256:rounds:salt:hash"))?;
            if hashes.insert(name, hash).is_some() {
                return Err(wrong("expected a name that no earlier line has"));
            }
        }
        let decoy = hashes.values().next().cloned();
        let decoy = decoy.unwrap_or(Hash {
            rounds: NonZeroU32::MIN,
            salt: vec![0; 16],
            hash: vec![0; 32],
        });
        Ok(Self { hashes, decoy })
    }

    /// Whether this is the user's password. Takes long.
    pub(super) fn check(&self, user: &str, password: &str) -> bool {
        match self.hashes.get(user) {
            Some(hash) => hash.verify(password),
            None => {
                let _ = self.decoy.verify(password);
                false
            }
        }
    }
}

fn parse(line: &str) -> Option<(String, Hash)> {
    let parts: Vec<&str> = line.trim_end().split(':').collect();
    let &[name, SCHEME, rounds, salt, hash] = parts.as_slice() else {
        return None;
    };
    let rounds: u32 = rounds.parse().ok().filter(|n| *n <= MAX_ROUNDS)?;
    let hash = Hash {
        rounds: NonZeroU32::new(rounds)?,
        salt: STANDARD.decode(salt).ok().filter(|s| s.len() >= 8)?,
        hash: STANDARD.decode(hash).ok().filter(|h| h.len() == 32)?,
    };
    (!name.is_empty()).then(|| (name.to_owned(), hash))
}

/// The line of the file of users for a name and a password; `None` when the
/// name cannot stand there, or the system has no randomness.
#[must_use]
pub fn user_line(name: &str, password: &str) -> Option<String> {
    if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
        return None;
    }
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).ok()?;
    let mut hash = [0; 32];
    let rounds = NonZeroU32::new(ROUNDS)?;
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, rounds, &salt, password.as_bytes(), &mut hash);
    let (salt, hash) = (STANDARD.encode(salt), STANDARD.encode(hash));
    Some(format!("{name}:{SCHEME}:{ROUNDS}:{salt}:{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_opens_to_its_password_alone() {
        let line = user_line("ann", "secret").unwrap();
        let (name, hash) = parse(&line).unwrap();
        assert_eq!(name, "ann");
        assert!(hash.verify("secret") && !hash.verify("Secret") && !hash.verify(""));
        assert_ne!(Some(line), user_line("ann", "secret"), "salted");
        assert_eq!(user_line("a:b", "secret"), None);
    }

    #[test]
    fn a_known_hash() {
        // RFC 7914 section 11: PBKDF2-HMAC-SHA256 (P="passwd", S="salt", c=1),
        // its first 32 bytes. The salt is too short for a line of ours.
        let hash = Hash {
            rounds: NonZeroU32::MIN,
            salt: b"salt".to_vec(),
            hash: crate::hex::decode(
                "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc",
            )
            .unwrap(),
        };
        assert!(hash.verify("passwd"));
    }

    #[test]
    fn lines_that_are_none() {
        for bad in [
            "",
            "ann",
            "ann:plain:1:c2FsdHNhbHQ=:AAAA",
            "ann:pbkdf2-sha256:0:c2FsdHNhbHQ=:AAAA",
            "ann:pbkdf2-sha256:1:c2FsdA==:AAAA",
            "ann:pbkdf2-sha256:99999999999:c2FsdHNhbHQ=:AAAA",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
