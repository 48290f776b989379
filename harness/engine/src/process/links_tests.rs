//! Every act of a link over real sockets, between a client and a server whose
//! lines are written here.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mailproof_model::event::{Event, Shut, Stage, What};
use mailproof_model::history::{Durability, Writer};
use mailproof_model::order::WorldError;
use mailproof_model::party::{Link, Party};
use mailproof_model::plan::Plan;
use mailproof_model::scenario::{LinkAct, Point, Span};
use mailproof_model::{scenario, target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::addr::Block;
use super::links::{LinkHost, Links};
use super::record::Recorder;
use crate::link::LinkContext;
use crate::topology::Addresses;

/// How long anything may take. Reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long something that must not happen is looked for.
const GLANCE: Duration = Duration::from_millis(50);

const N1: Party = Party::Node(1);

struct Rig {
    links: Links,
    block: Arc<Block>,
    server: Option<TcpListener>,
    events: Receiver<Result<Event, WorldError>>,
    _history: tempfile::TempDir,
}

fn link() -> Link {
    Link::new(Party::Client, N1)
}

impl Rig {
    /// `client->n1` with an open door and a server behind it.
    async fn new() -> Self {
        let text = "id = 'a/b'\ntitle = 't'\n[cluster]\nnodes = 1\n[workload]\nmessages = 1\n";
        let scenario = scenario::parse("s.toml", text).unwrap();
        let target = "name = 'x'\ntitle = 'x'\n[node]\ncommand = ['x']\n";
        let target = target::parse("t.toml", target).unwrap();
        let plan = Plan::build(&scenario, &target, "process", 1, "links").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create_new(dir.path().join("h")).unwrap();
        let writer = Writer::create(file, &plan, Durability::EachEvent).unwrap();
        let (to, events) = channel();
        let recorder = Arc::new(Recorder::new(writer, to));
        let block = Arc::new(Block::claim("links").unwrap());
        let context = Arc::new(LinkContext::new(&plan.run, plan.times.clone()));
        let mut rig = Self {
            links: Links::new([link()], &context, &block, &recorder),
            block,
            server: None,
            events,
            _history: dir,
        };
        rig.listen();
        rig.links.open(N1).await;
        rig
    }

    fn listen(&mut self) {
        let listener = std::net::TcpListener::bind(self.block.listen(N1)).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.server = Some(TcpListener::from_std(listener).unwrap());
    }

    fn host(&self) -> &LinkHost {
        self.links.get(link()).unwrap()
    }

    fn arm(&self, phase: &str, act: LinkAct) {
        let point = Point {
            link: link(),
            phase: phase.to_owned(),
            nth: 1,
        };
        self.host().arm(0, &point, &act, false).unwrap();
    }

    async fn dial(&self) -> std::io::Result<End> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.block.own(Party::Client), 0))?;
        let stream = socket.connect(self.block.link(link())).await?;
        Ok(End(stream))
    }

    async fn accept(&self) -> (End, SocketAddr) {
        let accepted = self.server.as_ref().unwrap().accept();
        let (stream, from) = timeout(PATIENCE, accepted).await.unwrap().unwrap();
        (End(stream), from)
    }

    /// A connection that is up on both ends.
    async fn pair(&self) -> (End, End) {
        let client = self.dial().await.unwrap();
        let (server, _) = self.accept().await;
        self.until(|what| matches!(what, What::Open { .. })).await;
        (client, server)
    }

    /// A connection on which the client waits for the reply to its end of
    /// data, which the server has read.
    async fn transaction(&self) -> (End, End) {
        let (mut client, mut server) = self.pair().await;
        server.say("220 n1\r\n").await;
        client.hear("220 n1\r\n").await;
        for (command, reply) in [
            ("EHLO c\r\n", "250 n1\r\n"),
            ("MAIL FROM:<a@b.c>\r\n", "250 ok\r\n"),
            ("RCPT TO:<d@e.f>\r\n", "250 ok\r\n"),
            ("DATA\r\n", "354 go on\r\n"),
        ] {
            client.say(command).await;
            server.hear(command).await;
            server.say(reply).await;
            client.hear(reply).await;
        }
        client.say("Subject: x\r\n\r\ny\r\n.\r\n").await;
        (client, server)
    }

    /// The events up to and including the first that is wanted.
    async fn until(&self, wanted: impl Fn(&What) -> bool) -> Vec<What> {
        let began = Instant::now();
        let mut seen = Vec::new();
        loop {
            while let Ok(event) = self.events.try_recv() {
                let what = event.unwrap().ev;
                seen.push(what);
                if seen.last().is_some_and(&wanted) {
                    return seen;
                }
            }
            assert!(began.elapsed() < PATIENCE, "never came; seen {seen:#?}");
            tokio::task::yield_now().await;
        }
    }

    /// What was recorded so far.
    fn so_far(&self) -> Vec<What> {
        self.events.try_iter().map(|e| e.unwrap().ev).collect()
    }
}

