//! Ctrl-C: the first one ends the runs in order, so that everything they
//! started is cleaned up; a second one leaves that to the reaper.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mailproof_model::event::{At, Event};
use mailproof_model::order::{Order, Unavailable, World, WorldError};

use crate::exit_code::Exit;

/// How often a waiting run looks whether it was interrupted, in nanoseconds.
pub(crate) const LOOK: At = 100_000_000;

/// What the history of an interrupted run gives as the reason of its end.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Whether somebody asked the process to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen for SIGINT and SIGTERM.
    ///
    /// # Errors
    /// The signal handlers could not be installed.
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (mut int, mut term) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    loop {
                        tokio::select! {
                            _ = int.recv() => {}
                            _ = term.recv() => {}
                        }
                        if flag.swap(true, Ordering::SeqCst) {
                            process::exit(i32::from(Exit::Inconclusive.code()));
                        }
                    }
                });
            })?;
        Ok(interrupt)
    }

    /// Whether the process was asked to end.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A world that ends its run when the process is asked to end.
pub(crate) struct Interruptible<'a> {
    world: &'a mut dyn World,
    interrupt: &'a Interrupt,
    /// How long it may wait before it looks again, in nanoseconds.
    look: At,
    broke_off: bool,
    ending: bool,
}

impl<'a> Interruptible<'a> {
    /// Watches over a world; `look` is how long that may wait in real
    /// nanoseconds before the process is looked at again, `None` where waits
    /// take no time.
    pub(crate) fn new(
        world: &'a mut dyn World,
        interrupt: &'a Interrupt,
        look: Option<At>,
    ) -> Self {
        Self {
            world,
            interrupt,
            look: look.unwrap_or(At::MAX),
            broke_off: false,
            ending: false,
        }
    }

    /// Whether the run was ended because the process was asked to end.
    pub(crate) fn broke_off(&self) -> bool {
        self.broke_off
    }
}

impl World for Interruptible<'_> {
    fn offers(&self, order: &Order) -> Result<(), Unavailable> {
        self.world.offers(order)
    }

    fn now(&self) -> At {
        self.world.now()
    }

    fn order(&mut self, order: Order) -> Result<(), WorldError> {
        self.world.order(order)
    }

    fn next(&mut self, until: At) -> Result<Option<Event>, WorldError> {
        loop {
            if self.interrupt.asked() && !self.ending {
                self.broke_off = true;
                return Err(WorldError("the run was interrupted".to_owned()));
            }
            let look = until.min(self.world.now().saturating_add(self.look));
            match self.world.next(look)? {
                None if look < until && !self.ending => {}
                other => return Ok(other),
            }
        }
    }

    fn finish(&mut self) -> Result<(), WorldError> {
        self.ending = true;
        self.world.finish()
    }
}
