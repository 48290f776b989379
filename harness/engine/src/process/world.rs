//! The world of real processes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use mailproof_model::event::{At, Event, Fault, Stage, What};
use mailproof_model::history::{Seal, Writer};
use mailproof_model::order::{Act, DIRECTOR, Order, Unavailable, World, WorldError};
use mailproof_model::party::{Link, Party, Witness};
use mailproof_model::plan::Plan;
use mailproof_model::target::TargetFile;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::addr::{Block, MAX_NODES, MAX_STORES};
use super::links::{LinkHost, Links};
use super::mailhost;
use super::node::{Node, NodeAct, NodeAsk, receipt};
use super::record::Recorder;
use super::scratch::Scratch;
use super::sender::{Session, SessionAsk, Submit};
use super::shared::Shared;
use super::template::{Kitchen, Recipe, secret};
use crate::link::{LinkContext, offers_act, offers_point};
use crate::topology::Addresses;

/// How long tasks may take to end once their sockets are of no more use.
const WIND_DOWN: Duration = Duration::from_secs(5);

/// Most descriptors that are asked for.
const DESCRIPTORS: u64 = 16 * 1024;

/// Where and with what a run is carried out.
#[derive(Clone, Debug)]
pub struct Options {
    /// A binary whose `main` calls [`reaper_main`](super::reaper_main) when
    /// its first argument is [`SUBCOMMAND`](super::SUBCOMMAND): `mailproof`
    /// itself. It is also what `{{ mailproof }}` names in target files.
    pub helper: PathBuf,
    /// The run directory; the nodes' logs go to `nodes/<node>/` in it.
    pub run_dir: PathBuf,
    /// Programs that target files may start, `{{ programs }}/<name>`: name
    /// and text.
    pub programs: Vec<(String, String)>,
    /// Leave the temporary directory with the nodes' stores where it is.
    pub keep: bool,
}