/// One end of a connection.
struct End(TcpStream);

impl End {
    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self, text: &str) {
        let mut buffer = vec![0; text.len()];
        timeout(PATIENCE, self.0.read_exact(&mut buffer))
            .await
            .unwrap_or_else(|_| panic!("`{text}` never came"))
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer), text);
    }

    /// Everything up to the end, and how it ended.
    async fn rest(&mut self) -> (String, Shut) {
        let mut all = Vec::new();
        let ended = timeout(PATIENCE, self.0.read_to_end(&mut all))
            .await
            .expect("the connection does not end");
        let how = match ended {
            Ok(_) => Shut::Fin,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Shut::Reset,
            Err(error) => panic!("{error}"),
        };
        (String::from_utf8(all).unwrap(), how)
    }

    /// Nothing comes, and the connection does not end.
    async fn silence(&mut self) {
        let mut byte = [0];
        let heard = timeout(GLANCE, self.0.read(&mut byte)).await;
        assert!(heard.is_err(), "heard {heard:?}");
    }
}

fn is_reply(what: &What) -> bool {
    matches!(what, What::Reply { to, .. } if to == "dot")
}

fn is_shut(what: &What) -> bool {
    matches!(what, What::Shut { .. })
}

fn is_refused(what: &What) -> bool {
    matches!(what, What::Refused { .. })
}

#[tokio::test]
async fn what_is_heard_was_recorded_before() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.transaction().await;
    server.hear("Subject: x\r\n\r\ny\r\n.\r\n").await;
    let seen = rig.so_far();
    assert!(
        seen.iter().any(|e| matches!(e, What::Dot { .. })),
        "{seen:?}"
    );
    assert!(!seen.iter().any(is_reply));
    server.say("250 taken\r\n").await;
    client.hear("250 taken\r\n").await;
    let seen = rig.so_far();
    assert!(
        seen.iter()
            .any(|e| matches!(e, What::Reply { code: 250, .. }))
    );
    drop(client);
    assert_eq!(server.rest().await, (String::new(), Shut::Fin));
    drop(server);
    let seen = rig.until(is_shut).await;
    let last = seen.last().unwrap();
    assert!(
        matches!(
            last,
            What::Shut {
                how: Shut::Fin,
                from: Some(Party::Client),
                ..
            }
        ),
        "{last:?}"
    );
}

#[tokio::test]
async fn the_source_address_is_kept() {
    let rig = Rig::new().await;
    let client = rig.dial().await.unwrap();
    let (_server, from) = rig.accept().await;
    assert_eq!(from.ip(), rig.block.own(Party::Client));
    assert_eq!(client.0.local_addr().unwrap().ip(), from.ip());
}

#[tokio::test]
async fn refuse_hits_new_connections_only() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.host().break_now(3, &LinkAct::Refuse, false).unwrap();
    let mut second = rig.dial().await.unwrap();
    assert_eq!(second.rest().await, (String::new(), Shut::Reset));
    rig.until(is_refused).await;
    server.say("220 still here\r\n").await;
    client.hear("220 still here\r\n").await;
    rig.host().mend(3, &LinkAct::Refuse, false);
    let (mut third, mut server) = rig.pair().await;
    server.say("220 again\r\n").await;
    third.hear("220 again\r\n").await;
}

