//! The version of a target, as it tells it itself.

use std::path::Path;
use std::time::Duration;

use mailproof_model::target::TargetFile;
use minijinja::context;
use tokio::io::AsyncReadExt;

use crate::topology::fill;

/// How long a version command may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest version kept, in characters.
const LONGEST: usize = 200;

/// The first line that the target's version command prints; `None` when it
/// has none, or that cannot be run. Its templates may name `mailproof`, which
/// is `helper`.
#[must_use]
pub fn version(target: &TargetFile, helper: &Path) -> Option<String> {
    let values = context! { mailproof => helper.display().to_string() };
    let words: Vec<String> = target
        .node
        .version
        .iter()
        .map(|word| fill("`node.version`", word, &values).ok())
        .collect::<Option<_>>()?;
    let (program, arguments) = words.split_first()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let printed = runtime.block_on(async {
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut printed = Vec::new();
        let read = child.stdout.take()?.take(4096);
        let mut read = std::pin::pin!(read);
        tokio::time::timeout(PATIENCE, read.read_to_end(&mut printed))
            .await
            .ok()?
            .ok()?;
        let _ = tokio::time::timeout(PATIENCE, child.wait()).await;
        Some(printed)
    })?;
    let printed = String::from_utf8_lossy(&printed);
    let line: String = printed.lines().next()?.chars().take(LONGEST).collect();
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use mailproof_model::target;

    use super::*;

    fn of(command: &str) -> Option<String> {
        let text =
            format!("name = 'x'\ntitle = 'x'\n[node]\ncommand = ['x']\nversion = {command}\n");
        version(
            &target::parse("t.toml", &text).unwrap(),
            Path::new("/bin/echo"),
        )
    }

    #[test]
    fn the_first_line_counts() {
        let printed = of("['/bin/sh', '-c', 'echo 3.14 of it; echo more']");
        assert_eq!(printed.as_deref(), Some("3.14 of it"));
        assert_eq!(of("['{{ mailproof }}', 'me']").as_deref(), Some("me"));
    }

    #[test]
    fn what_says_nothing_has_no_version() {
        assert_eq!(of("[]"), None);
        assert_eq!(of("['/nowhere/at-all']"), None);
        assert_eq!(of("['/bin/sh', '-c', 'exit 0']"), None);
        assert_eq!(of("['{{ nothing }}']"), None);
    }
}
