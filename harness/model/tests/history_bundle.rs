//! Run directories: any change to any file shows.

#![allow(clippy::unwrap_used)] // helpers of tests

mod history_support;

use std::fs;
use std::path::Path;

use history_support::{plan, short_events, small_run};
use mailproof_model::bundle::{Bundle, BundleError, Integrity, VerifyError, verify};
use mailproof_model::history::{Durability, Writer};
use tempfile::TempDir;

/// A finished run of a few KB.
fn finished() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(dir.path()).unwrap();
    let file = bundle.history().unwrap();
    let mut writer = Writer::create(file, &plan(), Durability::EachEvent).unwrap();
    small_run(&mut writer);
    let seal = writer.seal().unwrap();
    fs::write(dir.path().join("scenario.toml"), "id = \"a/b\"\n").unwrap();
    fs::write(dir.path().join("target.toml"), "").unwrap();
    fs::create_dir_all(dir.path().join("nodes/n1")).unwrap();
    fs::write(dir.path().join("nodes/n1/log"), "started\n").unwrap();
    let manifest = bundle.finish("r1", &seal).unwrap();
    let names: Vec<_> = manifest.files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "history.jsonl",
            "nodes/n1/log",
            "scenario.toml",
            "target.toml"
        ]
    );
    dir
}

const FILES: [&str; 5] = [
    "history.jsonl",
    "nodes/n1/log",
    "scenario.toml",
    "target.toml",
    "run.json",
];

/// A run that was interrupted in its second block.
fn interrupted() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(dir.path()).unwrap();
    let file = bundle.history().unwrap();
    let mut writer = Writer::create(file, &plan(), Durability::EachEvent).unwrap();
    short_events(&mut writer, 256 + 3);
    dir
}

fn integrity(dir: &Path) -> Integrity {
    verify(dir).unwrap().integrity
}

