//! Chaos: from a `[chaos]` table and a seed to an ordinary scenario.
//!
//! Each seed draws a cluster, times, a workload and a fault plan. The faults
//! are drawn by *swarm*: each kind is on or off for the whole seed, and those
//! that are on have skewed weights, because a mixture that always holds
//! everything rarely drives any one thing far (Groce et al., "Swarm Testing",
//! 2012).
//!
//! A seed stays inside the target's claims by construction: a fault is added
//! only where [`crate::claims::covers`] still says so, after waits for repair
//! if need be, else it is left out. What claims cannot see is kept here: mail
//! is promised to survive the loss of a node only once a peer holds a copy
//! (`shadowed`), so before such a loss every earlier fault is repaired and all
//! mail delivered.
//!
//! A pure function of its arguments. What is drawn has steps, times and
//! expectations like any other scenario, so that a history says it all and
//! nothing that reads one needs to know of chaos.

mod fault;
mod machine;
mod network;
mod place;
mod plan;
mod shape;
mod swarm;
#[cfg(test)]
mod tests;

use crate::plan::Plan;
use crate::planning::{self, Refusal};
use crate::rng::Rng;
use crate::scenario::{Expect, Faults, Level, Scenario};
use crate::target::TargetFile;

/// The scenario that `seed` draws; a scenario without a `[chaos]` table as it
/// is.
///
/// # Errors
/// A [`Refusal`]: the target claims to survive none of the kinds of fault
/// that the scenario draws from, or the times drawn have no value with it.
pub fn draw(scenario: &Scenario, target: &TargetFile, seed: u64) -> Result<Scenario, Refusal> {
    let Some(chaos) = &scenario.chaos else {
        return Ok(scenario.clone());
    };
    let source = Source {
        seed,
        id: &scenario.id,
    };
    let cluster = shape::cluster(chaos, target, &mut source.of("cluster"));
    let time = shape::times(target, &mut source.of("times"));
    let times = planning::times(&time, target)?;
    let takeover = times.get("takeover").copied().unwrap_or(0);
    let wanted = count(&mut source.of("number"), chaos.faults).max(1);
    let mut drawn = Scenario {
        id: scenario.id.clone(),
        title: scenario.title.clone(),
        about: scenario.about.clone(),
        rules: scenario.rules.clone(),
        needs: scenario.needs.clone(),
        workload: shape::workload(
            chaos,
            &cluster,
            takeover,
            wanted,
            &mut source.of("workload"),
        ),
        time,
        steps: Vec::new(),
        expect: Expect {
            delivered: chaos.delivered,
            level: Level::Wire,
            faults: Faults::Any,
            ..Expect::default()
        },
        cluster,
        chaos: None,
        sweep: None,
        drawn: Some(format!("{} seed {seed}", scenario.id)),
    };
    if drawn.cluster.stores > 0 {
        for need in ["owns-mailbox", "duplicate-detection"] {
            if !drawn.needs.iter().any(|n| n == need) {
                drawn.needs.push(need.to_owned());
            }
        }
        drawn.expect.level = Level::Mailbox;
    }
    let base = Plan {
        run: "drawn".to_owned(),
        version: String::new(),
        engine: String::new(),
        seed,
        target: target.target(None),
        times,
        scenario: drawn,
        disarmed: Vec::new(),
    };
    plan::faults(chaos, base, wanted, &source).map(|plan| plan.scenario)
}

/// The source of chance of one seed of one scenario, by purpose.
struct Source<'a> {
    seed: u64,
    id: &'a str,
}

impl Source<'_> {
    fn of(&self, purpose: &str) -> Rng {
        Rng::keyed(self.seed, &format!("{} {purpose}", self.id), 0)
    }
}

/// Draws from a list by weight; the first where all weigh nothing.
fn weighted<T: Copy>(rng: &mut Rng, of: &[(T, u64)]) -> Option<T> {
    let sum = of.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.below(sum);
    for (value, weight) in of {
        if at < *weight {
            return Some(*value);
        }
        at -= weight;
    }
    of.first().map(|(value, _)| *value)
}

/// Whether an event of so many in a hundred comes.
fn chance(rng: &mut Rng, percent: u64) -> bool {
    rng.below(100) < percent
}

/// Between two numbers, each order of magnitude as likely as any other, and
/// rounded to two digits, so that a person can read it.
fn log_between(rng: &mut Rng, least: u64, most: u64) -> u64 {
    let (least, most) = (least.max(1), most.max(1));
    let doublings = (most / least).checked_ilog2().unwrap_or(0);
    let at = least << rng.below(u64::from(doublings) + 1);
    let value = rng.between(at, at.saturating_mul(2).min(most).max(at));
    let digit = 10_u64.pow(value.checked_ilog10().unwrap_or(0).saturating_sub(1));
    (value / digit * digit).clamp(least, most)
}

/// A number of a range of the `[chaos]` table.
fn count(rng: &mut Rng, of: crate::scenario::Count) -> u32 {
    // Both ends are 32 bits.
    rng.between(u64::from(of.least), u64::from(of.most)) as u32
}
