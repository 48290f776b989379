//! What is timed: plans made from the two scenarios of the benchmark, or from
//! one that the command carries.

use mailproof_model::plan::Plan;
use mailproof_model::scenario::{self, Scenario};
use mailproof_model::target::{self, TargetFile};

use crate::library;
use crate::target_choice::Choice;

const RATE: &str = include_str!("rate.toml");
const SHADOWS: &str = include_str!("shadows.toml");

/// The target that holds mail for 48 hours.
const REFERENCE: &str = "reference";

/// A line of its node's configuration, and those put in its place: mail may
/// grow three days old (the default is two), and a session ends when it has
/// nothing more to say, so that polls are two minutes apart and not two and a
/// half.
const LINE: &str = "test-times = true\n";
const LINES: &str = "test-times = true\n\
    message-expiration-timeout = \"3 d\"\n\
    shadow-message-auto-discard-interval = \"3 d\"\n\
    send-connection-idle-time = \"0 s\"\n";

/// A plan and the target that goes with it.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) plan: Plan,
    pub(super) target: TargetFile,
}

impl Case {
    fn new(scenario: &Scenario, target: &TargetFile, seed: u64) -> Result<Self, String> {
        let run = format!("bench-{seed}");
        let plan = Plan::build(scenario, target, "sim", seed, &run)
            .map_err(|e| format!("{}: {e}", scenario.id))?;
        Ok(Self {
            plan,
            target: target.clone(),
        })
    }
}

/// Messages through a cluster in which nothing breaks.
pub(super) fn rate(target: &Choice, nodes: u16, messages: u32, seed: u64) -> Result<Case, String> {
    let mut scenario = read("rate.toml", RATE)?;
    scenario.cluster.nodes = nodes;
    scenario.workload.messages = messages;
    // Every node takes mail.
    scenario.workload.sessions = scenario.workload.sessions.max(nodes);
    Case::new(&scenario, &target.file, seed)
}

/// 48 hours of live copies.
pub(super) fn shadows(seed: u64) -> Result<Case, String> {
    let text = library::targets()
        .find(|(name, _)| *name == REFERENCE)
        .map(|(_, text)| text.replacen(LINE, LINES, 1))
        .filter(|text| text.contains(LINES))
        .ok_or("the target `reference` has no line `test-times = true`")?;
    let target = target::parse("reference.toml", &text).map_err(|e| e.to_string())?;
    Case::new(&read("shadows.toml", SHADOWS)?, &target, seed)
}

/// A scenario that the command carries.
pub(super) fn carried(id: &str, target: &Choice, seed: u64) -> Result<Case, String> {
    let scenario = library::scenario(id).ok_or_else(|| {
        format!("no scenario is called `{id}`; `mailproof list` names those there are")
    })?;
    Case::new(scenario, &target.file, seed)
}

fn read(file: &str, text: &str) -> Result<Scenario, String> {
    scenario::parse(file, text).map_err(|e| e.to_string())
}
