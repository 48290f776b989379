//! The one loop that runs a plan on any engine.

use crate::director::Director;
use crate::event::{At, Event};
use crate::order::{Unavailable, World, WorldError};

/// Why a run came to no end of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriveError {
    /// The world cannot do something that the plan needs. Nothing was started.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The harness itself failed; the world was cleaned up as far as it goes.
    #[error(transparent)]
    World(#[from] WorldError),
}

/// Runs the director's plan on a world until its end; `observe` sees every
/// event, in the order of the history.
///
/// # Errors
/// [`DriveError::Unavailable`] before anything was started, when the world
/// cannot carry out some order of the plan; [`DriveError::World`] when the
/// harness failed.
pub fn drive(
    world: &mut dyn World,
    director: &mut Director,
    observe: &mut dyn FnMut(&Event),
) -> Result<(), DriveError> {
    for order in director.preview() {
        world.offers(&order)?;
    }
    let ran = run(world, director, observe);
    let finished = world.finish();
    // What came last, while the world was cleaned up.
    while let Ok(Some(event)) = world.next(0) {
        observe(&event);
    }
    ran?;
    Ok(finished?)
}

fn run(
    world: &mut dyn World,
    director: &mut Director,
    observe: &mut dyn FnMut(&Event),
) -> Result<(), WorldError> {
    let mut orders = Vec::new();
    director.start(world.now(), &mut orders);
    loop {
        for order in orders.drain(..) {
            world.order(order)?;
        }
        let until = if director.done() {
            // The end has been recorded; it is read back, and what is before it.
            world.now()
        } else {
            director.next_wake().unwrap_or(At::MAX)
        };
        match world.next(until)? {
            Some(event) => {
                observe(&event);
                director.on_event(&event, &mut orders);
            }
            None if director.done() => return Ok(()),
            None => director.wake(world.now(), &mut orders),
        }
    }
}
