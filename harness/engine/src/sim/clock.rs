//! Virtual time: what will happen, in the order in which it will.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use mailproof_model::event::At;

/// What will happen. Things at the same moment happen in the order in which
/// they were put in.
#[derive(Debug)]
pub(super) struct Clock<T> {
    now: At,
    next: u64,
    happened: u64,
    heap: BinaryHeap<Reverse<Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T> {
    at: At,
    order: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<T> Clock<T> {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            next: 0,
            happened: 0,
            heap: BinaryHeap::new(),
        }
    }

    pub(super) fn now(&self) -> At {
        self.now
    }

    /// How many things have happened.
    pub(super) fn happened(&self) -> u64 {
        self.happened
    }

    /// Has something happen then, or now if that is past.
    pub(super) fn at(&mut self, at: At, what: T) {
        let order = self.next;
        self.next += 1;
        let at = at.max(self.now);
        self.heap.push(Reverse(Entry { at, order, what }));
    }

    /// The next thing up to and including `until`; time jumps there. `None`:
    /// there is none, and it is now `until`.
    pub(super) fn pop(&mut self, until: At) -> Option<T> {
        match self.heap.peek() {
            Some(Reverse(entry)) if entry.at <= until => {
                self.now = entry.at;
                self.happened += 1;
                self.heap.pop().map(|Reverse(entry)| entry.what)
            }
            _ => {
                if until != At::MAX {
                    self.now = self.now.max(until);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_from_one_thing_to_the_next() {
        let mut clock = Clock::new();
        clock.at(20, "c");
        clock.at(10, "a");
        clock.at(10, "b");
        assert_eq!(clock.pop(15), Some("a"));
        assert_eq!(clock.pop(15), Some("b"));
        assert_eq!(clock.pop(15), None);
        assert_eq!(clock.now(), 15);
        clock.at(3, "past");
        assert_eq!(clock.pop(At::MAX), Some("past"));
        assert_eq!(clock.now(), 15);
        assert_eq!(clock.pop(At::MAX), Some("c"));
        assert_eq!(clock.pop(At::MAX), None);
        assert_eq!(clock.now(), 20);
    }
}
