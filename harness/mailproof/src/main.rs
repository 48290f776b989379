//! The `mailproof` command.

use std::process::ExitCode;

use mailproof::Extra;

fn main() -> ExitCode {
    mailproof::main_with(Extra::default())
}
