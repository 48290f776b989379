//! Whether a scenario stays within what its target promises to survive.
//!
//! A claim is a row: a kind of failure, how many nodes may have it at once,
//! how far apart two must lie. RFC 5321 6.1 is a row of every target that
//! does not disown it: after its 250 a message survives one process crash and
//! one power loss. What breaks more than some row covers is OUTSIDE-CLAIM:
//! figures, and never the words "no loss".

use crate::plan::{Failure, Guarantee, Plan};
use crate::scenario::{
    Back, Corrupt, DiskAct, DiskFault, NodeFault, Persistence, Pick, Span, Step, Trigger, Until,
};

/// Whether the claims of a target cover a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Every fault lies within a row.
    Covered,
    /// Some fault lies beyond every row; which, in one sentence.
    Outside(String),
}

impl Step {
    /// The kind of failure it is, as claims count it; `None` for a wait. A
    /// node that never comes back is lost whatever took it away: what its
    /// disk still holds does its recipients no good.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        Some(match self {
            Self::Crash(f) | Self::Restart(f) if f.back == Back::Same => Failure::ProcessCrash,
            Self::PowerCut(f) | Self::NodeLost(f) if f.back == Back::Same => Failure::PowerLoss,
            Self::Crash(_) | Self::Restart(_) | Self::PowerCut(_) | Self::NodeLost(_) => {
                Failure::NodeLost
            }
            Self::Disk(f) if f.back != Back::Same => Failure::NodeLost,
            Self::Corrupt(f) if f.back != Back::Same => Failure::NodeLost,
            Self::Disk(f) => match f.act {
                // Nothing fails; it only takes longer.
                DiskAct::Slow(_) => return None,
                DiskAct::Torn => Failure::PowerLoss,
                _ => Failure::DiskError,
            },
            Self::Corrupt(_) => Failure::Corruption,
            Self::Pause(_) => Failure::Pause,
            Self::Link(_) | Self::Partition(_) => Failure::Link,
            // A wrong clock takes nothing away: no claim is needed for it.
            Self::Clock(_) | Self::Wait(_) => return None,
        })
    }
}

/// A fault of a node that is not known to be repaired.
struct Open {
    failure: Failure,
    pick: Option<Pick>,
    /// What it still takes to be repaired.
    needs: Repair,
}

/// What proves a fault repaired.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repair {
    /// The node answers again, with all that it had.
    Back,
    /// The node answers again, empty; then all mail must be delivered, so
    /// that none is left with one copy.
    BackAndDrained,
    /// All mail must be delivered.
    Drained,
    /// It never is.
    Never,
}

/// Whether the target of a plan promises to survive its faults.
///
/// Faults count as "at once" when the earlier one is not known to be repaired
/// before the later one begins: a node that never comes back stays counted,
/// and so does one that comes back without a `wait` for it in between. Each
/// of the faults that last together must lie within a row that allows so
/// many. Between a repair and the next fault only `wait until elapsed` and
/// triggers of time are known to take time; that is what a row's spacing is
/// held against.
#[must_use]
pub fn covers(plan: &Plan) -> Cover {
    let mut open: Vec<Open> = Vec::new();
    // Nanoseconds known to lie between the last repair and now.
    let mut since_repair: Option<u64> = None;
    for (n, step) in plan.scenario.steps.iter().enumerate() {
        if let Step::Wait(wait) = step {
            let before = open.len();
            match wait.until {
                Until::Back => {
                    open.retain(|o| o.needs != Repair::Back);
                    for o in &mut open {
                        if o.needs == Repair::BackAndDrained {
                            o.needs = Repair::Drained;
                        }
                    }
                }
                Until::Drained => open.retain(|o| o.needs != Repair::Drained),
                Until::Elapsed => pass(&mut since_repair, plan, &wait.max),
                Until::Takeover | Until::Sent => {}
            }
            if open.len() < before {
                since_repair = Some(0);
            }
            continue;
        }
        let Some(failure) = step.failure() else {
            continue;
        };
        if let Some(Trigger::After(span)) = step.trigger() {
            pass(&mut since_repair, plan, span);
        }
        if failure == Failure::Link {
            if !allowed(plan, failure, 1, since_repair) {
                return Cover::Outside(outside(plan, n, failure, 1));
            }
            continue;
        }
        let pick = node(step);
        // Hitting one node twice is one node at a time, with the worse of
        // the two faults.
        let same = open
            .iter()
            .position(|o| matches!(pick, Some(Pick::Node(_))) && o.pick == pick);
        let next = Open {
            failure,
            pick,
            needs: repair(step),
        };
        match same {
            Some(at) if open[at].failure == Failure::NodeLost => {}
            Some(at) => open[at] = next,
            None => open.push(next),
        }
        let at_once = u16::try_from(open.len()).unwrap_or(u16::MAX);
        if !open
            .iter()
            .all(|o| allowed(plan, o.failure, at_once, since_repair))
        {
            return Cover::Outside(outside(plan, n, failure, open.len()));
        }
    }
    Cover::Covered
}

