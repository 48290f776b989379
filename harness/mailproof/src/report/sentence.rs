//! Each event of a history as a sentence that a stranger understands.

use mailproof_model::event::{Event, Harm, Row, RowState, Shut, Stage, StoreState, What};
use mailproof_model::party::Witness;

/// Moments and spans as reports show them: seconds with three decimals.
pub(crate) fn seconds(ns: u64) -> String {
    format!("{}.{:03} s", ns / 1_000_000_000, ns / 1_000_000 % 1_000)
}

/// One line of a timeline: id, moment, witness, what was seen.
pub(crate) fn line(event: &Event) -> String {
    format!(
        "#{:<6} {:>11}  {:<18} {}",
        event.id,
        format!("+{}", seconds(event.at)),
        event.by.to_string(),
        sentence(event)
    )
}

/// What an event says.
pub(crate) fn sentence(event: &Event) -> String {
    match &event.ev {
        What::Start { node, life, store } => {
            let with = match store {
                StoreState::Same => "the store it had",
                StoreState::Empty => "an empty store",
            };
            match life {
                1 => format!("{node} is started"),
                _ => format!("{node} is started again (life {life}), with {with}"),
            }
        }
        What::Ready { node, life } => format!("{node} answers (life {life})"),
        What::Exit { node, life, status } => {
            format!("{node} is gone: {status} (end of life {life})")
        }
        What::Paused { node, .. } => format!("{node} stands still"),
        What::Resumed { node, .. } => format!("{node} runs again"),
        What::Dropped { node, operations } => {
            format!("the power cut dropped {operations} un-synced operations of {node}'s disk")
        }
        What::DiskHeld { node, op, .. } => {
            format!("the disk of {node} stands still before it does this: {op}")
        }
        What::DiskReleased { node, .. } => format!("the disk of {node} is let go"),
        What::DiskHarm {
            node,
            op,
            how,
            amount,
            ..
        } => {
            let what = match how {
                Harm::Eio => "failed with EIO".to_owned(),
                Harm::Enospc => "failed with ENOSPC".to_owned(),
                Harm::Erofs => "failed with EROFS".to_owned(),
                Harm::SyncEio => format!("failed with EIO, and {amount} writes were dropped"),
                Harm::Torn => format!("was torn, {amount} bytes of it are on the medium"),
                Harm::Slow => format!("took {:.3} s longer", *amount as f64 / 1e9),
            };
            format!("an operation of {node}'s disk {what}: {op}")
        }
        What::Damaged {
            node,
            file,
            how,
            bytes,
            ..
        } => format!(
            "the file {file} of {node} was damaged ({}): {bytes} bytes are others, or gone",
            how.name()
        ),
        What::DamageRead { node, file, .. } => {
            format!("{node} read the file {file} where it was damaged")
        }
        What::StoreGone { node } => format!("the store of {node} is gone"),
        What::StoreRead {
            node,
            rows,
            stored,
            damage,
        } => {
            let mut text = format!("the harness read the store of {node}: {}", held(rows));
            if !stored.is_empty() {
                let copies: u64 = stored.iter().map(|s| u64::from(s.copies)).sum();
                text.push_str(&format!(", {copies} copies in mailboxes"));
            }
            if let Some(damage) = damage {
                text.push_str(&format!("; not all of it: {damage}"));
            }
            text
        }
        What::Fault {
            fault, stage, text, ..
        } => {
            let stage = match stage {
                Stage::Requested => "asked for",
                Stage::Armed => "armed",
                Stage::Fired => "injected",
                Stage::Removed => "taken back",
            };
            format!("fault of step {fault} {stage}: {text}")
        }
        What::Clock {
            node, wall, mono, ..
        } => format!(
            "the clocks of {node}: wall {wall} ms, monotonic {}",
            seconds(*mono)
        ),
        What::Happening { fault, number } => {
            format!(
                "happening {number} of the simulation is over: the fault of step {fault} comes now"
            )
        }
        What::Attempt {
            msg,
            attempt,
            session,
            node,
            rcpts,
            ..
        } => format!(
            "begins to hand message {msg} to {node} for {} (attempt {attempt}, session {session})",
            recipients(rcpts)
        ),
        What::Outcome {
            msg,
            attempt,
            rcpts,
            end,
            note,
        } => outcome(*msg, *attempt, rcpts, end, note.as_deref()),
        What::GaveUp { msg } => format!("will not try message {msg} again"),
        What::Open { conn } => format!("connection {conn} opens"),
        What::Stalled { conn, from } => {
            format!("a cut keeps what {from} sent on connection {conn}")
        }
        What::Refused { note, .. } => match note {
            Some(note) => format!("a connection was refused: {note}"),
            None => "a connection was refused".to_owned(),
        },
        What::Shut { conn, how, from } => {
            let how = match how {
                Shut::Fin => "closes in order",
                Shut::Reset => "is reset",
                Shut::Silent => "falls silent: the peer is told nothing",
            };
            match from {
                Some(from) => format!("connection {conn} {how} ({from} ended it)"),
                None => format!("connection {conn} {how} (the link cut it)"),
            }
        }
        What::Dot {
            conn, msg, rcpts, ..
        } => match msg {
            Some(msg) => format!(
                "the end of message {msg} for {} passes on connection {conn}",
                recipients(rcpts)
            ),
            None => format!(
                "the end of a message that is not the workload's passes on connection {conn}"
            ),
        },
        What::Reply {
            conn,
            to,
            msg,
            code,
            ..
        } => {
            let of = msg.map_or(String::new(), |msg| format!(" of message {msg}"));
            let what = match to.as_str() {
                "dot" => format!("the end{of}"),
                other => format!("{other}{of}"),
            };
            format!("{code} to {what} arrives on connection {conn}")
        }
        What::Verb { conn, verb, code } => format!("{verb} answered {code} on connection {conn}"),
        What::Opaque { conn, note } => {
            format!("connection {conn} can no longer be read: {note}")
        }
        What::Held { conn, fault, phase } => {
            format!("connection {conn} is held at {phase} for the fault of step {fault}")
        }
        What::Released { conn, .. } => format!("connection {conn} goes on"),
        What::Taken {
            from,
            msg,
            rcpts,
            strangers,
            ..
        } => {
            let mut text = format!("takes message {msg} from {from} for {}", recipients(rcpts));
            if !strangers.is_empty() {
                text.push_str(&format!(
                    ", and for {} that it was not sent to",
                    strangers.join(", ")
                ));
            }
            text
        }
        What::Dsn {
            from,
            msg,
            action,
            rcpts,
            ..
        } => format!(
            "takes a notification from {from}: message {msg} {action} for {}",
            recipients(rcpts)
        ),
        What::Phantom { from, note, .. } => {
            format!("takes from {from} what is no message of this run: {note}")
        }
        What::Queues { node, rows, others } => {
            let mut text = format!("{node} says it holds {}", held(rows));
            if *others > 0 {
                text.push_str(&format!(", and {others} entries of other mail"));
            }
            text
        }
        What::Unlisted { node, note } => format!("{node} could not be asked: {note}"),
        What::Step { step, text } => format!("step {step}: {text}"),
        What::Choice { of, picked, .. } => format!("`{of}` is {picked}"),
        What::Waited { until, came, .. } => match came {
            true => format!("the wait for `{until}` is over: it came"),
            false => format!("the wait for `{until}` ran out"),
        },
        What::Measured { name, took } => format!("measured: `{name}` took {}", seconds(*took)),
        What::Quiet { since, lasted } => format!(
            "nothing moved for {} (since +{})",
            seconds(*lasted),
            seconds(*since)
        ),
        What::End { why } => format!("end: {why}"),
        What::Trouble { note } => format!("the harness failed: {note}"),
    }
}

