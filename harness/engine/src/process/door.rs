//! The listener of a link: open only while the party behind the link listens.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::links::LinkHost;

/// Connections that the kernel may keep for us.
const BACKLOG: u32 = 1024;

/// Waits between looks whether the party listens again: the first, the longest.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Asks of a door.
#[derive(Debug)]
pub(super) enum DoorAsk {
    Open(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
    /// The party refused a dial though the door was open.
    Knock,
}

/// The listener of a link, served by a task of its own.
#[derive(Debug)]
pub(super) struct Door {
    asks: mpsc::UnboundedSender<DoorAsk>,
}

enum State {
    Closed,
    Open(TcpListener),
    /// The party should listen and does not: it is looked at from time to
    /// time.
    Looking {
        next: Instant,
        wait: Duration,
    },
}

impl Door {
    /// A closed door. `asks` is where the host's knocks come from too.
    pub(super) fn new(
        host: Arc<LinkHost>,
        asks: mpsc::UnboundedSender<DoorAsk>,
        told: mpsc::UnboundedReceiver<DoorAsk>,
    ) -> Self {
        tokio::spawn(serve(host, told));
        Self { asks }
    }

    /// Opens it; done when this returns.
    pub(super) async fn open(&self) {
        self.ask(DoorAsk::Open).await;
    }

    /// Closes it; what was not accepted yet is refused by the kernel. Done
    /// when this returns.
    pub(super) async fn close(&self) {
        self.ask(DoorAsk::Close).await;
    }

    async fn ask(&self, ask: impl FnOnce(oneshot::Sender<()>) -> DoorAsk) {
        let (done, wait) = oneshot::channel();
        if self.asks.send(ask(done)).is_ok() {
            let _ = wait.await;
        }
    }
}

async fn serve(host: Arc<LinkHost>, mut told: mpsc::UnboundedReceiver<DoorAsk>) {
    let mut state = State::Closed;
    loop {
        tokio::select! {
            biased;
            ask = told.recv() => match ask {
                Some(DoorAsk::Open(done)) => {
                    state = open(&host, state);
                    let _ = done.send(());
                }
                Some(DoorAsk::Close(done)) => {
                    state = State::Closed;
                    let _ = done.send(());
                }
                Some(DoorAsk::Knock) => {
                    if matches!(state, State::Open(_)) {
                        state = State::Looking { next: Instant::now(), wait: LOOK.0 };
                    }
                }
                None => return,
            },
            accepted = accept(&state) => match accepted {
                Ok(stream) => host.accepted(stream),
                // One connection's failure (it was reset meanwhile) or a lack
                // of descriptors, which others have to give back first.
                Err(_) => tokio::time::sleep(LOOK.0).await,
            },
            () = due(&state) => {
                state = if TcpStream::connect(host.dials()).await.is_ok() {
                    open(&host, state)
                } else {
                    look_again(state)
                };
            }
        }
    }
}

fn open(host: &LinkHost, state: State) -> State {
    if matches!(state, State::Open(_)) {
        return state;
    }
    let listen = || -> io::Result<TcpListener> {
        let socket = TcpSocket::new_v4()?;
        // Connections of an earlier opening may still be winding down.
        socket.set_reuseaddr(true)?;
        socket.bind(host.listen())?;
        socket.listen(BACKLOG)
    };
    match listen() {
        Ok(listener) => State::Open(listener),
        Err(error) => {
            host.recorder().fail(format!(
                "the link {} cannot listen on {}: {error}",
                host.link(),
                host.listen()
            ));
            State::Closed
        }
    }
}

fn look_again(state: State) -> State {
    match state {
        State::Looking { wait, .. } => State::Looking {
            next: Instant::now() + wait,
            wait: (wait * 2).min(LOOK.1),
        },
        other => other,
    }
}

async fn accept(state: &State) -> io::Result<TcpStream> {
    match state {
        State::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
        State::Closed | State::Looking { .. } => std::future::pending().await,
    }
}

async fn due(state: &State) {
    match state {
        State::Looking { next, .. } => tokio::time::sleep_until(*next).await,
        State::Closed | State::Open(_) => std::future::pending().await,
    }
}
