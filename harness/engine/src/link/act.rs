//! What a link can do, and where.

use mailproof_model::event::Fault;
use mailproof_model::order::Unavailable;
use mailproof_model::scenario::{LinkAct, Point};
use mailproof_wire::Phase;

/// An act that waits at its point.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    pub(super) fault: Fault,
    pub(super) phase: Phase,
    /// Passages still to come, the one that counts included.
    pub(super) left: u32,
    pub(super) act: LinkAct,
    pub(super) disarmed: bool,
}

fn no(what: String, why: &str) -> Unavailable {
    Unavailable {
        what,
        why: why.to_owned(),
    }
}

/// Whether an act can hit a whole link.
///
/// # Errors
/// Why it cannot.
pub fn offers_act(act: &LinkAct) -> Result<(), Unavailable> {
    match act {
        LinkAct::Refuse
        | LinkAct::Blackhole
        | LinkAct::Mute(_)
        | LinkAct::Delay(_)
        | LinkAct::Throttle(_)
        | LinkAct::Reset
        | LinkAct::HalfClose => Ok(()),
        LinkAct::Hold | LinkAct::LoseReply | LinkAct::CutAt(_) | LinkAct::Answer(_) => Err(no(
            format!("`{}` on a whole link", act_text(act)),
            "it belongs to one point of a dialogue; give `at` a link and a phase",
        )),
    }
}

/// Whether an act can be armed at a point; yields its phase.
///
/// # Errors
/// Why it cannot: the phase does not exist, or the act has no meaning there.
pub fn offers_point(point: &Point, act: &LinkAct) -> Result<Phase, Unavailable> {
    let what = || format!("`{}` at `{}`", act_text(act), point.phase);
    let phase: Phase = point
        .phase
        .parse()
        .map_err(|e: mailproof_wire::phase::UnknownPhase| no(what(), &e.to_string()))?;
    let reply = phase.from_server() && phase != Phase::AfterEndReply;
    let told_by_link = matches!(
        phase,
        Phase::Connect | Phase::AfterDot | Phase::AfterEndReply
    );
    match act {
        LinkAct::LoseReply if !reply => Err(no(what(), "only a reply can be lost")),
        LinkAct::Answer(_) if told_by_link || phase == Phase::Content => Err(no(
            what(),
            "no command and no reply stands there to be answered or replaced",
        )),
        LinkAct::Answer(text) if parse_reply(text).is_none() => Err(no(
            what(),
            "it is no SMTP reply; write a code and a text, `451 4.3.2 try later`",
        )),
        LinkAct::CutAt(_) if told_by_link => Err(no(what(), "no bytes stand there to be cut")),
        _ => Ok(phase),
    }
}

/// The reply that a scenario wrote, as bytes for the wire.
pub(super) fn parse_reply(text: &str) -> Option<Vec<u8>> {
    let code = text.get(..3)?.parse::<u16>().ok()?;
    let rest = &text[3..];
    let clean = rest.is_empty() || rest.starts_with(' ');
    let printable = rest.bytes().all(|b| (b' '..0x7f).contains(&b));
    if !(200..600).contains(&code) || !clean || !printable || text.len() > 500 {
        return None;
    }
    Some(format!("{text}\r\n").into_bytes())
}

/// An act in words.
pub(super) fn act_text(act: &LinkAct) -> String {
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
