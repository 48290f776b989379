//! The guard against a simulation that goes on for ever: things that happen
//! and happen again while virtual time stands still, or without end.

use std::collections::VecDeque;

use mailproof_model::event::At;
use mailproof_model::order::WorldError;

use super::Coming;

/// Most happenings at one instant.
const AT_ONCE: u64 = 1_000_000;

/// Most happenings of a run, besides those for each message.
const IN_ALL: u64 = 200_000_000;

/// Most happenings of a run for each message of its workload.
const A_MESSAGE: u64 = 20_000;

/// How many of the last happenings an error names.
const LAST: usize = 6;

/// Counts what happens.
#[derive(Debug)]
pub(super) struct Guard {
    now: At,
    at_once: u64,
    in_all: u64,
    most_at_once: u64,
    most_in_all: u64,
    /// Kept only near a bound.
    last: VecDeque<String>,
}

impl Guard {
    pub(super) fn new(messages: u32) -> Self {
        let most = IN_ALL.saturating_add(u64::from(messages).saturating_mul(A_MESSAGE));
        Self::with(AT_ONCE, most)
    }

    fn with(most_at_once: u64, most_in_all: u64) -> Self {
        Self {
            now: 0,
            at_once: 0,
            in_all: 0,
            most_at_once,
            most_in_all,
            last: VecDeque::new(),
        }
    }

    /// Something happens now.
    pub(super) fn note(&mut self, now: At, coming: &Coming) {
        if now != self.now {
            self.now = now;
            self.at_once = 0;
            self.last.clear();
        }
        self.at_once += 1;
        self.in_all += 1;
        let near = |count: u64, most: u64| count + LAST as u64 > most;
        if near(self.at_once, self.most_at_once) || near(self.in_all, self.most_in_all) {
            if self.last.len() == LAST {
                self.last.pop_front();
            }
            self.last.push_back(text(coming));
        }
    }

    /// Why this goes on for ever, if it seems to.
    pub(super) fn stuck(&self) -> Option<WorldError> {
        let what = if self.at_once > self.most_at_once {
            format!(
                "the simulation makes no progress: more than {} happenings at {} ns",
                self.most_at_once, self.now
            )
        } else if self.in_all > self.most_in_all {
            format!(
                "the simulation comes to no end: more than {} happenings by {} ns",
                self.most_in_all, self.now
            )
        } else {
            return None;
        };
        let last: Vec<&str> = self.last.iter().map(String::as_str).collect();
        Some(WorldError(format!("{what}; the last: {}", last.join(", "))))
    }
}

/// A happening in words, without what it carries.
fn text(coming: &Coming) -> String {
    let text = match coming {
        Coming::Bytes { conn, to, bytes } => {
            return format!(
                "{} bytes reach the {to:?} of connection {conn}",
                bytes.len()
            );
        }
        other => format!("{other:?}"),
    };
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wake(node: usize) -> Coming {
        Coming::Wake { node, life: 1 }
    }

    #[test]
    fn a_standstill_is_ended_with_its_instant_and_the_last_happenings() {
        let mut guard = Guard::with(100, 1_000);
        for n in 0..100 {
            guard.note(7, &wake(n));
        }
        assert_eq!(guard.stuck(), None);
        guard.note(7, &wake(100));
        let said = guard.stuck().unwrap().0;
        assert!(said.contains("more than 100 happenings at 7 ns"), "{said}");
        assert!(said.contains("Wake { node: 100, life: 1 }"), "{said}");
        assert!(said.contains("Wake { node: 95, life: 1 }"), "{said}");
        assert!(!said.contains("Wake { node: 94, life: 1 }"), "{said}");
    }

    #[test]
    fn progress_is_no_standstill_and_still_ends() {
        let mut guard = Guard::with(100, 1_000);
        for n in 0..1_000 {
            guard.note(n / 50, &wake(1));
            assert_eq!(guard.stuck(), None, "{n}");
        }
        guard.note(20, &wake(1));
        let said = guard.stuck().unwrap().0;
        assert!(
            said.contains("more than 1000 happenings by 20 ns"),
            "{said}"
        );
    }
}
