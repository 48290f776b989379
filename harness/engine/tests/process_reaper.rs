//! Process trees: killed at once, paused for sure, and never left behind.
//!
//! This binary is its own helper: its main answers to `__reaper`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use mailproof_engine::process::{
    Ask, Child, RUN_VARIABLE, SUBCOMMAND, Say, Scratch, Spawn, reaper_main,
};
use mailproof_model::target::Signal as StopSignal;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long anything may take here. Reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that is hard to get rid of: it forks, opens sessions of its own and
/// leaves orphans, and everything ignores what can be ignored. It writes
/// `up` once all is in place.
const STUBBORN: &str = r#"
trap '' TERM HUP INT
sleep 1000 &
setsid sh -c "trap '' TERM HUP; sleep 1000 & sh -c 'setsid sleep 1000 & exit'; echo up; wait" &
wait
"#;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(SUBCOMMAND) => return reaper_main(),
        Some("victim") => return victim(),
        _ => {}
    }
    let trials = vec![
        Trial::test("kill_takes_the_whole_tree", || {
            run(kill_takes_the_whole_tree())
        }),
        Trial::test("pause_stops_every_thread", || {
            run(pause_stops_every_thread())
        }),
        Trial::test("the_exit_code_is_the_first_process_s", || run(exit_code())),
        Trial::test("a_stop_lets_the_node_end_itself", || run(terminate())),
        Trial::test("what_the_first_process_leaves_behind_is_killed", || {
            run(leftovers())
        }),
        Trial::test("a_program_that_is_not_there_says_so", || {
            run(no_such_program())
        }),
        Trial::test("a_dropped_child_is_dead", || run(dropped())),
        Trial::test("a_killed_harness_leaves_nothing", killed_harness),
        Trial::test("a_killed_keeper_leaves_nothing", || run(killed_keeper())),
        Trial::test("another_run_s_directory_is_not_touched", foreign_directory),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn run(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            tokio::time::timeout(PATIENCE, test)
                .await
                .unwrap_or_else(|_| Err("it took too long".into()))
        })
}

fn helper() -> PathBuf {
    std::env::current_exe().expect("the path of this binary")
}

/// A run's id that nobody else has.
fn run_id(test: &str) -> String {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    format!("{test}-{}-{nanos}", std::process::id())
}

struct Stage {
    run: String,
    scratch: Scratch,
}

impl Stage {
    fn new(test: &str) -> Result<Self, Failed> {
        let run = run_id(test);
        let scratch = Scratch::new(&helper(), &run, false)?;
        Ok(Self { run, scratch })
    }

    async fn start(&self, script: &str) -> Result<Child, Failed> {
        Ok(Child::spawn(&helper(), &self.scratch, self.shell(script)).await?)
    }

    /// Starts a script and waits for its `up`.
    async fn up(&self, script: &str) -> Result<Child, Failed> {
        let out = self.scratch.dir().join("out");
        nix::unistd::mkfifo(&out, nix::sys::stat::Mode::S_IRWXU)?;
        // Both ways, so that the open does not wait for the node.
        let mut pipe = tokio::net::unix::pipe::OpenOptions::new();
        let pipe = pipe.read_write(true).open_receiver(&out)?;
        let child = self.start(script).await?;
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(pipe));
        let line = lines.next_line().await?;
        check(
            line.as_deref() == Some("up"),
            format!("{line:?} instead of `up`"),
        )?;
        Ok(child)
    }

    fn shell(&self, script: &str) -> Spawn {
        let dir = self.scratch.dir();
        Spawn {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![
                ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
                (RUN_VARIABLE.to_owned(), self.run.clone()),
            ],
            cwd: dir.to_owned(),
            stdout: dir.join("out"),
            stderr: dir.join("err"),
        }
    }

    /// The processes of this run, found by what the kernel knows.
    fn processes(&self) -> Vec<i32> {
        processes(&self.run)
    }
}

