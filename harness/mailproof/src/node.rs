//! `mailproof node`: one reference node in the foreground.

use crate::cli::NodeArgs;
use crate::exit_code::Exit;

/// Runs a node until it is asked to end (SIGTERM, SIGINT).
pub(crate) fn node(args: &NodeArgs) -> Exit {
    match mailproof_node::driver::main(&args.config) {
        Ok(()) => Exit::Passed,
        Err(error) if error.code() == 2 => Exit::Usage,
        Err(_) => Exit::Failed,
    }
}