#[tokio::test]
async fn reset_reaches_both_ends() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.host().break_now(0, &LinkAct::Reset, false).unwrap();
    assert_eq!(client.rest().await.1, Shut::Reset);
    assert_eq!(server.rest().await.1, Shut::Reset);
    let seen = rig.until(is_shut).await;
    let last = seen.last().unwrap();
    assert!(
        matches!(
            last,
            What::Shut {
                how: Shut::Reset,
                from: None,
                ..
            }
        ),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_reset_by_one_end_is_a_reset_for_the_other() {
    let rig = Rig::new().await;
    let (client, mut server) = rig.pair().await;
    client.0.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(server.rest().await.1, Shut::Reset);
    let seen = rig.until(is_shut).await;
    let last = seen.last().unwrap();
    assert!(
        matches!(
            last,
            What::Shut {
                how: Shut::Reset,
                from: Some(Party::Client),
                ..
            }
        ),
        "{last:?}"
    );
}

#[tokio::test]
async fn half_close_ends_in_order_and_only_one_way() {
    let rig = Rig::new().await;
    rig.arm("data-reply", LinkAct::HalfClose);
    let (mut client, mut server) = rig.pair().await;
    for line in ["220 n1\r\n", "250 n1\r\n", "250 ok\r\n", "250 ok\r\n"] {
        server.say(line).await;
        client.hear(line).await;
        client
            .say(match line {
                "220 n1\r\n" => "EHLO c\r\n",
                "250 n1\r\n" => "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n",
                _ => "",
            })
            .await;
    }
    server
        .hear("EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n")
        .await;
    client.say("DATA\r\n").await;
    server.hear("DATA\r\n").await;
    server.say("354 go on\r\n").await;
    assert_eq!(client.rest().await, ("354 go on\r\n".to_owned(), Shut::Fin));
    // The other way still carries.
    client.say("x\r\n.\r\n").await;
    server.hear("x\r\n.\r\n").await;
}

#[tokio::test]
async fn a_blackhole_carries_nothing_until_it_is_mended() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.transaction().await;
    server.hear("Subject: x\r\n\r\ny\r\n.\r\n").await;
    rig.host().break_now(0, &LinkAct::Blackhole, false).unwrap();
    server.say("250 taken\r\n").await;
    client.silence().await;
    // A dial is taken and not answered.
    let mut second = rig.dial().await.unwrap();
    second.silence().await;
    rig.host().mend(0, &LinkAct::Blackhole, false);
    client.hear("250 taken\r\n").await;
    let seen = rig.so_far();
    let at = |found: fn(&What) -> bool| seen.iter().position(found).unwrap();
    let mended = at(|e| {
        matches!(
            e,
            What::Fault {
                stage: Stage::Removed,
                ..
            }
        )
    });
    assert!(mended < at(is_reply), "{seen:?}");
    let (mut server, _) = rig.accept().await;
    server.say("220 late\r\n").await;
    second.hear("220 late\r\n").await;
}

#[tokio::test]
async fn a_delay_is_waited_for() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let delay = Duration::from_millis(80);
    let act = LinkAct::Delay(Span::nanoseconds(80_000_000));
    rig.host().break_now(0, &act, false).unwrap();
    let began = Instant::now();
    server.say("220 n1\r\n").await;
    client.hear("220 n1\r\n").await;
    assert!(began.elapsed() >= delay);
}

#[tokio::test]
async fn a_cut_passes_just_so_many_bytes() {
    let rig = Rig::new().await;
    rig.arm("end-reply", LinkAct::CutAt(4));
    let (mut client, mut server) = rig.transaction().await;
    server.hear("Subject: x\r\n\r\ny\r\n.\r\n").await;
    server.say("250 taken\r\n").await;
    client.hear("250 ").await;
    assert_eq!(client.rest().await, (String::new(), Shut::Reset));
    assert_eq!(server.rest().await.1, Shut::Reset);
}

#[tokio::test]
async fn a_lost_reply_is_seen_by_the_link_alone() {
    let rig = Rig::new().await;
    rig.arm("end-reply", LinkAct::LoseReply);
    let (mut client, mut server) = rig.transaction().await;
    server.hear("Subject: x\r\n\r\ny\r\n.\r\n").await;
    server.say("250 taken\r\n").await;
    assert_eq!(client.rest().await, (String::new(), Shut::Reset));
    assert_eq!(server.rest().await.1, Shut::Fin);
    let seen = rig.so_far();
    assert!(
        seen.iter()
            .any(|e| matches!(e, What::Reply { code: 250, .. }))
    );
}

#[tokio::test]
async fn an_answer_takes_the_place_of_the_servers() {
    let rig = Rig::new().await;
    rig.arm("end-reply", LinkAct::Answer("451 4.3.0 later".to_owned()));
    let (mut client, mut server) = rig.transaction().await;
    server.hear("Subject: x\r\n\r\ny\r\n.\r\n").await;
    server.say("250 taken\r\n").await;
    client.hear("451 4.3.0 later\r\n").await;
}

