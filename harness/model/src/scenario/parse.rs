//! Reading a scenario file.

use super::Scenario;
use crate::diagnostic::Diagnostic;
use crate::strict::{self, Document};

/// Reads one scenario; `file` is the name shown in messages. Only its form is
/// checked here; whether it makes sense is for `lint`.
///
/// # Errors
/// The first problem of the file.
pub fn parse(file: &str, text: &str) -> Result<Scenario, Diagnostic> {
    match parse_all(file, text) {
        Ok((scenario, _)) => Ok(scenario),
        Err(mut problems) => Err(problems.swap_remove(0)),
    }
}

/// Reads one scenario and keeps where everything stands.
///
/// # Errors
/// Every problem of the file, in its order; at least one.
pub fn parse_all(file: &str, text: &str) -> Result<(Scenario, Document), Vec<Diagnostic>> {
    strict::read(file, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
id = "shadow/primary-lost"
title = "A primary lost for good after its 250 costs nothing"
rules = ["OUT-04", "H03"]
needs = ["shadow-copy"]
[cluster]
nodes = 3
[time]
poll = "1 s"
takeover = "6 s"
require = ["poll < takeover / 3"]
[workload]
messages = 300
size = "1 KiB..64 KiB"
recipients = "1..3"
sender = "mta"
[[step]]
node-lost = { node = "busiest", at = "30% accepted", back = "never" }
[[step]]
link = { at = { link = "n1->mb", phase = "dot", nth = 2 }, act = { cut-at = 3 } }
[[step]]
wait = { until = "takeover", max = "takeover + 2 polls" }
[expect]
delivered = "exactly-once"
level = "wire"
"#;

    #[test]
    fn a_scenario_survives_being_written_and_read_again() {
        let read = parse("good.toml", GOOD).unwrap();
        let written = toml::to_string(&read).unwrap();
        assert_eq!(parse("written.toml", &written), Ok(read.clone()));
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), read);
    }

    /// Replaces `from` by `to` in a good scenario; what is then wrong.
    fn wrong(from: &str, to: &str) -> String {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let text = GOOD.replace(from, to);
        let found = parse("s.toml", &text).unwrap_err();
        let help = found.help().map(|h| format!(" ({h})")).unwrap_or_default();
        format!("{found}{help} ^{}", found.at())
    }

    #[test]
    fn each_wrong_value_is_shown_at_its_place() {
        let cases = [
            (
                "messages = 300",
                "messages = -1",
                "s.toml:13:12: expected u32, found integer `-1` ^-1",
            ),
            (
                "\"busiest\"",
                "\"bussiest\"",
                "s.toml:18:22: `bussiest` is not a node; write `n1`, `busiest`, `any` or `held` ^\"bussiest\"",
            ),
            (
                "\"30% accepted\"",
                "\"130% accepted\"",
                "s.toml:18:38: `130` is not a share from 0 to 100 ^\"130% accepted\"",
            ),
            (
                "\"30% accepted\"",
                "7",
                "s.toml:18:38: expected a trigger such as \"30% accepted\" or { link = \"client->n1\", phase = \"dot\", nth = 3 }, found integer `7` ^7",
            ),
            (
                "back = \"never\"",
                "bakc = \"never\"",
                "s.toml:18:54: `bakc` is no key that may stand here; expected one of `node`, `at`, `back`, `after` (did you mean `back`?) ^bakc",
            ),
            (
                "\"never\"",
                "\"newer\"",
                "s.toml:18:61: `newer` is no word that may stand here; expected one of `same`, `empty`, `never` (did you mean `never`?) ^\"newer\"",
            ),
            (
                "node-lost =",
                "node-lots =",
                "s.toml:18:1: `node-lots` is no word that may stand here; expected one of `crash`, `power-cut`, `node-lost`, `pause`, `restart`, `link`, `partition`, `disk`, `corrupt`, `clock`, `wait` (did you mean `node-lost`?) ^node-lots",
            ),
            (
                "\"n1->mb\"",
                "\"n1>mb\"",
                "s.toml:20:24: `n1>mb` is not a link (`client->n1`) ^\"n1>mb\"",
            ),
            (
                "nth = 2",
                "nth = \"x\"",
                "s.toml:20:55: expected u32, found string \"x\" ^\"x\"",
            ),
            (
                "cut-at = 3",
                "cut-at = \"x\"",
                "s.toml:20:77: expected u32, found string \"x\" ^\"x\"",
            ),
            (
                "\"takeover + 2 polls\"",
                "\"takeover + polls 2\"",
                "s.toml:22:36: `takeover + polls 2` is not a span of time: `polls 2` is not a unit or a named time ^\"takeover + polls 2\"",
            ),
            (
                "\"takeover\", max",
                "\"takover\", max",
                "s.toml:22:18: `takover` is no word that may stand here; expected one of `takeover`, `back`, `drained`, `sent`, `elapsed` (did you mean `takeover`?) ^\"takover\"",
            ),
            (
                "level = \"wire\"",
                "levl = \"wire\"",
                "s.toml:25:1: `levl` is no key that may stand here; expected one of `delivered`, `level`, `windows`, `deadline`, `bounces`, `faults` (did you mean `level`?) ^levl",
            ),
            (
                "\"1..3\"",
                "\"3..1\"",
                "s.toml:15:14: the range `3..1` is empty: 3 is above 1 ^\"3..1\"",
            ),
            (
                "\"poll < takeover / 3\"",
                "\"poll > takeover\"",
                "s.toml:11:12: `poll > takeover` is not an inequality such as `restart < takeover / 3` ^\"poll > takeover\"",
            ),
            (
                "[workload]\nmessages = 300",
                "[workload]",
                "s.toml:12:1: `messages` is missing ^[workload]",
            ),
        ];
        for (from, to, message) in cases {
            assert_eq!(wrong(from, to), message, "{to}");
        }
    }

    #[test]
    fn a_step_has_one_key() {
        let text = GOOD.replace(
            "wait = {",
            "crash = { node = \"n1\", at = \"start\" }\nwait = {",
        );
        let found = parse("s.toml", &text).unwrap_err();
        assert_eq!(
            found.to_string(),
            "s.toml:21:1: exactly one key is expected here"
        );
    }

    #[test]
    fn all_problems_are_found() {
        let text = GOOD
            .replace("poll = \"1 s\"", "poll = \"1\"")
            .replace("\"n1->mb\"", "\"n1\"")
            .replace("until = \"takeover\"", "until = \"x\"");
        let found = parse_all("s.toml", &text).unwrap_err();
        let lines: Vec<usize> = found.iter().map(Diagnostic::line).collect();
        assert_eq!(lines, [9, 20, 22]);
    }

    #[test]
    fn the_caret_stands_below_the_value() {
        let text = GOOD.replace("\"busiest\"", "\"bussiest\"");
        let found = parse("s.toml", &text).unwrap_err();
        let mut shown = String::new();
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
            .with_width(100)
            .render_report(&mut shown, &found)
            .unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines
            .iter()
            .position(|l| l.contains("node-lost = {"))
            .unwrap();
        let caret = lines[at + 1];
        let column = |line: &str, what: char| line.chars().position(|c| c == what).unwrap();
        assert_eq!(column(lines[at], '"'), column(caret, '─'), "{shown}");
    }
}
