//! `mailproof node`: one reference node in the foreground.

use crate::cli::NodeArgs;
use crate::context::Context;
use crate::exit_code::Exit;

/// Runs a node until it is asked to end.
pub(crate) fn node(context: &Context, args: &NodeArgs) -> Exit {
    let _ = (context, args);
    todo!()
}
