//! SIGKILL of the command while a cluster runs: nothing is left but the run
//! directory, and that is never believed to have passed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{command, scratch};
use serde_json::Value;

/// How many lines the history has when the command is killed: from just
/// after the nodes' start to the middle of the fault's repair.
const MOMENTS: [usize; 10] = [20, 45, 80, 130, 200, 320, 450, 600, 750, 900];

/// When a test gives up. Nothing is asserted of how long anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn nothing_outlives_a_killed_run() {
    thread::scope(|scope| {
        // A few at a time: each is a whole cluster.
        for moments in [&MOMENTS[..3], &MOMENTS[3..6], &MOMENTS[6..]] {
            scope.spawn(move || moments.iter().for_each(|lines| kill_at(*lines)));
        }
    });
}

fn kill_at(lines: usize) {
    let dir = scratch();
    let temporary = dir.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_mailproof"))
        .args(["run", "smoke/primary-crash", "--out", "out"])
        .current_dir(dir.path())
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command was built with this test");
    let history = dir.path().join("out/smoke.primary-crash/history.jsonl");
    let id = await_lines(&mut run, &history, lines);
    run.kill().unwrap();
    run.wait().unwrap();

    await_that("every process of the run is gone", || {
        carriers(&id).is_empty()
    });
    await_that("the temporary directory is empty", || {
        fs::read_dir(&temporary).unwrap().next().is_none()
    });
    let done = command(&["check", history.parent().unwrap().to_str().unwrap()]);
    assert_eq!(done.code, 3, "{done}");
}

/// Waits until the history has so many lines and three nodes have answered;
/// the run's id.
fn await_lines(run: &mut Child, history: &Path, lines: usize) -> String {
    let mut text = String::new();
    await_that("the history has grown", || {
        assert_eq!(run.try_wait().unwrap(), None, "the run ended too early");
        text = fs::read_to_string(history).unwrap_or_default();
        text.matches('\n').count() >= lines && text.matches("\"ready\"").count() >= 3
    });
    let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    header["plan"]["run"].as_str().unwrap().to_owned()
}

fn await_that(what: &str, mut come: impl FnMut() -> bool) {
    let began = Instant::now();
    while !come() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        // There is no event to wait for: the processes are not ours.
        thread::sleep(Duration::from_millis(5));
    }
}

/// The processes that carry the run's id in their environment.
fn carriers(id: &str) -> Vec<u32> {
    let entry = format!("MAILPROOF_RUN={id}");
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if environment
            .split(|b| *b == 0)
            .any(|variable| variable == entry.as_bytes())
        {
            found.push(pid);
        }
    }
    found
}
