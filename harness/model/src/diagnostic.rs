//! What is wrong with a file that a person wrote, and where: one type for
//! scenarios and targets.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{LabeledSpan, NamedSource, SourceCode};

/// One problem in a file. Its `Display` is one line, `file:3:8: message`; as a
/// [`miette::Diagnostic`] it shows the line with a caret below the place.
#[derive(Clone)]
pub struct Diagnostic(Box<Inner>);

/// Boxed, so that a `Result` stays small.
#[derive(Clone)]
struct Inner {
    file: Arc<str>,
    text: Arc<str>,
    source: NamedSource<Arc<str>>,
    span: Range<usize>,
    message: String,
    label: String,
    hint: Option<String>,
}

impl Diagnostic {
    /// A problem at the bytes `span` of `text`. A span that does not fit the
    /// text is cut to it.
    #[must_use]
    pub fn new(file: &str, text: Arc<str>, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = floor(&text, span.start);
        let end = floor(&text, span.end.max(start));
        Self(Box::new(Inner {
            file: file.into(),
            source: NamedSource::new(file, Arc::clone(&text)),
            text,
            span: start..end,
            message: message.into(),
            label: "here".to_owned(),
            hint: None,
        }))
    }

    /// The same place with another message.
    #[must_use]
    pub fn say(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// The same with a few words for the place itself.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.0.label = label.into();
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// The bytes of the file that it is about.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.0.span.clone()
    }

    /// The text at the place.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.0.text[self.0.span.clone()]
    }

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.0.text[..self.0.span.start].matches('\n').count() + 1
    }

    /// The column in characters, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        let before = &self.0.text[..self.0.span.start];
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        before[begin..].chars().count() + 1
    }

    /// What is wrong and what was expected.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// The nearest character boundary at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = (self.line(), self.column());
        write!(f, "{}:{line}:{column}: {}", self.0.file, self.0.message)
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match &self.0.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl PartialEq for Diagnostic {
    fn eq(&self, other: &Self) -> bool {
        self.0.file == other.0.file
            && self.0.span == other.0.span
            && self.0.message == other.0.message
            && self.0.hint == other.0.hint
    }
}

impl Eq for Diagnostic {}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0
            .hint
            .as_ref()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.0.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(
            Some(self.0.label.clone()),
            self.0.span.clone(),
        ))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text: Arc<str> = "a = 1\nä = 2\n".into();
        let at = text.find('2').unwrap();
        let found = Diagnostic::new("x.toml", text, at..at + 1, "too many");
        assert_eq!(found.to_string(), "x.toml:2:5: too many");
        assert_eq!(found.at(), "2");
    }

    #[test]
    fn a_span_outside_the_text_is_cut_to_it() {
        let text: Arc<str> = "ä".into();
        let found = Diagnostic::new("x", Arc::clone(&text), 1..9, "m");
        assert_eq!((found.line(), found.column(), found.at()), (1, 1, "ä"));
        let backwards = std::ops::Range { start: 7, end: 3 };
        let found = Diagnostic::new("x", text, backwards, "m");
        assert_eq!(found.at(), "");
    }
}
