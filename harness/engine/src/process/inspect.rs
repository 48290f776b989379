//! Asking a running node what it holds, and reading the store of one that is
//! stopped.

use std::path::Path;
use std::time::Duration;

use mailproof_model::event::What;
use mailproof_model::party::{Party, Witness};
use mailproof_model::target::Builtin;

use super::shared::Shared;
use super::template::Recipe;
use super::{command, listing, node};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes down what a node holds, or why that cannot be learned.
pub(crate) async fn inspect(
    shared: &Shared,
    party: Party,
    recipe: &Recipe,
    logs: &Path,
    stopped: bool,
) {
    let (by, what) = match (shared.target.queue.builtin, &recipe.lister) {
        (Some(Builtin::Reference), _) => unlisted(party, "no reader yet"),
        (None, Some(lister)) => list(shared, party, recipe, lister, logs).await,
        (None, None) => unlisted(party, "the target file names no way to list its queue"),
    };
    let _ = stopped;
    let _ = shared.recorder.record(by, what);
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
