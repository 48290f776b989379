//! Authentication between nodes: mutual challenge and response under the
//! cluster key (PROTOCOL.md, section 3).
//!
//! Each side proves that it knows the key for exactly this pair of names,
//! this direction and these two nonces. Nothing after the handshake is
//! protected: on an untrusted network the session needs a tunnel.

use std::fmt;

use crate::hex;

/// Bytes of a nonce.
pub(crate) const NONCE: usize = 16;
/// A nonce.
pub(crate) type Nonce = [u8; NONCE];

/// The derived key of the cluster.
#[derive(Clone)]
pub(crate) struct ClusterKey([u8; 32]);

/// Who speaks: the two proofs of one handshake must never be the same.
#[derive(Clone, Copy)]
enum Side {
    Client,
    Server,
}

/// What one handshake is about.
pub(crate) struct Handshake<'a> {
    /// Name of the side that dialled.
    pub(crate) client: &'a str,
    /// Name of the side that listens.
    pub(crate) server: &'a str,
    pub(crate) client_nonce: &'a Nonce,
    pub(crate) server_nonce: &'a Nonce,
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

impl ClusterKey {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(blake3::derive_key(
            "mailproof node peer authentication 1",
            secret,
        ))
    }

    /// The server's proof.
    pub(crate) fn server_proof(&self, handshake: &Handshake<'_>) -> String {
        self.proof(Side::Server, handshake, "").to_hex().to_string()
    }

    /// The client's proof, which also covers what it says of its database.
    pub(crate) fn client_proof(&self, handshake: &Handshake<'_>, claims: &str) -> String {
        self.proof(Side::Client, handshake, claims)
            .to_hex()
            .to_string()
    }

    /// Checks the server's proof in constant time.
    pub(crate) fn server_proved(&self, handshake: &Handshake<'_>, proof: &str) -> bool {
        self.proved(Side::Server, handshake, "", proof)
    }

    /// Checks the client's proof in constant time.
    pub(crate) fn client_proved(
        &self,
        handshake: &Handshake<'_>,
        claims: &str,
        proof: &str,
    ) -> bool {
        self.proved(Side::Client, handshake, claims, proof)
    }

    fn proved(&self, side: Side, handshake: &Handshake<'_>, claims: &str, proof: &str) -> bool {
        let Some(given) = hex::decode(proof).and_then(|b| <[u8; 32]>::try_from(b).ok()) else {
            return false;
        };
        // blake3::Hash compares in constant time.
        self.proof(side, handshake, claims) == blake3::Hash::from_bytes(given)
    }

    fn proof(&self, side: Side, handshake: &Handshake<'_>, claims: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(match side {
            Side::Client => b"C",
            Side::Server => b"S",
        });
        hasher.update(handshake.client_nonce);
        hasher.update(handshake.server_nonce);
        let lower = [handshake.client, handshake.server].map(str::to_ascii_lowercase);
        for text in [lower[0].as_str(), lower[1].as_str(), claims] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize()
    }
}

/// A nonce from its digits.
pub(crate) fn nonce(text: &str) -> Option<Nonce> {
    hex::decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_counts() {
        let key = ClusterKey::new(b"0123456789abcdef");
        let (a, b) = ([1; NONCE], [2; NONCE]);
        let handshake = |client, server, client_nonce, server_nonce| Handshake {
            client,
            server,
            client_nonce,
            server_nonce,
        };
        let good = handshake("n1", "n2", &a, &b);
        let proof = key.client_proof(&good, "d");
        assert!(key.client_proved(&good, "d", &proof));
        assert!(!key.client_proved(&good, "e", &proof));
        assert!(!key.client_proved(&handshake("n2", "n1", &a, &b), "d", &proof));
        assert!(!key.client_proved(&handshake("n1", "n3", &a, &b), "d", &proof));
        assert!(!key.client_proved(&handshake("n1", "n2", &b, &b), "d", &proof));
        assert!(!key.client_proved(&handshake("n1", "n2", &a, &a), "d", &proof));
        assert!(!key.server_proved(&good, &proof));
        assert!(!ClusterKey::new(b"0123456789abcdeg").client_proved(&good, "d", &proof));
        assert!(!key.client_proved(&good, "d", ""));
        assert!(key.server_proved(&good, &key.server_proof(&good)));
        // A server's proof is none of the client's, so it cannot be sent back.
        assert!(!key.client_proved(&good, "", &key.server_proof(&good)));
    }
}
