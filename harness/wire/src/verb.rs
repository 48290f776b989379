//! SMTP verbs.

use std::fmt;

/// Longest verb name kept. A longer first word is not taken for a verb.
pub const MAX_VERB: usize = 31;

/// A verb's name in capitals: letters, digits, `-` and `_`, at most
/// [`MAX_VERB`] of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    bytes: [u8; MAX_VERB],
    len: u8,
}

impl Name {
    /// The name in `word`, or `None` if it is empty, too long or holds another
    /// character.
    #[must_use]
    pub fn new(word: &[u8]) -> Option<Self> {
        if word.is_empty() || word.len() > MAX_VERB {
            return None;
        }
        let mut bytes = [0; MAX_VERB];
        for (to, from) in bytes.iter_mut().zip(word) {
            if !(from.is_ascii_alphanumeric() || matches!(from, b'-' | b'_')) {
                return None;
            }
            *to = from.to_ascii_uppercase();
        }
        Some(Self {
            bytes,
            len: word.len() as u8,
        })
    }

    /// The name, in capitals.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever stored.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The verb of a command line (RFC 5321 2.4: case does not matter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Verb {
    Helo,
    Ehlo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    StartTls,
    Auth,
    /// Any other word, a private verb included.
    Other(Name),
    /// The line does not begin with a word that could be a verb.
    Malformed,
}

impl Verb {
    /// The verb that `word` names.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Self {
        match word.len() {
            4 => {
                let mut upper = [0; 4];
                upper.copy_from_slice(word);
                upper.make_ascii_uppercase();
                match &upper {
                    b"HELO" => return Self::Helo,
                    b"EHLO" => return Self::Ehlo,
                    b"LHLO" => return Self::Lhlo,
                    b"MAIL" => return Self::Mail,
                    b"RCPT" => return Self::Rcpt,
                    b"DATA" => return Self::Data,
                    b"BDAT" => return Self::Bdat,
                    b"RSET" => return Self::Rset,
                    b"NOOP" => return Self::Noop,
                    b"QUIT" => return Self::Quit,
                    b"VRFY" => return Self::Vrfy,
                    b"AUTH" => return Self::Auth,
                    _ => {}
                }
            }
            8 if word.eq_ignore_ascii_case(b"STARTTLS") => return Self::StartTls,
            _ => {}
        }
        Name::new(word).map_or(Self::Malformed, Self::Other)
    }

    /// The verb in capitals; `?` for [`Verb::Malformed`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Helo => "HELO",
            Self::Ehlo => "EHLO",
            Self::Lhlo => "LHLO",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Bdat => "BDAT",
            Self::Rset => "RSET",
            Self::Noop => "NOOP",
            Self::Quit => "QUIT",
            Self::Vrfy => "VRFY",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Other(name) => name.as_str(),
            Self::Malformed => "?",
        }
    }

    /// Its name; `None` for [`Verb::Malformed`].
    #[must_use]
    pub fn name(&self) -> Option<Name> {
        Name::new(self.as_str().as_bytes())
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_recognised_in_any_case() {
        for verb in [
            "HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY",
            "STARTTLS", "AUTH",
        ] {
            let upper = Verb::from_word(verb.as_bytes());
            assert_eq!(upper.as_str(), verb);
            assert_eq!(Verb::from_word(verb.to_lowercase().as_bytes()), upper);
            assert!(!matches!(upper, Verb::Other(_) | Verb::Malformed));
        }
        assert_eq!(Verb::from_word(b"xShadow").as_str(), "XSHADOW");
        assert_eq!(Verb::from_word(b""), Verb::Malformed);
        assert_eq!(Verb::from_word(b"caf\xe9"), Verb::Malformed);
        assert_eq!(Verb::from_word(&[b'A'; MAX_VERB + 1]), Verb::Malformed);
        assert_eq!(Verb::from_word(&[b'A'; MAX_VERB]).as_str().len(), MAX_VERB);
    }
}
