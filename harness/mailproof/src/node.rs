//! `mailproof node`: one reference node in the foreground.

use crate::cli::NodeArgs;
use crate::context::Context;
use crate::exit_code::Exit;

/// Runs a node until it is asked to end (SIGTERM, SIGINT), or only checks its
/// configuration.
pub(crate) fn node(context: &Context, args: &NodeArgs) -> Exit {
    let done = if args.check_config {
        mailproof_node::driver::check(&args.config).map(|config| {
            let (peers, routes) = (config.peers.len(), config.routes.len());
            context.console.result(&format!(
                "{}: good: node {}, listens on {}, peers: {peers}, routes: {routes}",
                args.config.display(),
                config.name,
                config.listen
            ));
        })
    } else {
        mailproof_node::driver::main(&args.config)
    };
    match done {
        Ok(()) => Exit::Passed,
        Err(error) if error.code() == 2 => Exit::Usage,
        Err(_) => Exit::Failed,
    }
}
