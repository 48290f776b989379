//! A next hop: takes mail, or answers as it is told.

use std::collections::BTreeMap;

/// One message taken.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub sender: String,
    pub recipients: Vec<String>,
    /// The content with its dots taken off.
    pub content: String,
}

#[derive(Debug, Default)]
struct Session {
    buffer: String,
    sender: String,
    recipients: Vec<String>,
    data: Option<String>,
}

/// A next hop. Every rule answers a command whose line begins with its text;
/// the end of data is the line `.`.
#[derive(Debug)]
pub(crate) struct Sink {
    pub listening: bool,
    pub greeting: String,
    pub offers: Vec<&'static str>,
    /// Line prefix and reply; an empty reply is silence, `close` ends the
    /// connection.
    pub rules: Vec<(String, String)>,
    pub taken: Vec<Taken>,
    /// Every command line seen.
    pub lines: Vec<String>,
    pub connections: usize,
    /// A handshake with it fails.
    pub breaks_tls: bool,
    sessions: BTreeMap<u64, Session>,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            listening: true,
            greeting: "220 sink ESMTP\r\n".to_owned(),
            offers: vec!["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE"],
            rules: Vec::new(),
            taken: Vec::new(),
            lines: Vec::new(),
            connections: 0,
            breaks_tls: false,
            sessions: BTreeMap::new(),
        }
    }
}

impl Sink {
    pub(crate) fn rule(&mut self, line: &str, reply: &str) {
        self.rules.push((line.to_owned(), reply.to_owned()));
    }

    pub(crate) fn count(&self, id: &str, recipient: &str) -> usize {
        let field = format!("X-Mailproof: {id}\r\n");
        self.taken
            .iter()
            .filter(|t| t.content.contains(&field))
            .flat_map(|t| &t.recipients)
            .filter(|r| *r == recipient)
            .count()
    }

    pub(crate) fn accept(&mut self, id: u64) -> String {
        self.connections += 1;
        self.sessions.insert(id, Session::default());
        self.greeting.clone()
    }

    pub(crate) fn closed(&mut self, id: u64) {
        self.sessions.remove(&id);
    }

    pub(crate) fn bytes(&mut self, id: u64, data: &[u8]) -> (String, bool) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return (String::new(), false);
        };
        session
            .buffer
            .push_str(std::str::from_utf8(data).expect("test mail is UTF-8"));
        let mut out = String::new();
        loop {
            let Some(session) = self.sessions.get_mut(&id) else {
                return (out, true);
            };
            let Some(end) = session.buffer.find("\r\n") else {
                return (out, false);
            };
            let line = session.buffer[..end].to_owned();
            session.buffer.drain(..end + 2);
            if let Some(data) = &mut session.data
                && line != "."
            {
                data.push_str(line.strip_prefix('.').unwrap_or(&line));
                data.push_str("\r\n");
                continue;
            }
            self.lines.push(line.clone());
            let reply = self.reply(id, &line);
            if reply == "close" {
                self.sessions.remove(&id);
                return (out, true);
            }
            out += &reply;
            if line == "QUIT" {
                self.sessions.remove(&id);
                return (out, true);
            }
        }
    }

    fn reply(&mut self, id: u64, line: &str) -> String {
        let rule = self
            .rules
            .iter()
            .find(|(start, _)| line.starts_with(start.as_str()));
        let ruled = rule.map(|(_, reply)| reply.clone());
        let good = ruled
            .as_ref()
            .is_none_or(|r| r.starts_with('2') || r.starts_with('3'));
        let Some(session) = self.sessions.get_mut(&id) else {
            return String::new();
        };
        let inner = |text: &str| {
            let text = &text[text.find('<').expect("a path") + 1..];
            text[..text.find('>').expect("a path")].to_owned()
        };
        let verb = line.split(' ').next().unwrap_or("").to_owned();
        let plain = match verb.as_str() {
            "EHLO" => {
                let mut reply = "250-sink\r\n".to_owned();
                for offer in &self.offers {
                    reply += &format!("250-{offer}\r\n");
                }
                reply + "250 HELP\r\n"
            }
            "MAIL" if good => {
                session.sender = inner(line);
                session.recipients.clear();
                "250 ok\r\n".to_owned()
            }
            "RCPT" if good => {
                session.recipients.push(inner(line));
                "250 ok\r\n".to_owned()
            }
            "DATA" if good => {
                if session.recipients.is_empty() {
                    "503 no recipients\r\n".to_owned()
                } else {
                    session.data = Some(String::new());
                    "354 go on\r\n".to_owned()
                }
            }
            "." => {
                let content = session.data.take().unwrap_or_default();
                if good {
                    self.taken.push(Taken {
                        sender: session.sender.clone(),
                        recipients: session.recipients.clone(),
                        content,
                    });
                }
                "250 taken\r\n".to_owned()
            }
            "RSET" => {
                session.recipients.clear();
                "250 ok\r\n".to_owned()
            }
            "STARTTLS" => "220 begin\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => "250 ok\r\n".to_owned(),
        };
        ruled.unwrap_or(plain)
    }
}
