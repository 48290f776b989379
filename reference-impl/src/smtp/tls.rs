//! STARTTLS (RFC 3207), both sides. The handshake itself and what goes over
//! the wire after it are the driver's: it is told when to begin
//! ([`Output::Secure`](crate::Output::Secure)) and says when it is done
//! ([`Input::Secured`](crate::Input::Secured)). Bytes are plain text on this
//! side, before and after.
//!
//! What a client sent behind STARTTLS in the clear is thrown away, and so is
//! all that either side said before: somebody on the way may have said it. A
//! server that sends anything behind its 220 is left at once for the same
//! reason.

use super::client::{Client, State};
use super::link::Close;
use super::reply::Reply;
use super::server::{Mode, Server};
use crate::config::TlsPolicy;
use crate::event::EventKind;
use crate::io::TlsName;
use crate::mark::Mark;
use crate::queue::Queue;

impl Server {
    /// Whether STARTTLS can be used now.
    pub(super) fn offers_tls(&self, queue: &Queue) -> bool {
        queue.abilities.tls_server && !self.secured
    }

    /// `STARTTLS`
    pub(super) fn starttls(&mut self, bare: bool, queue: &Queue) {
        if self.secured {
            return self.error("503 5.5.1 TLS is in use\r\n");
        }
        if !queue.abilities.tls_server {
            return self.error("502 5.5.1 Not implemented\r\n");
        }
        if !self.extended {
            return self.error("503 5.5.1 EHLO first\r\n");
        }
        if !bare {
            return self.error("501 5.5.4 STARTTLS takes no argument\r\n");
        }
        self.link.write("220 2.0.0 Begin TLS\r\n");
        self.link.secure = Some(None);
        self.mode = Mode::Securing;
    }

    /// What came behind STARTTLS in the clear is dropped.
    pub(super) fn drop_injected(&mut self, count: usize, queue: &mut Queue) {
        if count > 0 {
            queue.mark(Mark::TlsInjection);
        }
    }

    /// TLS is up: both sides begin anew (RFC 3207 4.2).
    pub(crate) fn secured(&mut self, queue: &mut Queue) {
        if !matches!(self.mode, Mode::Securing) {
            return;
        }
        self.forget(queue);
        self.link.inbuf.clear();
        self.secured = true;
        self.helo = None;
        self.extended = false;
        self.challenge = None;
        self.peer = None;
        self.reported = Vec::new();
        self.mode = Mode::Command;
        self.touch(queue);
        self.ended(queue);
    }
}

impl Client {
    /// EHLO is through: TLS comes next where it is wanted. True when the
    /// session waits for it, or ended because it cannot be had.
    pub(super) fn begin_tls(&mut self, queue: &mut Queue) -> bool {
        let host = &queue.hosts[self.host];
        let policy = host.tls;
        if self.secured || policy == TlsPolicy::Never {
            return false;
        }
        let required = policy != TlsPolicy::Opportunistic;
        let fallback = !required && host.clear_until > queue.now.mono;
        if self.offers.starttls && queue.abilities.tls_client && !fallback {
            self.link.write("STARTTLS\r\n");
            self.state = State::StartTls;
            self.patience(queue);
            return true;
        }
        if required {
            self.without_tls(
                "TLS is required here, and the server does not offer it",
                queue,
            );
        }
        required
    }

    /// The reply to STARTTLS.
    pub(super) fn tls_reply(&mut self, reply: &Reply<'_>, queue: &mut Queue) {
        let host = &queue.hosts[self.host];
        if reply.positive() {
            let name = host.tls_name.clone();
            let verify = host.tls == TlsPolicy::Verified;
            self.link.secure = Some(Some(TlsName { name, verify }));
            self.state = State::Securing;
            return self.patience(queue);
        }
        if host.tls == TlsPolicy::Opportunistic {
            return self.introduce(queue);
        }
        let why = format!("TLS is required here: {}", reply.summary());
        self.without_tls(&why, queue);
    }

    fn without_tls(&mut self, why: &str, queue: &mut Queue) {
        queue.log_host(EventKind::TlsFailed, self.host, why.to_owned());
        self.lost(why, Close::Shutdown, queue);
    }

    /// TLS is up: what the server offered before counts no more.
    pub(crate) fn secured(&mut self, queue: &mut Queue) {
        if !matches!(self.state, State::Securing) {
            return;
        }
        self.secured = true;
        self.hello(queue);
    }

    /// The connection ended in the handshake. Where TLS is optional, the next
    /// sessions do without it for a while.
    pub(super) fn handshake_failed(&mut self, queue: &mut Queue) {
        let why = "the TLS handshake failed";
        queue.log_host(EventKind::TlsFailed, self.host, why.to_owned());
        queue.mark(Mark::TlsFailed);
        if queue.hosts[self.host].tls == TlsPolicy::Opportunistic && !queue.draining {
            self.link.end(Close::Gone);
            self.state = State::Quit;
            queue.without_tls(self.host);
        } else {
            self.lost(why, Close::Gone, queue);
        }
    }
}
