//! A node as a process: started, watched, broken, stopped, asked.
//!
//! What it models: a crash kills every process of the node at once, so that no
//! part of it can react to the death of another; the kernel closes its
//! sockets; its files stay as the kernel has them. A lost node falls silent
//! on every link before anything of it dies, so that no peer ever sees a FIN
//! or RST from it. A pause stops every thread and is believed only when each
//! has been seen standing still.
//!
//! What it does not model: losing what was written but not synced. A killed
//! process leaves the page cache behind; a power cut needs the crashable
//! disk.
//!
//! Effect witness: the kernel (wait status, thread states) and the links.
//! Removal proof: a new life's `ready`; for a pause, every thread seen moving.

use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mailproof_model::event::{Fault, Stage, StoreState, What};
use mailproof_model::party::{Party, Witness};
use mailproof_model::scenario::{Span, Times};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::child::Child;
use super::command;
use super::inspect;
use super::reaper::RUN_VARIABLE;
use super::reaper::talk::{Ask, Say, Spawn};
use super::shared::Shared;
use super::template::Recipe;
use crate::topology::Addresses;

/// How long a set-up command may take.
const PREPARE: Duration = Duration::from_secs(60);

/// How long a killed tree may take to be gone before that is an error of the
/// harness.
const DEATH: Duration = Duration::from_secs(20);

/// Waits between tries whether a node answers: the first, and the longest.
const PROBE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// What a node can be asked to do.
#[derive(Debug)]
pub(crate) enum NodeAsk {
    Start(StoreState),
    Stop,
    Break(Fault, NodeAct),
    Resume(Fault),
    List,
    Read,
    /// Kill whatever runs and end.
    End(oneshot::Sender<()>),
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeAct {
    Crash,
    Lost { wipe: bool },
    Pause,
    Restart,
}

type Probe = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A life that is going on.
struct Running {
    child: Child,
    /// `None` once the node has greeted.
    probe: Option<Probe>,
    /// When the tree is killed, or an error is reported because it was.
    due: Option<Instant>,
    killed: bool,
    /// Remove the store once the tree is gone.
    wipe: bool,
    frozen: bool,
}

/// The keeper of one node's story.
pub(crate) struct Node {
    party: Party,
    recipe: Recipe,
    shared: Arc<Shared>,
    logs: PathBuf,
    life: u32,
    running: Option<Running>,
}

impl Node {
    pub(crate) fn new(party: Party, recipe: Recipe, shared: Arc<Shared>) -> Self {
        Self {
            party,
            recipe,
            logs: shared.run_dir.join("nodes").join(party.to_string()),
            shared,
            life: 0,
            running: None,
        }
    }

