//! What a step is: its spans with their values, its act, its text.

use crate::order::Act;
use crate::party::{Link, Party};
use crate::plan::Plan;
use crate::scenario::{
    Back, DiskAct, DiskPoint, Drift, LinkAct, NodeFault, Pick, Point, Span, SpanError, Step,
    Trigger, Until,
};

/// A step with its spans resolved, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Times {
    /// From the beginning of the step to its act, for [`Trigger::After`].
    pub(super) lead: u64,
    /// From a node's fault to its return.
    pub(super) after: u64,
    /// How long a lasting fault lasts.
    pub(super) lasts: Option<u64>,
    /// How long a flapping partition stays as it is.
    pub(super) flap: Option<u64>,
    /// By how much a wall clock jumps.
    pub(super) offset: i64,
    /// How long a wait waits at most.
    pub(super) max: u64,
}

impl Times {
    pub(super) fn of(plan: &Plan, step: &Step) -> Result<Self, SpanError> {
        let value = |span: &Span| span.resolve(&plan.times);
        let maybe = |span: &Option<Span>| span.as_ref().map(value).transpose();
        let lead = match trigger(step) {
            Some(Trigger::After(span)) => value(span)?,
            _ => 0,
        };
        let mut times = Self {
            lead,
            after: 0,
            lasts: None,
            flap: None,
            offset: 0,
            max: 0,
        };
        match step {
            Step::Crash(fault)
            | Step::PowerCut(fault)
            | Step::NodeLost(fault)
            | Step::Restart(fault) => times.after = maybe(&fault.after)?.unwrap_or(0),
            Step::Pause(pause) => times.lasts = Some(value(&pause.lasts)?),
            Step::Link(fault) => times.lasts = maybe(&fault.lasts)?,
            Step::Partition(partition) => {
                times.lasts = maybe(&partition.lasts)?;
                // A partition that never stays as it is would never end.
                times.flap = maybe(&partition.flap)?.map(|flap| flap.max(1));
            }
            Step::Disk(fault) => {
                times.lasts = maybe(&fault.lasts)?;
                times.after = maybe(&fault.after)?.unwrap_or(0);
            }
            Step::Corrupt(fault) => times.after = maybe(&fault.after)?.unwrap_or(0),
            Step::Clock(fault) => {
                times.lasts = maybe(&fault.lasts)?;
                let offset = fault.offset.as_ref().map(|o| o.resolve(&plan.times));
                times.offset = offset.transpose()?.unwrap_or(0);
            }
            Step::Wait(wait) => times.max = value(&wait.max)?,
        }
        Ok(times)
    }

