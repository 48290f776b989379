//! `mailproof node`: one reference node in the foreground.

use std::io::BufRead as _;

use crate::cli::NodeArgs;
use crate::context::Context;
use crate::exit_code::Exit;

/// Runs a node until it is asked to end (SIGTERM, SIGINT), or only checks its
/// configuration.
pub(crate) fn node(context: &Context, args: &NodeArgs) -> Exit {
    if let Some(name) = &args.user {
        return user(context, name);
    }
    let Some(file) = &args.config else {
        return Exit::Usage;
    };
    let done = if args.check_config {
        mailproof_node::driver::check(file).map(|config| {
            let (peers, routes) = (config.peers.len(), config.routes.len());
            context.console.result(&format!(
                "{}: good: node {}, listens on {}, peers: {peers}, routes: {routes}",
                file.display(),
                config.name,
                config.listen
            ));
        })
    } else {
        mailproof_node::driver::main(file)
    };
    match done {
        Ok(()) => Exit::Passed,
        Err(error) if error.code() == 2 => Exit::Usage,
        Err(_) => Exit::Failed,
    }
}

/// Prints a user's line.
fn user(context: &Context, name: &str) -> Exit {
    let console = &context.console;
    let mut password = String::new();
    let read = std::io::stdin().lock().read_line(&mut password);
    let password = password.trim_end_matches(['\r', '\n']);
    if read.is_err() || password.is_empty() {
        console.error("expected a password as the first line of standard input");
        return Exit::Usage;
    }
    let Some(line) = mailproof_node::driver::user_line(name, password) else {
        console.error("expected a name without \":\" and control characters");
        return Exit::Usage;
    };
    if console.result(&line) {
        Exit::Passed
    } else {
        Exit::Failed
    }
}
