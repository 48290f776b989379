//! `mailproof queue`: the queues of a running reference node as JSON.

use std::path::Path;

use mailproof_node::driver::{Question, query};

use crate::cli::QueueArgs;
use crate::context::Context;
use crate::exit_code::Exit;

/// Asks the node at its admin socket and prints what it says.
pub(crate) fn queue(context: &Context, args: &QueueArgs) -> Exit {
    match query(Path::new(&args.addr), Question::Queues) {
        Ok(text) => {
            context.console.result(text.trim_end());
            Exit::Passed
        }
        Err(error) => context.refuse(
            Exit::Usage,
            &format!(
                "{}: no node answers at this admin socket: {error}; its path is `admin` in the node's configuration",
                args.addr
            ),
        ),
    }
}
