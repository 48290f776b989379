//! From a scenario, a target and a seed to a [`Plan`], or to the reason why
//! there is none.

use crate::chaos;
use crate::plan::Plan;
use crate::scenario::{Scenario, Span, Time, Times};
use crate::target::{TargetFile, plain};

/// The times that every plan has, with the value of each where neither
/// scenario nor target says anything, in nanoseconds. A later one may refer
/// to those before it.
pub const TIMES: [(&str, u64); 6] = [
    ("poll", 250_000_000),
    ("takeover", 2_000_000_000),
    ("retry", 500_000_000),
    ("resend", 500_000_000),
    ("patience", 5_000_000_000),
    ("record", 1_000_000_000),
];

/// Times that only a run can tell; inequalities may name them. `restart`:
/// from a node's start after a fault until it answers.
pub const MEASURED: [&str; 1] = ["restart"];

/// Why a scenario is not run with a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The target lacks what the scenario needs: NOT-APPLICABLE.
    #[error("the target `{target}` has no {}", missing.join(", no "))]
    NotApplicable {
        /// The target's name.
        target: String,
        /// The capabilities that are missing, in the scenario's order.
        missing: Vec<String>,
    },
    /// A sweep is many runs, not one: NOT-APPLICABLE.
    #[error("{scenario} is a sweep: many runs, which `sweep {scenario}` makes")]
    Sweep {
        /// The scenario's id.
        scenario: String,
    },
    /// The simulator has no model of the target: NOT-APPLICABLE.
    #[error("the simulator has no model of the target `{target}`; use a real engine")]
    NoModel {
        /// The target's name.
        target: String,
    },
    /// The target claims to survive none of the faults that a chaos scenario
    /// draws from: NOT-APPLICABLE.
    #[error(
        "the target `{target}` makes no claim about any kind of fault that the scenario draws from"
    )]
    NoClaim {
        /// The target's name.
        target: String,
    },
    /// The scenario's times cannot be had with this target, so that a run
    /// would prove nothing: INCONCLUSIVE.
    #[error("{0}")]
    Times(String),
    /// The scenario itself is wrong; `lint` shows where.
    #[error("{0}")]
    Scenario(String),
}

impl Plan {
    /// Decides what can be decided before the run, with a chaos scenario drawn
    /// from its seed. The target's version is not known yet and is left open.
    ///
    /// # Errors
    /// A [`Refusal`]: the scenario does not apply to the target, the target
    /// cannot have its times, or a time of the scenario has no value.
    pub fn build(
        scenario: &Scenario,
        target: &TargetFile,
        engine: &str,
        seed: u64,
        run: &str,
    ) -> Result<Self, Refusal> {
        if scenario.sweep.is_some() {
            return Err(Refusal::Sweep {
                scenario: scenario.id.clone(),
            });
        }
        let drawn;
        let scenario = if scenario.chaos.is_some() {
            capable(scenario, target)?;
            drawn = chaos::draw(scenario, target, seed)?;
            &drawn
        } else {
            scenario
        };
        capable(scenario, target)?;
        if engine == "sim" && target.sim.is_none() {
            return Err(Refusal::NoModel {
                target: target.name.clone(),
            });
        }
        let times = times(&scenario.time, target)?;
        for inequality in &scenario.time.require {
            if inequality.holds(&times) == Some(false) {
                return Err(Refusal::Times(format!(
                    "the scenario needs `{inequality}`, which does not hold with {}",
                    in_words(
                        &times,
                        inequality.left.names().chain(inequality.right.names())
                    ),
                )));
            }
        }
        Ok(Self {
            run: run.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: engine.to_owned(),
            seed,
            target: target.target(None),
            times,
            scenario: scenario.clone(),
            disarmed: Vec::new(),
        })
    }
}

/// Whether the target has what the scenario needs.
fn capable(scenario: &Scenario, target: &TargetFile) -> Result<(), Refusal> {
    let missing: Vec<String> = needed(scenario)
        .into_iter()
        .filter(|capability| !target.can(capability))
        .map(str::to_owned)
        .collect();
    if !missing.is_empty() {
        return Err(Refusal::NotApplicable {
            target: target.name.clone(),
            missing,
        });
    }
    Ok(())
}

/// The capabilities that a scenario needs: those it lists, and those that
/// follow from its cluster.
#[must_use]
pub fn needed(scenario: &Scenario) -> Vec<&str> {
    let mut needed: Vec<&str> = scenario.needs.iter().map(String::as_str).collect();
    if scenario.cluster.stores > 0 && !needed.contains(&"owns-mailbox") {
        needed.push("owns-mailbox");
    }
    if scenario.cluster.sites > 1 && !needed.contains(&"sites") {
        needed.push("sites");
    }
    needed
}

/// The value that the scenario gives a time, if any.
fn wish<'a>(time: &'a Time, name: &str) -> Option<&'a Span> {
    match name {
        "poll" => time.poll.as_ref(),
        "takeover" => time.takeover.as_ref(),
        "retry" => time.retry.as_ref(),
        "resend" => time.resend.as_ref(),
        "patience" => time.patience.as_ref(),
        _ => None,
    }
}

