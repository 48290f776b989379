//! `mailproof bench`: what runs cost on this machine.
//!
//! A benchmark judges everything that it times. A run that is no PASS has no
//! figure: a target that loses mail is fast.

mod case;
mod cost;
mod figures;
mod measure;
mod shadows;
mod sim;

use crate::cli::{BenchArgs, BenchWhat};
use crate::context::Context;
use crate::exit_code::Exit;

pub(crate) fn bench(context: &Context, args: &BenchArgs) -> Exit {
    match &args.what {
        BenchWhat::Sim(args) => sim::sim(context, args),
    }
}
