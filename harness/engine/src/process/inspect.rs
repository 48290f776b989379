//! Asking a running node what it holds, and reading the store of one that is
//! stopped.

use std::io;
use std::path::Path;
use std::time::Duration;

use mailproof_model::event::What;
use mailproof_model::party::{Party, Witness};
use mailproof_model::target::Builtin;
use mailproof_node::view::QueuesView;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::shared::Shared;
use super::template::Recipe;
use super::{command, listing, node};
use crate::spool;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The admin socket of a reference node, in its directory.
const ADMIN: &str = "admin.sock";

/// Most bytes of a reference node's answer.
const MAX_ANSWER: u64 = 1 << 30;

/// Writes down what a node holds, or why that cannot be learned.
pub(crate) async fn inspect(
    shared: &Shared,
    party: Party,
    recipe: &Recipe,
    logs: &Path,
    stopped: bool,
) {
    let (by, what) = match (shared.target.queue.builtin, &recipe.lister) {
        (Some(Builtin::Reference), _) if stopped => read_store(shared, party, recipe).await,
        (Some(Builtin::Reference), _) => ask_reference(shared, party, recipe).await,
        (None, Some(lister)) => list(shared, party, recipe, lister, logs).await,
        (None, None) => unlisted(party, "the target file names no way to list its queue"),
    };
    let _ = shared.recorder.record(by, what);
}

/// The queues of a reference node, as it tells them itself over its admin
/// socket, `admin.sock` in its directory.
async fn ask_reference(shared: &Shared, party: Party, recipe: &Recipe) -> (Witness, What) {
    let asked = async {
        let mut stream = UnixStream::connect(recipe.dir.join(ADMIN)).await?;
        stream.write_all(b"queues\n").await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok::<QueuesView, io::Error>(serde_json::from_slice(&answer)?)
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(view)) => {
            let (rows, others) = crate::sim::rows(&view, &shared.plan.run);
            (
                Witness::Node(party),
                What::Queues {
                    node: party,
                    rows,
                    others,
                },
            )
        }
        Ok(Err(error)) => unlisted(party, &format!("its admin socket: {error}")),
        Err(_) => unlisted(party, "its admin socket does not answer"),
    }
}

/// What a stopped reference node left, read by the harness itself.
async fn read_store(shared: &Shared, party: Party, recipe: &Recipe) -> (Witness, What) {
    let Some(store) = recipe.store.clone() else {
        return unlisted(party, "the target file names no `queue.store`");
    };
    let run = shared.plan.run.clone();
    let read = tokio::task::spawn_blocking(move || spool::read_store(store.as_path(), &run)).await;
    match read {
        Ok(Ok(holdings)) => (Witness::Disk(party), holdings.event(party)),
        Ok(Err(error)) => unlisted(party, &format!("its store cannot be read: {error}")),
        Err(_) => unlisted(party, "the reader of its store failed"),
    }
}

async fn list(
    shared: &Shared,
    party: Party,
    recipe: &Recipe,
    lister: &[String],
    logs: &Path,
) -> (Witness, What) {
    let mut how = node::spawn(shared, recipe, lister, logs, "lister");
    // Its output is read once and then of no more interest than the event.
    how.stdout = recipe.dir.join(".lister.out");
    let _ = std::fs::remove_file(&how.stdout);
    let said = command::run(&shared.helper, &shared.scratch, how, PATIENCE).await;
    match said
        .map_err(|error| error.to_string())
        .and_then(|text| listing::read(&text))
    {
        Ok((rows, others)) => (
            Witness::Node(party),
            What::Queues {
                node: party,
                rows,
                others,
            },
        ),
        Err(why) => unlisted(party, &why),
    }
}

fn unlisted(party: Party, note: &str) -> (Witness, What) {
    let note = note.to_owned();
    (Witness::Director, What::Unlisted { node: party, note })
}
