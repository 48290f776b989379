//! Commands of a target file that run to their end: set-up, listers, version.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::child::Child;
use super::reaper::talk::{Say, Spawn};
use super::scratch::Scratch;

/// Most bytes that are read of what a command printed.
const MAX_OUTPUT: u64 = 256 * 1024 * 1024;

/// Runs a command to its end, at most for `patience`, and returns what it
/// printed. It is kept like a node, so nothing of it can stay behind.
///
/// # Errors
/// When it cannot be started, takes too long, or does not end with code 0;
/// with the end of its standard error.
pub(crate) async fn run(
    helper: &Path,
    scratch: &Scratch,
    how: Spawn,
    patience: Duration,
) -> io::Result<String> {
    let program = how.argv.join(" ");
    let (stdout, stderr) = (how.stdout.clone(), how.stderr.clone());
    let mut child = Child::spawn(helper, scratch, how).await?;
    let status = match timeout(patience, child.say()).await {
        Ok(Ok(Say::Gone(status))) => status,
        Ok(Ok(other)) => return Err(io::Error::other(format!("the keeper said {other:?}"))),
        Ok(Err(error)) => return Err(error),
        Err(_) => {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("`{program}` did not end within {patience:?}"),
            ));
        }
    };
    if status == "code 0" {
        return read(&stdout);
    }
    let said = read(&stderr).unwrap_or_default();
    let last = said.trim_end().lines().next_back().unwrap_or_default();
    Err(io::Error::other(format!(
        "`{program}` ended with {status}: {last}"
    )))
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_OUTPUT)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