/// The times of a scenario as it writes them, with the plain defaults: what
/// holds with a target that lets every time be set.
///
/// # Errors
/// The time whose span has no value, and why.
pub fn planned(time: &Time) -> Result<Times, (&'static str, String)> {
    let mut times = Times::new();
    for (name, default) in TIMES {
        let value = match wish(time, name) {
            Some(span) => span.resolve(&times).map_err(|e| (name, e.to_string()))?,
            None => default,
        };
        times.insert(name.to_owned(), value);
    }
    Ok(times)
}

/// The times in force: the scenario's where the target lets them be set, the
/// target's where it does not.
pub(crate) fn times(time: &Time, target: &TargetFile) -> Result<Times, Refusal> {
    let mut times = Times::new();
    for (name, default) in TIMES {
        let has = target.times.get(name);
        let wished = match wish(time, name) {
            Some(span) => Some(
                span.resolve(&times)
                    .map_err(|e| Refusal::Scenario(format!("time.{name}: {e}")))?,
            ),
            None => None,
        };
        let value = match (wished, has) {
            (Some(wished), Some(has)) if has.settable => {
                let least = has.least.as_ref().map_or(0, plain);
                let most = has.most.as_ref().map_or(u64::MAX, plain);
                if !(least..=most).contains(&wished) {
                    return Err(Refusal::Times(format!(
                        "the scenario sets {name} to {}, which the target `{}` cannot: it takes {} to {}",
                        Span::nanoseconds(wished),
                        target.name,
                        Span::nanoseconds(least),
                        has.most
                            .as_ref()
                            .map_or("any".to_owned(), ToString::to_string),
                    )));
                }
                wished
            }
            (_, Some(has)) => plain(&has.default),
            (Some(wished), None) => wished,
            (None, None) => default,
        };
        times.insert(name.to_owned(), value);
    }
    Ok(times)
}

/// `poll = 250 ms, takeover = 2 s`.
pub(crate) fn in_words<'a>(times: &Times, names: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<String> = Vec::new();
    for name in names {
        let value = name.parse::<Span>().and_then(|span| span.resolve(times));
        if let Ok(value) = value {
            let word = format!("{name} = {}", Span::nanoseconds(value));
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    if words.is_empty() {
        "the times in force".to_owned()
    } else {
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scenario, target};

    const TARGET: &str = r#"
name = "some"
title = "Some MTA"
capabilities = ["relay", "takeover"]
[node]
command = ["mta"]
[times]
poll = { default = "1 s", settable = true, least = "100 ms", most = "1 d" }
retry = { default = "5 s" }
"#;

    fn plan(scenario: &str, engine: &str) -> Result<Plan, Refusal> {
        let scenario = scenario::parse("s.toml", scenario).unwrap();
        let target = target::parse("t.toml", TARGET).unwrap();
        Plan::build(&scenario, &target, engine, 7, "r1")
    }

    const SCENARIO: &str = "id = 'a/b'\ntitle = 't'\n[workload]\nmessages = 1\n";

    #[test]
    fn a_fixed_time_is_the_targets_and_a_settable_one_the_scenarios() {
        let text =
            format!("{SCENARIO}[time]\npoll = '200 ms'\nretry = '1 s'\ntakeover = '4 polls'\n");
        let plan = plan(&text, "process").unwrap();
        assert_eq!(plan.time("poll"), 200_000_000);
        assert_eq!(plan.time("retry"), 5_000_000_000);
        assert_eq!(plan.time("takeover"), 800_000_000);
        assert_eq!(plan.time("resend"), 500_000_000);
        assert_eq!(plan.times.len(), TIMES.len());
        assert_eq!((plan.seed, plan.run.as_str()), (7, "r1"));
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn what_is_not_said_is_the_targets_or_the_plain_default() {
        let plan = plan(SCENARIO, "process").unwrap();
        assert_eq!(plan.time("poll"), 1_000_000_000);
        assert_eq!(plan.time("takeover"), 2_000_000_000);
        assert_eq!(plan.time("record"), 1_000_000_000);
    }

    #[test]
    fn a_missing_capability_is_named() {
        let text =
            format!("needs = ['takeover', 'shadow-copy']\n{SCENARIO}[cluster]\nstores = 1\n");
        let refusal = plan(&text, "process").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "the target `some` has no shadow-copy, no owns-mailbox"
        );
        assert!(matches!(refusal, Refusal::NotApplicable { missing, .. } if missing.len() == 2));
    }

    #[test]
    fn the_simulator_needs_a_model() {
        let refusal = plan(SCENARIO, "sim").unwrap_err();
        assert!(matches!(refusal, Refusal::NoModel { .. }));
    }

    #[test]
    fn times_that_cannot_be_had_are_refused() {
        let text = format!("{SCENARIO}[time]\npoll = '50 ms'\n");
        assert_eq!(
            plan(&text, "process").unwrap_err().to_string(),
            "the scenario sets poll to 50 ms, which the target `some` cannot: it takes 100 ms to 1 d"
        );
        let text = format!(
            "{SCENARIO}[time]\nretry = '1 s'\nrequire = ['retry < takeover', 'restart < poll']\n"
        );
        assert_eq!(
            plan(&text, "process").unwrap_err().to_string(),
            "the scenario needs `retry < takeover`, which does not hold with retry = 5 s, takeover = 2 s"
        );
        let text = format!("{SCENARIO}[time]\npoll = 'takeover / 3'\n");
        assert!(matches!(plan(&text, "process"), Err(Refusal::Scenario(_))));
    }
}
