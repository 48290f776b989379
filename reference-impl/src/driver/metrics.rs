//! Prometheus text, and the loopback listener that serves it over HTTP.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::host::{self, Shared};
use crate::view::QueuesView;

/// How long a reader may take for its question and our answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest request head, bytes.
const LONGEST: u64 = 8 << 10;

/// Readers served at one time; others wait.
const READERS: usize = 8;

/// Counters and gauges of a node in the Prometheus text format.
pub(super) fn text(view: &QueuesView) -> String {
    let mut text = String::new();
    for (name, value) in view.counters.rows() {
        let _ = writeln!(text, "# TYPE mailproof_node_{name}_total counter");
        let _ = writeln!(text, "mailproof_node_{name}_total {value}");
    }
    let waiting: usize = view.discards.iter().map(|row| row.sequences.len()).sum();
    for (name, value) in [
        ("messages", view.messages.len() as u64),
        ("shadows", view.shadows.len() as u64),
        ("discards_waiting", waiting as u64),
        ("body_bytes", view.body_bytes),
        ("boot", view.boot.into()),
    ] {
        gauge(&mut text, name);
        let _ = writeln!(text, "mailproof_node_{name} {value}");
    }
    gauge(&mut text, "database");
    let _ = writeln!(
        text,
        "mailproof_node_database{{id=\"{}\"}} 1",
        escaped(&view.database_id)
    );
    gauge(&mut text, "queue_length");
    for queue in &view.queues {
        let _ = writeln!(
            text,
            "mailproof_node_queue_length{{identity=\"{}\",delivery_type=\"{}\",next_hop=\"{}\",status=\"{}\"}} {}",
            escaped(&queue.identity),
            escaped(&queue.delivery_type),
            escaped(&queue.next_hop_domain),
            escaped(&queue.status),
            queue.message_count
        );
    }
    for (name, of) in [
        (
            "peer_reachable",
            (|p| u64::from(p.reachable)) as fn(&crate::view::PeerRow) -> u64,
        ),
        ("peer_copies_held", |p| p.held),
        ("peer_seconds_since_contact", |p| {
            p.since_contact / 1_000_000_000
        }),
    ] {
        gauge(&mut text, name);
        for peer in &view.peers {
            let _ = writeln!(
                text,
                "mailproof_node_{name}{{peer=\"{}\"}} {}",
                escaped(&peer.name),
                of(peer)
            );
        }
    }
    text
}

fn gauge(text: &mut String, name: &str) {
    let _ = writeln!(text, "# TYPE mailproof_node_{name} gauge");
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Serves until dropped.
#[derive(Debug)]
pub(super) struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn serve(at: SocketAddr, host: Shared) -> std::io::Result<Listener> {
    let listener = TcpListener::bind(at).await?;
    Ok(Listener(tokio::spawn(async move {
        let readers = std::sync::Arc::new(tokio::sync::Semaphore::new(READERS));
        while let Ok(reader) = std::sync::Arc::clone(&readers).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let host = Shared::clone(&host);
            tokio::spawn(async move {
                let _ = timeout(PATIENCE, answer(stream, host)).await;
                drop(reader);
            });
        }
    })))
}

async fn answer(mut stream: TcpStream, host: Shared) {
    let mut head = Vec::new();
    let mut limited = (&mut stream).take(LONGEST);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match limited.read_buf(&mut head).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
    }
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let (status, body) = match line {
        b"GET /metrics HTTP/1.0" | b"GET /metrics HTTP/1.1" => {
            ("200 OK", text(&host::lock(&host).node().queues()))
        }
        _ => ("404 Not Found", "only GET /metrics is served\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::QueueRow;

    #[test]
    fn labels_are_escaped() {
        let view = QueuesView {
            queues: vec![QueueRow {
                identity: "n1\\Shadow\\0".to_owned(),
                delivery_type: "ShadowRedundancy".to_owned(),
                next_hop_domain: "a\"b\nc".to_owned(),
                status: "Ready".to_owned(),
                message_count: 3,
                last_error: String::new(),
                next_retry: None,
            }],
            ..QueuesView::default()
        };
        let line = "mailproof_node_queue_length{identity=\"n1\\\\Shadow\\\\0\",\
                    delivery_type=\"ShadowRedundancy\",next_hop=\"a\\\"b\\nc\",status=\"Ready\"} 3\n";
        let text = text(&view);
        assert!(text.contains(line), "{text}");
        for line in text.lines() {
            let plain = line.starts_with("# TYPE mailproof_node_");
            assert!(
                plain
                    || line
                        .rsplit_once(' ')
                        .is_some_and(|(_, n)| n.parse::<u64>().is_ok())
            );
        }
    }
}
