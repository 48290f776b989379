//! One leg of a connection through a link: a socket, owned by one task, that
//! reads what its party says and writes what the link passes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mailproof_model::event::{Conn, Shut};
use nix::sys::socket::{Shutdown, shutdown};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use super::links::LinkHost;
use crate::link::{BACKLOG, Side};

/// Most bytes read at once.
const CHUNK: usize = 64 * 1024;

/// What a leg is told, in the link's order.
#[derive(Debug)]
pub(super) enum LegAsk {
    /// Write this, not before so long from now, and at so many bytes a second
    /// (0: as fast as it goes).
    Pass(Bytes, Duration, u64),
    /// Then say FIN.
    Finish(Duration),
    /// Then say RST, and be gone.
    Reset(Duration),
    /// The link knows the connection no more: read nothing, write what was
    /// passed before, and unless told to finish or to reset, stay silent.
    Forget,
    /// The silent end came back and knows nothing of this connection: what
    /// the party still sends is answered with RST, as its kernel would.
    Rebooted,
}

/// How a link speaks to a leg.
#[derive(Debug)]
pub(super) struct LegHandle {
    pub(super) asks: UnboundedSender<LegAsk>,
    /// Bytes passed to it and not yet written.
    pub(super) backlog: Arc<AtomicUsize>,
}

/// One leg.
pub(super) struct Leg {
    pub(super) host: Arc<LinkHost>,
    pub(super) conn: Conn,
    pub(super) side: Side,
    pub(super) stream: TcpStream,
    pub(super) asks: UnboundedReceiver<LegAsk>,
    /// Bytes passed to it and not yet written.
    pub(super) backlog: Arc<AtomicUsize>,
    /// Told when there may be room to read more on either leg.
    pub(super) room: Arc<Notify>,
}

#[derive(Debug)]
enum Item {
    Bytes(Bytes),
    Finish,
    Reset,
}

impl Leg {
    /// Serves the leg to its end.
    pub(super) async fn run(mut self) {
        let mut queue: VecDeque<(Instant, Item)> = VecDeque::new();
        let mut buffer = BytesMut::new();
        // Until when a throttled link carries what came so far.
        let mut busy = Instant::now();
        let (mut reading, mut finished, mut forgotten, mut rebooted) = (true, false, false, false);
        loop {
            if forgotten && finished && queue.is_empty() {
                return;
            }
            let front = queue.front().map(|(due, _)| *due);
            let ripe = front.is_some_and(|due| due <= Instant::now());
            if ripe && !matches!(queue.front(), Some((_, Item::Bytes(_)))) {
                match queue.pop_front() {
                    Some((_, Item::Reset)) => return self.reset(),
                    _ => {
                        finished = true;
                        // A peer that is gone needs no FIN.
                        let _ = shutdown(self.stream.as_raw_fd(), Shutdown::Write);
                    }
                }
                continue;
            }
            // Made before the look, so that no notice between the two is lost.
            let room = Arc::clone(&self.room);
            let notice = room.notified();
            let may_read = reading && !forgotten && self.host.wants(self.conn, self.side);
            tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(LegAsk::Pass(bytes, delay, rate)) => {
                        if rate > 0 {
                            busy = busy.max(Instant::now()) + carry(bytes.len(), rate);
                        }
                        let free = Instant::now().max(busy);
                        queue.push_back((free + delay, Item::Bytes(bytes)));
                    }
                    Some(LegAsk::Finish(delay)) => {
                        queue.push_back((Instant::now().max(busy) + delay, Item::Finish));
                    }
                    Some(LegAsk::Reset(delay)) => {
                        queue.push_back((Instant::now().max(busy) + delay, Item::Reset));
                    }
                    Some(LegAsk::Forget) => forgotten = true,
                    Some(LegAsk::Rebooted) => rebooted = true,
                    None => return,
                },
                () = sleep_until(front), if front.is_some() && !ripe => {}
                writable = self.stream.writable(), if ripe => {
                    if writable.is_err() || !self.write(&mut queue) {
                        // The party broke the connection: what it was still
                        // to get is lost, and so is what it did not send.
                        queue.retain(|(_, item)| !matches!(item, Item::Bytes(_)));
                        self.backlog.store(0, Ordering::Relaxed);
                        self.room.notify_waiters();
                        if std::mem::take(&mut reading) && !forgotten {
                            self.host.closed(self.conn, self.side, Shut::Reset);
                        }
                    }
                }
                readable = self.stream.readable(), if may_read => {
                    // Much may have changed while nothing came.
                    if !self.host.wants(self.conn, self.side) {
                        continue;
                    }
                    let how = match readable.and_then(|()| self.read(&mut buffer)) {
                        Ok(0) => Some(Shut::Fin),
                        Ok(_) => {
                            let bytes = buffer.split().freeze();
                            self.host.bytes(self.conn, self.side, bytes);
                            None
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                        Err(_) => Some(Shut::Reset),
                    };
                    if let Some(how) = how {
                        reading = false;
                        self.host.closed(self.conn, self.side, how);
                    }
                }
                _ = self.stream.readable(), if forgotten && rebooted => return self.reset(),
                () = notice, if reading && !forgotten && !may_read => {}
            }
        }
    }

    fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.reserve(CHUNK);
        self.stream
            .try_read_buf(&mut bytes::BufMut::limit(buffer, CHUNK))
    }

    /// Writes what is due as far as the socket takes it; false when it takes
    /// nothing any more.
    fn write(&self, queue: &mut VecDeque<(Instant, Item)>) -> bool {
        let now = Instant::now();
        while let Some((due, Item::Bytes(bytes))) = queue.front_mut() {
            if *due > now {
                break;
            }
            match self.stream.try_write(bytes) {
                Ok(written) => {
                    bytes.advance(written);
                    if self.backlog.fetch_sub(written, Ordering::Relaxed) >= BACKLOG {
                        self.room.notify_waiters();
                    }
                    if bytes.is_empty() {
                        queue.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Closes with RST.
    fn reset(self) {
        // Without it the close below says FIN, which a test would notice.
        let _ = self.stream.set_zero_linger();
    }
}

/// How long a throttled link takes to carry so many bytes.
fn carry(bytes: usize, rate: u64) -> Duration {
    Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate)
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}
