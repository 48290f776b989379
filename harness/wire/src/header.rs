//! Reading a message's header block (RFC 5322 2.2).

/// A message split into header block and body, without copying. Lines may end
/// in CRLF or, as in a store on disk, in LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Every header line with its line ending.
    pub header: &'a [u8],
    /// What follows the empty line; empty if there is none.
    pub body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Splits `content` at its first empty line.
    #[must_use]
    pub fn split(content: &'a [u8]) -> Self {
        let mut at = 0;
        match find_body(content, &mut at) {
            Some(body) => Self {
                header: &content[..at],
                body: &content[body..],
            },
            None => Self {
                header: content,
                body: &[],
            },
        }
    }

    /// Every header field in order. Lines that are no field are passed over.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.header }
    }

    /// The topmost field with this name, in any case.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<Field<'a>> {
        self.all(name).next()
    }

    /// Every field with this name, in any case, from the top.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = Field<'a>> + use<'a, 'n> {
        self.fields().filter(move |field| field.is(name))
    }
}

/// Looks for the empty line from `at`, which must be the start of a line.
/// Returns where the body begins, `at` then being the start of the empty line;
/// or `None`, `at` then being the start of the last, unfinished line.
pub(crate) fn find_body(bytes: &[u8], at: &mut usize) -> Option<usize> {
    loop {
        match &bytes[*at..] {
            [b'\n', ..] => return Some(*at + 1),
            [b'\r', b'\n', ..] => return Some(*at + 2),
            rest => *at += memchr::memchr(b'\n', rest)? + 1,
        }
    }
}

/// The body, if the line at the start of `bytes` is the empty one that ends a
/// header block.
pub(crate) fn after_header(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [b'\n', body @ ..] | [b'\r', b'\n', body @ ..] => Some(body),
        _ => None,
    }
}

/// A header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name as written.
    pub name: &'a [u8],
    /// Everything after the colon, folding and the last line ending included.
    pub raw_value: &'a [u8],
}

impl Field<'_> {
    /// Whether this is its name, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value, unfolded (RFC 5322 2.2.3: line breaks removed, nothing else)
    /// and without white space at its ends.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.raw_value.len());
        self.unfold_into(&mut value);
        value
    }

    /// Appends the [`value`](Self::value) to `out`.
    pub(crate) fn unfold_into(&self, out: &mut Vec<u8>) {
        let value = self.raw_value.trim_ascii();
        if memchr::memchr(b'\n', value).is_none() {
            return out.extend_from_slice(value);
        }
        for line in value.split(|byte| *byte == b'\n') {
            out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        }
    }
}

/// The fields of a header block; see [`Parts::fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields from the start of a line on. Whoever reads past the end of a
    /// header block must see that for himself; see [`after_header`].
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What was not read yet; it begins a line.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads one line with the lines that continue it. `None`: it is no field.
    pub(crate) fn read(&mut self) -> Option<Field<'a>> {
        let mut end = 0;
        loop {
            end +=
                memchr::memchr(b'\n', &self.rest[end..]).map_or(self.rest.len() - end, |lf| lf + 1);
            if !matches!(self.rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        // Names are short: looking at each byte is faster than a search.
        let colon = field.iter().position(|byte| *byte == b':')?;
        let name = field[..colon].trim_ascii_end();
        (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then(|| Field {
            name,
            raw_value: &field[colon + 1..],
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while !self.rest.is_empty() {
            if let Some(field) = self.read() {
                return Some(field);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "Received: from a\r\n\tby b;\r\n  now\r\nSubject:  x y \r\n\
        From someone Mon Nov 21 20:06:00\r\nno field\r\n folded\r\nRECEIVED : two\r\nEmpty:\r\n\r\nBody: 1\r\n\r\n2";

    #[test]
    fn fields_are_found_and_unfolded() {
        for message in [MESSAGE.to_owned(), MESSAGE.replace("\r\n", "\n")] {
            let parts = Parts::split(message.as_bytes());
            assert!(parts.body.starts_with(b"Body: 1"));
            let names: Vec<_> = parts.fields().map(|field| field.name).collect();
            assert_eq!(names, [&b"Received"[..], b"Subject", b"RECEIVED", b"Empty"]);
            assert_eq!(
                parts.first("received").unwrap().value(),
                b"from a\tby b;  now"
            );
            assert_eq!(parts.first("subject").unwrap().value(), b"x y");
            assert_eq!(parts.first("empty").unwrap().value(), b"");
            assert_eq!(parts.all("Received").count(), 2);
            assert_eq!(parts.first("Body"), None);
        }
    }

    #[test]
    fn odd_shapes_split() {
        for (content, header, body) in [
            ("", "", ""),
            ("\r\nbody", "", "body"),
            ("\nbody", "", "body"),
            ("A: 1", "A: 1", ""),
            ("A: 1\r\n", "A: 1\r\n", ""),
            ("A: 1\r\n\r\n", "A: 1\r\n", ""),
            ("A: 1\r\n \r\n\r\nx", "A: 1\r\n \r\n", "x"),
            ("A: 1\r\n\rx", "A: 1\r\n\rx", ""),
        ] {
            let parts = Parts::split(content.as_bytes());
            assert_eq!(
                (parts.header, parts.body),
                (header.as_bytes(), body.as_bytes())
            );
        }
        assert_eq!(Parts::split(b":x\r\n\r\n").fields().count(), 0);
    }
}
