//! Who takes part in a run, and the directed links between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A party of a run: the client, a node of the target, or the mailbox.
///
/// The text form is what scenarios, histories and reports use: `client`,
/// `n1`, `m1`, `mb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The harness's sender: every session of the workload.
    Client,
    /// A transport node of the target, `n1`, `n2`, …
    Node(u16),
    /// A node of the target that owns mailboxes, `m1`, `m2`, …; it removes
    /// duplicates before it stores.
    Store(u16),
    /// The harness's own mailbox, `mb`: the last next hop, which never
    /// suppresses anything.
    Mailbox,
}

impl Party {
    /// Whether the party belongs to the target, so that a fault may hit it.
    #[must_use]
    pub fn is_node(self) -> bool {
        matches!(self, Self::Node(_) | Self::Store(_))
    }

    /// Whether mail ends here: the harness's mailbox or a target node that
    /// owns mailboxes.
    #[must_use]
    pub fn ends_mail(self) -> bool {
        matches!(self, Self::Mailbox | Self::Store(_))
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Node(n) => write!(f, "n{n}"),
            Self::Store(n) => write!(f, "m{n}"),
            Self::Mailbox => f.write_str("mb"),
        }
    }
}

/// A text that names no party, link or witness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {expected}")]
pub struct NameError {
    /// The text that was given.
    pub found: String,
    /// What would have been right, for people.
    pub expected: &'static str,
}

impl FromStr for Party {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        let number = |rest: &str| {
            rest.parse::<u16>()
                .ok()
                .filter(|n| *n > 0 && !rest.starts_with(['0', '+']))
        };
        match s {
            "client" => return Ok(Self::Client),
            "mb" => return Ok(Self::Mailbox),
            _ => {}
        }
        s.strip_prefix('n')
            .and_then(number)
            .map(Self::Node)
            .or_else(|| s.strip_prefix('m').and_then(number).map(Self::Store))
            .ok_or_else(|| NameError {
                found: s.to_owned(),
                expected: "a party (`client`, `n1`, `m1` or `mb`)",
            })
    }
}

/// A directed link: `n1->n2` carries the connections that `n1` opens to `n2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// Who dials.
    pub from: Party,
    /// Who is dialled.
    pub to: Party,
}

impl Link {
    /// The link that carries the connections opened by `from` to `to`.
    #[must_use]
    pub fn new(from: Party, to: Party) -> Self {
        Self { from, to }
    }

    /// Whether `party` is one of the two ends.
    #[must_use]
    pub fn touches(self, party: Party) -> bool {
        self.from == party || self.to == party
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.from, self.to)
    }
}

impl FromStr for Link {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        let (from, to) = s.split_once("->").ok_or_else(|| NameError {
            found: s.to_owned(),
            expected: "a link (`client->n1`)",
        })?;
        Ok(Self::new(from.trim().parse()?, to.trim().parse()?))
    }
}

/// Who saw an event. What a node says of itself is a claim, never proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Witness {
    /// The workload's sender.
    Client,
    /// The observer on a link.
    Link(Link),
    /// The harness's mailbox.
    Mailbox,
    /// The disk under a node, or the harness reading a stopped node's store.
    Disk(Party),
    /// The operating system (or the simulated one): process states.
    Kernel,
    /// The director: decisions and waits.
    Director,
    /// The part that injects faults. Never evidence of a fault's effect.
    Injector,
    /// A node, speaking of itself: a claim.
    Node(Party),
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Link(link) => write!(f, "link:{link}"),
            Self::Mailbox => f.write_str("mailbox"),
            Self::Disk(node) => write!(f, "disk:{node}"),
            Self::Kernel => f.write_str("kernel"),
            Self::Director => f.write_str("director"),
            Self::Injector => f.write_str("injector"),
            Self::Node(node) => write!(f, "node:{node}"),
        }
    }
}

impl FromStr for Witness {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        Ok(match s {
            "client" => Self::Client,
            "mailbox" => Self::Mailbox,
            "kernel" => Self::Kernel,
            "director" => Self::Director,
            "injector" => Self::Injector,
            _ => match s.split_once(':') {
                Some(("link", link)) => Self::Link(link.parse()?),
                Some(("disk", node)) => Self::Disk(node.parse()?),
                Some(("node", node)) => Self::Node(node.parse()?),
                _ => {
                    return Err(NameError {
                        found: s.to_owned(),
                        expected: "a witness (`client`, `link:client->n1`, `mailbox`, `disk:n1`, `kernel`, `director`, `injector` or `node:n1`)",
                    });
                }
            },
        })
    }
}

/// Serde through the text form, without an intermediate `String` on reading.
macro_rules! serde_text {
    ($($name:ty => $expecting:literal),* $(,)?) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<$name, E> {
                        v.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

serde_text! {
    Party => "a party such as `n1`",
    Link => "a link such as `client->n1`",
    Witness => "a witness such as `link:client->n1`",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip() {
        for text in ["client", "n1", "n12", "m3", "mb"] {
            assert_eq!(text.parse::<Party>().unwrap().to_string(), text);
        }
        for text in [
            "client",
            "link:client->n1",
            "link:n2->mb",
            "mailbox",
            "disk:m1",
            "kernel",
            "director",
            "injector",
            "node:n3",
        ] {
            assert_eq!(text.parse::<Witness>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in ["", "n", "n0", "n01", "x1", "n1->", "mb2x", "n-1", "N1"] {
            assert!(text.parse::<Party>().is_err(), "{text}");
        }
        assert!("n1".parse::<Link>().is_err());
        assert!("link:n1".parse::<Witness>().is_err());
    }
}
