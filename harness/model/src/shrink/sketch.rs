//! A step as the values that its file holds, so that a cut need not know
//! every kind of step.

use serde_json::{Map, Value};

use crate::party::{Link, Party};
use crate::scenario::{Pick, Step, Trigger};

/// A step: its kind, and what it says.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    kind: String,
    says: Value,
}

impl Sketch {
    pub(super) fn of(step: &Step) -> Self {
        match serde_json::to_value(step) {
            Ok(Value::Object(map)) => {
                let (kind, says) = map.into_iter().next().unwrap_or_default();
                Self { kind, says }
            }
            // Every step is a table with one key.
            _ => Self {
                kind: String::new(),
                says: Value::Null,
            },
        }
    }

    /// The step, if these values make one.
    pub(super) fn step(self) -> Option<Step> {
        let mut map = Map::new();
        map.insert(self.kind, self.says);
        serde_json::from_value(Value::Object(map)).ok()
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// The same under another name.
    pub(super) fn named(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.kind);
        self
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.says.get(key)
    }

    /// The same with a value set, or left out.
    pub(super) fn with(mut self, key: &str, value: Option<Value>) -> Self {
        if let Value::Object(says) = &mut self.says {
            match value {
                Some(value) => says.insert(key.to_owned(), value),
                None => says.remove(key),
            };
        }
        self
    }

    /// When it acts.
    pub(super) fn at(&self) -> Option<Trigger> {
        serde_json::from_value(self.get("at")?.clone()).ok()
    }

    pub(super) fn with_at(self, at: &Trigger) -> Self {
        let at = serde_json::to_value(at).ok();
        self.with("at", at)
    }

    /// The node that it is about.
    pub(super) fn node(&self) -> Option<Pick> {
        self.get("node")?.as_str()?.parse().ok()
    }

    pub(super) fn with_node(self, node: Party) -> Self {
        self.with("node", Some(Value::String(node.to_string())))
    }

    /// Every transport node that it names, in its order.
    pub(super) fn nodes(&self) -> Vec<Party> {
        let mut found = Vec::new();
        words(&self.says, &mut |word| {
            if let Ok(party) = word.parse::<Party>() {
                found.push(party);
            } else if let Ok(link) = word.parse::<Link>() {
                found.extend([link.from, link.to]);
            }
        });
        found.retain(|party| matches!(party, Party::Node(_)));
        found
    }

    /// The same with its transport nodes renamed.
    pub(super) fn renamed(mut self, name: &dyn Fn(Party) -> Party) -> Self {
        rename(&mut self.says, name);
        self
    }
}

fn words(value: &Value, see: &mut dyn FnMut(&str)) {
    match value {
        Value::String(word) => see(word),
        Value::Array(values) => values.iter().for_each(|value| words(value, see)),
        Value::Object(map) => map.values().for_each(|value| words(value, see)),
        _ => {}
    }
}

fn rename(value: &mut Value, name: &dyn Fn(Party) -> Party) {
    match value {
        Value::String(word) => {
            if let Ok(party) = word.parse::<Party>() {
                *word = name(party).to_string();
            } else if let Ok(link) = word.parse::<Link>() {
                *word = Link::new(name(link.from), name(link.to)).to_string();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, name)),
        Value::Object(map) => map.values_mut().for_each(|value| rename(value, name)),
        _ => {}
    }
}
