//! Which target a name or a file means.

use std::path::Path;

use mailproof_model::diagnostic::Diagnostic;
use mailproof_model::target::{self, TargetFile};

use crate::context::{Context, Extra};
use crate::exit_code::Exit;
use crate::report::quoted;
use crate::{library, selection};

/// A target and the text it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// How it was asked for: a name or a file, as a word for a shell.
    pub(crate) asked: String,
    /// What the file says.
    pub(crate) file: TargetFile,
    /// The file itself; it is copied into every run directory.
    pub(crate) text: String,
}

/// The targets that have a name: the carried ones and the added ones.
pub(crate) fn known(extra: &Extra) -> impl Iterator<Item = (&str, &str)> + Clone {
    let added = extra.targets.iter();
    library::targets()
        .map(|(name, text)| -> (&str, &str) { (name, text) })
        .chain(added.map(|(name, text)| (name.as_str(), text.as_str())))
}

/// Reads a target file.
pub(crate) fn read(file: &str, text: &str) -> Result<TargetFile, Vec<Diagnostic>> {
    target::parse_all(file, text)
}

/// The target that was asked for, or the exit code after saying what is wrong.
pub(crate) fn choose(context: &Context, asked: &str) -> Result<Choice, Exit> {
    let named = known(&context.extra).find(|(name, _)| *name == asked);
    let (file, text) = match named {
        Some((name, text)) => (format!("{name} (carried)"), text.to_owned()),
        None if asked.ends_with(".toml") || Path::new(asked).is_file() => {
            match std::fs::read_to_string(asked) {
                Ok(text) => (asked.to_owned(), text),
                Err(e) => {
                    return Err(context.refuse(
                        Exit::Usage,
                        &format!("the target file {asked} cannot be read: {e}"),
                    ));
                }
            }
        }
        None => {
            let near = selection::did_you_mean(asked, known(&context.extra).map(|(name, _)| name));
            return Err(context.refuse(
                Exit::Usage,
                &format!("no target is called `{asked}`; {near} A target file ends in `.toml`."),
            ));
        }
    };
    match read(&file, &text) {
        Ok(file) => Ok(Choice {
            asked: quoted(asked),
            file,
            text,
        }),
        Err(problems) => {
            for problem in &problems {
                context.console.diagnostic(problem);
            }
            Err(Exit::Usage)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_carried_target_can_be_read_and_bears_its_name() {
        for (name, text) in library::targets() {
            let file = read(name, text).unwrap_or_else(|e| panic!("{e:?}"));
            assert_eq!(file.name, name);
        }
    }
}
