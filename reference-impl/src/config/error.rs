//! A configuration error that points at its place.

use std::fmt;
use std::ops::Range;

/// What is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as given; empty for a configuration that came from no file.
    pub file: Box<str>,
    /// Line, counted from 1; 0 when the place is not in any text.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The text of that line.
    pub source_line: Box<str>,
    /// Number of characters to underline.
    pub width: usize,
    /// The key, as in `peers[1].address`; empty when the text is no TOML.
    pub key: Box<str>,
    /// What was expected there.
    pub expected: Box<str>,
}

impl ConfigError {
    /// An error about `key` of a configuration without text.
    pub(crate) fn bare(key: &str, expected: impl Into<String>) -> Self {
        Self {
            file: "".into(),
            line: 0,
            column: 0,
            source_line: "".into(),
            width: 0,
            key: key.into(),
            expected: expected.into().into(),
        }
    }

    /// The same error, placed at the byte range `span` of `text`.
    pub(crate) fn at(mut self, file: &str, text: &str, span: Option<Range<usize>>) -> Self {
        self.file = file.into();
        let Some(span) = span else { return self };
        let start = floor(text, span.start.min(text.len()));
        let end = floor(text, span.end.clamp(start, text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        self.line = text[..start].matches('\n').count() + 1;
        self.column = text[line_start..start].chars().count() + 1;
        self.source_line = text[line_start..line_end].trim_end_matches('\r').into();
        self.width = text[start..end.clamp(start, line_end)]
            .chars()
            .count()
            .max(1);
        self
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            f.write_str(": ")?;
        } else if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(self.expected.trim_end())?;
        if self.line > 0 {
            let gutter = self.line.to_string();
            let blank = " ".repeat(gutter.len());
            // Tabs stay tabs, so that the caret stands under its text.
            let indent: String = self
                .source_line
                .chars()
                .take(self.column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(
                f,
                "\n{blank} |\n{gutter} | {}\n{blank} | {indent}{}",
                self.source_line,
                "^".repeat(self.width)
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
