//! The text forms of a scenario's small values: counts, sizes, picks,
//! triggers, spreads.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Count, DiskPoint, Drift, Inequality, Offset, Pick, Point, Rate, Size, Span, Spread, SweepAct,
    Trigger,
};
use crate::party::{Link, Party};

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            write!(f, "{}", self.least)
        } else {
            write!(f, "{}..{}", self.least, self.most)
        }
    }
}

impl FromStr for Count {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let number = |t: &str| {
            t.trim()
                .parse::<u32>()
                .map_err(|_| format!("`{t}` is not a whole number; write `3` or `\"1..3\"`"))
        };
        let (least, most) = match s.split_once("..") {
            Some((a, b)) => (number(a)?, number(b)?),
            None => (number(s)?, number(s)?),
        };
        if least > most {
            return Err(format!("the range `{s}` is empty: {least} is above {most}"));
        }
        Ok(Self { least, most })
    }
}

const SIZES: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (digits, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let unit = unit.trim();
    let factor = SIZES
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, f)| *f)
        .ok_or_else(|| format!("`{text}` is not a size; write `4 KiB` (B, KiB, MiB, GiB)"))?;
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| format!("`{text}` is not a size; write `4 KiB` (B, KiB, MiB, GiB)"))
}

pub(super) fn bytes_text(bytes: u64) -> String {
    let (unit, factor) = SIZES
        .iter()
        .find(|(_, f)| bytes >= *f && bytes.is_multiple_of(*f))
        .unwrap_or(&SIZES[3]);
    format!("{} {unit}", bytes / factor)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            f.write_str(&bytes_text(self.least))
        } else {
            write!(f, "{}..{}", bytes_text(self.least), bytes_text(self.most))
        }
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (least, most) = match s.split_once("..") {
            Some((a, b)) => (bytes(a)?, bytes(b)?),
            None => (bytes(s)?, bytes(s)?),
        };
        if least > most {
            return Err(format!("the range `{s}` is empty"));
        }
        Ok(Self { least, most })
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "{node}"),
            Self::Busiest => f.write_str("busiest"),
            Self::Any => f.write_str("any"),
            Self::Held => f.write_str("held"),
        }
    }
}

impl FromStr for Pick {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "busiest" => Ok(Self::Busiest),
            "any" => Ok(Self::Any),
            "held" => Ok(Self::Held),
            _ => s
                .parse::<Party>()
                .ok()
                .filter(|p| p.is_node())
                .map(Self::Node)
                .ok_or_else(|| {
                    format!("`{s}` is not a node; write `n1`, `busiest`, `any` or `held`")
                }),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Accepted(share) => write!(f, "{share}% accepted"),
            Self::Delivered(share) => write!(f, "{share}% delivered"),
            Self::After(span) => write!(f, "{span}"),
            Self::Point(point) => write!(f, "{} #{} on {}", point.phase, point.nth, point.link),
            Self::Event(number) => write!(f, "happening {number}"),
            Self::Disk(point) => point.fmt(f),
        }
    }
}

/// Everything but points and an event, which are tables.
impl FromStr for Trigger {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        if s == "start" {
            return Ok(Self::Start);
        }
        if let Some((share, of)) = s.split_once('%') {
            let share = share
                .trim()
                .parse::<u8>()
                .ok()
                .filter(|n| *n <= 100)
                .ok_or_else(|| format!("`{share}` is not a share from 0 to 100"))?;
            return match of.trim() {
                "accepted" => Ok(Self::Accepted(share)),
                "delivered" => Ok(Self::Delivered(share)),
                other => Err(format!(
                    "`{other}` is not a share of the workload; write `30% accepted` or `30% delivered`"
                )),
            };
        }
        s.parse::<Span>().map(Self::After).map_err(|e| {
            format!(
                "{e}; a trigger is `start`, `30% accepted`, `30% delivered`, a span of time, {{ link = \"client->n1\", phase = \"dot\", nth = 3 }}, or {{ disk = \"n1\", op = \"sync\", nth = 3 }}"
            )
        })
    }
}

/// What a trigger that is a table may say.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nth: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<u64>,
}

