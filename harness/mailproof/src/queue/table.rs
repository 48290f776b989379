//! The view of a node's queues for people: the vendor's columns.
//!
//! Much of what stands in a queue was written by strangers. Nothing that a
//! terminal would act on is passed to it.

use std::fmt::Write as _;

use mailproof_node::view::{MessageRow, MessageState, QueuesView};

/// The table; with `messages` also every message and copy.
pub(super) fn table(view: &QueuesView, messages: bool) -> String {
    let mut text = format!(
        "{}  database {}  start {}\n\n",
        safe(&view.node),
        safe(&view.database_id),
        view.boot
    );
    let queues = view.queues.iter().map(|queue| {
        vec![
            queue.identity.clone(),
            queue.delivery_type.clone(),
            queue.status.clone(),
            queue.message_count.to_string(),
            queue.next_hop_domain.clone(),
            queue.next_retry.map(span).unwrap_or_default(),
            queue.last_error.clone(),
        ]
    });
    grid(
        &mut text,
        &[
            "Identity",
            "DeliveryType",
            "Status",
            "MessageCount",
            "NextHopDomain",
            "NextRetry",
            "LastError",
        ],
        queues,
        "no queues",
    );
    if !view.discards.is_empty() {
        let rows = view.discards.iter().map(|row| {
            vec![
                row.peer.clone(),
                row.sequences.len().to_string(),
                row.withdrawn.len().to_string(),
            ]
        });
        text.push('\n');
        grid(
            &mut text,
            &["DiscardsFor", "Waiting", "Withdrawn"],
            rows,
            "",
        );
    }
    if !view.peers.is_empty() {
        let rows = view.peers.iter().map(|peer| {
            vec![
                peer.name.clone(),
                peer.place.clone(),
                if peer.reachable { "yes" } else { "no" }.to_owned(),
                span(peer.since_contact),
                peer.held.to_string(),
                peer.database_id.clone(),
            ]
        });
        text.push('\n');
        let head = [
            "Peer",
            "Place",
            "Reachable",
            "SinceContact",
            "CopiesHeld",
            "Database",
        ];
        grid(&mut text, &head, rows, "");
    }
    if messages {
        let rows = view.messages.iter().map(message);
        text.push('\n');
        let head = [
            "Message",
            "State",
            "Sender",
            "Recipients",
            "ShadowedAt",
            "LastError",
        ];
        grid(&mut text, &head, rows, "no messages");
        let rows = view.shadows.iter().map(|row| {
            vec![
                row.origin.primary.clone(),
                format!("{:x}", row.origin.sequence),
                address(&row.sender),
                row.recipients.join(" "),
                row.message_id.clone(),
            ]
        });
        text.push('\n');
        let head = ["ShadowOf", "Sequence", "Sender", "Recipients", "MessageId"];
        grid(&mut text, &head, rows, "no shadow messages");
    }
    text
}

fn message(row: &MessageRow) -> Vec<String> {
    let state = match row.state {
        MessageState::Pending => "Pending",
        MessageState::Ready => "Ready",
        MessageState::Retry => "Retry",
        MessageState::Delivering => "Active",
        MessageState::Completing => "Completing",
        MessageState::Withdrawing => "Withdrawing",
    };
    let recipients: Vec<&str> = row.recipients.iter().map(|r| r.address.as_str()).collect();
    let error = row
        .recipients
        .iter()
        .map(|r| &r.last_error)
        .find(|e| !e.is_empty());
    vec![
        row.id.clone(),
        state.to_owned(),
        address(&row.sender),
        recipients.join(" "),
        if row.unshadowed {
            "none".to_owned()
        } else {
            row.shadowed_at.join(" ")
        },
        error.cloned().unwrap_or_default(),
    ]
}

fn address(address: &str) -> String {
    if address.is_empty() { "<>" } else { address }.to_owned()
}

