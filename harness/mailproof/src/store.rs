//! `mailproof store check`: what lies in the store of a stopped reference node.
//!
//! It reads with the node's own reader: this is a tool for whoever runs a node.
//! The judge has a reader of its own.

use std::fmt::Write as _;
use std::path::Path;

use mailproof_node::contents::{Contents, kind_name};
use mailproof_node::disk::FsView;
use mailproof_node::store::{Record, Report, TailReport, inspect_records};
use serde_json::json;

use crate::cli::{Format, StoreArgs, StoreCheckArgs, StoreCommand};
use crate::context::Context;
use crate::exit_code::Exit;

/// Carries out `store`.
pub(crate) fn store(context: &Context, args: &StoreArgs) -> Exit {
    match &args.command {
        StoreCommand::Check(args) => check(context, args),
    }
}

fn check(context: &Context, args: &StoreCheckArgs) -> Exit {
    let (report, records) = match look(&args.dir) {
        Ok(found) => found,
        Err(why) => {
            let text = format!("{}: {why}", args.dir.display());
            return context.refuse(Exit::Usage, &text);
        }
    };
    let contents = Contents::of(&records);
    let intact = report.damage.is_empty() && contents.is_ok();
    let text = match args.format {
        Format::Json => {
            let unknown = contents
                .as_ref()
                .err()
                .map(|(seq, expected)| json!({ "record": seq, "expected": expected }));
            json!({
                "schema": "mailproof.store/1",
                "dir": args.dir.display().to_string(),
                "intact": intact,
                "contents": contents.ok(),
                "unknown": unknown,
                "store": report,
            })
            .to_string()
        }
        Format::Human => told(&report, contents),
    };
    context.console.result(&text);
    if intact { Exit::Passed } else { Exit::Failed }
}

fn look(dir: &Path) -> Result<(Report, Vec<Record>), String> {
    let disk = FsView::open(dir).map_err(|e| e.to_string())?;
    inspect_records(&disk).map_err(|e| e.to_string())
}

/// The report for people.
fn told(report: &Report, contents: Result<Contents, (u64, &'static str)>) -> String {
    let mut text = String::new();
    let _ = match &report.database {
        Some(id) => writeln!(text, "database {id}"),
        None if report.damage.is_empty() => writeln!(text, "no store yet"),
        None => writeln!(text, "database unknown"),
    };
    for segment in &report.segments {
        let _ = writeln!(
            text,
            "{}  {} bytes, written up to {}, {} batches, records {}",
            segment.file,
            segment.bytes,
            segment.end,
            segment.batches,
            segment
                .records
                .map_or("none".to_owned(), |(first, last)| format!(
                    "{first} to {last}"
                ))
        );
        for (kind, count) in &segment.by_kind {
            let name = kind_name(*kind).map_or(format!("kind {kind}"), str::to_owned);
            let _ = writeln!(text, "    {count:>8} {name}");
        }
    }
    if let Some(mark) = &report.mark {
        let _ = writeln!(
            text,
            "marked durable: batch {}, up to record {}",
            mark.batch, mark.last_seq
        );
    }
    if let TailReport::Torn { offset, what } = &report.tail {
        let _ = writeln!(
            text,
            "torn end at byte {offset} ({what}): never reported durable, dropped at the next start"
        );
    }
    if report.salvage_unfinished {
        text.push_str("a salvage was interrupted; the next start finishes it\n");
    }
    for file in &report.rubbish {
        let _ = writeln!(text, "rubbish: {file}, removed at the next start");
    }
    for file in &report.quarantined {
        let _ = writeln!(
            text,
            "put aside by a salvage: {}, {} bytes; examine it, then delete it",
            file.file, file.bytes
        );
    }
    for file in &report.unknown {
        let _ = writeln!(text, "not the store's: {file}");
    }
    match contents {
        Ok(contents) => {
            let _ = writeln!(
                text,
                "a start would find {} messages to deliver, {} copies held for others, {} \
                 notifications due, {} messages in mailboxes",
                contents.messages, contents.copies, contents.notifications, contents.deliveries
            );
        }
        Err((seq, expected)) => {
            let _ = writeln!(
                text,
                "DAMAGED: record {seq} cannot be understood: expected {expected}. Use the program \
                 that wrote it"
            );
        }
    }
    for damage in &report.damage {
        let _ = writeln!(text, "DAMAGED: {}", damage.what);
    }
    if let Some(salvage) = &report.salvage {
        let ranges: Vec<String> = salvage
            .ranges
            .iter()
            .map(|(first, last)| format!("{first} to {last}"))
            .collect();
        let _ = writeln!(
            text,
            "a salvage would save {} records and miss {}{}{}",
            salvage.saved,
            salvage.lost,
            if ranges.is_empty() { "" } else { ": " },
            ranges.join(", ")
        );
    }
    if report.damage.is_empty() {
        text.push_str("intact\n");
    }
    text.trim_end().to_owned()
}
