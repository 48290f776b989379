//! Fields of a message header, as far as the queue looks at them.

/// The fields of the header of `content`: names and raw values, folded lines
/// included, ends of line trimmed.
pub(crate) fn fields(content: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = content;
    std::iter::from_fn(move || {
        loop {
            let field = next_field(&mut rest)?;
            if let Some(colon) = memchr::memchr(b':', field) {
                let value = field[colon + 1..].trim_ascii();
                return Some((field[..colon].trim_ascii_end(), value));
            }
        }
    })
}

/// Cuts one field with its folded lines off; `None` at the end of the header.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let all = *rest;
    if all.is_empty() || all.starts_with(b"\r\n") {
        return None;
    }
    let mut end = 0;
    loop {
        let Some(line) = memchr::memchr(b'\n', &all[end..]) else {
            end = all.len();
            break;
        };
        end += line + 1;
        if !matches!(all.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    *rest = &all[end..];
    Some(&all[..end])
}

/// The value of the first field of this name; empty when there is none.
pub(crate) fn value<'a>(content: &'a [u8], name: &str) -> &'a [u8] {
    fields(content)
        .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
        .map_or(&[], |(_, v)| v)
}

/// The same as printable text of at most 1000 characters, for the view.
pub(crate) fn text(content: &[u8], name: &str) -> String {
    String::from_utf8_lossy(value(content, name))
        .chars()
        .filter(|c| !c.is_control())
        .take(1000)
        .collect()
}

/// Number of `Received` fields.
pub(crate) fn hops(content: &[u8]) -> usize {
    fields(content)
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"Received"))
        .count()
}

/// Length of the header with the empty line after it, if there is one.
pub(crate) fn length(content: &[u8]) -> usize {
    if content.starts_with(b"\r\n") {
        return 2;
    }
    memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_with_the_header() {
        let content = b"Received: a\r\n\tb\r\nreceived:c\r\nno field\r\nX-Mailproof: 1\r\n\r\nReceived: d\r\n";
        assert_eq!(hops(content), 2);
        assert_eq!(value(content, "x-mailproof"), b"1");
        assert_eq!(value(content, "received"), b"a\r\n\tb");
        assert_eq!(value(content, "date"), b"");
        assert_eq!(&content[length(content)..], b"Received: d\r\n");
        assert_eq!(hops(b""), 0);
        assert_eq!(hops(b"\r\nReceived: a\r\n"), 0);
        assert_eq!(hops(b"Received: a"), 1);
    }
}