/// Nanoseconds, as exact as one reads them.
fn span(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    match seconds {
        0 => format!("{} ms", nanos / 1_000_000),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Columns as wide as their widest cell, at most 60 characters; what is longer
/// is cut, but for the last column.
fn grid(text: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>, none: &str) {
    const WIDEST: usize = 60;
    let rows: Vec<Vec<String>> = rows
        .map(|row| row.iter().map(|cell| safe(cell)).collect())
        .collect();
    if rows.is_empty() {
        let _ = writeln!(text, "{none}");
        return;
    }
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([head[at].len()]).max().unwrap_or(0).min(WIDEST)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    // A column that says nothing is left out.
    let shown: Vec<usize> = (0..head.len())
        .filter(|at| rows.iter().any(|row| !row[*at].is_empty()))
        .collect();
    let mut line = |cells: &[String]| {
        let mut out = String::new();
        for at in &shown {
            let last = Some(at) == shown.last();
            let cell: String = if last || cells[*at].chars().count() <= WIDEST {
                cells[*at].clone()
            } else {
                cells[*at].chars().take(WIDEST - 1).chain(['…']).collect()
            };
            let _ = write!(out, "{cell:<width$}  ", width = widths[*at]);
        }
        let _ = writeln!(text, "{}", out.trim_end());
    };
    line(
        &head
            .iter()
            .map(|cell| (*cell).to_owned())
            .collect::<Vec<_>>(),
    );
    line(
        &widths
            .iter()
            .zip(head)
            .map(|(_, cell)| "-".repeat(cell.len()))
            .collect::<Vec<_>>(),
    );
    for row in &rows {
        line(row);
    }
}

/// Without control characters, and without those that turn the direction of
/// text around.
fn safe(text: &str) -> String {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if bad(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailproof_node::view::{DiscardRow, Origin, PeerRow, QueueRow, RecipientRow, ShadowRow};

    fn view() -> QueuesView {
        QueuesView {
            node: "n1".to_owned(),
            database_id: "ab".repeat(16),
            boot: 2,
            queues: vec![
                QueueRow {
                    identity: "n1\\*".to_owned(),
                    delivery_type: "SmtpRelay".to_owned(),
                    next_hop_domain: "*".to_owned(),
                    status: "Retry".to_owned(),
                    message_count: 2,
                    last_error: "connection refused".to_owned(),
                    next_retry: Some(59_900_000_000),
                },
                QueueRow {
                    identity: "n1\\Shadow\\0".to_owned(),
                    delivery_type: "ShadowRedundancy".to_owned(),
                    next_hop_domain: "n2".to_owned(),
                    status: "Ready".to_owned(),
                    message_count: 1,
                    last_error: String::new(),
                    next_retry: None,
                },
            ],
            messages: vec![MessageRow {
                id: "2.1".to_owned(),
                sequence: 1,
                state: MessageState::Retry,
                sender: String::new(),
                recipients: vec![RecipientRow {
                    address: "a\u{9b}31m@\u{202e}x".to_owned(),
                    last_error: "450 \u{1b}[2J".to_owned(),
                    next_retry: None,
                }],
                arrival: 0,
                shadowed_at: vec!["n2".to_owned()],
                unshadowed: false,
                taken_over_from: None,
                message_id: String::new(),
                x_mailproof: String::new(),
            }],
            shadows: vec![ShadowRow {
                origin: Origin {
                    primary: "n2".to_owned(),
                    database_id: "cd".repeat(16),
                    sequence: 255,
                },
                sender: "s@x".to_owned(),
                recipients: vec!["b@y".to_owned()],
                arrival: 0,
                message_id: "<m@x>".to_owned(),
                x_mailproof: String::new(),
            }],
            discards: vec![DiscardRow {
                peer: "n2".to_owned(),
                sequences: vec![1, 2],
                withdrawn: vec![],
            }],
            peers: vec![PeerRow {
                place: "local".to_owned(),
                name: "n2".to_owned(),
                database_id: "cd".repeat(16),
                reachable: true,
                since_contact: 300_000_000_000,
                held: 1,
            }],
            ..QueuesView::default()
        }
    }

    #[test]
    fn the_vendors_columns() {
        let text = table(&view(), false);
        assert!(
            text.starts_with(
                "n1  database abababababababababababababababab  start 2\n\n\
                 Identity     DeliveryType      Status  MessageCount  NextHopDomain  NextRetry  LastError\n\
                 --------     ------------      ------  ------------  -------------  ---------  ---------\n\
                 n1\\*         SmtpRelay         Retry   2             *              59 s       connection refused\n\
                 n1\\Shadow\\0  ShadowRedundancy  Ready   1             n2\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("n2    local  yes        5 min         1           cdcd"),
            "{text}"
        );
        assert!(!text.contains("<m@x>"));
    }

    #[test]
    fn what_strangers_wrote_does_not_reach_the_terminal_as_control() {
        let text = table(&view(), true);
        assert!(text.contains("a?31m@?x"), "{text}");
        assert!(text.contains("450 ?[2J"), "{text}");
        assert!(text.contains("<m@x>"));
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn a_node_without_mail_says_so() {
        assert!(table(&QueuesView::default(), true).contains("no queues"));
    }
}
