//! AUTH PLAIN (RFC 4954, 4616), for clients that may relay. Only under TLS:
//! in the clear it is neither offered nor taken.
//!
//! Whether a password is right is asked of the driver
//! ([`Output::CheckPassword`](crate::Output::CheckPassword)), because that
//! takes long on purpose.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::link::Close;
use super::server::{Mode, Server};
use crate::event::EventKind;
use crate::io::Output;
use crate::mark::Mark;
use crate::queue::Queue;

/// Longest line of the dialogue with its CRLF (RFC 4954 4).
pub(super) const MAX_LINE: usize = 12_288;
/// Wrong passwords after which a client is sent away.
const MAX_FAILURES: u32 = 3;
/// Longest name or password.
const MAX_WORD: usize = 255;

impl Server {
    /// Whether AUTH can be used now.
    pub(super) fn offers_auth(&self, queue: &Queue) -> bool {
        queue.abilities.passwords && self.secured
    }

    /// `AUTH PLAIN [initial response]`
    pub(super) fn auth(&mut self, rest: &str, queue: &mut Queue) {
        if !queue.abilities.passwords {
            return self.error("502 5.5.1 Not implemented\r\n");
        }
        if self.user.is_some() || self.peer.is_some() {
            return self.error("503 5.5.1 Authenticated already\r\n");
        }
        if !self.extended || self.in_transaction() {
            return self.error("503 5.5.1 Not now\r\n");
        }
        if !self.secured {
            return self.error("538 5.7.11 Encryption is needed first\r\n");
        }
        let (mechanism, initial) = match rest.trim_matches(' ').split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial.trim_matches(' '))),
            None => (rest.trim_matches(' '), None),
        };
        if !mechanism.eq_ignore_ascii_case("PLAIN") {
            return self.error("504 5.5.4 Only PLAIN\r\n");
        }
        match initial {
            // One `=` is the empty response (RFC 4954 4).
            Some("=") => self.plain("", queue),
            Some(initial) => self.plain(initial, queue),
            None => {
                self.mode = Mode::Login;
                self.link.write("334 \r\n");
            }
        }
    }

    /// A line of the dialogue, without its LF.
    pub(super) fn login_line(&mut self, line: &[u8], queue: &mut Queue) {
        self.mode = Mode::Command;
        let text = line.strip_suffix(b"\r").map(std::str::from_utf8);
        match text {
            Some(Ok("*")) => self.error("501 5.7.0 Cancelled\r\n"),
            Some(Ok(text)) => self.plain(text, queue),
            _ => self.error("501 5.5.2 Not base64\r\n"),
        }
    }

    /// `[who] NUL name NUL password`, in base64.
    fn plain(&mut self, text: &str, queue: &mut Queue) {
        let Some(words) = STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
        else {
            return self.error("501 5.5.2 Not base64\r\n");
        };
        let words: Vec<&str> = words.split('\0').collect();
        let &[other, name, password] = words.as_slice() else {
            return self.error("501 5.5.2 Not a response of PLAIN\r\n");
        };
        let good = (1..=MAX_WORD).contains(&name.len())
            && (1..=MAX_WORD).contains(&password.len())
            && !name.chars().any(char::is_control)
            && (other.is_empty() || other == name);
        if !good {
            return self.denied(name, queue);
        }
        self.asking = Some(name.into());
        self.block();
        queue.out.push(Output::CheckPassword {
            conn: self.link.conn,
            user: name.into(),
            password: password.into(),
        });
    }

    /// The answer about the password.
    pub(crate) fn checked(&mut self, right: bool, queue: &mut Queue) {
        let Some(name) = self.asking.take() else {
            return;
        };
        if !matches!(self.mode, Mode::Blocked) || !self.link.open() {
            return;
        }
        if right {
            self.user = Some(name);
            self.link.write("235 2.7.0 Authenticated\r\n");
        } else {
            self.denied(&name, queue);
        }
        if self.link.open() {
            self.answered(queue);
        }
    }

    fn denied(&mut self, name: &str, queue: &mut Queue) {
        queue.mark(Mark::LoginDenied);
        queue.log(
            EventKind::LoginDenied,
            None,
            "",
            name,
            self.client_address().to_owned(),
        );
        self.logins += 1;
        self.error("535 5.7.8 Authentication failed\r\n");
        if self.logins >= MAX_FAILURES && self.link.open() {
            self.link.write("421 4.7.0 Too many wrong passwords\r\n");
            self.link.end(Close::Shutdown);
        }
    }
}
