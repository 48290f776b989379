//! The command line: what can be asked, and nothing of how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::campaign::shard::Shard;
use crate::seeds::Seeds;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "mailproof",
    version,
    about = "Starts a mail cluster, sends it mail, breaks it in a chosen way, and accounts for every recipient of every message.",
    arg_required_else_help = true,
    after_help = "Exit codes: 0 all that applied passed · 1 at least one FAIL · 2 wrong command line or file · 3 evidence is missing, not a pass · 4 nothing selected or applicable · 70 the harness failed · 71 check: altered run"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One verb of the command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios against a target and judge them (no argument: the smoke suite)
    Run(RunArgs),
    /// Judge finished runs again from their histories, offline
    Check(CheckArgs),
    /// Put the stores of a campaign's parts together
    Merge(MergeArgs),
    /// Put one fault at every point of a run, in the simulator
    Sweep(SweepArgs),
    /// Find the smallest scenario that still fails as a run did
    Shrink(ShrinkArgs),
    /// Run a simulated run once more and compare every byte of its history
    Replay(ReplayArgs),
    /// List the scenarios that the command carries, or the targets
    List(ListArgs),
    /// Check scenario files without running anything
    Lint(LintArgs),
    /// Show what a scenario will do: its resolved plan, step by step
    Plan(PlanArgs),
    /// Say what a rule asks for and where it comes from
    Explain(ExplainArgs),
    /// Say what this machine can do, and why not the rest
    Doctor(DoctorArgs),
    /// Measure what runs cost on this machine
    Bench(BenchArgs),
    /// Run one reference node in the foreground
    Node(NodeArgs),
    /// Show the queues of a running reference node
    Queue(QueueArgs),
    /// Look at the store of a stopped reference node
    Store(StoreArgs),
    /// Remove what a killed run may have left behind
    Gc(GcArgs),
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line on standard output.
    Json,
}

/// Where scenarios run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Real processes on loopback addresses of this machine.
    #[default]
    Process,
    /// Simulated nodes, network and disks in virtual time; deterministic.
    Sim,
}

impl Engine {
    /// Every engine there is.
    pub const ALL: [Self; 2] = [Self::Process, Self::Sim];

    /// Its name on the command line and in histories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Sim => "sim",
        }
    }
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Scenario ids (`smoke/no-fault`), prefixes (`smoke`), globs (`*/power-*`)
    /// or scenario files (ending in `.toml`); nothing: the smoke suite
    #[arg(value_name = "PATTERN|FILE")]
    pub(crate) select: Vec<String>,
    /// The system under test: a known target or a target file
    #[arg(long, value_name = "NAME|FILE", default_value = "reference")]
    pub(crate) target: String,
    /// Where the scenarios run
    #[arg(long, value_enum, default_value_t)]
    pub(crate) engine: Engine,
    /// The source of every draw
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "seeds")]
    pub(crate) seed: u64,
    /// Many seeds, `0..200`: from A up to, not including, B
    #[arg(long, value_name = "A..B")]
    pub(crate) seeds: Option<Seeds>,
    /// How many scenarios run at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Where the run directories go; nothing: a new folder below `mailproof-runs`
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Keep the temporary directories with the nodes' stores; `gc` removes them
    #[arg(long)]
    pub(crate) keep: bool,
    /// Only pretend to inject the fault of this step, counted from 0: the
    /// scenario must then turn INCONCLUSIVE
    #[arg(long, value_name = "STEP")]
    pub(crate) disarm: Vec<u32>,
    /// Search the seeds in memory and keep what came of them in this folder,
    /// which has run directories only of the seeds worth a look; called again
    /// after an end of any kind, run what is missing (engine `sim`)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "keep"])]
    pub(crate) campaign: Option<PathBuf>,
    /// Search only the i-th of n parts of the seeds, into a folder of its own
    /// below that of the campaign; counted from 0 or from 1: n/n is 0/n
    #[arg(
        long,
        value_name = "i/n",
        env = "MAILPROOF_SHARD",
        requires = "campaign"
    )]
    pub(crate) shard: Option<Shard>,
    /// Exit 0 once every seed was tried, whatever came of it: for job engines,
    /// which start again what exits otherwise; `merge` gives the exit code
    #[arg(long, requires = "campaign")]
    pub(crate) leave_verdict: bool,
    /// Run every seed twice and compare draws and histories (engine `sim`)
    #[arg(long)]
    pub(crate) twice: bool,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Where the merged store goes: a new or empty folder
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// The stores of a campaign's parts, or folders that hold them
    #[arg(value_name = "DIR", required = true)]
    pub(crate) dirs: Vec<PathBuf>,
    /// How the summary is written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Run directories, or folders that hold them
    #[arg(value_name = "DIR", required = true)]
    pub(crate) dirs: Vec<PathBuf>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `sweep`.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Sweeps: ids, prefixes, globs or scenario files; nothing: all that the
    /// command carries
    #[arg(value_name = "PATTERN|FILE")]
    pub(crate) select: Vec<String>,
    /// The system under test: a known target or a target file
    #[arg(long, value_name = "NAME|FILE", default_value = "reference")]
    pub(crate) target: String,
    /// The source of every draw
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many cases run at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Only every Nth point
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) every: Option<u32>,
    /// Run this case alone, into a run directory, with its report
    #[arg(long, value_name = "N")]
    pub(crate) case: Option<u32>,
    /// Where failing cases go; nothing: a new folder below `mailproof-runs`
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `shrink`.
#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// A run directory with a FAIL, or a scenario (id or file) that fails with
    /// `--seed` and `--target`
    #[arg(value_name = "DIR|SCENARIO|FILE")]
    pub(crate) what: String,
    /// The system under test, for a scenario; a run directory has its own
    #[arg(long, value_name = "NAME|FILE", default_value = "reference")]
    pub(crate) target: String,
    /// The source of every draw, for a scenario; a run directory has its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where the result goes; nothing: `shrunk.toml` in the run directory, or
    /// here
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Most trials in the simulator
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) trials: u64,
    /// Longest search, in seconds
    #[arg(long, value_name = "S", default_value_t = 120)]
    pub(crate) time: u64,
    /// Do not run the result on real processes
    #[arg(long)]
    pub(crate) no_process: bool,
    /// How often the result is run on real processes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A run directory of the simulator
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Ids, prefixes or globs; nothing: all
    #[arg(value_name = "PATTERN")]
    pub(crate) select: Vec<String>,
    /// List targets instead of scenarios
    #[arg(long)]
    pub(crate) targets: bool,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Scenario files; nothing: all that the command carries
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// A scenario id or a scenario file
    #[arg(value_name = "SCENARIO|FILE")]
    pub(crate) scenario: String,
    /// The system under test
    #[arg(long, value_name = "NAME|FILE", default_value = "reference")]
    pub(crate) target: String,
    /// Where it would run
    #[arg(long, value_enum, default_value_t)]
    pub(crate) engine: Engine,
    /// The source of every draw
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// `json`: the plan as the first line of a history holds it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A rule id, `R052` say; nothing: all of them, one a line
    #[arg(value_name = "RULE")]
    pub(crate) rule: Option<String>,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What is measured
    #[command(subcommand)]
    pub(crate) what: BenchWhat,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchWhat {
    /// The simulator: transactions and seeds a second, 48 hours of live
    /// copies, cost by cluster size and by number of messages
    Sim(BenchSimArgs),
}