/// A process in the middle of an `exec` shows no environment, so this may be
/// short of some while a tree is still being put up.
fn processes(run: &str) -> Vec<i32> {
    let entry = format!("{RUN_VARIABLE}={run}");
    pids()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|b| *b == 0).any(|e| e == entry.as_bytes()))
        })
        .collect()
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .expect("/proc can be read")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Parent and state of a process.
fn stat(path: &Path) -> Option<(i32, char)> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

fn thread_states(pid: i32) -> Vec<char> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .filter_map(|task| Some(stat(&task.ok()?.path().join("stat"))?.1))
        .collect()
}

fn check(holds: bool, otherwise: impl Into<String>) -> Result<(), Failed> {
    if holds {
        Ok(())
    } else {
        Err(otherwise.into().into())
    }
}

async fn gone(child: &mut Child) -> Result<String, Failed> {
    match child.say().await? {
        Say::Gone(status) => Ok(status),
        other => Err(format!("{other:?} instead of the end").into()),
    }
}

async fn kill_takes_the_whole_tree() -> Result<(), Failed> {
    let stage = Stage::new("kill")?;
    let mut child = stage.up(STUBBORN).await?;
    let before = stage.processes();
    check(before.len() >= 3, format!("only {before:?} to kill"))?;
    child.ask(&Ask::Kill).await?;
    let status = gone(&mut child).await?;
    check(status == "signal 9", status)?;
    // At the very moment it is said to be gone, it is.
    let after = stage.processes();
    check(
        after.is_empty(),
        format!("{after:?} are left of {before:?}"),
    )
}

async fn pause_stops_every_thread() -> Result<(), Failed> {
    let stage = Stage::new("pause")?;
    let busy = "while :; do :; done & sleep 1000 & echo up; while :; do :; done";
    let mut child = stage.up(busy).await?;
    child.ask(&Ask::Freeze).await?;
    let Say::Frozen(threads) = child.say().await? else {
        return Err("not frozen".into());
    };
    let tree = stage.processes();
    check(tree.len() >= 3, format!("only {tree:?} stand still"))?;
    let states: Vec<char> = tree.iter().flat_map(|pid| thread_states(*pid)).collect();
    check(
        tree.len() >= 3 && threads == states.len(),
        format!("{threads} of {states:?}"),
    )?;
    check(states.iter().all(|s| *s == 'T'), format!("{states:?}"))?;
    child.ask(&Ask::Thaw).await?;
    let Say::Thawed(again) = child.say().await? else {
        return Err("not thawed".into());
    };
    check(
        again == threads,
        format!("{again} threads instead of {threads}"),
    )?;
    let moving = tree
        .iter()
        .flat_map(|pid| thread_states(*pid))
        .all(|s| s != 'T');
    check(moving, "something still stands")?;
    // A frozen tree can be killed as well.
    child.ask(&Ask::Freeze).await?;
    child.say().await?;
    child.ask(&Ask::Kill).await?;
    check(gone(&mut child).await? == "signal 9", "not killed")
}

async fn exit_code() -> Result<(), Failed> {
    let stage = Stage::new("code")?;
    let mut child = stage.start("exit 7").await?;
    let status = gone(&mut child).await?;
    check(status == "code 7", status)
}

async fn terminate() -> Result<(), Failed> {
    let stage = Stage::new("stop")?;
    let mut child = stage
        .up("trap 'kill $!; exit 3' TERM; sleep 1000 & echo up; wait")
        .await?;
    child.ask(&Ask::Stop(StopSignal::Term)).await?;
    let status = gone(&mut child).await?;
    check(status == "code 3", status)
}

async fn leftovers() -> Result<(), Failed> {
    let stage = Stage::new("left")?;
    let mut child = stage.start("setsid sleep 1000 & exit 0").await?;
    let status = gone(&mut child).await?;
    check(status == "code 0", status)?;
    check(stage.processes().is_empty(), "something is left")
}

async fn no_such_program() -> Result<(), Failed> {
    let stage = Stage::new("none")?;
    let mut how = stage.shell("");
    how.argv = vec!["/nowhere/at-all".to_owned()];
    let errors = how.stderr.clone();
    let mut child = Child::spawn(&helper(), &stage.scratch, how).await?;
    let status = gone(&mut child).await?;
    check(status == "code 127", status)?;
    let said = fs::read_to_string(errors)?;
    check(said.contains("cannot execute /nowhere/at-all"), said)
}

