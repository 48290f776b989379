//! What a scenario says about the network: partitions, directions, rates.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{bytes, bytes_text};
use super::{LinkAct, Span, Trigger};
use crate::party::{Link, Party};

/// A cut between two sides of the cluster: nothing crosses, in either
/// direction, unless it is one-way. A party on neither side reaches both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Partition {
    /// The two sides: nodes, `client`, `mb`.
    pub sides: Vec<Vec<Party>>,
    /// When.
    pub at: Trigger,
    /// How long it lasts; nothing: for good.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "for")]
    pub lasts: Option<Span>,
    /// Only what the first side sends to the second is lost.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_way: bool,
    /// It heals and comes back again and again, each time after so long,
    /// until `for` is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap: Option<Span>,
}

// The form that `serde` asks for.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Partition {
    /// The side that a party is on: 0 or 1.
    #[must_use]
    pub fn side(&self, party: Party) -> Option<usize> {
        self.sides.iter().position(|side| side.contains(&party))
    }

    /// The links that cross, in the order given, and what is done to each.
    #[must_use]
    pub fn crossing(&self, links: &[Link]) -> Vec<(Link, LinkAct)> {
        let crosses = |link: &Link| {
            let act = match (self.side(link.from)?, self.side(link.to)?) {
                (0, 1) if self.one_way => LinkAct::Mute(Toward::Server),
                (1, 0) if self.one_way => LinkAct::Mute(Toward::Client),
                (0, 1) | (1, 0) => LinkAct::Blackhole,
                _ => return None,
            };
            Some((*link, act))
        };
        links.iter().filter_map(crosses).collect()
    }
}

/// A direction on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Toward {
    /// To the party that is dialled.
    #[serde(rename = "to-server")]
    Server,
    /// To the party that dials.
    #[serde(rename = "to-client")]
    Client,
}

impl fmt::Display for Toward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "to-server",
            Self::Client => "to-client",
        })
    }
}

/// Bytes that pass in a second, `64 KiB/s`; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// So many bytes a second; never 0.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self(bytes_per_second.max(1))
    }

    /// Bytes a second, at least 1.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", bytes_text(self.0))
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        s.trim()
            .strip_suffix("/s")
            .and_then(|size| bytes(size).ok())
            .filter(|rate| *rate > 0)
            .map(Self)
            .ok_or_else(|| format!("`{s}` is not a rate; write `64 KiB/s` (B, KiB, MiB, GiB)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(text: &str) -> Partition {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_link_between_the_sides_is_cut_and_no_other() {
        let links: Vec<Link> = [
            "client->n1",
            "n1->n2",
            "n1->mb",
            "client->n2",
            "n2->n1",
            "n2->mb",
            "n3->n1",
        ]
        .map(|l| l.parse().unwrap())
        .to_vec();
        let sides = "sides = [['n1'], ['n2', 'mb']]\nat = 'start'\n";
        let cut = |p: &Partition| -> Vec<String> {
            p.crossing(&links)
                .iter()
                .map(|(l, a)| format!("{l} {a:?}"))
                .collect()
        };
        assert_eq!(
            cut(&partition(sides)),
            ["n1->n2 Blackhole", "n1->mb Blackhole", "n2->n1 Blackhole"]
        );
        assert_eq!(
            cut(&partition(&format!("{sides}one-way = true"))),
            [
                "n1->n2 Mute(Server)",
                "n1->mb Mute(Server)",
                "n2->n1 Mute(Client)"
            ]
        );
    }

    #[test]
    fn a_partition_is_read_as_it_is_written() {
        let all = "sides = [['client'], ['n1', 'm1']]\nat = '1 s'\nfor = '3 s'\none-way = true\nflap = '200 ms'";
        let read = partition(all);
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Partition>(&json).unwrap(), read);
        assert!(!json.contains("null"));
        let plain = partition("sides = [['n1'], ['n2']]\nat = 'start'");
        let json = serde_json::to_string(&plain).unwrap();
        assert_eq!(json, r#"{"sides":[["n1"],["n2"]],"at":"start"}"#);
    }

    #[test]
    fn a_rate_is_bytes_a_second() {
        let rate: Rate = "64 KiB/s".parse().unwrap();
        assert_eq!(rate.bytes_per_second(), 65_536);
        assert_eq!(rate.to_string(), "64 KiB/s");
        assert_eq!("1500 B/s".parse::<Rate>().unwrap().to_string(), "1500 B/s");
        for wrong in ["64 KiB", "0 B/s", "fast", "64/s", "-1 B/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