    /// All of it, for a bound on the run.
    pub(super) fn sum(&self) -> u64 {
        [self.lead, self.after, self.lasts.unwrap_or(0), self.max]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// When a step acts; `None` for a wait.
pub(super) fn trigger(step: &Step) -> Option<&Trigger> {
    step.trigger()
}

/// The point of a dialogue at which a step acts, if it acts at one.
pub(super) fn point(step: &Step) -> Option<&Point> {
    match trigger(step) {
        Some(Trigger::Point(point)) => Some(point),
        _ => None,
    }
}

/// The disk operation at which a step acts, if it acts at one.
pub(super) fn disk_point(step: &Step) -> Option<&DiskPoint> {
    match trigger(step) {
        Some(Trigger::Disk(point)) => Some(point),
        _ => None,
    }
}

/// The node that a step is about.
pub(super) fn pick(step: &Step) -> Option<Pick> {
    match step {
        Step::Crash(fault)
        | Step::PowerCut(fault)
        | Step::NodeLost(fault)
        | Step::Restart(fault) => Some(fault.node),
        Step::Pause(pause) => Some(pause.node),
        Step::Disk(fault) => Some(fault.node),
        Step::Corrupt(fault) => Some(fault.node),
        Step::Clock(fault) => Some(fault.node),
        Step::Link(_) | Step::Partition(_) | Step::Wait(_) => None,
    }
}

/// The fault of a node, and whether it comes back.
pub(super) fn node_fault(step: &Step) -> Option<&NodeFault> {
    match step {
        Step::Crash(fault)
        | Step::PowerCut(fault)
        | Step::NodeLost(fault)
        | Step::Restart(fault) => Some(fault),
        _ => None,
    }
}

/// Whether a node that a step took away comes back.
pub(super) fn back(step: &Step) -> Option<Back> {
    match step {
        Step::Disk(fault) => Some(fault.back),
        Step::Corrupt(fault) => Some(fault.back),
        _ => node_fault(step).map(|fault| fault.back),
    }
}

/// What a step does to a node.
pub(super) fn node_act(step: &Step, times: &Times, node: Party) -> Option<Act> {
    Some(match step {
        Step::Crash(_) => Act::Crash(node),
        Step::PowerCut(_) => Act::PowerCut(node),
        Step::NodeLost(fault) => Act::NodeLost {
            node,
            wipe: fault.back != Back::Same,
        },
        Step::Pause(_) => Act::Pause(node),
        Step::Disk(fault) => Act::Disk(node, fault.act.clone()),
        Step::Corrupt(fault) => Act::Corrupt(node, fault.act),
        Step::Restart(_) => Act::Restart(node),
        Step::Clock(fault) => Act::Clock {
            node,
            offset: times.offset,
            drift: fault.drift.map_or(0, Drift::ppm),
        },
        Step::Link(_) | Step::Partition(_) | Step::Wait(_) => return None,
    })
}

/// Whether an act goes on until it is taken back.
pub(super) fn lasting(act: &LinkAct) -> bool {
    matches!(
        act,
        LinkAct::Blackhole
            | LinkAct::Mute(_)
            | LinkAct::Delay(_)
            | LinkAct::Throttle(_)
            | LinkAct::Refuse
    )
}

/// The end of a link that belongs to the target; the dialling one if both do.
pub(super) fn near(link: Link) -> Party {
    if link.from.is_node() {
        link.from
    } else {
        link.to
    }
}

/// A step in words.
pub(super) fn text(step: &Step) -> String {
    let node = |what: &str, fault: &NodeFault| {
        let mut text = format!("{what} {} at {}", fault.node, fault.at);
        match (fault.back, &fault.after) {
            (Back::Never, _) => text += ", never back",
            (back, after) => {
                text += match back {
                    Back::Empty => ", back with an empty store",
                    _ => ", back with its store",
                };
                if let Some(after) = after {
                    text += &format!(" after {after}");
                }
            }
        }
        text
    };
    match step {
        Step::Crash(fault) => node("crash", fault),
        Step::PowerCut(fault) => node("power cut", fault),
        Step::NodeLost(fault) => node("node lost", fault),
        Step::Restart(fault) => node("restart", fault),
        Step::Pause(pause) => format!("pause {} at {} for {}", pause.node, pause.at, pause.lasts),
        Step::Link(fault) => {
            let mut text = link_act(&fault.act);
            if let Some(link) = fault.on {
                text += &format!(" on {link}");
            }
            text += &format!(" at {}", fault.at);
            if let Some(lasts) = &fault.lasts {
                text += &format!(" for {lasts}");
            }
            text
        }
        Step::Clock(fault) => {
            let mut text = format!("wrong clocks of {} at {}", fault.node, fault.at);
            if let Some(offset) = &fault.offset {
                text += &format!(", wall {offset}");
            }
            if let Some(drift) = &fault.drift {
                text += &format!(", monotonic {drift}");
            }
            if let Some(lasts) = &fault.lasts {
                text += &format!(", for {lasts}");
            }
            text
        }
        Step::Partition(partition) => {
            let side = |side: &Vec<Party>| {
                let names: Vec<String> = side.iter().map(ToString::to_string).collect();
                names.join(", ")
            };
            let sides: Vec<String> = partition.sides.iter().map(side).collect();
            let mut text = format!("partition {} at {}", sides.join(" | "), partition.at);
            if let Some(lasts) = &partition.lasts {
                text += &format!(" for {lasts}");
            }
            if partition.one_way {
                text += ", one-way";
            }
            if let Some(flap) = &partition.flap {
                text += &format!(", flapping every {flap}");
            }
            text
        }
        Step::Disk(fault) => {
            let mut text = format!("disk of {}: {}", fault.node, fault.act.name());
            if let DiskAct::Slow(span) = &fault.act {
                text += &format!(" by {span}");
            }
            text += &format!(" at {}", fault.at);
            if let Some(lasts) = &fault.lasts {
                text += &format!(" for {lasts}");
            }
            text
        }
        Step::Corrupt(fault) => format!(
            "damage the files of {} at {}: {}",
            fault.node,
            fault.at,
            fault.act.name()
        ),
        Step::Wait(wait) => format!("wait for {}, at most {}", until(&wait.until), wait.max),
    }
}

/// What a wait waits for, as scenarios write it.
pub(super) fn until(until: &Until) -> &'static str {
    match until {
        Until::Takeover => "takeover",
        Until::Back => "back",
        Until::Drained => "drained",
        Until::Sent => "sent",
        Until::Elapsed => "elapsed",
    }
}

/// A link act in words.
pub(super) fn link_act(act: &LinkAct) -> String {
    match act {
        LinkAct::Hold => "hold".to_owned(),
        LinkAct::Reset => "reset".to_owned(),
        LinkAct::HalfClose => "half-close".to_owned(),
        LinkAct::LoseReply => "lose the reply".to_owned(),
        LinkAct::CutAt(k) => format!("cut after {k} bytes"),
        LinkAct::Blackhole => "blackhole".to_owned(),
        LinkAct::Delay(span) => format!("delay by {span}"),
        LinkAct::Mute(toward) => format!("mute {toward}"),
        LinkAct::Throttle(rate) => format!("throttle to {rate}"),
        LinkAct::Refuse => "refuse".to_owned(),
        LinkAct::Answer(reply) => format!("answer `{reply}`"),
    }
}
