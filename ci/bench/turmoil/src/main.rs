//! The dialogue of `mailproof bench sim --only rate` over turmoil: a client
//! with kept sessions, a relay that answers 250 only when its virtual disk has
//! the message, a mailbox that compares every digest.
//!
//! The same client, server sessions, messages and digests as mailproof's own
//! (`mailproof-wire`). Fewer things than there: no link between the parties
//! reads along, nothing is written to a history, nothing is judged, and the
//! relay keeps its records in a vector. All of that is in turmoil's favour.
//!
//! turmoil's time goes in ticks, and what happens within one costs little more
//! than the tick; mailproof's jumps from event to event and is exact to the
//! nanosecond. The longer the tick, the faster turmoil, and the coarser: with
//! its default of 1 ms no latency and no disk is faster than that.
//!
//! `turmoil-dialogue MESSAGES SEED [TICK]`, the tick in microseconds (1000),
//! prints one JSON object.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailproof_wire::known::Known;
use mailproof_wire::policy::Policy;
use mailproof_wire::server::Message;
use mailproof_wire::{
    Client, ClientEvent, ClientOptions, Mailbox, MailboxEvent, MailboxOptions, MessageSpec,
    RcptOutcome, Recipient, Reply, Transaction,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use turmoil::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error>;

const RUN: &str = "bench-1";
const SESSIONS: u32 = 16;
/// A write and a sync of the relay's disk.
const SYNC: Duration = Duration::from_millis(1);

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let mut number = |name: &str| -> Result<u64, Failure> {
        let text = args.next().ok_or("usage: turmoil-dialogue MESSAGES SEED")?;
        text.parse()
            .map_err(|_| format!("{name} `{text}` is not a number").into())
    };
    let messages = u32::try_from(number("MESSAGES")?)?;
    let seed = number("SEED")?;
    let tick = Duration::from_micros(number("TICK").unwrap_or(1_000).max(1));
    // Brings code and memory up.
    dialogue(messages.min(2_000), seed, tick)?;
    let (wall, cpu) = (Instant::now(), thread_time());
    dialogue(messages, seed, tick)?;
    let (wall, cpu) = (wall.elapsed(), thread_time() - cpu);
    println!(
        "{{\"messages\":{messages},\"seed\":{seed},\"tick_us\":{},\"transactions_per_second_per_core\":{:.1},\"transactions_per_cpu_second\":{:.1}}}",
        tick.as_micros(),
        f64::from(messages) / wall.as_secs_f64(),
        f64::from(messages) / cpu.as_secs_f64(),
    );
    Ok(())
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// One whole run; an error unless every message arrived once and unchanged.
fn dialogue(messages: u32, seed: u64, tick: Duration) -> Result<(), Failure> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(1_000_000))
        .tick_duration(tick)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(tick)
        .tcp_capacity(4_096)
        .build();
    let known = Arc::new(Known::new(RUN));
    let taken = Rc::new(RefCell::new(vec![0_u8; messages as usize]));
    let arrived = Rc::new(Cell::new(0));
    let wrong = Rc::new(Cell::new(0));

    let expected: Rc<RefCell<Vec<Option<mailproof_wire::Digest>>>> =
        Rc::new(RefCell::new(vec![None; messages as usize]));
    {
        let (known, taken) = (Arc::clone(&known), Rc::clone(&taken));
        let (arrived, wrong) = (Rc::clone(&arrived), Rc::clone(&wrong));
        let expected = Rc::clone(&expected);
        sim.host("mailbox", move || {
            let take = {
                let (known, taken) = (Arc::clone(&known), Rc::clone(&taken));
                let (arrived, wrong) = (Rc::clone(&arrived), Rc::clone(&wrong));
                let expected = Rc::clone(&expected);
                move |message: &Message| {
                    let found = known.recognise(&message.content);
                    let at = found.message.map_or(usize::MAX, |m| m.message as usize);
                    match taken.borrow_mut().get_mut(at) {
                        Some(count) if expected.borrow()[at] == Some(found.digest) => {
                            *count = count.saturating_add(1);
                            arrived.set(arrived.get() + 1);
                        }
                        _ => wrong.set(wrong.get() + 1),
                    }
                }
            };
            mailbox(take)
        });
    }
    sim.host("relay", relay);
    {
        let (known, arrived) = (Arc::clone(&known), Rc::clone(&arrived));
        let (wrong, expected) = (Rc::clone(&wrong), Rc::clone(&expected));
        sim.client("client", async move {
            let mut sessions = Vec::new();
            for first in 0..SESSIONS {
                let (known, expected) = (Arc::clone(&known), Rc::clone(&expected));
                sessions.push(tokio::task::spawn_local(async move {
                    let numbers = (first..messages).step_by(SESSIONS as usize);
                    send(numbers, seed, &known, &expected)
                        .await
                        .map_err(|e| e.to_string())
                }));
            }
            for session in sessions {
                session.await??;
            }
            while arrived.get() < messages && wrong.get() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        });
    }
    sim.run().map_err(|e| -> Failure { e.to_string().into() })?;
    let once = taken.borrow().iter().all(|count| *count == 1);
    if !once || wrong.get() != 0 {
        return Err("not every message arrived once and unchanged".into());
    }
    Ok(())
}