    /// Serves asks until [`NodeAsk::End`].
    pub(crate) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<NodeAsk>) {
        loop {
            let Some(running) = self.running.as_mut() else {
                match asks.recv().await {
                    Some(NodeAsk::End(done)) => drop(done.send(())),
                    Some(ask) => {
                        self.ask_while_down(ask).await;
                        continue;
                    }
                    None => {}
                }
                return;
            };
            let due = running.due;
            tokio::select! {
                biased;
                said = running.child.say() => self.said(said).await,
                () = ready(&mut running.probe), if running.probe.is_some() => {
                    running.probe = None;
                    self.ready().await;
                }
                () = sleep_until(due), if due.is_some() => self.overdue().await,
                ask = asks.recv() => match ask {
                    Some(NodeAsk::End(done)) => {
                        self.end().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(ask) => self.ask_while_running(ask).await,
                    None => return,
                },
            }
        }
    }

    async fn ask_while_down(&mut self, ask: NodeAsk) {
        match ask {
            NodeAsk::Start(store) => {
                if let Err(error) = self.start(store).await {
                    self.record(What::Exit {
                        node: self.party,
                        life: self.life,
                        status: format!("not started: {error}"),
                    });
                }
            }
            NodeAsk::Break(fault, act) => {
                // The receipt says what was done: nothing could be.
                self.fired(fault, format!("{}: it has no process", act.text()));
                if act == (NodeAct::Lost { wipe: true }) {
                    self.shared.links.silence(self.party);
                    self.wipe();
                }
            }
            NodeAsk::Resume(fault) => self.removed(fault, "there is no process to resume"),
            NodeAsk::List => self.unlisted("it has no process"),
            NodeAsk::Read => self.inspect(true),
            NodeAsk::Stop | NodeAsk::End(_) => {}
        }
    }

    async fn ask_while_running(&mut self, ask: NodeAsk) {
        match ask {
            NodeAsk::Start(_) => self
                .shared
                .recorder
                .trouble(format!("{} was to be started while it ran", self.party)),
            NodeAsk::Stop => self.stop().await,
            NodeAsk::Break(fault, act) => {
                self.fired(fault, act.text().to_owned());
                match act {
                    NodeAct::Crash => self.kill().await,
                    NodeAct::Restart => self.stop().await,
                    NodeAct::Pause => self.tell(Ask::Freeze).await,
                    NodeAct::Lost { wipe } => {
                        self.shared.links.silence(self.party);
                        if let Some(running) = &mut self.running {
                            running.wipe = wipe;
                        }
                        self.kill().await;
                    }
                }
            }
            NodeAsk::Resume(fault) => {
                self.removed(fault, "every process was told to go on");
                // What it does first is heard after it was seen to run.
                self.shared.links.gate(self.party);
                self.tell(Ask::Thaw).await;
            }
            NodeAsk::List => self.inspect(false),
            NodeAsk::Read => self.unlisted("its store cannot be read while it runs"),
            NodeAsk::End(_) => {}
        }
    }

    // --- a life begins -------------------------------------------------------

    async fn start(&mut self, store: StoreState) -> io::Result<()> {
        self.life += 1;
        if store == StoreState::Empty {
            self.remove_store()?;
        }
        let new = !self.recipe.dir.exists();
        fs::create_dir_all(&self.logs)?;
        self.recipe.write()?;
        if new && !self.recipe.prepare.is_empty() {
            let how = self.spawn(&self.recipe.prepare, "prepare");
            command::run(&self.shared.helper, &self.shared.scratch, how, PREPARE).await?;
        }
        if let Some(store) = &self.recipe.store {
            fs::create_dir_all(store)?;
        }
        self.shared.links.back(self.party).await;
        let how = self.spawn(&self.recipe.command, "node");
        let child = Child::spawn(&self.shared.helper, &self.shared.scratch, how).await?;
        self.record(What::Start {
            node: self.party,
            life: self.life,
            store,
        });
        let patience = span(&self.shared.target.ready.greeting);
        self.running = Some(Running {
            child,
            probe: Some(Box::pin(probe(
                self.shared.block.listen(self.party),
                patience,
            ))),
            due: None,
            killed: false,
            wipe: false,
            frozen: false,
        });
        Ok(())
    }

    fn spawn(&self, argv: &[String], log: &str) -> Spawn {
        spawn(&self.shared, &self.recipe, argv, &self.logs, log)
    }

    /// It greets: its links' listeners open, and then the world learns of it.
    async fn ready(&mut self) {
        self.shared.links.open(self.party).await;
        self.record(What::Ready {
            node: self.party,
            life: self.life,
        });
    }

    // --- and ends --------------------------------------------------------------

    async fn said(&mut self, said: io::Result<Say>) {
        let (node, life) = (self.party, self.life);
        match said {
            Ok(Say::Gone(status)) => self.gone(status).await,
            Ok(Say::Frozen(threads)) => {
                if let Some(running) = self.running.as_mut().filter(|_| threads > 0) {
                    running.frozen = true;
                    self.record(What::Paused { node, life });
                }
            }
            Ok(Say::Thawed(threads)) => {
                if let Some(running) = self.running.as_mut().filter(|r| r.frozen && threads > 0) {
                    running.frozen = false;
                    self.record(What::Resumed { node, life });
                }
                self.shared.links.ungate(node);
            }
            Ok(Say::Failed(why)) => {
                self.shared.recorder.trouble(format!("{node}: {why}"));
                self.shared.links.ungate(node);
            }
            Ok(Say::Spawned(_)) => {}
            Err(error) => {
                self.shared.recorder.trouble(format!("{node}: {error}"));
                self.gone("unknown: its keeper is gone".to_owned()).await;
            }
        }
    }

    /// The whole tree is gone: nobody can dial it any more, and then the
    /// world learns of it.
    async fn gone(&mut self, status: String) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.shared.links.ungate(self.party);
        self.shared.links.close(self.party).await;
        self.record(What::Exit {
            node: self.party,
            life: self.life,
            status,
        });
        if running.wipe {
            self.wipe();
        }
    }

