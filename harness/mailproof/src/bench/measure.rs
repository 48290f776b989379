//! One timed run: simulated, written down, folded, sealed and judged.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mailproof_engine::sim::SimWorld;
use mailproof_model::director::Director;
use mailproof_model::drive::drive;
use mailproof_model::event::{At, Event};
use mailproof_model::history::{Durability, Sink, Writer};
use mailproof_model::judge::{Ending, from_ledger};
use mailproof_model::ledger::Ledger;
use mailproof_model::order::World;
use mailproof_model::verdict::Verdict;

use super::case::Case;
use super::cost::{Cost, Meter};

/// A run that passed.
pub(super) struct Ran {
    pub(super) cost: Cost,
    /// Events of its history.
    pub(super) events: u64,
    /// Bytes of its history.
    pub(super) bytes: u64,
    /// Virtual time at its end, in nanoseconds.
    pub(super) lasted: At,
}

/// A run that has no figure, or none that says what it should.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) verdict: Verdict,
    pub(super) why: String,
}

impl Refused {
    pub(super) fn harness(why: impl ToString) -> Self {
        Self {
            verdict: Verdict::Error,
            why: why.to_string(),
        }
    }
}

/// A file for histories, gone with the value. Each run writes it anew.
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    pub(super) fn below(dir: &Path) -> Self {
        let path = dir.join(format!("mailproof-bench-{}.jsonl", std::process::id()));
        Self { path }
    }

    fn file(&self) -> io::Result<Written> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.path)?;
        Ok(Written { file, bytes: 0 })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A history in a file, without the sync at its end: how long a disk takes
/// for that says nothing about the simulator.
struct Written {
    file: File,
    bytes: u64,
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for Written {}

/// Runs a case from its plan to its judgement, and times all of that;
/// `observe` sees every event.
///
/// # Errors
/// It did not pass, or the account does not hold every recipient.
pub(super) fn measure(
    case: &Case,
    place: &Place,
    observe: &mut dyn FnMut(&Event),
) -> Result<Ran, Refused> {
    let mut file = place.file().map_err(|e| {
        Refused::harness(format!(
            "the history cannot be written to {}: {e}; choose another folder with --out",
            place.path.display()
        ))
    })?;
    let plan = &case.plan;
    let meter = Meter::start();
    let mut ledger = Ledger::new(plan.scenario.workload.messages);
    let writer = Writer::create(&mut file, plan, Durability::Buffered).map_err(Refused::harness)?;
    let mut world = SimWorld::new(plan.clone(), &case.target, writer).map_err(Refused::harness)?;
    let mut director = Director::new(plan.clone()).map_err(Refused::harness)?;
    drive(&mut world, &mut director, &mut |event: &Event| {
        ledger.fold(event);
        observe(event);
    })
    .map_err(Refused::harness)?;
    let lasted = world.now();
    let seal = world.seal().map_err(Refused::harness)?;
    drop(world);
    let judgement = from_ledger(plan, &ledger, &Ending::Sealed);
    let cost = meter.read();

    let id = &plan.scenario.id;
    if judgement.verdict != Verdict::Pass {
        return Err(Refused {
            verdict: judgement.verdict,
            why: format!("{id}: {}: {}", judgement.verdict, judgement.reason),
        });
    }
    let classed: u64 = judgement.classes.values().sum();
    if classed == 0 || classed != judgement.account.recipients {
        return Err(Refused::harness(format!(
            "{id}: the account does not balance: {}",
            judgement.equation()
        )));
    }
    Ok(Ran {
        cost,
        events: seal.events,
        bytes: file.bytes,
        lasted,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use mailproof_model::history::{Reader, Tail};

    use super::super::case;
    use super::*;
    use crate::context::Context;
    use crate::target_choice::choose;

    fn target() -> crate::target_choice::Choice {
        let context = Context::new(crate::Extra::default());
        choose(&context, "reference").unwrap_or_else(|_| panic!("the command carries it"))
    }

    fn small(messages: u32) -> Case {
        case::rate(&target(), 1, messages, 7).unwrap()
    }

    #[test]
    fn what_is_timed_is_a_whole_sealed_history() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::below(dir.path());
        let mut seen = 0;
        let ran = measure(&small(30), &place, &mut |_| seen += 1).unwrap();
        let mut text = Vec::new();
        File::open(&place.path)
            .unwrap()
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text.len() as u64, ran.bytes);
        let mut reader = Reader::new(&text[..]).unwrap();
        let mut events = 0;
        while reader.next_event().unwrap().is_some() {
            events += 1;
        }
        assert!(matches!(reader.tail(), Some(Tail::Sealed { .. })));
        assert_eq!((ran.events, seen), (events, events));
        drop(place);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_run_that_is_no_pass_has_no_figure() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::below(dir.path());
        let mut case = case::shadows(1).unwrap();
        // The next hop is only said to be out of reach.
        case.plan.disarmed = vec![0];
        let refused = measure(&case, &place, &mut |_| {}).err().unwrap();
        assert_eq!(refused.verdict, Verdict::Inconclusive, "{}", refused.why);
    }
}
