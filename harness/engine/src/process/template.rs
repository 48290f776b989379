//! Target files filled in for one node: commands, files, environment.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mailproof_model::party::Party;
use mailproof_model::plan::Plan;
use mailproof_model::target::TargetFile;

use super::addr::Block;
use crate::topology::{self, Places, TemplateError};

/// What a node is started from, with nothing left open.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// Its own directory.
    pub(crate) dir: PathBuf,
    /// What it must not lose; `None` when the target file does not say.
    pub(crate) store: Option<PathBuf>,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) workdir: PathBuf,
    pub(crate) prepare: Vec<String>,
    pub(crate) lister: Option<Vec<String>>,
    files: Vec<(PathBuf, String, bool)>,
}

/// What all nodes of a run have in common.
pub(crate) struct Kitchen<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) target: &'a TargetFile,
    pub(crate) block: &'a Block,
    /// The running command, for `{{ mailproof }}`.
    pub(crate) helper: &'a Path,
    /// Where the programs that the harness carries are, for `{{ programs }}`.
    pub(crate) programs: &'a Path,
    /// The directory that holds the nodes' directories.
    pub(crate) nodes: &'a Path,
    /// The secret of the run.
    pub(crate) cluster_key: &'a str,
}

impl Kitchen<'_> {
    /// Fills the target file in for one node.
    pub(crate) fn recipe(&self, node: Party) -> Result<Recipe, TemplateError> {
        let owns_mailboxes = matches!(node, Party::Store(_));
        let process = self.target.process(owns_mailboxes);
        let dir = self.nodes.join(node.to_string());
        let store = self
            .target
            .queue
            .store
            .as_ref()
            .map(|store| dir.join(store));
        let text = |path: &Path| path.display().to_string();
        let places = Places {
            mailproof: &text(self.helper),
            programs: &text(self.programs),
            dir: &text(&dir),
            store: &text(store.as_deref().unwrap_or(&dir)),
            cluster_key: self.cluster_key,
        };
        let values = topology::values(self.plan, node, self.block, &places);
        let fill = |place: &str, text: &str| topology::fill(place, text, &values);
        let words = |place: &str, words: &[String]| {
            words
                .iter()
                .enumerate()
                .map(|(i, word)| fill(&format!("`{place}[{i}]`"), word))
                .collect::<Result<Vec<_>, _>>()
        };
        let role = if owns_mailboxes && self.target.store_node.is_some() {
            "store-node"
        } else {
            "node"
        };
        let mut env = Vec::new();
        for (name, text) in &process.env {
            env.push((name.clone(), fill(&format!("`{role}.env.{name}`"), text)?));
        }
        let mut files = Vec::new();
        for file in &self.target.files {
            let text = fill(&format!("the file `{}`", file.path), &file.text)?;
            files.push((dir.join(&file.path), text, file.executable));
        }
        Ok(Recipe {
            command: words(&format!("{role}.command"), &process.command)?,
            env,
            workdir: match &process.workdir {
                Some(text) => dir.join(fill(&format!("`{role}.workdir`"), text)?),
                None => dir.clone(),
            },
            prepare: words(&format!("{role}.prepare"), &process.prepare)?,
            lister: match &self.target.queue.lister {
                Some(lister) => Some(words("queue.lister", lister)?),
                None => None,
            },
            files,
            store,
            dir,
        })
    }
}

impl Recipe {
    /// Writes the node's files into its directory.
    pub(crate) fn write(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        fs::create_dir_all(&self.workdir)?;
        for (path, text, executable) in &self.files {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
            let mode = if *executable { 0o700 } else { 0o600 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

/// A new secret, 64 hexadecimal digits.
pub(crate) fn secret() -> io::Result<String> {
    use io::Read;
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use mailproof_model::{scenario, target};

    use super::*;

    fn recipe(target: &str, nodes: &str, node: Party) -> Result<Recipe, TemplateError> {
        let text = format!(
            "id = 'a/b'\ntitle = 't'\n[cluster]\n{nodes}\n[workload]\nmessages = 1\n[time]\nretry = '250 ms'\n"
        );
        let scenario = scenario::parse("s.toml", &text).unwrap();
        let target = target::parse("t.toml", target).unwrap();
        let plan = Plan::build(&scenario, &target, "process", 7, "r1").unwrap();
        let block = Block::claim("templates").unwrap();
        let kitchen = Kitchen {
            plan: &plan,
            target: &target,
            block: &block,
            helper: Path::new("/bin/mailproof"),
            programs: Path::new("/tmp/p"),
            nodes: Path::new("/tmp/n"),
            cluster_key: "00",
        };
        kitchen.recipe(node)
    }

    const TARGET: &str = r#"
name = "some"
title = "Some MTA"
capabilities = ["relay", "owns-mailbox"]
[node]
command = ["mta", "{{ listen }}", "{{ dir }}/c", "{{ times.retry / 1000 }}"]
env = { HOPS = "{{ next_hops | length }}", PEERS = "{% for p in peers %}{{ p.name }} {% endfor %}" }
[[file]]
path = "sub/c"
text = "{{ role }} {{ store }} {{ domains | join(',') }}"
[queue]
store = "spool"
"#;

    #[test]
    fn every_name_has_its_value() {
        let made = recipe(TARGET, "nodes = 3", Party::Node(2)).unwrap();
        assert_eq!(made.command[0], "mta");
        assert!(made.command[1].starts_with("127."));
        assert_eq!(made.command[2..], ["/tmp/n/n2/c", "0.25"]);
        let env = |name, value: &str| (String::from(name), value.to_owned());
        assert_eq!(made.env, [env("HOPS", "1"), env("PEERS", "n1 n3 ")]);
        let (path, text, _) = &made.files[0];
        assert_eq!(path, Path::new("/tmp/n/n2/sub/c"));
        assert_eq!(text, "transport /tmp/n/n2/spool mail.test,client.test");
        assert_eq!(made.store.as_deref(), Some(Path::new("/tmp/n/n2/spool")));
        assert_eq!(made.workdir, Path::new("/tmp/n/n2"));
    }

    #[test]
    fn a_node_with_mailboxes_has_no_peers_and_no_next_hops() {
        let made = recipe(TARGET, "nodes = 1\nstores = 2", Party::Store(1)).unwrap();
        assert_eq!(made.env[0].1, "0");
        assert_eq!(made.env[1].1, "");
        assert!(made.files[0].1.starts_with("mailbox "));
        let made = recipe(TARGET, "nodes = 1\nstores = 2", Party::Node(1)).unwrap();
        assert_eq!(made.env[0].1, "2");
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error() {
        let target = TARGET.replace("{{ role }}", "{{ rolle }}");
        let error = recipe(&target, "nodes = 1", Party::Node(1)).unwrap_err();
        assert_eq!(error.place, "the file `sub/c`");
        assert!(error.why.contains("undefined"), "{}", error.why);
        let target = TARGET.replace("{{ listen }}", "{{ listen }");
        let error = recipe(&target, "nodes = 1", Party::Node(1)).unwrap_err();
        assert_eq!(error.place, "`node.command[1]`");
    }
}
