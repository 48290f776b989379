//! The `mailproof` command.

use mailproof::{Exit, Extra};

fn main() -> Exit {
    mailproof::main_with(Extra::default())
}
