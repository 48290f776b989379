//! TLS on a connection, by rustls without I/O of its own: bytes of the socket
//! go in, plain ones come out, and the other way round.
//!
//! ring is the only provider; nothing relies on a process-wide default.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::DriverError;
use crate::config::Config;
use crate::io::TlsName;

/// What sessions are made from.
#[derive(Debug)]
pub(super) struct Settings {
    server: Option<Arc<ServerConfig>>,
    any: Arc<ClientConfig>,
    verified: Option<Arc<ClientConfig>>,
}

fn failed(what: &'static str, path: &Path, error: impl std::fmt::Display) -> DriverError {
    DriverError::Tls {
        what,
        path: path.display().to_string(),
        error: error.to_string(),
    }
}

impl Settings {
    /// Reads the files that the configuration names.
    pub(super) fn load(config: &Config) -> Result<Self, DriverError> {
        let provider = Arc::new(ring::default_provider());
        let bad = |error: rustls::Error| DriverError::Tls {
            what: "cannot set up TLS",
            path: String::new(),
            error: error.to_string(),
        };
        let server = match (&config.tls_certificate, &config.tls_key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate, "cannot read the certificate")?;
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| failed("cannot read the private key", key, error))?;
                let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
                    .with_safe_default_protocol_versions()
                    .map_err(bad)?
                    .with_no_client_auth()
                    .with_single_cert(chain, secret)
                    .map_err(|error| failed("cannot use the certificate", certificate, error))?;
                Some(Arc::new(server))
            }
            _ => None,
        };
        let client = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(bad)
        };
        let verified = match &config.tls_roots {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(path, "cannot read the roots")? {
                    roots
                        .add(root)
                        .map_err(|error| failed("cannot use a root", path, error))?;
                }
                let config = client()?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                Some(Arc::new(config))
            }
            None => None,
        };
        let any = client()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(Arc::clone(&provider))))
            .with_no_client_auth();
        Ok(Self {
            server,
            any: Arc::new(any),
            verified,
        })
    }

    /// Whether there is a certificate to offer.
    pub(super) fn has_certificate(&self) -> bool {
        self.server.is_some()
    }

    /// A session over a connection with `peer`: as client of `name`, or as
    /// server.
    pub(super) fn begin(&self, name: Option<&TlsName>, peer: IpAddr) -> Option<Session> {
        let tls = match name {
            None => {
                let config = Arc::clone(self.server.as_ref()?);
                rustls::Connection::from(ServerConnection::new(config).ok()?)
            }
            Some(name) => {
                let config = if name.verify {
                    self.verified.as_ref()?
                } else {
                    &self.any
                };
                // Without a name there is nothing to check but the address. A
                // name that is none can be no certificate's.
                let server = if name.name.is_empty() {
                    ServerName::IpAddress(peer.into())
                } else {
                    ServerName::try_from(name.name.to_string()).ok()?
                };
                let client = ClientConnection::new(Arc::clone(config), server).ok()?;
                rustls::Connection::from(client)
            }
        };
        Some(Session { tls, shaking: true })
    }
}

fn certificates(
    path: &Path,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, DriverError> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| failed(what, path, error))?;
    if all.is_empty() {
        return Err(failed(what, path, "expected at least one certificate"));
    }
    Ok(all)
}

/// What bytes of the socket came to.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The handshake is over.
    pub(super) secured: bool,
    /// What was inside.
    pub(super) plain: Vec<u8>,
    /// The other side has said its last.
    pub(super) closed: bool,
    /// These are no bytes of this session: it is over.
    pub(super) failed: bool,
}

/// TLS on one connection.
#[derive(Debug)]
pub(super) struct Session {
    tls: rustls::Connection,
    /// The handshake is under way.
    shaking: bool,
}

impl Session {
    /// Takes bytes of the socket.
    pub(super) fn open(&mut self, mut data: &[u8]) -> Progress {
        let mut progress = Progress::default();
        while !data.is_empty() && !progress.failed && !progress.closed {
            progress.failed = !matches!(self.tls.read_tls(&mut data), Ok(1..));
            match self.tls.process_new_packets() {
                Ok(state) => {
                    progress.closed = state.peer_has_closed();
                    let count = state.plaintext_bytes_to_read();
                    let at = progress.plain.len();
                    progress.plain.resize(at + count, 0);
                    if self
                        .tls
                        .reader()
                        .read_exact(&mut progress.plain[at..])
                        .is_err()
                    {
                        progress.failed = true;
                    }
                }
                Err(_) => progress.failed = true,
            }
        }
        if self.shaking && !self.tls.is_handshaking() {
            self.shaking = false;
            progress.secured = true;
        }
        progress
    }

    /// Wraps plain bytes for the socket.
    pub(super) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tls.set_buffer_limit(None);
        // Without a limit everything is taken.
        let _ = self.tls.writer().write_all(plain);
        self.outgoing()
    }

    /// What the session itself has to say.
    pub(super) fn outgoing(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut out).is_err() {
                break;
            }
        }
        out
    }

    /// The last bytes of an orderly end.
    pub(super) fn close(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.outgoing()
    }
}

