//! The `[sweep]` table: one fault at every point of a run. The points are
//! found by a run without faults; [`crate::sweep`] turns them into scenarios.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::party::{Link, Party};

/// Which points there are, and what is done at each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sweep {
    /// What a point is.
    pub over: Over,
    /// What is done at each point where it has a meaning.
    pub acts: Vec<SweepAct>,
    /// The links whose points count; none: every link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// The nodes that acts hit; none: those at the ends of the point's link,
    /// the one whose disk it is, or every transport node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub nodes: Vec<Party>,
    /// Only every so many points, counted from the first; at least 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1))]
    pub every: u32,
    /// So many pairs of points and acts beside them, drawn by the seed; at
    /// most 100000.
    #[serde(default, skip_serializing_if = "is_none")]
    #[schemars(range(max = 100000))]
    pub pairs: u32,
}

fn one() -> u32 {
    1
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

fn is_none(n: &u32) -> bool {
    *n == 0
}

/// What the points of a sweep are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Every passage of a phase on a link.
    SmtpPhase,
    /// Every operation on a disk.
    DiskOp,
    /// Everything that happens in the simulation.
    Event,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SmtpPhase => "smtp-phase",
            Self::DiskOp => "disk-op",
            Self::Event => "event",
        })
    }
}

/// What is done at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SweepAct {
    /// The node crashes and is back at once.
    Crash,
    /// The node's power is cut and is back at once.
    PowerCut,
    /// The node is gone for good, with its store.
    NodeLost,
    /// The connection is reset.
    Reset,
    /// What stands there passes, then the dialling side's leg is closed.
    HalfClose,
    /// The reply that stands there is lost with its connection.
    LoseReply,
    /// The node and every other, and where mail ends, are cut off from each
    /// other until its peers have had time to take over.
    CutOff,
    /// The link carries next to nothing for a moment.
    Throttle,
    /// The operation fails.
    DiskError,
    /// The sync fails, and what it was to make durable is gone.
    SyncError,
    /// The write is half on the medium when the power goes.
    Torn,
    /// The command that stands there is answered with this code instead.
    Answer(u16),
}

const NAMED: [(&str, SweepAct); 11] = [
    ("crash", SweepAct::Crash),
    ("power-cut", SweepAct::PowerCut),
    ("node-lost", SweepAct::NodeLost),
    ("reset", SweepAct::Reset),
    ("half-close", SweepAct::HalfClose),
    ("lose-reply", SweepAct::LoseReply),
    ("cut-off", SweepAct::CutOff),
    ("throttle", SweepAct::Throttle),
    ("disk-error", SweepAct::DiskError),
    ("sync-error", SweepAct::SyncError),
    ("torn", SweepAct::Torn),
];

impl SweepAct {
    /// Whether it hits a node, not a connection.
    #[must_use]
    pub fn on_node(self) -> bool {
        matches!(
            self,
            Self::Crash | Self::PowerCut | Self::NodeLost | Self::CutOff
        ) || self.on_disk()
    }

    /// Whether it hits an operation of a disk, and nothing else.
    #[must_use]
    pub fn on_disk(self) -> bool {
        matches!(self, Self::DiskError | Self::SyncError | Self::Torn)
    }
}

impl fmt::Display for SweepAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(code) => write!(f, "answer {code}"),
            named => {
                let name = NAMED.iter().find(|(_, act)| act == named);
                f.write_str(name.map_or("", |(name, _)| name))
            }
        }
    }
}

impl FromStr for SweepAct {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, act)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*act);
        }
        text.strip_prefix("answer ")
            .and_then(|code| code.parse().ok())
            .filter(|code| (400..560).contains(code))
            .map(Self::Answer)
            .ok_or_else(|| {
                let names: Vec<_> = NAMED.iter().map(|(name, _)| format!("`{name}`")).collect();
                format!(
                    "`{text}` is nothing that a sweep does; expected one of {}, or `answer 451` with a code from 400 to 559",
                    names.join(", ")
                )
            })
    }
}

impl JsonSchema for SweepAct {
    fn schema_name() -> Cow<'static, str> {
        "SweepAct".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(crash|power-cut|node-lost|reset|half-close|lose-reply|cut-off|throttle|disk-error|sync-error|torn|answer [45][0-5][0-9])$",
            "description": "What is done at a point: `crash`, `lose-reply`, `answer 451`, ….",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_have_names() {
        for text in [
            "crash",
            "power-cut",
            "node-lost",
            "reset",
            "half-close",
            "lose-reply",
            "cut-off",
            "throttle",
            "disk-error",
            "sync-error",
            "torn",
            "answer 451",
        ] {
            assert_eq!(text.parse::<SweepAct>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "Crash",
            "answer",
            "answer 250",
            "answer 560",
            "answer x",
        ] {
            assert!(text.parse::<SweepAct>().is_err(), "{text}");
        }
    }
}