/// Groups of figures of `bench sim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchGroup {
    /// Transactions a second through one node.
    Rate,
    /// 48 simulated hours in which every node holds copies for every other.
    Shadows,
    /// Seeds a second of a scenario.
    Seeds,
    /// Cost by number of nodes.
    Nodes,
    /// Cost by number of messages.
    Messages,
}

/// Arguments of `bench sim`.
#[derive(Debug, Args)]
pub(crate) struct BenchSimArgs {
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// The system under test; 48 hours of copies always run on `reference`
    #[arg(long, value_name = "NAME|FILE", default_value = "reference")]
    pub(crate) target: String,
    /// Only these figures; may be given several times
    #[arg(long, value_enum)]
    pub(crate) only: Vec<BenchGroup>,
    /// Times that everything is measured; figures are medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repetitions: u16,
    /// The first seed; every repetition has the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Messages of a run of `rate`
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) messages: u32,
    /// Longest run of `messages`; the bar is over 100000
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) most: u32,
    /// The scenario of `seeds`
    #[arg(long, value_name = "ID", default_value = "smoke/primary-lost")]
    pub(crate) scenario: String,
    /// Seeds of a repetition of `seeds`
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) seeds: u32,
    /// Folder for the history that is being written; nothing: that for
    /// temporary files
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Arguments of `node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node's configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "user")]
    pub(crate) config: Option<PathBuf>,
    /// Only check the configuration: nothing is opened, nothing runs
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Print NAME's line for the node's file of users; the password is the
    /// first line of standard input
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "check_config"])]
    pub(crate) user: Option<String>,
}

/// Arguments of `queue`.
#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    /// Path of the node's admin socket: `admin` in its configuration
    #[arg(value_name = "ADDR")]
    pub(crate) addr: String,
    /// A command for the node, as `dismount db1` or `requests`, instead of the
    /// question for its queues
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Also every message and every shadow message
    #[arg(long)]
    pub(crate) messages: bool,
    /// Instead: its last events, one JSON object a line, the oldest first
    #[arg(long, conflicts_with_all = ["messages", "metrics", "database_id"])]
    pub(crate) events: bool,
    /// Instead: counters and gauges as Prometheus text
    #[arg(long, conflicts_with_all = ["messages", "database_id"])]
    pub(crate) metrics: bool,
    /// Instead: the identity of its queue database
    #[arg(long, conflicts_with = "messages")]
    pub(crate) database_id: bool,
    /// How queues are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Have it send its delivery queues to this peer, and refuse new mail
    /// until it is started anew
    #[arg(long, value_name = "NODE", conflicts_with_all = ["messages", "events", "metrics", "database_id"])]
    pub(crate) redirect_to: Option<String>,
}

/// Arguments of `store`.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

/// One verb of `store`.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Say what is there and whether it is intact, changing nothing (exit codes:
    /// 0 intact · 1 damaged · 2 it cannot be read)
    Check(StoreCheckArgs),
}

/// Arguments of `store check`.
#[derive(Debug, Args)]
pub(crate) struct StoreCheckArgs {
    /// The store's directory: `store` in the node's configuration
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_lists_every_exit_code() {
        let help = Cli::command().render_help().to_string();
        for (exit, _) in crate::exit_code::Exit::ALL {
            assert!(help.contains(&format!(" {} ", exit.code())), "{exit:?}");
        }
    }
}