/// Takes every certificate; the handshake must still be signed by its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn settings(change: impl FnOnce(&mut Config)) -> Settings {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
        let mut config = Config::new("n1", listen, "store".into());
        config.tls_certificate = Some(dir.join("server.pem"));
        config.tls_key = Some(dir.join("server.key"));
        config.tls_roots = Some(dir.join("roots.pem"));
        change(&mut config);
        Settings::load(&config).unwrap()
    }

    fn pair(settings: &Settings, name: &str, verify: bool) -> (Session, Session) {
        let name = TlsName {
            name: name.into(),
            verify,
        };
        let peer = Ipv4Addr::LOCALHOST.into();
        let client = settings.begin(Some(&name), peer).unwrap();
        (client, settings.begin(None, peer).unwrap())
    }

    /// Passes bytes both ways until neither has anything to say; `change` may
    /// change what the client says. Whether each side is secured or failed.
    fn shake(
        client: &mut Session,
        server: &mut Session,
        mut change: impl FnMut(&mut Vec<u8>),
    ) -> [(bool, bool); 2] {
        let mut ends = [(false, false); 2];
        for _ in 0..10 {
            let mut there = client.outgoing();
            change(&mut there);
            let heard = server.open(&there);
            ends[1].0 |= heard.secured;
            ends[1].1 |= heard.failed;
            let back = server.outgoing();
            let heard = client.open(&back);
            ends[0].0 |= heard.secured;
            ends[0].1 |= heard.failed;
            if there.is_empty() && back.is_empty() {
                break;
            }
        }
        ends
    }

    #[test]
    fn what_one_side_seals_the_other_opens() {
        let settings = settings(|_| {});
        let (mut client, mut server) = pair(&settings, "", false);
        let ends = shake(&mut client, &mut server, |_| {});
        assert_eq!(ends, [(true, false), (true, false)]);
        let big: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let sealed = client.seal(&big);
        let mut plain = Vec::new();
        for piece in sealed.chunks(1_000) {
            plain.extend(server.open(piece).plain);
        }
        assert!(plain == big);
        assert_eq!(
            client.open(&server.seal(b"250 ok\r\n")).plain,
            b"250 ok\r\n"
        );
        assert!(server.open(&client.close()).closed);
    }

    #[test]
    fn a_verified_name_has_to_be_the_certificates() {
        let settings = settings(|_| {});
        // Without a name the address counts, and that is in the certificate.
        for (name, good) in [
            ("mx.test", true),
            ("localhost", true),
            ("other.test", false),
            ("", true),
        ] {
            let (mut client, mut server) = pair(&settings, name, true);
            let ends = shake(&mut client, &mut server, |_| {});
            assert_eq!(ends[0], (good, !good), "{name:?}");
        }
        let name = TlsName {
            name: "a b".into(),
            verify: true,
        };
        assert!(
            settings
                .begin(Some(&name), Ipv4Addr::LOCALHOST.into())
                .is_none()
        );
    }

    #[test]
    fn a_certificate_of_nobody_known_is_refused_where_it_is_verified() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        // The server's own certificate is no authority for itself.
        let settings = settings(|config| config.tls_roots = Some(dir.join("stranger.pem")));
        for (verify, good) in [(true, false), (false, true)] {
            let (mut client, mut server) = pair(&settings, "mx.test", verify);
            let ends = shake(&mut client, &mut server, |_| {});
            assert_eq!(ends[0], (good, !good));
        }
    }

    #[test]
    fn bytes_that_are_no_tls_end_the_session() {
        let settings = settings(|_| {});
        // Short of a whole record nothing is known yet.
        for bytes in [
            &b"EHLO evil\r\nMAIL FROM:<a@b>\r\n"[..],
            &[0; 64],
            &[0xff; 64],
            &[22, 3, 1, 0xff, 0xff, 1],
        ] {
            let (_, mut server) = pair(&settings, "", false);
            let progress = server.open(bytes);
            assert!(!progress.secured && progress.plain.is_empty());
            assert!(progress.failed || bytes.len() < 64, "{bytes:?}");
        }
    }

    #[test]
    fn a_changed_byte_of_the_first_flight_fails_the_handshake() {
        let settings = settings(|_| {});
        for at in 0.. {
            // The version in the header of a record means nothing (RFC 8446
            // 5.1).
            if at == 1 || at == 2 {
                continue;
            }
            let (mut client, mut server) = pair(&settings, "", false);
            let (mut flights, mut over) = (0, false);
            let ends = shake(&mut client, &mut server, |bytes| {
                flights += 1;
                match bytes.get_mut(at) {
                    Some(byte) if flights == 1 => *byte ^= 0x55,
                    None if flights == 1 => over = true,
                    _ => {}
                }
            });
            if over {
                assert!(at > 100 && ends[0].0 && ends[1].0);
                return;
            }
            assert!(!(ends[0].0 && ends[1].0), "byte {at}");
        }
    }

    #[test]
    fn files_that_are_none_are_named() {
        let config = |path: &str| {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
            let mut config = Config::new("n1", listen, "store".into());
            config.tls_roots = Some(path.into());
            Settings::load(&config).unwrap_err().to_string()
        };
        assert!(config("/no/such/file").contains("/no/such/file"));
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(config(&own.display().to_string()).contains("at least one certificate"));
    }
}