    async fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            running.killed = true;
            running.due = Some(Instant::now() + DEATH);
        }
        self.tell(Ask::Kill).await;
    }

    async fn stop(&mut self) {
        if let Some(running) = self.running.as_mut().filter(|r| r.due.is_none()) {
            running.due = Some(Instant::now() + span(&self.shared.target.stop.max));
            let frozen = running.frozen;
            self.tell(Ask::Stop(self.shared.target.stop.signal)).await;
            if frozen {
                self.tell(Ask::Thaw).await;
            }
        }
    }

    /// It did not stop in time, or does not even die.
    async fn overdue(&mut self) {
        if self.running.as_ref().is_some_and(|r| r.killed) {
            if let Some(running) = &mut self.running {
                running.due = None;
            }
            self.shared
                .recorder
                .trouble(format!("{} does not die within {DEATH:?}", self.party));
        } else {
            self.kill().await;
        }
    }

    /// The end of the run: killed, waited for, recorded.
    async fn end(&mut self) {
        self.kill().await;
        let limit = Instant::now() + DEATH;
        while let Some(running) = self.running.as_mut() {
            match tokio::time::timeout_at(limit, running.child.say()).await {
                Ok(said) => self.said(said).await,
                Err(_) => {
                    self.overdue().await;
                    return;
                }
            }
        }
    }

    async fn tell(&mut self, ask: Ask) {
        if let Some(running) = &mut self.running
            && let Err(error) = running.child.ask(&ask).await
        {
            self.shared
                .recorder
                .trouble(format!("the keeper of {}: {error}", self.party));
        }
    }

    // --- its store ---------------------------------------------------------------

    /// Removes everything that the node has: whatever its target file calls
    /// its store, it may keep more beside it.
    fn remove_store(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.recipe.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the store and looks whether it is gone.
    fn wipe(&self) {
        let removed = self.remove_store();
        // Without a `queue.store` nobody knows where else it may be.
        let gone = self.recipe.store.as_ref().is_some_and(|s| !s.exists());
        if !gone || self.recipe.dir.exists() {
            self.shared.recorder.trouble(format!(
                "the store of {} could not be removed: {removed:?}",
                self.party
            ));
            return;
        }
        let gone = What::StoreGone { node: self.party };
        let _ = self.shared.recorder.record(Witness::Disk(self.party), gone);
    }

    /// Asks it, or reads its store, without keeping the node from being
    /// broken meanwhile.
    fn inspect(&self, stopped: bool) {
        let (shared, recipe) = (Arc::clone(&self.shared), self.recipe.clone());
        let (party, logs) = (self.party, self.logs.clone());
        tokio::spawn(
            async move { inspect::inspect(&shared, party, &recipe, &logs, stopped).await },
        );
    }

    fn unlisted(&self, note: &str) {
        let what = What::Unlisted {
            node: self.party,
            note: note.to_owned(),
        };
        let _ = self.shared.recorder.record(Witness::Director, what);
    }

    // --- words -------------------------------------------------------------------

    fn record(&self, what: What) {
        let _ = self.shared.recorder.record(Witness::Kernel, what);
    }

    fn fired(&self, fault: Fault, text: String) {
        let what = receipt(fault, Stage::Fired, text, self.party);
        let _ = self.shared.recorder.record(Witness::Injector, what);
    }

    fn removed(&self, fault: Fault, text: &str) {
        let what = receipt(fault, Stage::Removed, text.to_owned(), self.party);
        let _ = self.shared.recorder.record(Witness::Injector, what);
    }
}

impl NodeAct {
    /// What is done, in words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Crash => "SIGKILL to the whole process tree",
            Self::Lost { wipe: false } => "links silenced, process tree killed",
            Self::Lost { wipe: true } => "links silenced, process tree killed, store removed",
            Self::Pause => "SIGSTOP to every process of the tree",
            Self::Restart => "asked to stop",
        }
    }
}

/// A receipt about a node.
pub(crate) fn receipt(fault: Fault, stage: Stage, text: String, node: Party) -> What {
    What::Fault {
        fault,
        stage,
        text,
        node: Some(node),
        link: None,
        conn: None,
    }
}

/// How a command of a node is run.
pub(crate) fn spawn(
    shared: &Shared,
    recipe: &Recipe,
    argv: &[String],
    logs: &Path,
    log: &str,
) -> Spawn {
    let mut env = vec![
        ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
        (RUN_VARIABLE.to_owned(), shared.plan.run.clone()),
    ];
    env.extend(recipe.env.iter().cloned());
    Spawn {
        argv: argv.to_vec(),
        env,
        cwd: recipe.workdir.clone(),
        stdout: logs.join(format!("{log}.out")),
        stderr: logs.join(format!("{log}.err")),
    }
}

/// The value of a span that names no other times; the target file was checked
/// for that.
fn span(span: &Span) -> Duration {
    Duration::from_nanos(span.resolve(&Times::new()).unwrap_or_default())
}

async fn ready(probe: &mut Option<Probe>) {
    if let Some(probe) = probe {
        probe.await;
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

/// Ends when somebody greets with 220 at this address; never, when nobody
/// does within `patience`.
async fn probe(address: SocketAddr, patience: Duration) {
    let greeted = async {
        let mut wait = PROBE.0;
        while greeting(address).await.is_err() {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(PROBE.1);
        }
    };
    if tokio::time::timeout(patience, greeted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Reads one greeting and says goodbye.
async fn greeting(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        let mut limited = tokio::io::AsyncReadExt::take(&mut stream, 4096);
        if limited.read_line(&mut line).await? == 0 || !line.starts_with("220") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            break;
        }
    }
    stream.write_all(b"QUIT\r\n").await?;
    // Whatever it says to that: it answers.
    line.clear();
    stream.read_line(&mut line).await?;
    Ok(())
}
