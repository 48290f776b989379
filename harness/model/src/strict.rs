//! Reading a TOML file strictly: every problem of the file is found, each
//! with its place, before the first is reported.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::suggest::nearest;

/// Files longer than this are refused unread, in bytes.
pub const LONGEST: usize = 1 << 20;

/// The most problems that one file is told of.
const MOST: usize = 50;

/// A file that is TOML, and where each of its keys and values stands.
#[derive(Clone, Debug)]
pub struct Document {
    file: Arc<str>,
    text: Arc<str>,
    places: BTreeMap<String, Place>,
}

/// Where a key and its value stand; elements of arrays have no key.
#[derive(Clone, Debug)]
struct Place {
    key: Range<usize>,
    value: Range<usize>,
}

/// Reads a file into a type, or finds everything that is wrong with it, in
/// the order of the file.
///
/// # Errors
/// At least one [`Diagnostic`].
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<(T, Document), Vec<Diagnostic>> {
    let shared: Arc<str> = text.into();
    let problem = |span, message: String| Diagnostic::new(file, Arc::clone(&shared), span, message);
    if text.len() > LONGEST {
        return Err(vec![
            problem(
                0..0,
                format!(
                    "the file has {} bytes; at most {LONGEST} are read",
                    text.len()
                ),
            )
            .hint("split it"),
        ]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut found: Vec<Diagnostic> = errors
            .iter()
            .take(MOST)
            .map(|e| syntax(text, e, &problem))
            .collect();
        found.sort_by_key(|d| d.span().start);
        return Err(found);
    }
    let mut document = Document {
        file: file.into(),
        text: Arc::clone(&shared),
        places: BTreeMap::new(),
    };
    places(table.get_ref(), "", &mut document.places);

    // serde stops at the first error, so what it stopped at is taken out and
    // the rest read again. A field that is missing only because it was taken
    // out is no problem of the file's.
    let mut rest = table;
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut removed: Vec<(Range<usize>, String)> = Vec::new();
    loop {
        let error = match T::deserialize(toml::de::Deserializer::from(rest.clone())) {
            Ok(value) if found.is_empty() => return Ok((value, document)),
            Ok(_) => break,
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let own_doing = quoted(error.message(), "missing field ").is_some_and(|field| {
            removed
                .iter()
                .any(|(table, key)| *table == span && key == field)
        });
        if !own_doing {
            found.push(explain(&error, &problem));
        }
        if found.len() >= MOST || !take_out(&mut rest, &span, &mut removed) {
            break;
        }
    }
    found.sort_by_key(|d| d.span().start);
    Err(found)
}

/// What a TOML syntax error means, at its place.
fn syntax(
    text: &str,
    error: &toml::de::Error,
    problem: &dyn Fn(Range<usize>, String) -> Diagnostic,
) -> Diagnostic {
    let mut span = error.span().unwrap_or(text.len()..text.len());
    // An unexpected end of line is shown on the line that ends.
    if text.as_bytes().get(span.start) == Some(&b'\n') {
        span = span.start..span.start;
    }
    problem(span, format!("this is not TOML: {}", error.message()))
}

/// What a type error means, with the nearest name where a name is wrong.
fn explain(
    error: &toml::de::Error,
    problem: &dyn Fn(Range<usize>, String) -> Diagnostic,
) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let message = error.message();
    if let Some(field) = quoted(message, "missing field ") {
        // At the top of a file there is nothing to underline.
        let span = if span.start == 0 { 0..0 } else { span };
        return problem(span, format!("`{field}` is missing"))
            .label(format!("`{field}` is needed here"));
    }
    if let Some(key) = quoted(message, "unknown field ") {
        return unknown("key", key, message, problem(span, String::new()));
    }
    if let Some(name) = quoted(message, "unknown variant ") {
        return unknown("word", name, message, problem(span, String::new()));
    }
    if message.starts_with("wanted exactly 1 element") {
        return problem(span, "exactly one key is expected here".to_owned())
            .hint("write one table for each, `[[step]]` before each step");
    }
    if let Some((_, wanted)) = message.split_once(", expected ")
        && let Some(given) = message
            .strip_prefix("invalid type: ")
            .or_else(|| message.strip_prefix("invalid value: "))
            .and_then(|m| m.split_once(", expected "))
            .map(|(given, _)| given)
    {
        return problem(span, format!("expected {wanted}, found {given}"));
    }
    problem(span, message.to_owned())
}

fn unknown(what: &str, name: &str, message: &str, at: Diagnostic) -> Diagnostic {
    let known: Vec<&str> = message
        .split_once(", expected ")
        .map(|(_, list)| list.split('`').skip(1).step_by(2).collect())
        .unwrap_or_default();
    let said = match known.as_slice() {
        [] => format!("`{name}` is no {what} that may stand here; none may"),
        [one] => format!("`{name}` is no {what} that may stand here; only `{one}` may"),
        more => format!(
            "`{name}` is no {what} that may stand here; expected one of {}",
            more.iter()
                .map(|k| format!("`{k}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let at = at.say(said);
    match nearest(name, known.iter().copied()) {
        Some(near) => at.hint(format!("did you mean `{near}`?")),
        None => at,
    }
}

/// The text in backticks after `before`, at the start of serde's messages.
fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.split('`').nth(1)
}

impl Document {
    /// The file's name as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether the file has a value at `path`, `step[0].pause.for`.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// A problem with the value at `path`; when it is not in the file, with
    /// the nearest table around it that is.
    #[must_use]
    pub fn value(&self, path: &str, message: impl Into<String>) -> Diagnostic {
        let span = self.around(path).map_or(0..0, |(place, exact)| {
            if exact {
                place.value.clone()
            } else {
                place.key.clone()
            }
        });
        Diagnostic::new(&self.file, Arc::clone(&self.text), span, message)
    }

    /// A problem with the key at `path` rather than with its value.
    #[must_use]
    pub fn key(&self, path: &str, message: impl Into<String>) -> Diagnostic {
        let span = self
            .around(path)
            .map_or(0..0, |(place, _)| place.key.clone());
        Diagnostic::new(&self.file, Arc::clone(&self.text), span, message)
    }

    /// A problem with `part` of the text at `path`: the caret stands below
    /// just that part.
    #[must_use]
    pub fn part(&self, path: &str, part: &str, message: impl Into<String>) -> Diagnostic {
        let whole = self.value(path, message);
        let span = whole.span();
        match whole.at().find(part) {
            Some(at) if !part.is_empty() => {
                let start = span.start + at;
                Diagnostic::new(
                    &self.file,
                    Arc::clone(&self.text),
                    start..start + part.len(),
                    whole.message(),
                )
            }
            _ => whole,
        }
    }

    fn around(&self, path: &str) -> Option<(&Place, bool)> {
        let mut path = path;
        let mut exact = true;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some((place, exact));
            }
            exact = false;
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Every key of the file as a path without positions, `step[].pause.for`.
    pub fn keys(&self) -> impl Iterator<Item = String> + '_ {
        self.places.keys().map(|path| {
            let mut plain = String::with_capacity(path.len());
            let mut inside = false;
            for c in path.chars() {
                match c {
                    '[' => inside = true,
                    ']' => inside = false,
                    _ if inside => continue,
                    _ => {}
                }
                plain.push(c);
            }
            plain
        })
    }
}

fn places(table: &DeTable<'_>, path: &str, into: &mut BTreeMap<String, Place>) {
    for (key, value) in table {
        let name = key.get_ref();
        let path = if path.is_empty() {
            name.to_string()
        } else {
            format!("{path}.{name}")
        };
        places_of(value, key.span(), path, into);
    }
}

fn places_of(
    value: &Spanned<DeValue<'_>>,
    key: Range<usize>,
    path: String,
    into: &mut BTreeMap<String, Place>,
) {
    match value.get_ref() {
        DeValue::Table(inner) => places(inner, &path, into),
        DeValue::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                places_of(item, item.span(), format!("{path}[{i}]"), into);
            }
        }
        _ => {}
    }
    let value = value.span();
    into.insert(path, Place { key, value });
}

/// Takes the innermost entry that covers `span` out of the table, and every
/// table that is left empty by it; notes what went from where. False when
/// nothing covers it.
fn take_out(
    root: &mut Spanned<DeTable<'_>>,
    span: &Range<usize>,
    removed: &mut Vec<(Range<usize>, String)>,
) -> bool {
    let whole = root.span();
    let mut all = BTreeMap::new();
    places(root.get_ref(), "", &mut all);
    let covers = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let Some(mut path) = all
        .iter()
        .flat_map(|(path, place)| [(path, &place.key), (path, &place.value)])
        .filter(|(_, range)| covers(range))
        .min_by_key(|(path, range)| (range.len(), std::cmp::Reverse(path.len())))
        .map(|(path, _)| path.clone())
    else {
        return false;
    };
    loop {
        let parent = path.rfind(['.', '[']).map(|end| path[..end].to_owned());
        let table = parent
            .as_ref()
            .and_then(|parent| all.get(parent))
            .map_or(whole.clone(), |place| place.value.clone());
        let last = path
            .rfind('.')
            .map_or(path.as_str(), |dot| &path[dot + 1..]);
        removed.push((table, last.to_owned()));
        match remove(root.get_mut(), &path) {
            None => return false,
            Some(left) if left > 0 => return true,
            Some(_) => match parent {
                Some(parent) => path = parent,
                None => return true,
            },
        }
    }
}

/// Removes the entry at `path`; how many its table or array has left.
fn remove(table: &mut DeTable<'_>, path: &str) -> Option<usize> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let (name, index) = match first.split_once('[') {
        Some((name, index)) => (name, Some(index.strip_suffix(']')?.parse::<usize>().ok()?)),
        None => (first, None),
    };
    let key = table.keys().find(|key| key.get_ref() == name)?.clone();
    match (index, rest) {
        (None, None) => {
            table.remove(&key)?;
            Some(table.len())
        }
        (None, Some(rest)) => match table.get_mut(&key)?.get_mut() {
            DeValue::Table(inner) => remove(inner, rest),
            _ => None,
        },
        (Some(index), rest) => match (table.get_mut(&key)?.get_mut(), rest) {
            (DeValue::Array(items), Some(rest)) => match items.get_mut(index)?.get_mut() {
                DeValue::Table(inner) => remove(inner, rest),
                _ => None,
            },
            (DeValue::Array(items), None) => {
                let mut kept = DeArray::new();
                for (i, item) in items.iter().enumerate() {
                    if i != index {
                        kept.push(item.clone());
                    }
                }
                *items = kept;
                Some(items.len())
            }
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct File {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        step: Vec<Step>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        count: u8,
        #[serde(default)]
        on: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[allow(dead_code)]
    enum Step {
        Go(Inner),
        Stop(u8),
    }

    fn problems(text: &str) -> Vec<String> {
        match read::<File>("f.toml", text) {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().map(|d| format!("{d:?} @{}", d.at())).collect(),
        }
    }

    #[test]
    fn every_problem_is_found_and_stands_at_its_value() {
        assert_eq!(
            problems(
                "nmae = 'x'\n[[inner]]\ncount = 300\n[[inner]]\non = true\n[[inner]]\non = 1\n[[step]]\ngo = { count = 1, of = 2 }\n[[step]]\nwalk = 3\n"
            ),
            [
                "f.toml:1:1: `nmae` is no key that may stand here; expected one of `name`, `inner`, `step` (did you mean `name`?) @nmae",
                "f.toml:1:1: `name` is missing @",
                "f.toml:3:9: expected u8, found integer `300` @300",
                "f.toml:4:1: `count` is missing @[[inner]]",
                "f.toml:7:6: expected a boolean, found integer `1` @1",
                "f.toml:9:19: `of` is no key that may stand here; expected one of `count`, `on` (did you mean `on`?) @of",
                "f.toml:11:1: `walk` is no word that may stand here; expected one of `go`, `stop` @walk",
            ]
        );
    }

    #[test]
    fn what_is_only_missing_because_it_was_wrong_is_not_told_twice() {
        assert_eq!(
            problems("name = 3\n[[step]]\nstop = 'x'\n"),
            [
                "f.toml:1:8: expected a string, found integer `3` @3",
                "f.toml:3:8: expected u8, found string \"x\" @'x'",
            ]
        );
    }

    #[test]
    fn all_syntax_errors_are_found() {
        let found = problems("name = \n[inner\nx = 'y\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("f.toml:1:8: this is not TOML: "),
            "{found:?}"
        );
        assert!(
            found[1].starts_with("f.toml:2:7: this is not TOML: "),
            "{found:?}"
        );
    }

    #[test]
    fn a_place_is_found_by_its_path() {
        let text = "name = 'x'\n[[step]]\ngo = { count = 1, on = true }\n";
        let (_, document) = read::<File>("f.toml", text).unwrap();
        assert_eq!(document.value("step[0].go.count", "m").at(), "1");
        assert_eq!(document.key("step[0].go.count", "m").at(), "count");
        assert_eq!(document.value("step[0].go.gone", "m").at(), "go");
        assert_eq!(document.part("name", "x", "m").at(), "x");
        assert!(document.has("step[0].go") && !document.has("step[1]"));
        assert!(document.keys().any(|k| k == "step[].go.on"));
    }

    #[test]
    fn a_file_without_end_is_refused_unread() {
        let found = problems(&"#".repeat(LONGEST + 1));
        assert!(found[0].contains("at most 1048576 are read"), "{found:?}");
    }
}
