//! The figures of `bench sim`, for programs and for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// `mailproof.bench-sim/1`. Groups that were not asked for are left out.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) schema: &'static str,
    pub(super) target: String,
    /// The first seed; each repetition has the next.
    pub(super) seed: u64,
    pub(super) repetitions: u16,
    pub(super) history: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<Rate>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) shadows: Option<Shadows>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) seeds: Option<Seeds>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) by_nodes: Vec<ByNodes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) by_messages: Vec<ByMessages>,
    /// Cost of a message in the longest run against that in a run of 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) longest_to_1000: Option<f64>,
}

/// Medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rate {
    pub(super) messages: u32,
    pub(super) transactions_per_second_per_core: f64,
    /// The slowest and the fastest repetition.
    pub(super) transactions_per_second_range: [f64; 2],
    pub(super) transactions_per_cpu_second: f64,
    pub(super) history_events_per_transaction: f64,
    pub(super) history_bytes_per_transaction: f64,
}

/// Medians over the repetitions; counts are of the first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Shadows {
    pub(super) shadows_48h_ms: f64,
    pub(super) shadows_48h_cpu_ms: f64,
    pub(super) shadows_48h_polls: u64,
    pub(super) shadows_48h_hours: f64,
    pub(super) shadows_48h_events: u64,
}

/// Whole runs in memory, as searches are made of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seeds {
    pub(super) seeds_per_second: f64,
    pub(super) seeds_per_cpu_second: f64,
    pub(super) seeds_scenario: String,
    pub(super) seeds_run: u64,
    pub(super) seeds_verdicts: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ByNodes {
    pub(super) nodes: u16,
    pub(super) messages: u32,
    pub(super) ns_per_message: f64,
    pub(super) cpu_ns_per_message: f64,
    pub(super) events_per_message: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ByMessages {
    pub(super) messages: u32,
    pub(super) ns_per_message: f64,
    pub(super) cpu_ns_per_message: f64,
}

impl Figures {
    /// The figures for people, a line each.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "target {}, seeds from {}, medians of {} repetitions; histories go to {}\n",
            self.target, self.seed, self.repetitions, self.history
        );
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        if let Some(r) = &self.rate {
            writeln!(
                text,
                "one node           {:>9.0} transactions a second and core ({:.0} to {:.0}; {:.0} a second of processor time)",
                r.transactions_per_second_per_core,
                r.transactions_per_second_range[0],
                r.transactions_per_second_range[1],
                r.transactions_per_cpu_second,
            )?;
            writeln!(
                text,
                "                   {:>9.2} events and {:.0} bytes of history a transaction, {} transactions a run",
                r.history_events_per_transaction, r.history_bytes_per_transaction, r.messages
            )?;
        }
        if let Some(s) = &self.shadows {
            writeln!(
                text,
                "live copies        {:>9.0} ms for {:.1} simulated hours, {} polls, {} events ({:.0} ms of processor time)",
                s.shadows_48h_ms,
                s.shadows_48h_hours,
                s.shadows_48h_polls,
                s.shadows_48h_events,
                s.shadows_48h_cpu_ms
            )?;
        }
        if let Some(s) = &self.seeds {
            let verdicts: Vec<String> = s
                .seeds_verdicts
                .iter()
                .map(|(verdict, n)| format!("{n} {verdict}"))
                .collect();
            writeln!(
                text,
                "{:<18} {:>9.1} seeds a second and core, {} seeds: {}",
                s.seeds_scenario,
                s.seeds_per_second,
                s.seeds_run,
                verdicts.join(", ")
            )?;
        }
        for n in &self.by_nodes {
            writeln!(
                text,
                "{:>4} nodes         {:>9.0} ns a message, {:.2} events",
                n.nodes, n.ns_per_message, n.events_per_message
            )?;
        }
        for m in &self.by_messages {
            writeln!(
                text,
                "{:>7} messages   {:>9.0} ns a message ({:.0} of processor time)",
                m.messages, m.ns_per_message, m.cpu_ns_per_message
            )?;
        }
        if let Some(ratio) = self.longest_to_1000 {
            writeln!(
                text,
                "a message of the longest run costs {ratio:.3} times one of 1000 (processor time)"
            )?;
        }
        Ok(())
    }
}