#[tokio::test]
async fn a_hold_stands_until_it_is_released() {
    let rig = Rig::new().await;
    rig.arm("dot", LinkAct::Hold);
    let (mut client, mut server) = rig.transaction().await;
    rig.until(|e| matches!(e, What::Held { phase, .. } if phase == "dot"))
        .await;
    server.hear("Subject: x\r\n\r\ny\r\n").await;
    server.silence().await;
    rig.links.release(0);
    server.hear(".\r\n").await;
    rig.until(|e| matches!(e, What::Released { .. })).await;
    server.say("250 taken\r\n").await;
    client.hear("250 taken\r\n").await;
}

#[tokio::test]
async fn a_disarmed_act_does_nothing_but_claim() {
    let rig = Rig::new().await;
    let point = Point {
        link: link(),
        phase: "end-reply".to_owned(),
        nth: 1,
    };
    rig.host()
        .arm(0, &point, &LinkAct::LoseReply, true)
        .unwrap();
    let (mut client, mut server) = rig.transaction().await;
    server.say("250 taken\r\n").await;
    client.hear("250 taken\r\n").await;
    rig.until(|e| {
        matches!(
            e,
            What::Fault {
                stage: Stage::Fired,
                ..
            }
        )
    })
    .await;
}

#[tokio::test]
async fn a_silenced_party_says_no_word_more() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.transaction().await;
    server.hear("Subject: x\r\n\r\ny\r\n.\r\n").await;
    rig.links.silence(N1);
    let seen = rig.until(is_shut).await;
    let last = seen.last().unwrap();
    assert!(
        matches!(
            last,
            What::Shut {
                how: Shut::Silent,
                from: Some(N1),
                ..
            }
        ),
        "{last:?}"
    );
    // What its kernel does as it dies reaches nobody.
    server.0.set_zero_linger().unwrap();
    drop(server);
    client.silence().await;
    // Nor is a new dial answered, though it is taken.
    rig.links.close(N1).await;
    let mut second = rig.dial().await.unwrap();
    second.silence().await;
    // Back, it knows nothing of the old connection.
    rig.links.back(N1).await;
    client.say("QUIT\r\n").await;
    assert_eq!(client.rest().await.1, Shut::Reset);
}

#[tokio::test]
async fn behind_a_gate_nothing_is_heard_and_nothing_lost() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.links.gate(Party::Client);
    client.say("EHLO early\r\n").await;
    let mut second = rig.dial().await.unwrap();
    server.silence().await;
    assert!(rig.so_far().is_empty());
    // The other way is open.
    server.say("220 n1\r\n").await;
    client.hear("220 n1\r\n").await;
    rig.links.ungate(Party::Client);
    server.hear("EHLO early\r\n").await;
    let (mut server, _) = rig.accept().await;
    server.say("220 n1\r\n").await;
    second.hear("220 n1\r\n").await;
}

#[tokio::test]
async fn the_door_is_open_only_while_the_party_listens() {
    let mut rig = Rig::new().await;
    rig.links.close(N1).await;
    let refused = rig.dial().await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    rig.links.open(N1).await;
    rig.pair().await;
    // The party stops listening by itself: the first who dials finds out, the
    // door closes, and opens again when the party is back.
    rig.server = None;
    let mut first = rig.dial().await.unwrap();
    assert_eq!(first.rest().await.1, Shut::Reset);
    rig.until(is_refused).await;
    let began = Instant::now();
    while rig.dial().await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "the door stays open");
    }
    rig.listen();
    while rig.dial().await.is_err() {
        assert!(began.elapsed() < PATIENCE, "the door stays closed");
    }
}

#[tokio::test]
async fn a_party_that_is_gone_is_tried_once_as_a_witness() {
    let mut rig = Rig::new().await;
    rig.server = None;
    rig.links.close(N1).await;
    let seen = rig.so_far();
    assert!(seen.iter().any(is_refused), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_stops_the_writer_and_loses_nothing() {
    let rig = Rig::new().await;
    let (client, mut server) = rig.pair().await;
    let bytes: Vec<u8> = (0..32 << 20).map(|n: u32| (n % 251) as u8).collect();
    let sent = bytes.clone();
    let (mut read, mut write) = client.0.into_split();
    let writer = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
    });
    let mut got = vec![0; bytes.len()];
    // Not a byte is read until the writer has come to a stand: what the link
    // keeps is bounded.
    let (_, finished) = (tokio::time::sleep(GLANCE * 4).await, writer.is_finished());
    assert!(!finished, "32 MiB were taken in without a reader");
    timeout(PATIENCE, server.0.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert!(got == bytes, "the bytes changed");
    writer.await.unwrap();
    drop(server);
    let _ = timeout(PATIENCE, read.read(&mut [0])).await.unwrap();
}