impl Table {
    fn trigger<E: de::Error>(self) -> Result<Trigger, E> {
        match self {
            Self {
                link: None,
                phase: None,
                nth: None,
                event: Some(event),
            } => Ok(Trigger::Event(event)),
            Self { event: Some(_), .. } => Err(E::custom(
                "`event` stands alone: a point in a dialogue and an event are two triggers",
            )),
            Self {
                link, phase, nth, ..
            } => Ok(Trigger::Point(Point {
                link: link.ok_or_else(|| E::missing_field("link"))?,
                phase: phase.ok_or_else(|| E::missing_field("phase"))?,
                nth: nth.unwrap_or(1),
            })),
        }
    }
}

impl Serialize for Trigger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Point(point) => point.serialize(serializer),
            Self::Event(event) => Table {
                event: Some(*event),
                ..Table::default()
            }
            .serialize(serializer),
            Self::Disk(point) => point.serialize(serializer),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Trigger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrPoint;
        impl<'de> Visitor<'de> for TextOrPoint {
            type Value = Trigger;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a trigger such as \"30% accepted\" or { link = \"client->n1\", phase = \"dot\", nth = 3 }")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Trigger, E> {
                v.parse().map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Trigger, A::Error> {
                // The first key tells which kind of point it is.
                let first: Option<String> = map.next_key()?;
                let disk = matches!(first.as_deref(), Some("disk" | "op"));
                let again = de::value::MapAccessDeserializer::new(Again { first, map });
                if disk {
                    DiskPoint::deserialize(again).map(Trigger::Disk)
                } else {
                    Table::deserialize(again)?.trigger()
                }
            }
        }
        deserializer.deserialize_any(TextOrPoint)
    }
}

/// A table whose first key was read already.
struct Again<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Again<A> {
    type Error = A::Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.least == self.most {
            serializer.serialize_u32(self.least)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrRange;
        impl Visitor<'_> for NumberOrRange {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a range such as \"1..3\"")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Count, E> {
                let n = u32::try_from(v)
                    .map_err(|_| E::custom(format!("{v} is not a count from 0 to 4294967295")))?;
                Ok(Count { least: n, most: n })
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Count, E> {
                self.visit_i64(i64::try_from(v).unwrap_or(-1))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Count, E> {
                v.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NumberOrRange)
    }
}

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
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, v: &str) -> Result<$name, E> {
                        v.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

serde_text! {
    Span => "a span of time such as \"250 ms\"",
    Inequality => "an inequality such as \"restart < takeover / 3\"",
    Size => "a size such as \"4 KiB\" or \"1 KiB..64 KiB\"",
    Pick => "a node such as \"n1\", or \"busiest\", \"any\", \"held\"",
    Offset => "an offset such as \"-3 h\"",
    Drift => "a drift such as \"200 ppm\"",
    Rate => "a rate such as \"64 KiB/s\"",
    Spread => "\"round-robin\" or a node such as \"n1\"",
    SweepAct => "what a sweep does, such as \"crash\" or \"answer 451\"",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct At {
        at: Trigger,
    }

    fn read(at: &str) -> Result<Trigger, String> {
        toml::from_str::<At>(&format!("at = {at}"))
            .map(|read| read.at)
            .map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_trigger_is_a_text_a_point_or_an_event() {
        for at in [
            "'start'",
            "'30% accepted'",
            "'5% delivered'",
            "'2 polls'",
            "{ link = 'client->n1', phase = 'dot', nth = 3 }",
            "{ event = 1234 }",
        ] {
            let at = read(at).unwrap();
            let json = serde_json::to_string(&At { at: at.clone() }).unwrap();
            assert_eq!(serde_json::from_str::<At>(&json).unwrap().at, at, "{json}");
        }
        let point = "{ link = 'client->n1', phase = 'dot' }";
        assert!(matches!(read(point), Ok(Trigger::Point(p)) if p.nth == 1));
        assert_eq!(read("{ event = 7 }"), Ok(Trigger::Event(7)));
    }

    #[test]
    fn a_table_that_is_neither_point_nor_event_is_refused() {
        assert_eq!(
            read("{ phase = 'dot' }"),
            Err("missing field `link`".into())
        );
        assert_eq!(read("{}"), Err("missing field `link`".into()));
        let both = "{ link = 'client->n1', phase = 'dot', event = 3 }";
        assert!(read(both).unwrap_err().contains("`event` stands alone"));
        assert!(read("{ event = -1 }").is_err());
    }
}