/// Whether a stranger wants to know of an event while the run goes on, and
/// under which heading.
pub(crate) fn headline(event: &Event) -> Option<&'static str> {
    match &event.ev {
        What::Fault {
            stage: Stage::Fired | Stage::Removed,
            ..
        } => Some("fault"),
        What::Start { life, .. } if *life > 1 => Some("node"),
        // A node that ends in order at the end of the run is no news.
        What::Exit { status, .. } if status != "code 0" => Some("node"),
        What::Paused { .. } | What::Resumed { .. } => Some("node"),
        What::Trouble { .. } => Some("trouble"),
        _ => None,
    }
}

/// The message that an event is about, if it is about one.
#[cfg(test)]
pub(crate) fn message(event: &Event) -> Option<u32> {
    match &event.ev {
        What::Attempt { msg, .. }
        | What::Outcome { msg, .. }
        | What::GaveUp { msg }
        | What::Taken { msg, .. }
        | What::Dsn { msg, .. } => Some(*msg),
        What::Dot { msg, .. } | What::Reply { msg, .. } => *msg,
        _ => None,
    }
}

/// Who a witness is, for people who have not read the design.
pub(crate) fn witness(by: Witness) -> String {
    match by {
        Witness::Client => "the sender".to_owned(),
        Witness::Link(link) => format!("the observer on {link}"),
        Witness::Mailbox => "the mailbox".to_owned(),
        Witness::Disk(node) => format!("the disk of {node}"),
        Witness::Kernel => "the kernel".to_owned(),
        Witness::Director => "the director".to_owned(),
        Witness::Injector => "the injector".to_owned(),
        Witness::Node(node) => format!("{node} itself"),
    }
}

