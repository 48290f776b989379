//! The JSON Schema of a scenario file, from the same types that read it, for
//! editors that complete and check TOML.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    Count, DiskPoint, Drift, Inequality, Offset, Pick, Point, Rate, Scenario, Size, Span, Spread,
    Trigger,
};
use crate::party::{Link, Party};

/// The JSON Schema (draft 2020-12) of a scenario file.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Scenario);
    schema.insert("title".to_owned(), "A mailproof scenario, version 1".into());
    schema.to_value()
}

/// Schemas of values that are written as one text.
macro_rules! text_schema {
    ($($name:ident, $pattern:literal, $description:literal;)*) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "description": $description,
                })
            }
        }
    )*};
}

text_schema! {
    Span, r"[0-9A-Za-z]", "A span of time: `250 ms`, `takeover + 2 polls`, `poll / 2`.";
    Inequality, r"^[^<]+<[^<]+$", "An inequality over named times: `restart < takeover / 3`.";
    Size, r"^[0-9]+ ?(B|KiB|MiB|GiB)(\.\.[0-9]+ ?(B|KiB|MiB|GiB))?$", "A size or a range of sizes: `4 KiB`, `1 KiB..64 KiB`.";
    Pick, r"^(n[1-9][0-9]*|m[1-9][0-9]*|busiest|any|held)$", "A node (`n1`, `m1`), or how to pick one: `busiest`, `any`, `held`.";
    Offset, r"^[-+]?.*[0-9A-Za-z]", "A span of time with a sign: `-3 h`.";
    Drift, r"^-?[0-9]+ ?ppm$", "Parts per million that a clock runs fast, negative: slow: `200 ppm`.";
    Rate, r"^[0-9]+ ?(B|KiB|MiB|GiB)/s$", "A rate: `64 KiB/s`.";
    Party, r"^(client|mb|n[1-9][0-9]*|m[1-9][0-9]*)$", "A party: `client`, `n1`, `m1`, `mb`.";
    Spread, r"^(round-robin|n[1-9][0-9]*)$", "`round-robin`, or the one node that all mail goes to.";
    Link, r"^(client|n[1-9][0-9]*) *-> *(n[1-9][0-9]*|m[1-9][0-9]*|mb)$", "A directed link: `client->n1`, `n1->n2`, `n1->mb`.";
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number or a closed range of numbers: 3 or `1..3`.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                { "type": "string", "pattern": r"^[0-9]+(\.\.[0-9]+)?$" },
            ],
        })
    }
}

impl JsonSchema for Trigger {
    fn schema_name() -> Cow<'static, str> {
        "Trigger".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let point = generator.subschema_for::<Point>();
        let disk = generator.subschema_for::<DiskPoint>();
        let event = json_schema!({
            "description": "Right after the nth happening of the simulation, counted from 1 over the run.",
            "type": "object",
            "properties": { "event": { "type": "integer", "minimum": 1 } },
            "required": ["event"],
            "additionalProperties": false,
        });
        json_schema!({
            "description": "When a step acts: `start`, `30% accepted`, `30% delivered`, a span of time, a point in a dialogue, an operation of a disk, or an event of the simulation.",
            "anyOf": [
                { "type": "string", "pattern": "[0-9A-Za-z]" },
                point,
                disk,
                event,
            ],
        })
    }
}
