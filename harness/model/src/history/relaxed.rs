//! The relaxed form of a history, for hand-made fixtures: no ids, no blocks,
//! no seal. Nothing but [`History::from_lines`] reads it.

use std::io;

use serde::Deserialize;

use super::reader::{OpenError, header};
use super::sink::Sink;
use super::{Durability, Seal, Writer, rules};
use crate::event::{At, Event, What};
use crate::party::Witness;
use crate::plan::Plan;

/// A plan and what happened.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// What was to be done.
    pub plan: Plan,
    /// What was seen, in order.
    pub events: Vec<Event>,
}

/// A line of a hand-made history that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LineError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Relaxed {
    id: Option<u64>,
    at: At,
    by: Witness,
    ev: What,
}

impl History {
    /// Reads a hand-made history: the header line, then one event a line
    /// without its id, which is its place. An id may be given and is then
    /// checked. Empty lines and lines that begin with `#` are skipped. Times
    /// must not decrease and witnesses must be admissible, as everywhere.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn from_lines(text: &str) -> Result<Self, LineError> {
        let mut lines = content(text);
        let (line, first) = lines.next().ok_or_else(|| LineError {
            line: 1,
            why: "a history begins with its header, {\"mailproof\":\"history/1\",\"plan\":{…}}"
                .to_owned(),
        })?;
        let plan = header(first.as_bytes()).map_err(|e| LineError {
            line,
            why: match e {
                OpenError::Altered { why } => format!("this is not the header of a history: {why}"),
                other => other.to_string(),
            },
        })?;
        let events = events(lines)?;
        Ok(Self { plan, events })
    }

    /// As [`History::from_lines`] for a text without a header: fixtures that
    /// share one plan.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn from_lines_with(plan: Plan, text: &str) -> Result<Self, LineError> {
        let events = events(content(text))?;
        Ok(Self { plan, events })
    }

    /// Writes it as a sealed history.
    ///
    /// # Errors
    /// As [`Writer::record`].
    pub fn write<W: Sink>(&self, to: W) -> io::Result<Seal> {
        let mut writer = Writer::create(to, &self.plan, Durability::Buffered)?;
        for event in &self.events {
            writer.record(event.at, event.by, event.ev.clone())?;
        }
        writer.seal()
    }
}

fn content(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn events<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Vec<Event>, LineError> {
    let mut events: Vec<Event> = Vec::new();
    let mut ended = false;
    for (line, text) in lines {
        let wrong = |why: String| LineError { line, why };
        let Relaxed { id, at, by, ev } =
            serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        let due = events.len() as u64;
        if id.is_some_and(|id| id != due) {
            return Err(wrong(format!("the id must be {due}, or be left out")));
        }
        if let Some(last) = events.last().filter(|last| at < last.at) {
            return Err(wrong(format!(
                "its time {at} lies before that of the event before it, {}",
                last.at
            )));
        }
        rules::may_say(by, &ev).map_err(wrong)?;
        rules::may_follow(ended, &ev).map_err(wrong)?;
        ended |= matches!(ev, What::End { .. });
        events.push(Event {
            id: due,
            at,
            by,
            ev,
        });
    }
    Ok(events)
}