/// The file that was found altered.
fn altered(dir: &Path) -> String {
    match integrity(dir) {
        Integrity::Altered { file, .. } => file,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_finished_run_is_sealed_wherever_it_lies() {
    let dir = finished();
    let found = verify(dir.path()).unwrap();
    assert!(matches!(
        found.integrity,
        Integrity::Sealed { events: 5, .. }
    ));
    assert!(found.unlisted.is_empty());
}

#[test]
fn every_flipped_byte_of_every_file_shows() {
    let dir = finished();
    for name in FILES {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= flip;
                fs::write(&path, &changed).unwrap();
                assert_eq!(altered(dir.path()), name, "byte {at} ^ {flip:#x}");
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(matches!(
        integrity(dir.path()),
        Integrity::Sealed { events: 5, .. }
    ));
}

#[test]
fn every_cut_and_every_longer_file_shows() {
    let dir = finished();
    for name in FILES {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(altered(dir.path()), name, "cut at {cut}");
        }
        for extra in ["\n", " ", "\0", "x"] {
            fs::write(&path, [&whole, extra.as_bytes()].concat()).unwrap();
            assert_eq!(altered(dir.path()), name, "with {extra:?}");
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn every_missing_file_shows() {
    let dir = finished();
    for name in FILES {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(altered(dir.path()), name);
        fs::create_dir(&path).unwrap();
        match verify(dir.path()) {
            Ok(found) => assert!(matches!(found.integrity, Integrity::Altered { .. })),
            Err(VerifyError::Io { .. }) => assert_eq!(name, "run.json"),
            Err(other) => panic!("{name}: {other}"),
        }
        fs::remove_dir(&path).unwrap();
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_dir_all(dir.path().join("nodes")).unwrap();
    assert_eq!(altered(dir.path()), "nodes/n1/log");
}

/// The manifest is gone, the history cut: without its seal it is just a run
/// that was interrupted, which never passes. With its seal it is altered.
#[test]
fn without_its_manifest_a_sealed_history_is_altered() {
    let dir = finished();
    fs::remove_file(dir.path().join("run.json")).unwrap();
    let path = dir.path().join("history.jsonl");
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let found = integrity(dir.path());
        assert!(matches!(found, Integrity::Unsealed { .. }), "{found:?}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(altered(dir.path()), "run.json");
}

#[test]
fn an_interrupted_run_is_unsealed_and_damage_before_its_block_shows() {
    let dir = interrupted();
    assert!(matches!(
        integrity(dir.path()),
        Integrity::Unsealed { events: 259, .. }
    ));
    let path = dir.path().join("history.jsonl");
    let whole = fs::read(&path).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let block = text.find("{\"block\":0").unwrap();
    // All of the header and the block line, and every few bytes between.
    let header = text.find('\n').unwrap() + 1;
    for at in (0..header)
        .chain((header..block).step_by(7))
        .chain(block..block + 80)
    {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        assert_eq!(altered(dir.path()), "history.jsonl", "byte {at}");
    }
}

/// The digit of the version is covered too, though a history of another
/// version is not read; only one whose chain holds is taken for one.
#[test]
fn another_version_is_told_from_a_changed_one() {
    let dir = interrupted();
    let path = dir.path().join("history.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("history/1", "history/2", 1)).unwrap();
    assert_eq!(altered(dir.path()), "history.jsonl");
    // Cut before its first block line nothing contradicts it.
    let cut = text.find("{\"block\":0").unwrap();
    fs::write(&path, text[..cut].replacen("history/1", "history/2", 1)).unwrap();
    assert!(matches!(
        verify(dir.path()),
        Err(VerifyError::Version { found, .. }) if found == "history/2"
    ));
}

#[test]
fn files_that_came_later_are_named() {
    let dir = finished();
    fs::write(dir.path().join("report.html"), "<p>").unwrap();
    fs::write(dir.path().join("nodes/n1/core"), "x").unwrap();
    let found = verify(dir.path()).unwrap();
    assert!(matches!(found.integrity, Integrity::Sealed { .. }));
    assert_eq!(found.unlisted, ["nodes/n1/core", "report.html"]);
}

#[test]
fn a_manifest_cannot_lead_outside() {
    let dir = finished();
    let path = dir.path().join("run.json");
    let text = fs::read_to_string(&path).unwrap();
    for name in [
        "../target.toml",
        "/etc/hostname",
        "nodes/../target.toml",
        "",
    ] {
        let changed = text.replacen("\"target.toml\"", &format!("{name:?}"), 1);
        let split = changed.find(",\n  \"digest\"").unwrap();
        let digest = blake3::hash(&changed.as_bytes()[..split]).to_hex();
        let forged = format!("{},\n  \"digest\": \"{digest}\"\n}}\n", &changed[..split]);
        fs::write(&path, forged).unwrap();
        assert_eq!(altered(dir.path()), "run.json", "{name}");
    }
}

#[test]
fn a_link_is_not_the_file() {
    let dir = finished();
    let path = dir.path().join("target.toml");
    let away = dir.path().join("elsewhere");
    fs::rename(&path, &away).unwrap();
    std::os::unix::fs::symlink(&away, &path).unwrap();
    assert_eq!(altered(dir.path()), "target.toml");
}

#[test]
fn what_is_no_run_directory_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify(dir.path()), Err(VerifyError::NotARun(_))));
    let gone = dir.path().join("gone");
    assert!(matches!(verify(&gone), Err(VerifyError::NotARun(_))));
    fs::write(dir.path().join("x"), "").unwrap();
    assert!(matches!(
        Bundle::create(dir.path()),
        Err(BundleError::NotEmpty(_))
    ));
}

#[test]
fn a_run_is_finished_only_with_its_own_seal() {
    let dir = finished();
    let other = interrupted();
    let bundle = Bundle::create(&dir.path().join("new")).unwrap();
    fs::copy(
        other.path().join("history.jsonl"),
        dir.path().join("new/history.jsonl"),
    )
    .unwrap();
    let (_, seal) = history_support::sealed(256 + 3);
    assert!(matches!(
        bundle.finish("r1", &seal),
        Err(BundleError::OtherHistory { .. })
    ));
    assert!(!dir.path().join("new/run.json").exists());
}
