//! What every part of the command is handed.

use crate::console::Console;
use crate::exit_code::Exit;

/// What a command built on this one adds to it.
pub struct Extra {
    /// The command's name, in its help and in reproduction commands.
    pub program: &'static str,
    /// More targets: name, and what a target file says.
    pub targets: Vec<(String, String)>,
    /// More commands, without arguments.
    pub commands: Vec<ExtraCommand>,
}

impl Default for Extra {
    fn default() -> Self {
        Self {
            program: "mailproof",
            targets: Vec::new(),
            commands: Vec::new(),
        }
    }
}

/// A command that [`Extra`] adds.
pub struct ExtraCommand {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What it does.
    pub run: fn(&Extra) -> Exit,
}

/// The console, and what was added.
pub(crate) struct Context {
    pub(crate) console: Console,
    pub(crate) extra: Extra,
}

impl Context {
    pub(crate) fn new(extra: Extra) -> Self {
        Self {
            console: Console::new(),
            extra,
        }
    }

    /// An error for people, and the exit code that goes with it.
    pub(crate) fn refuse(&self, exit: Exit, text: &str) -> Exit {
        self.console.error(text);
        exit
    }

    /// The exit code of a command whose results are lines on standard output:
    /// what could not be written is no result.
    pub(crate) fn done(&self, exit: Exit) -> Exit {
        if exit == Exit::Passed && !self.console.intact() {
            return Exit::Harness;
        }
        exit
    }
}