/// A cluster of real processes. See the module.
pub struct ProcessWorld {
    /// `None` once finished.
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
    recipes: BTreeMap<Party, Recipe>,
    nodes: BTreeMap<Party, mpsc::UnboundedSender<NodeAsk>>,
    sessions: BTreeMap<u16, mpsc::UnboundedSender<SessionAsk>>,
    events: Receiver<Result<Event, WorldError>>,
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> WorldError {
    move |error| WorldError(format!("{what}: {error}"))
}

impl ProcessWorld {
    /// Prepares a run: claims addresses, opens the mailbox, makes the
    /// temporary directory. No node is started yet. The history goes to
    /// `writer`, whose plan must be `plan`.
    ///
    /// # Errors
    /// [`WorldError`] with what could not be had. Nothing is left behind.
    pub fn new(
        plan: Plan,
        target: TargetFile,
        writer: Writer<File>,
        options: Options,
    ) -> Result<Self, WorldError> {
        let cluster = &plan.scenario.cluster;
        if cluster.nodes > MAX_NODES || cluster.stores > MAX_STORES {
            return Err(WorldError(format!(
                "the process engine has addresses for {MAX_NODES} nodes and {MAX_STORES} with mailboxes"
            )));
        }
        let options = Options {
            helper: pinned(options.helper),
            ..options
        };
        more_descriptors();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(failed("the runtime cannot be started"))?;
        let block = Arc::new(Block::claim(&plan.run).map_err(failed("addresses"))?);
        let scratch = Scratch::new(&options.helper, &plan.run, options.keep)
            .map_err(failed("the temporary directory"))?;
        let programs = scratch.dir().join("programs");
        write_programs(&programs, &options.programs).map_err(failed("the carried programs"))?;
        let kitchen = Kitchen {
            plan: &plan,
            target: &target,
            block: &block,
            helper: &options.helper,
            programs: &programs,
            nodes: &scratch.dir().join("nodes"),
            cluster_key: &secret().map_err(failed("a secret for the cluster"))?,
        };
        let recipes = plan
            .nodes()
            .map(|node| Ok((node, kitchen.recipe(node)?)))
            .collect::<Result<BTreeMap<_, _>, crate::topology::TemplateError>>()
            .map_err(|error| WorldError(error.to_string()))?;

        let (to, events) = channel();
        let recorder = Arc::new(Recorder::new(writer, to));
        let context = Arc::new(LinkContext::new(&plan.run, plan.times.clone()));
        let guard = runtime.enter();
        let links = Links::new(plan.links(), &context, &block, &recorder);
        if plan.end() == Party::Mailbox {
            let listener = TcpListener::bind(block.listen(Party::Mailbox))
                .and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    tokio::net::TcpListener::from_std(listener)
                })
                .map_err(failed("the mailbox cannot listen"))?;
            let recorder = Arc::clone(&recorder);
            runtime.spawn(mailhost::serve(
                listener,
                links.dialled(),
                context,
                recorder,
            ));
            runtime.block_on(links.open(Party::Mailbox));
        }
        drop(guard);
        let shared = Arc::new(Shared {
            plan,
            target,
            run_dir: options.run_dir,
            helper: options.helper,
            block,
            recorder,
            links,
            scratch,
        });
        let mut nodes = BTreeMap::new();
        for (party, recipe) in &recipes {
            let (asks, told) = mpsc::unbounded_channel();
            let node = Node::new(*party, recipe.clone(), Arc::clone(&shared));
            runtime.spawn(node.run(told));
            nodes.insert(*party, asks);
        }
        Ok(Self {
            runtime: Some(runtime),
            shared,
            recipes,
            nodes,
            sessions: BTreeMap::new(),
            events,
        })
    }

    /// Seals the history, once the run is [finished](World::finish).
    ///
    /// # Errors
    /// A write or sync error, or a history that could not be written earlier;
    /// it then counts as unsealed.
    pub fn seal(&mut self) -> Result<Seal, WorldError> {
        self.shared
            .recorder
            .seal()
            .map_err(failed("the history cannot be sealed"))
    }

    fn node(&self, node: Party, ask: NodeAsk) -> Result<(), WorldError> {
        self.nodes
            .get(&node)
            .and_then(|asks| asks.send(ask).ok())
            .ok_or_else(|| WorldError(format!("the plan has no node {node}, or the run is over")))
    }

    fn link(&self, link: Link) -> Result<&Arc<LinkHost>, WorldError> {
        self.shared
            .links
            .get(link)
            .ok_or_else(|| WorldError(format!("the plan has no link {link}")))
    }

    fn session(&mut self, number: u16, ask: SessionAsk) -> Result<(), WorldError> {
        let over = || WorldError("the run is over".to_owned());
        let asks = match self.sessions.get(&number) {
            Some(asks) => asks,
            // Nothing to hang up.
            None if matches!(ask, SessionAsk::Hangup) => return Ok(()),
            None => {
                let runtime = self.runtime.as_ref().ok_or_else(over)?;
                let (asks, told) = mpsc::unbounded_channel();
                runtime.spawn(Session::new(number, Arc::clone(&self.shared)).run(told));
                self.sessions.entry(number).or_insert(asks)
            }
        };
        asks.send(ask).map_err(|_| over())
    }

    /// A receipt for what was not done, because it is disarmed or needs no
    /// undoing.
    fn receipt(&self, fault: Fault, stage: Stage, text: &str, act: &Act) {
        let what = match act {
            Act::Crash(node)
            | Act::PowerCut(node)
            | Act::NodeLost { node, .. }
            | Act::Pause(node)
            | Act::Restart(node) => receipt(fault, stage, text.to_owned(), *node),
            Act::Disk(node, _) | Act::Corrupt(node, _) => {
                receipt(fault, stage, text.to_owned(), *node)
            }
            Act::Clock { .. } => What::Fault {
                fault,
                stage,
                text: text.to_owned(),
                node: None,
                link: None,
                conn: None,
            },
            Act::Link(link, _) => What::Fault {
                fault,
                stage,
                text: text.to_owned(),
                node: None,
                link: Some(*link),
                conn: None,
            },
        };
        let _ = self.shared.recorder.record(Witness::Injector, what);
    }

    fn break_now(&self, fault: Fault, act: &Act, disarmed: bool) -> Result<(), WorldError> {
        if let Act::Link(link, what) = act {
            return self.link(*link)?.break_now(fault, what, disarmed);
        }
        let (node, what) = node_act(act)?;
        if disarmed {
            self.receipt(fault, Stage::Fired, what.text(), act);
            return Ok(());
        }
        self.node(node, NodeAsk::Break(fault, what))
    }

    fn mend(&self, fault: Fault, act: &Act, disarmed: bool) -> Result<(), WorldError> {
        match act {
            Act::Link(link, what) => {
                self.link(*link)?.mend(fault, what, disarmed);
                Ok(())
            }
            Act::Pause(node) if !disarmed => self.node(*node, NodeAsk::Resume(fault)),
            _ => {
                self.receipt(fault, Stage::Removed, "there is nothing to take back", act);
                Ok(())
            }
        }
    }

    fn offers_link(&self, link: Link) -> Result<(), Unavailable> {
        match self.shared.links.get(link) {
            Some(_) => Ok(()),
            None => Err(Unavailable {
                what: format!("a fault on {link}"),
                why: "the cluster of the scenario has no such link".to_owned(),
            }),
        }
    }

    fn offers_act(&self, act: &Act) -> Result<(), Unavailable> {
        match act {
            Act::PowerCut(node) => Err(Unavailable {
                what: format!("a power cut of {node}"),
                why: "a killed process leaves behind what it never synced; this needs the crashable disk, which the process engine does not have yet (the simulator has)".to_owned(),
            }),
            Act::Disk(node, what) => Err(Unavailable {
                what: format!("the fault `{}` of the disk of {node}", what.name()),
                why: "this needs the crashable disk, which the process engine does not have yet (the simulator has)".to_owned(),
            }),
            Act::Corrupt(node, how) => Err(Unavailable {
                what: format!("damage ({}) to the files of {node}", how.name()),
                why: "nobody would see whether the node reads what was damaged; this needs the crashable disk, which the process engine does not have yet (the simulator has)".to_owned(),
            }),
            Act::NodeLost { node, wipe: true } if self.store(*node).is_none() => Err(Unavailable {
                what: format!("the loss of {node} with its store"),
                why: "the target file names no `queue.store`".to_owned(),
            }),
            Act::Clock { node, .. } => Err(Unavailable {
                what: format!("wrong clocks of {node}"),
                why: "a process cannot be given clocks of its own here; use `--engine sim`".to_owned(),
            }),
            Act::Link(link, what) => {
                self.offers_link(*link)?;
                offers_act(what)
            }
            Act::Crash(_) | Act::NodeLost { .. } | Act::Pause(_) | Act::Restart(_) => Ok(()),
        }
    }

    fn store(&self, node: Party) -> Option<&Path> {
        self.recipes.get(&node)?.store.as_deref()
    }

    fn offers_start(&self, node: Party) -> Result<(), Unavailable> {
        let Some(program) = self.recipes.get(&node).and_then(|r| r.command.first()) else {
            return Ok(());
        };
        if found(program) {
            return Ok(());
        }
        Err(Unavailable {
            what: format!("the target `{}`", self.shared.target.name),
            why: format!("its program `{program}` is not on this machine"),
        })
    }
}

