//! What a target file must hold together.

use super::{CAPABILITIES, Process, TargetFile, TargetTime};
use crate::diagnostic::Diagnostic;
use crate::scenario::{Span, Times};
use crate::strict::Document;
use crate::suggest::nearest;

pub(super) fn check(target: &TargetFile, document: &Document) -> Vec<Diagnostic> {
    let mut found = Check {
        document,
        problems: Vec::new(),
    };
    found.names(target);
    found.capabilities(target);
    found.process("node", &target.node);
    if let Some(process) = &target.store_node {
        found.process("store-node", process);
    }
    found.files(target);
    found.queue(target);
    found.times(target);
    found.claims(target);
    found.problems.sort_by_key(|d| d.span().start);
    found.problems
}

struct Check<'a> {
    document: &'a Document,
    problems: Vec<Diagnostic>,
}

impl Check<'_> {
    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(self.document.value(path, message));
    }

    fn names(&mut self, target: &TargetFile) {
        let name = &target.name;
        let good = (1..=40).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '/'));
        if !good {
            self.wrong(
                "name",
                "a target's name has 1 to 40 lower case letters, digits and hyphens and begins with a letter",
            );
        }
        if target.title.trim().is_empty() || target.title.chars().count() > 100 {
            self.wrong("title", "a title has 1 to 100 characters");
        }
        if let Some(image) = &target.image
            && !inside(image)
        {
            self.wrong("image", "the image is a folder of fixtures/images");
        }
    }

    fn capabilities(&mut self, target: &TargetFile) {
        for (i, name) in target.capabilities.iter().enumerate() {
            let path = format!("capabilities[{i}]");
            if !CAPABILITIES.iter().any(|(known, _)| known == name) {
                let problem = self
                    .document
                    .value(&path, format!("no capability is called `{name}`"));
                self.problems
                    .push(match nearest(name, CAPABILITIES.iter().map(|c| c.0)) {
                        Some(near) => problem.hint(format!("did you mean `{near}`?")),
                        None => problem.hint(format!("known are {}", known())),
                    });
            } else if target.capabilities[..i].contains(name) {
                self.wrong(&path, format!("`{name}` is listed twice"));
            }
        }
        if target.can("queue-listing")
            && target.queue.builtin.is_none()
            && target.queue.lister.is_none()
        {
            let at = position(target, "queue-listing");
            self.wrong(
                &at,
                "`queue-listing` needs `builtin` or `lister` in [queue]",
            );
        }
        if target.can("store-readable") && target.queue.builtin.is_none() {
            let at = position(target, "store-readable");
            self.wrong(&at, "`store-readable` needs `builtin` in [queue]");
        }
    }

    fn process(&mut self, path: &str, process: &Process) {
        if process.command.first().is_none_or(|c| c.trim().is_empty()) {
            self.wrong(
                &format!("{path}.command"),
                "the command names no program: expected [program, argument, …]",
            );
        }
        for name in process.env.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                self.problems.push(self.document.key(
                    &format!("{path}.env.{name}"),
                    format!("`{name}` cannot be the name of an environment variable"),
                ));
            }
        }
    }

    fn files(&mut self, target: &TargetFile) {
        for (i, file) in target.files.iter().enumerate() {
            let path = format!("file[{i}].path");
            if !inside(&file.path) {
                self.wrong(
                    &path,
                    format!(
                        "`{}` does not stay in the node's directory: expected a relative path without `..`",
                        file.path
                    ),
                );
            } else if target.files[..i].iter().any(|f| f.path == file.path) {
                self.wrong(&path, format!("`{}` is written twice", file.path));
            }
        }
        if target.sim.is_some() && !target.files.iter().any(|f| f.path == "node.toml") {
            self.wrong(
                "sim",
                "the simulator's model reads its configuration from the file `node.toml`, which is not here",
            );
        }
    }

    fn queue(&mut self, target: &TargetFile) {
        let queue = &target.queue;
        if queue.builtin.is_some() && queue.lister.is_some() {
            self.wrong("queue.lister", "`builtin` and `lister` exclude each other");
        }
        for (name, command) in [("lister", &queue.lister), ("flush", &queue.flush)] {
            if command
                .as_ref()
                .is_some_and(|c| c.first().is_none_or(|p| p.trim().is_empty()))
            {
                self.wrong(
                    &format!("queue.{name}"),
                    "the command names no program: expected [program, argument, …]",
                );
            }
        }
        if let Some(store) = &queue.store
            && !inside(store)
        {
            self.wrong(
                "queue.store",
                "the store lies in the node's directory: expected a relative path without `..`",
            );
        }
    }

    fn times(&mut self, target: &TargetFile) {
        self.span("ready.greeting", &target.ready.greeting);
        self.span("stop.max", &target.stop.max);
        let times = [
            ("poll", &target.times.poll),
            ("takeover", &target.times.takeover),
            ("retry", &target.times.retry),
            ("record", &target.times.record),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                self.time(name, time);
            }
        }
    }

    fn time(&mut self, name: &str, time: &TargetTime) {
        let path = format!("times.{name}");
        let Some(value) = self.span(&format!("{path}.default"), &time.default) else {
            return;
        };
        for (bound, span) in [("least", &time.least), ("most", &time.most)] {
            let Some(span) = span else { continue };
            let at = format!("{path}.{bound}");
            if !time.settable {
                self.wrong(&at, format!("`{bound}` needs `settable = true`"));
            } else if let Some(limit) = self.span(&at, span)
                && (if bound == "least" {
                    value < limit
                } else {
                    value > limit
                })
            {
                self.wrong(
                    &format!("{path}.default"),
                    format!(
                        "the default `{}` is outside its own bounds: `{bound}` is `{span}`",
                        time.default
                    ),
                );
            }
        }
    }

    /// The value of a span that may name no other times.
    fn span(&mut self, path: &str, span: &Span) -> Option<u64> {
        match span.resolve(&Times::new()) {
            Ok(0) => {
                self.wrong(path, "expected a span of time above 0");
                None
            }
            Ok(value) => Some(value),
            Err(_) => {
                self.wrong(
                    path,
                    format!("`{span}` depends on other times: expected one with a unit, `2 s`"),
                );
                None
            }
        }
    }

    fn claims(&mut self, target: &TargetFile) {
        for (i, claim) in target.claims.iter().enumerate() {
            let path = format!("claim[{i}]");
            if !(1..=50).contains(&claim.at_once) {
                self.wrong(&format!("{path}.at-once"), "expected 1 to 50 nodes at once");
            }
            if let Some(spacing) = &claim.spacing {
                self.span(&format!("{path}.spacing"), spacing);
            }
            if let Some(condition) = &claim.condition
                && condition != "shadowed"
            {
                self.wrong(
                    &format!("{path}.condition"),
                    format!("no condition is called `{condition}`; the one known is `shadowed`"),
                );
            }
        }
    }
}

fn known() -> String {
    CAPABILITIES.map(|(name, _)| name).join(", ")
}

fn position(target: &TargetFile, capability: &str) -> String {
    let at = target.capabilities.iter().position(|c| c == capability);
    format!("capabilities[{}]", at.unwrap_or(0))
}

/// Whether a path stays inside the directory it is relative to.
fn inside(path: &str) -> bool {
    let path = std::path::Path::new(path);
    path.components().next().is_some()
        && path
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
}