/// Sends messages on one connection, each when the one before it was taken.
async fn send(
    numbers: impl Iterator<Item = u32>,
    seed: u64,
    known: &Known,
    expected: &RefCell<Vec<Option<mailproof_wire::Digest>>>,
) -> Result<(), Failure> {
    let stream = TcpStream::connect(("relay", 25)).await?;
    let mut speaker = Speaker::new(stream);
    for number in numbers {
        let to = format!("m{number}r0@mail.test");
        let from = format!("s{number}@client.test");
        let content = MessageSpec {
            run: RUN,
            number: number.into(),
            size: 1_024,
            seed,
            from: &from,
            to: &[&to],
            unix_seconds: 1_767_225_600,
        }
        .content(1);
        expected.borrow_mut()[number as usize] = Some(known.recognise(&content).digest);
        speaker.hand_over(from, to, content).await?;
    }
    Ok(())
}

/// A client on one connection.
struct Speaker {
    stream: TcpStream,
    client: Client,
    events: Vec<ClientEvent>,
    buffer: Vec<u8>,
}

impl Speaker {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            client: Client::new(ClientOptions::default()),
            events: Vec::new(),
            buffer: vec![0; 8_192],
        }
    }

    /// Returns when the message was answered with 250.
    async fn hand_over(
        &mut self,
        from: String,
        to: String,
        content: Vec<u8>,
    ) -> Result<(), Failure> {
        self.client.start(Transaction {
            params: String::new(),
            rcpts: vec![Recipient::from(to)],
            content: Arc::from(content),
            from,
        });
        loop {
            let mut out = Vec::new();
            self.client.transmit(&mut out);
            if !out.is_empty() {
                self.stream.write_all(&out).await?;
            }
            for event in self.events.drain(..) {
                if let ClientEvent::Done(outcome) = event {
                    return match outcome.rcpts[..] {
                        [RcptOutcome::Accepted(_)] => Ok(()),
                        _ => Err(format!("refused: {outcome:?}").into()),
                    };
                }
            }
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Err("the server closed".into());
            }
            self.client.received(&self.buffer[..read], &mut self.events);
        }
    }
}

/// Takes mail, keeps it on its disk, says 250, and hands it on over kept
/// connections.
async fn relay() -> Result<(), Failure> {
    let listener = TcpListener::bind(("0.0.0.0", 25)).await?;
    let disk: Rc<RefCell<Vec<u8>>> = Rc::default();
    let mut ways = Vec::new();
    for _ in 0..SESSIONS {
        let (way, mut queue) = mpsc::unbounded_channel::<Message>();
        ways.push(way);
        tokio::task::spawn_local(async move {
            let stream = TcpStream::connect(("mailbox", 25)).await?;
            let mut speaker = Speaker::new(stream);
            while let Some(message) = queue.recv().await {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let from = text(&message.from);
                let to = text(&message.rcpts[0].address);
                let mut content =
                    b"Received: from client by relay; Thu, 01 Jan 2026 00:00:00 +0000\r\n".to_vec();
                content.extend_from_slice(&message.content);
                speaker.hand_over(from, to, content).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    for session in 0.. {
        let (stream, _) = listener.accept().await?;
        let way = ways[session % ways.len()].clone();
        let disk = Rc::clone(&disk);
        tokio::task::spawn_local(async move {
            serve(stream, |message| {
                let (way, disk) = (way.clone(), Rc::clone(&disk));
                async move {
                    {
                        let mut disk = disk.borrow_mut();
                        disk.extend_from_slice(&message.content);
                        // As a store that forgets what was handed on.
                        if disk.len() > 1 << 20 {
                            disk.clear();
                        }
                    }
                    tokio::time::sleep(SYNC).await;
                    // It ends with the simulation.
                    let _ = way.send(message);
                }
            })
            .await
        });
    }
    Ok(())
}

/// Takes mail and looks at it.
async fn mailbox(take: impl Fn(&Message) + Clone + 'static) -> Result<(), Failure> {
    let listener = TcpListener::bind(("0.0.0.0", 25)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let take = take.clone();
        tokio::task::spawn_local(async move {
            serve(stream, |message| {
                take(&message);
                std::future::ready(())
            })
            .await
        });
    }
}

/// A server session; every message goes through `keep` before its 250.
async fn serve<F: Future<Output = ()>>(
    mut stream: TcpStream,
    keep: impl Fn(Message) -> F,
) -> Result<(), Failure> {
    let mut server = Mailbox::new(MailboxOptions::default(), Policy::default());
    let taken = Reply::new(250, "2.0.0 taken");
    let mut events = Vec::new();
    let mut buffer = vec![0; 8_192];
    server.greet(&mut events);
    loop {
        let mut more = Vec::new();
        while !events.is_empty() {
            for event in events.drain(..) {
                match event {
                    MailboxEvent::Message(message) => {
                        keep(message).await;
                        server.answer(&taken, &mut more)?;
                    }
                    MailboxEvent::Close => return Ok(()),
                    _ => {}
                }
            }
            std::mem::swap(&mut events, &mut more);
        }
        let mut out = Vec::new();
        server.transmit(&mut out);
        if !out.is_empty() {
            stream.write_all(&out).await?;
        }
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        server.received(&buffer[..read], &mut events);
    }
}