impl World for ProcessWorld {
    fn offers(&self, order: &Order) -> Result<(), Unavailable> {
        match order {
            Order::Start { node, .. } => self.offers_start(*node),
            Order::Break { act, .. } | Order::Mend { act, .. } => self.offers_act(act),
            Order::Arm { point, act, .. } => {
                self.offers_link(point.link)?;
                offers_point(point, act).map(|_| ())
            }
            Order::Await { event, .. } => Err(Unavailable {
                what: format!("a fault at happening {event}"),
                why: "only the simulator counts what happens in its world; use `--engine sim`"
                    .to_owned(),
            }),
            Order::ArmDisk { point, .. } => Err(Unavailable {
                what: format!("a stop of the disk of {} at an operation", point.disk),
                why: "this needs the crashable disk, which the process engine does not have yet (the simulator has)".to_owned(),
            }),
            Order::Submit { .. }
            | Order::Hangup { .. }
            | Order::Release { .. }
            | Order::List { .. }
            | Order::Read { .. }
            | Order::Stop { .. }
            | Order::Record(_) => Ok(()),
        }
    }

    fn now(&self) -> At {
        self.shared.recorder.now()
    }

    fn order(&mut self, order: Order) -> Result<(), WorldError> {
        // What a link does at once may start tasks.
        let handle = self
            .runtime
            .as_ref()
            .map(|runtime| runtime.handle().clone());
        let _guard = handle.as_ref().map(tokio::runtime::Handle::enter);
        match order {
            Order::Start { node, store } => self.node(node, NodeAsk::Start(store)),
            Order::Submit {
                session,
                msg,
                attempt,
                rcpts,
                node,
            } => {
                let submit = Submit {
                    msg,
                    attempt,
                    rcpts,
                    node,
                };
                self.session(session, SessionAsk::Submit(submit))
            }
            Order::Hangup { session } => self.session(session, SessionAsk::Hangup),
            Order::Break {
                fault,
                act,
                disarmed,
            } => self.break_now(fault, &act, disarmed),
            Order::Mend {
                fault,
                act,
                disarmed,
            } => self.mend(fault, &act, disarmed),
            Order::Arm {
                fault,
                point,
                act,
                disarmed,
            } => self.link(point.link)?.arm(fault, &point, &act, disarmed),
            Order::Await { event, .. } => {
                Err(WorldError(format!("nothing counts happening {event} here")))
            }
            Order::ArmDisk { point, .. } => Err(WorldError(format!(
                "the process engine cannot stop the disk of {}",
                point.disk
            ))),
            Order::Release { fault } => {
                self.shared.links.release(fault);
                Ok(())
            }
            Order::List { node } => self.node(node, NodeAsk::List),
            Order::Read { node } => self.node(node, NodeAsk::Read),
            Order::Stop { node } => self.node(node, NodeAsk::Stop),
            Order::Record(what) => {
                // The director is also the head of the workload's sender.
                let by = match what {
                    What::GaveUp { .. } => Witness::Client,
                    _ => DIRECTOR,
                };
                let recorder = &self.shared.recorder;
                recorder.record(by, what).map_err(|_| recorder.failure())
            }
        }
    }

