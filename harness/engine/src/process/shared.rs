//! What every part of a run holds in common.

use std::path::PathBuf;
use std::sync::Arc;

use mailproof_model::plan::Plan;
use mailproof_model::target::TargetFile;

use super::addr::Block;
use super::links::Links;
use super::record::Recorder;
use super::scratch::Scratch;

/// What every part of a run holds in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) target: TargetFile,
    pub(crate) run_dir: PathBuf,
    pub(crate) helper: PathBuf,
    pub(crate) block: Arc<Block>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) links: Links,
    pub(crate) scratch: Scratch,
}
