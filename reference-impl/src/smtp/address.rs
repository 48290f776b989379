//! Paths of MAIL and RCPT (RFC 5321 4.1.2); their parameters are in
//! [`parameters`](super::parameters).

/// Longest path with its brackets (RFC 5321 4.5.3.1.3 asks for 256; source
/// routes are counted in).
const MAX_PATH: usize = 1000;
/// Longest local-part that is taken (64 are asked for).
const MAX_LOCAL: usize = 320;
/// Longest domain.
const MAX_DOMAIN: usize = 255;

/// The path and the raw parameters after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathAndParams<'a> {
    /// Address without brackets and without source route; empty for `<>`.
    pub(crate) address: &'a str,
    /// What follows the bracket, trimmed.
    pub(crate) params: &'a str,
}

/// Parses what follows `MAIL FROM:` or `RCPT TO:`; `None` on a syntax error.
///
/// One space after the colon is tolerated, for the many clients that send it.
pub(crate) fn path(text: &str) -> Option<PathAndParams<'_>> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    let inner = text.strip_prefix('<')?;
    if let Some(end) = plain(inner) {
        let (address, rest) = (&inner[..end], &inner[end + 1..]);
        return (rest.is_empty() || rest.starts_with(' ')).then(|| PathAndParams {
            address,
            params: rest.trim_matches(' '),
        });
    }
    let end = closing_bracket(inner)?;
    if end > MAX_PATH {
        return None;
    }
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let address = match path.strip_prefix('@') {
        // A source route is accepted and ignored (RFC 5321 3.3, appendix C).
        Some(route) => route.split_once(':').filter(|(r, _)| !r.contains('"'))?.1,
        None => path,
    };
    if !address.is_empty() && !is_address(address) {
        return None;
    }
    if address.is_empty() && !path.is_empty() {
        return None;
    }
    Some(PathAndParams {
        address,
        params: rest.trim_matches(' '),
    })
}

/// The place of the `>` after an address of the most common kind: letters,
/// digits, `-` and `_` between dots, one `@`. `None`: look closer.
fn plain(text: &str) -> Option<usize> {
    let mut separator = None;
    // Whether the present atom or label has no character yet.
    let mut empty = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => empty = false,
            b'.' if !empty => empty = true,
            b'@' if !empty && separator.is_none() => {
                separator = Some(at);
                empty = true;
            }
            b'>' if !empty => {
                let local = separator?;
                return (local <= MAX_LOCAL && at - local - 1 <= MAX_DOMAIN).then_some(at);
            }
            _ => return None,
        }
    }
    None
}

/// The place of the `>` that ends the path: not one inside a quoted string.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            b'<' if !quoted => return None,
            _ => {}
        }
    }
    None
}

/// Whether `text` is a mailbox, or a local-part alone (`Postmaster`).
fn is_address(text: &str) -> bool {
    let (local, domain) = split(text);
    local_part(local) && domain.is_none_or(is_domain)
}

/// Local-part and domain.
pub(crate) fn split(address: &str) -> (&str, Option<&str>) {
    match memchr::memrchr(b'@', address.as_bytes()) {
        // An `@` inside quotes at the very end is no separator.
        Some(at) if memchr::memchr(b'"', &address.as_bytes()[at..]).is_none() => {
            (&address[..at], Some(&address[at + 1..]))
        }
        _ => (address, None),
    }
}

fn local_part(text: &str) -> bool {
    if text.is_empty() || text.len() > MAX_LOCAL {
        return false;
    }
    if let Some(inner) = text.strip_prefix('"') {
        let Some(inner) = inner.strip_suffix('"') else {
            return false;
        };
        let mut escaped = false;
        for c in inner.chars() {
            match c {
                '\0'..='\x1f' | '\x7f' => return false,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return false,
                _ => {}
            }
        }
        return !escaped;
    }
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

fn is_domain(text: &str) -> bool {
    if text.is_empty() || text.len() > MAX_DOMAIN {
        return false;
    }
    if let Some(literal) = text.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|inner| {
            !inner.is_empty()
                && inner
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-'))
        });
    }
    text.split('.').all(|label| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || !c.is_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<&str> {
        path(text).map(|p| p.address)
    }

    #[test]
    fn paths() {
        assert_eq!(address("<>"), Some(""));
        assert_eq!(address("<a@b.example>"), Some("a@b.example"));
        assert_eq!(address(" <a@b>"), Some("a@b"));
        assert_eq!(address("<@x,@y:a@b>"), Some("a@b"));
        assert_eq!(address("<Postmaster>"), Some("Postmaster"));
        assert_eq!(address("<\"a b>@c\"@d>"), Some("\"a b>@c\"@d"));
        assert_eq!(address("<a@[127.0.0.1]>"), Some("a@[127.0.0.1]"));
        let long = format!("<{}@{}>", "l".repeat(64), vec!["d".repeat(60); 4].join("."));
        assert!(address(&long).is_some());
        for bad in [
            "",
            "a@b",
            "<a@b",
            "<a@b>x",
            "<a@>",
            "<@b>",
            "<a..b@c>",
            "<a b@c>",
            "<@x:>",
            "<a@b\u{7f}>",
            "<<a@b>>",
            "<\"a@b>",
            "<a@-\u{0}>",
            "<a@b..c>",
        ] {
            assert_eq!(address(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn params_follow_the_bracket() {
        let parsed = path("<a@b>  SIZE=12 BODY=8BITMIME ").unwrap();
        assert_eq!(parsed.params, "SIZE=12 BODY=8BITMIME");
    }

    #[test]
    fn the_domain_follows_the_last_at() {
        assert_eq!(split("a@b"), ("a", Some("b")));
        assert_eq!(split("\"a@b\"@c"), ("\"a@b\"", Some("c")));
        assert_eq!(split("\"a@b\""), ("\"a@b\"", None));
        assert_eq!(split("postmaster"), ("postmaster", None));
    }
}