    fn next(&mut self, until: At) -> Result<Option<Event>, WorldError> {
        let due = self.shared.recorder.instant(until);
        let left = match due {
            Some(due) => due.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        let came = if left.is_zero() {
            self.events.try_recv().map_err(|error| match error {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            })
        } else {
            self.events.recv_timeout(left)
        };
        match came {
            Ok(event) => event.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(WorldError("the recorder of the run is gone".to_owned()))
            }
        }
    }

    fn finish(&mut self) -> Result<(), WorldError> {
        let Some(runtime) = self.runtime.take() else {
            return Ok(());
        };
        self.sessions.clear();
        let mut ends = Vec::new();
        for asks in self.nodes.values() {
            let (done, ended) = oneshot::channel();
            if asks.send(NodeAsk::End(done)).is_ok() {
                ends.push(ended);
            }
        }
        runtime.block_on(async {
            for ended in ends {
                // An actor that is gone has dropped, and so killed, its node.
                let _ = ended.await;
            }
        });
        runtime.shutdown_timeout(WIND_DOWN);
        self.shared
            .scratch
            .finish()
            .map_err(failed("the run could not be cleaned up"))
    }
}

impl Drop for ProcessWorld {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

fn node_act(act: &Act) -> Result<(Party, NodeAct), WorldError> {
    Ok(match act {
        Act::Crash(node) => (*node, NodeAct::Crash),
        Act::NodeLost { node, wipe } => (*node, NodeAct::Lost { wipe: *wipe }),
        Act::Pause(node) => (*node, NodeAct::Pause),
        Act::Restart(node) => (*node, NodeAct::Restart),
        Act::Disk(node, _) | Act::Corrupt(node, _) => {
            return Err(WorldError(format!(
                "the process engine has no faults for the disk of {node}"
            )));
        }
        Act::PowerCut(_) | Act::Clock { .. } | Act::Link(..) => {
            return Err(WorldError(format!("{act:?} was not offered")));
        }
    })
}

/// Each connection costs the harness two descriptors in a link, and one at
/// either end that is its own; the usual soft limit of 1024 is soon reached.
/// Where no more can be had, dials will fail and say so.
fn more_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(DESCRIPTORS);
        if soft < wanted {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
        }
    }
}

/// The helper, and if it is the running program itself, just the file that was
/// started: it may be replaced on disk before the run is over, and a node's
/// second life must not be another program than its first.
fn pinned(helper: PathBuf) -> PathBuf {
    match std::env::current_exe() {
        Ok(me) if me == helper => PathBuf::from(format!("/proc/{}/exe", std::process::id())),
        _ => helper,
    }
}

fn write_programs(dir: &Path, programs: &[(String, String)]) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, text) in programs {
        fs::write(dir.join(name), text)?;
    }
    Ok(())
}

/// Whether a program can be started: a path to a file, or a name in `PATH`.
fn found(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