/// Adds a span that is known to pass.
fn pass(since_repair: &mut Option<u64>, plan: &Plan, span: &Span) {
    if let (Some(since), Ok(ns)) = (since_repair.as_mut(), span.resolve(&plan.times)) {
        *since = since.saturating_add(ns);
    }
}

fn repair(step: &Step) -> Repair {
    match step {
        Step::Crash(f) | Step::PowerCut(f) | Step::NodeLost(f) | Step::Restart(f) => match f.back {
            Back::Same => Repair::Back,
            Back::Empty => Repair::BackAndDrained,
            Back::Never => Repair::Never,
        },
        Step::Disk(DiskFault { back, .. }) | Step::Corrupt(Corrupt { back, .. })
            if *back == Back::Never =>
        {
            Repair::Never
        }
        Step::Disk(_)
        | Step::Corrupt(_)
        | Step::Pause(_)
        | Step::Link(_)
        | Step::Partition(_)
        | Step::Clock(_)
        | Step::Wait(_) => Repair::Back,
    }
}

fn node(step: &Step) -> Option<Pick> {
    match step {
        Step::Crash(NodeFault { node, .. })
        | Step::PowerCut(NodeFault { node, .. })
        | Step::NodeLost(NodeFault { node, .. })
        | Step::Restart(NodeFault { node, .. }) => Some(*node),
        Step::Pause(p) => Some(p.node),
        Step::Disk(f) => Some(f.node),
        Step::Corrupt(f) => Some(f.node),
        Step::Link(_) | Step::Partition(_) | Step::Clock(_) | Step::Wait(_) => None,
    }
}

/// What a target promises about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Some row covers it.
    pub(crate) covered: bool,
    /// Only rows with a condition do.
    pub(crate) conditional: bool,
    /// Some row that covers it promises that no copy comes without a licence.
    pub(crate) no_duplicates: bool,
}

impl Promise {
    /// The most that can be promised.
    pub(crate) const FULL: Self = Self {
        covered: true,
        conditional: false,
        no_duplicates: true,
    };

    /// What both promise.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            covered: self.covered && other.covered,
            conditional: self.conditional || other.conditional,
            no_duplicates: self.no_duplicates && other.no_duplicates,
        }
    }
}

/// What is promised about such a failure, so many at once, so soon after the
/// last repair (`None`: nothing was repaired before).
///
/// RFC 5321 makes a 250 the end of the sender's responsibility and the begin
/// of the receiver's: nothing is lost, and nothing is sent on again once the
/// 250 to it is recorded. A row of the target's own for the kind of failure
/// takes the place of that as to duplicates: it may promise less.
pub(crate) fn promise(
    plan: &Plan,
    failure: Failure,
    at_once: u16,
    since_repair: Option<u64>,
) -> Promise {
    // A model that keeps less than the target counts on only advises.
    let model = plan.scenario.cluster.disk;
    if failure == Failure::PowerLoss
        && model == Persistence::Posix
        && plan.target.persistence != model
    {
        return Promise {
            covered: false,
            conditional: false,
            no_duplicates: false,
        };
    }
    let rfc5321 = !plan.target.disowns_rfc5321
        && at_once <= 1
        && matches!(
            failure,
            // A pause or a cut link is less than a crash: nothing is gone.
            Failure::ProcessCrash | Failure::PowerLoss | Failure::Pause | Failure::Link
        );
    let own = || plan.target.claims.iter().filter(|c| c.failure == failure);
    let rows = || {
        own()
            .filter(|c| at_once <= c.at_once && since_repair.is_none_or(|since| since >= c.spacing))
    };
    let covered = rfc5321 || rows().next().is_some();
    Promise {
        covered,
        conditional: covered && !rfc5321 && rows().all(|c| c.condition.is_some()),
        no_duplicates: rows().any(|c| c.guarantee == Guarantee::NoLossNoDuplicates)
            || (rfc5321 && own().next().is_none()),
    }
}

fn allowed(plan: &Plan, failure: Failure, at_once: u16, since_repair: Option<u64>) -> bool {
    promise(plan, failure, at_once, since_repair).covered
}

/// A kind of failure in words.
pub(crate) fn in_words(failure: Failure) -> &'static str {
    match failure {
        Failure::ProcessCrash => "a process crash",
        Failure::PowerLoss => "a power loss",
        Failure::NodeLost => "the loss of a node with its store",
        Failure::DiskError => "an error of a disk",
        Failure::Corruption => "damage to a store at rest",
        Failure::Pause => "a pause",
        Failure::Link => "a fault on a link",
    }
}

