//! What a lister command prints, read as the rows of a listing.

use std::collections::BTreeMap;

use mailproof_model::event::{Msg, Rcpt, Row, RowState};
use mailproof_model::workload;
use serde::Deserialize;

/// Most lines that are read from a lister.
const MAX_LINES: usize = 1_000_000;

/// One line of a lister. What else stands in it is of no interest here.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "queue_id")]
    _queue_id: String,
    rcpt: String,
    state: String,
}

/// The rows that a lister printed, and how many entries are not the
/// workload's.
///
/// # Errors
/// The first line that is none, with what was expected.
pub(crate) fn read(text: &str) -> Result<(Vec<Row>, u32), String> {
    let mut held: BTreeMap<(Msg, RowState), Vec<Rcpt>> = BTreeMap::new();
    let mut others = 0;
    for (number, line) in (1..).zip(text.lines()) {
        if number > MAX_LINES {
            return Err(format!("the lister printed more than {MAX_LINES} lines"));
        }
        if line.trim().is_empty() {
            continue;
        }
        let row: Line = serde_json::from_str(line).map_err(|error| {
            format!(
                "line {number} of the lister is no object with queue_id, rcpt and state: {error}"
            )
        })?;
        let state = match row.state.as_str() {
            "queued" => RowState::Queued,
            "shadow" => RowState::Shadow,
            "done" => RowState::Done,
            other => {
                return Err(format!(
                    "line {number} of the lister has the state `{other}`; expected queued, shadow or done"
                ));
            }
        };
        match workload::read_address(row.rcpt.as_bytes()) {
            Some((msg, rcpt)) => held.entry((msg, state)).or_default().push(rcpt),
            None => others += 1,
        }
    }
    let rows = held
        .into_iter()
        .map(|((msg, state), mut rcpts)| {
            rcpts.sort_unstable();
            rcpts.dedup();
            Row {
                msg: Some(msg),
                rcpts,
                state,
            }
        })
        .collect();
    Ok((rows, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_of_a_message_become_one_row() {
        let text = r#"
{"queue_id": "a", "our_id": "x", "rcpt": "m3r1@mail.test", "state": "queued", "next_retry": 0.5}
{"queue_id": "a", "rcpt": "m3r0@mail.test", "state": "queued", "next_retry": 0.5}
{"queue_id": "b", "rcpt": "m3r0@mail.test", "state": "done"}
{"queue_id": "c", "rcpt": "s3@client.test", "state": "queued"}
"#;
        let (rows, others) = read(text).unwrap();
        let row = |rcpts: &[u16], state| Row {
            msg: Some(3),
            rcpts: rcpts.to_vec(),
            state,
        };
        assert_eq!(
            rows,
            [row(&[0, 1], RowState::Queued), row(&[0], RowState::Done)]
        );
        assert_eq!(others, 1);
        assert_eq!(read("").unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for (text, why) in [
            ("Mail queue is empty", "line 1"),
            (
                r#"{"queue_id": "a", "rcpt": "x", "state": "gone"}"#,
                "`gone`",
            ),
            ("\n{}", "line 2"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
