//! The workload on the wire: from a message of the plan to a transaction, and
//! from its outcome to what a history says of it.

use std::sync::Arc;

use mailproof_model::event::{Attempt, Msg, Rcpt, What};
use mailproof_model::plan::Plan;
use mailproof_model::workload::{address_in, sender, shape};
use mailproof_wire::outcome::Recipient;
use mailproof_wire::{ClientOptions, MessageSpec, Outcome, RcptOutcome, Stage, Transaction};

/// Date of every message: a run's content does not depend on when it runs.
const DATE: i64 = 1_767_225_600;

/// How the harness's client behaves.
#[must_use]
pub fn client_options() -> ClientOptions {
    ClientOptions {
        name: "client.mailproof.test".to_owned(),
        pipelining: true,
        lmtp: false,
        raw: false,
    }
}

/// One attempt of a message for some of its recipients.
#[must_use]
pub fn transaction(plan: &Plan, msg: Msg, attempt: Attempt, rcpts: &[Rcpt]) -> Transaction {
    let shape = shape(plan, msg);
    let all: Vec<String> = (0..shape.rcpts).map(|r| address_in(plan, msg, r)).collect();
    let to: Vec<&str> = all.iter().map(String::as_str).collect();
    let from = sender(msg);
    let content = MessageSpec {
        run: &plan.run,
        number: msg.into(),
        size: usize::try_from(shape.size).unwrap_or(usize::MAX),
        seed: shape.body,
        from: &from,
        to: &to,
        unix_seconds: DATE + i64::from(msg),
    }
    .content(attempt.into());
    Transaction {
        params: String::new(),
        rcpts: if rcpts.iter().copied().eq(0..shape.rcpts) {
            all.into_iter().map(Recipient::from).collect()
        } else {
            let some = rcpts.iter().map(|r| address_in(plan, msg, *r));
            some.map(Recipient::from).collect()
        },
        content: Arc::from(content),
        from,
    }
}

/// What the client knows at the end of an attempt, as a history says it.
///
/// A refusal of MAIL speaks for every recipient; one of the greeting or EHLO
/// is about the session and says nothing of the message, so it counts as no
/// reply.
#[must_use]
pub fn outcome(msg: Msg, attempt: Attempt, outcome: &Outcome) -> What {
    let mut rcpts = Vec::with_capacity(outcome.rcpts.len());
    let mut end = Vec::new();
    let mut note = None;
    for (i, rcpt) in outcome.rcpts.iter().enumerate() {
        let replied = outcome.rcpt_replies.get(i).and_then(Option::as_ref);
        let mut code = replied.map_or(0, |r| r.code());
        match rcpt {
            RcptOutcome::Accepted(reply) => end = vec![reply.code()],
            RcptOutcome::Refused { stage, reply } => match stage {
                Stage::Mail => code = reply.code(),
                Stage::Data | Stage::End => end = vec![reply.code()],
                Stage::Rcpt => {}
                Stage::Greeting | Stage::Hello | Stage::Closing => {
                    note.get_or_insert_with(|| format!("the server said {}", reply.code()));
                }
            },
            RcptOutcome::NoReply => {
                note.get_or_insert_with(|| "no reply to the end of data".to_owned());
            }
            RcptOutcome::NotSent => {
                note.get_or_insert_with(|| {
                    "the connection ended before the end of data".to_owned()
                });
            }
        }
        rcpts.push(code);
    }
    What::Outcome {
        msg,
        attempt,
        rcpts,
        end,
        note,
    }
}

/// The outcome of an attempt for which no connection came about.
#[must_use]
pub fn not_connected(msg: Msg, attempt: Attempt, rcpts: usize, why: &str) -> What {
    What::Outcome {
        msg,
        attempt,
        rcpts: vec![0; rcpts],
        end: Vec::new(),
        note: Some(why.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use mailproof_wire::Reply;

    use super::*;

    fn reply(code: u16) -> Reply {
        Reply::new(code, "x")
    }

    fn codes(outcome_of: Outcome) -> (Vec<u16>, Vec<u16>, bool) {
        match outcome(1, 1, &outcome_of) {
            What::Outcome {
                rcpts, end, note, ..
            } => (rcpts, end, note.is_some()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn outcomes_say_no_more_than_the_client_knows() {
        let refused = |stage, code| RcptOutcome::Refused {
            stage,
            reply: reply(code),
        };
        let some = |code| Some(reply(code));
        assert_eq!(
            codes(Outcome {
                mail: some(250),
                rcpt_replies: vec![some(250), some(550)],
                data: some(354),
                rcpts: vec![RcptOutcome::Accepted(reply(250)), refused(Stage::Rcpt, 550)],
            }),
            (vec![250, 550], vec![250], false)
        );
        assert_eq!(
            codes(Outcome {
                mail: some(451),
                rcpt_replies: vec![None, some(503)],
                data: None,
                rcpts: vec![refused(Stage::Mail, 451), refused(Stage::Mail, 451)],
            }),
            (vec![451, 451], vec![], false)
        );
        assert_eq!(
            codes(Outcome {
                mail: some(250),
                rcpt_replies: vec![some(250)],
                data: some(354),
                rcpts: vec![RcptOutcome::NoReply],
            }),
            (vec![250], vec![], true)
        );
        assert_eq!(
            codes(Outcome {
                mail: None,
                rcpt_replies: vec![None],
                data: None,
                rcpts: vec![refused(Stage::Greeting, 554)],
            }),
            (vec![0], vec![], true)
        );
    }
}
