//! The terminal. Nothing else in the command writes to it.
//!
//! What is meant for people goes to standard error, results to standard
//! output. On a terminal, running scenarios show as live lines; elsewhere
//! each thing that happens is one plain line.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mailproof_model::verdict::Verdict;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Titles.
    Bold,
    /// What is secondary.
    Dim,
    /// What is well.
    Good,
    /// What is not.
    Bad,
    /// What is undecided.
    Unsure,
}

impl Style {
    /// The style of a verdict's name.
    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Good,
            Verdict::Fail | Verdict::Error => Self::Bad,
            Verdict::Inconclusive => Self::Unsure,
            Verdict::NotApplicable | Verdict::OutsideClaim => Self::Dim,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "1;32",
            Self::Bad => "1;31",
            Self::Unsure => "1;33",
        }
    }
}

/// Text with or without colour.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paint {
    colour: bool,
}

impl Paint {
    /// The text in a style.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.colour {
            format!("\x1b[{}m{text}\x1b[0m", style.code())
        } else {
            text.to_owned()
        }
    }
}

/// Standard error for people, standard output for results.
pub(crate) struct Console {
    /// How text on standard error is painted.
    pub(crate) paint: Paint,
    /// How text on standard output is painted.
    pub(crate) out_paint: Paint,
    live: Option<MultiProgress>,
    /// Nobody reads results any more, or they cannot be written.
    closed: AtomicBool,
    /// They cannot be written: a full disk, say.
    failed: AtomicBool,
}

impl Console {
    /// The console of this process.
    pub(crate) fn new() -> Self {
        let terminal = io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self {
            paint: Paint {
                colour: wanted && terminal,
            },
            out_paint: Paint {
                colour: wanted && io::stdout().is_terminal(),
            },
            live: terminal.then(MultiProgress::new),
            closed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Says something to people: lines on standard error. That nobody reads
    /// them any more is no reason to stop.
    pub(crate) fn say(&self, text: &str) {
        let write = || {
            let mut err = io::stderr().lock();
            let _ = writeln!(err, "{}", text.trim_end_matches('\n'));
        };
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }

    /// Says what is wrong.
    pub(crate) fn error(&self, text: &str) {
        self.say(&format!(
            "{} {text}",
            self.paint.paint(Style::Bad, "error:")
        ));
    }

    /// Shows what is wrong in a file, with a caret at the place.
    pub(crate) fn diagnostic(&self, what: &dyn Diagnostic) {
        let theme = if self.paint.colour {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(100)
            .with_links(false);
        match handler.render_report(&mut text, what) {
            Ok(()) => self.say(&text),
            Err(_) => self.error(&what.to_string()),
        }
    }

    /// Writes a result: lines on standard output. Returns whether it could be
    /// written; after the first failure (a closed pipe, a full disk) nothing
    /// more is tried.
    pub(crate) fn result(&self, text: &str) -> bool {
        let write = || {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush())
        };
        if self.closed.load(Ordering::Relaxed) {
            return false;
        }
        let done = match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        };
        if let Err(e) = &done {
            self.closed.store(true, Ordering::Relaxed);
            // A reader that has seen enough (`| head -1`) is no failure.
            if e.kind() != io::ErrorKind::BrokenPipe {
                self.failed.store(true, Ordering::Relaxed);
            }
        }
        done.is_ok()
    }

    /// Whether every result so far could be written, to whoever wants it.
    pub(crate) fn intact(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }

    /// A line of its own for something that runs.
    pub(crate) fn line(&self, name: &str) -> Line<'_> {
        let bar = self.live.as_ref().map(|live| {
            let bar = live.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {prefix}  {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            self.say(&format!("start    {name}"));
        }
        Line {
            console: self,
            name: name.to_owned(),
            bar,
        }
    }
}

/// One running scenario on the console.
pub(crate) struct Line<'a> {
    console: &'a Console,
    name: String,
    bar: Option<ProgressBar>,
}

impl Line<'_> {
    /// Whether the present state is shown; if not, nobody needs to word it.
    pub(crate) fn live(&self) -> bool {
        self.bar.is_some()
    }

    /// Shows the present state.
    pub(crate) fn set(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    /// Says that something happened; a plain line where nothing is live.
    pub(crate) fn happened(&self, what: &str, text: &str) {
        if self.bar.is_none() {
            self.console
                .say(&format!("{what:<8} {}  {text}", self.name));
        }
    }

    /// Ends the line with a verdict.
    pub(crate) fn end(&self, verdict: Verdict, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let verdict = self
            .console
            .paint
            .paint(Style::of(verdict), &format!("{verdict}"));
        self.console
            .say(&format!("{verdict}  {}  {text}", self.name));
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