async fn dropped() -> Result<(), Failed> {
    let stage = Stage::new("drop")?;
    let dir = stage.scratch.dir().to_owned();
    let child = stage.up(STUBBORN).await?;
    drop(child);
    check(stage.processes().is_empty(), "something is left")?;
    stage.scratch.finish()?;
    check(!dir.exists(), "the directory is left")
}

/// Waits until every one of these processes has ended.
fn await_end(pids: &[i32], act: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    let open: Vec<_> = pids
        .iter()
        .filter_map(|pid| pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok())
        .collect();
    check(open.len() == pids.len(), "a process ended too early")?;
    act()?;
    for pidfd in open {
        let mut ended = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(&pidfd),
            nix::poll::PollFlags::POLLIN,
        )];
        let patience = nix::poll::PollTimeout::try_from(PATIENCE)?;
        check(
            nix::poll::poll(&mut ended, patience)? == 1,
            "a process lives on",
        )?;
    }
    Ok(())
}

/// What the test kills: a harness with a stubborn node.
fn victim() -> ExitCode {
    let outcome = run(async {
        let stage = Stage::new("victim")?;
        let child = stage.up(STUBBORN).await?;
        println!("{} {}", stage.run, stage.scratch.dir().display());
        std::future::pending::<()>().await;
        drop(child);
        Ok(())
    });
    eprintln!("{outcome:?}");
    ExitCode::FAILURE
}

fn killed_harness() -> Result<(), Failed> {
    let mut victim = Command::new(helper())
        .arg("victim")
        .stdout(Stdio::piped())
        .spawn()?;
    let out = victim.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let (run, dir) = line
        .trim_end()
        .split_once(' ')
        .ok_or("the victim did not start")?;
    let id = i32::try_from(victim.id())?;
    let helpers: Vec<i32> = pids()
        .filter(|pid| {
            stat(Path::new(&format!("/proc/{pid}/stat"))).is_some_and(|(parent, _)| parent == id)
        })
        .collect();
    let mut all = processes(run);
    check(
        helpers.len() == 2 && all.len() >= 3,
        format!("{helpers:?} {all:?}"),
    )?;
    check(Path::new(dir).exists(), "no directory to remove")?;
    all.extend(helpers);
    await_end(&all, || {
        victim.kill()?;
        victim.wait()?;
        Ok(())
    })?;
    let left = processes(run);
    check(left.is_empty(), format!("{left:?} live on"))?;
    check(!Path::new(dir).exists(), format!("{dir} is left"))
}

async fn killed_keeper() -> Result<(), Failed> {
    let stage = Stage::new("keeper")?;
    let mut child = stage.up(STUBBORN).await?;
    let before = stage.processes();
    let (keeper, _) = stat(Path::new(&format!("/proc/{}/stat", child.pid()))).ok_or("no node")?;
    let pid = Pid::from_raw(keeper).ok_or("no keeper")?;
    pidfd_send_signal(pidfd_open(pid, PidfdFlags::empty())?, Signal::KILL)?;
    let said = child.say().await;
    check(said.is_err(), format!("{said:?} from a dead keeper"))?;
    drop(child);
    let dir = stage.scratch.dir().to_owned();
    stage.scratch.finish()?;
    let left = stage.processes();
    check(left.is_empty(), format!("{left:?} are left of {before:?}"))?;
    check(!dir.exists(), "the directory is left")
}

fn foreign_directory() -> Result<(), Failed> {
    let first = Stage::new("foreign")?;
    let second = Scratch::new(&helper(), &first.run, false);
    check(second.is_err(), "two runs of one id")?;
    check(
        first.scratch.dir().exists(),
        "the first run's directory is gone",
    )?;
    check(
        Scratch::new(&helper(), "../x", false).is_err(),
        "a bad id was taken",
    )
}
