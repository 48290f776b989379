//! `mailproof queue`: the queues of a running reference node, as a table or as
//! JSON; also its last events and its metrics, and commands to it. It also has
//! the node send its queues to a peer.

mod table;

use std::path::Path;

use mailproof_node::driver::{Question, query, redirect, tell};
use mailproof_node::view::QueuesView;

use crate::cli::{Format, QueueArgs};
use crate::context::Context;
use crate::exit_code::Exit;

/// Asks the node at its admin socket and prints what it says.
pub(crate) fn queue(context: &Context, args: &QueueArgs) -> Exit {
    let question = match (args.events, args.metrics, args.database_id) {
        (true, ..) => Question::Events,
        (_, true, _) => Question::Metrics,
        (_, _, true) => Question::DatabaseId,
        _ => Question::Queues,
    };
    let commanded = !args.command.is_empty();
    let socket = Path::new(&args.addr);
    let said = match &args.redirect_to {
        Some(to) => redirect(socket, to),
        None if commanded => tell(socket, &args.command.join(" ")),
        None => query(socket, question),
    };
    let text = match said {
        Ok(text) if args.redirect_to.is_some() => {
            if text.starts_with("{\"error\"") {
                return context.refuse(Exit::Usage, text.trim_end());
            }
            context.console.result(text.trim_end());
            return context.done(Exit::Passed);
        }
        Ok(text) => text,
        Err(error) => {
            return context.refuse(
                Exit::Usage,
                &format!(
                    "{}: no node answers at this admin socket: {error}; its path is `admin` in the node's configuration",
                    args.addr
                ),
            );
        }
    };
    if commanded && text.starts_with("{\"error\"") {
        return context.refuse(Exit::Usage, text.trim_end());
    }
    let human = args.format == Format::Human && !commanded;
    let text = match question {
        Question::Queues if human => match serde_json::from_str::<QueuesView>(&text) {
            Ok(view) => table::table(&view, args.messages),
            Err(error) => {
                return context.refuse(
                    Exit::Harness,
                    &format!(
                        "{}: expected a node of this version, and its answer is none: {error}; see it with --format json",
                        args.addr
                    ),
                );
            }
        },
        Question::DatabaseId if human => {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            value["database-id"].as_str().unwrap_or_default().to_owned()
        }
        _ => text,
    };
    context.console.result(text.trim_end());
    context.done(Exit::Passed)
}