fn outside(plan: &Plan, step: usize, failure: Failure, at_once: usize) -> String {
    let name = in_words(failure);
    if at_once > 1 {
        format!(
            "step {step} is {name} while {} other fault(s) last; {} makes no claim about {at_once} at once",
            at_once - 1,
            plan.target.name
        )
    } else {
        format!(
            "step {step} is {name}; {} makes no claim about that, or not so soon after the last repair",
            plan.target.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scenario, target};

    const ROWS: &str = "
[[claim]]
failure = 'process-crash'
at-once = 2
guarantee = 'no-loss'
[[claim]]
failure = 'node-lost'
spacing = '10 s'
condition = 'shadowed'
guarantee = 'no-loss'
";

    fn cover_of(disowns: bool, rows: &str, steps: &[&str]) -> Cover {
        let target = format!(
            "name = 't'\ntitle = 't'\ncapabilities = ['relay']\ndisowns-rfc5321 = {disowns}\n[node]\ncommand = ['t']\n{rows}"
        );
        let steps: String = steps.iter().map(|s| format!("[[step]]\n{s}\n")).collect();
        let text = format!("id = 'a/b'\ntitle = 't'\n[workload]\nmessages = 9\n{steps}");
        let plan = Plan::build(
            &scenario::parse("s", &text).unwrap(),
            &target::parse("t", &target).unwrap(),
            "process",
            1,
            "r",
        )
        .unwrap();
        covers(&plan)
    }

    fn cover(rows: &str, steps: &[&str]) -> Cover {
        cover_of(false, rows, steps)
    }

    const CRASH_1: &str = "crash = { node = 'n1', at = 'start' }";
    const CRASH_2: &str = "crash = { node = 'n2', at = 'start' }";
    const CRASH_3: &str = "crash = { node = 'n3', at = 'start' }";
    const GONE_1: &str = "node-lost = { node = 'n1', at = 'start', back = 'never' }";
    const WIPED_1: &str = "node-lost = { node = 'n1', at = 'start', back = 'empty' }";
    const WIPED_2: &str = "node-lost = { node = 'n2', at = 'start', back = 'empty' }";
    const BACK: &str = "wait = { until = 'back', max = '1 s' }";
    const DRAINED: &str = "wait = { until = 'drained', max = '1 s' }";
    const LONG: &str = "wait = { until = 'elapsed', max = '10 s' }";
    const SHORT: &str = "wait = { until = 'elapsed', max = '9 s' }";

    fn covered(rows: &str, steps: &[&str]) {
        assert_eq!(cover(rows, steps), Cover::Covered, "{steps:?}");
    }

    fn outside(rows: &str, steps: &[&str]) {
        assert!(matches!(cover(rows, steps), Cover::Outside(_)), "{steps:?}");
    }

    #[test]
    fn rfc_5321_covers_one_failure_that_leaves_the_store() {
        covered("", &[]);
        covered("", &[CRASH_1]);
        covered("", &["power-cut = { node = 'n1', at = 'start' }"]);
        covered("", &["pause = { node = 'any', at = 'start', for = '1 s' }"]);
        covered("", &[CRASH_1, BACK, CRASH_2]);
        outside("", &[CRASH_1, CRASH_2]);
        outside("", &[GONE_1]);
        outside("", &[WIPED_1]);
        outside(
            "",
            &["crash = { node = 'n1', at = 'start', back = 'never' }"],
        );
    }

    #[test]
    fn every_fault_that_lasts_needs_a_row_for_so_many() {
        covered(ROWS, &[CRASH_1, CRASH_2]);
        outside(ROWS, &[CRASH_1, CRASH_2, CRASH_3]);
        covered(ROWS, &[CRASH_1, CRASH_2, BACK, CRASH_3]);
        // Two crashes at once are claimed, a loss beside one is not.
        outside(ROWS, &[GONE_1, CRASH_2]);
        outside(ROWS, &[CRASH_2, GONE_1]);
        // A loss does not end when something else is back.
        outside(ROWS, &[CRASH_1, GONE_1, BACK, CRASH_2]);
        covered(ROWS, &[CRASH_1, GONE_1]);
    }

    #[test]
    fn a_lost_store_is_repaired_when_its_node_is_back_and_mail_is_delivered() {
        covered(ROWS, &[WIPED_1, BACK, DRAINED, LONG, WIPED_2]);
        outside(ROWS, &[WIPED_1, BACK, LONG, WIPED_2]);
        outside(ROWS, &[WIPED_1, DRAINED, LONG, WIPED_2]);
    }

    #[test]
    fn spacing_counts_only_time_that_is_known_to_pass() {
        outside(ROWS, &[WIPED_1, BACK, DRAINED, SHORT, WIPED_2]);
        outside(ROWS, &[WIPED_1, BACK, LONG, DRAINED, WIPED_2]);
        let later = "node-lost = { node = 'n2', at = '1 s', back = 'empty' }";
        covered(ROWS, &[WIPED_1, BACK, DRAINED, SHORT, later]);
    }

    #[test]
    fn a_target_may_disown_the_rfc() {
        assert_eq!(cover_of(true, "", &[]), Cover::Covered);
        assert!(matches!(cover_of(true, "", &[CRASH_1]), Cover::Outside(_)));
        assert_eq!(cover_of(true, ROWS, &[CRASH_1]), Cover::Covered);
    }
}