fn recipients(rcpts: &[u16]) -> String {
    match rcpts {
        [] => "no recipient".to_owned(),
        [one] => format!("recipient {one}"),
        many => {
            let shown: Vec<_> = many.iter().take(8).map(u16::to_string).collect();
            let more = match many.len() - shown.len() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!("recipients {}{more}", shown.join(", "))
        }
    }
}

fn outcome(msg: u32, attempt: u16, rcpts: &[u16], end: &[u16], note: Option<&str>) -> String {
    let codes = |codes: &[u16]| {
        let mut codes: Vec<_> = codes.to_vec();
        codes.dedup();
        let shown: Vec<_> = codes.iter().take(8).map(u16::to_string).collect();
        shown.join(", ")
    };
    let why = note.map_or(String::new(), |note| format!(" ({note})"));
    if !end.is_empty() {
        format!(
            "sees {} to the end of message {msg}, attempt {attempt}{why}",
            codes(end)
        )
    } else if rcpts.iter().any(|c| *c >= 400) {
        format!(
            "sees {} to the recipients of message {msg}, attempt {attempt}{why}",
            codes(rcpts)
        )
    } else {
        format!("sees no reply to the end of message {msg}, attempt {attempt}{why}")
    }
}

fn held(rows: &[Row]) -> String {
    let count = |state| rows.iter().filter(|r| r.state == state).count();
    format!(
        "{} queued, {} shadow, {} done",
        count(RowState::Queued),
        count(RowState::Shadow),
        count(RowState::Done)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailproof_model::party::{Link, Party};

    #[test]
    fn a_timeline_line_names_id_moment_witness_and_fact() {
        let event = Event {
            id: 42,
            at: 1_234_567_890,
            by: Witness::Link(Link::new(Party::Client, Party::Node(1))),
            ev: What::Reply {
                conn: 3,
                to: "dot".to_owned(),
                msg: Some(7),
                attempt: Some(1),
                rcpts: None,
                code: 250,
            },
        };
        assert_eq!(
            line(&event),
            "#42        +1.234 s  link:client->n1    250 to the end of message 7 arrives on connection 3"
        );
        assert_eq!(message(&event), Some(7));
    }

    #[test]
    fn outcomes_say_what_the_sender_saw() {
        assert_eq!(
            outcome(3, 1, &[250], &[250], None),
            "sees 250 to the end of message 3, attempt 1"
        );
        assert_eq!(
            outcome(3, 2, &[250], &[], Some("connection reset")),
            "sees no reply to the end of message 3, attempt 2 (connection reset)"
        );
        assert_eq!(
            outcome(3, 1, &[250, 451], &[], None),
            "sees 250, 451 to the recipients of message 3, attempt 1"
        );
    }
}
