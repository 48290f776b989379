//! The names of the points of an SMTP dialogue that scenarios may use.
//!
//! `mailproof-wire` has the machines that find them; the names are repeated
//! here because the model knows nothing of it. The engine's tests hold the
//! two together.

/// Every phase but `verb(NAME)` and `verb-reply(NAME)`, in the order of a
/// connection.
pub const PHASES: [&str; 17] = [
    "connect",
    "greeting",
    "ehlo",
    "ehlo-reply",
    "mail",
    "mail-reply",
    "rcpt",
    "rcpt-reply",
    "data",
    "data-reply",
    "content",
    "dot",
    "after-dot",
    "end-reply",
    "after-end-reply",
    "quit",
    "quit-reply",
];

/// Whether a phase has that name.
#[must_use]
pub fn is_phase(name: &str) -> bool {
    PHASES.contains(&name) || verb(name).is_some()
}

/// Whether a whole reply of the server stands at that phase, not passed on
/// yet, so that it can be lost.
#[must_use]
pub(crate) fn holds_reply(name: &str) -> bool {
    name == "greeting"
        || (name.ends_with("-reply") && name != "after-end-reply")
        || name.starts_with("verb-reply(")
}

/// Whether a whole command of the client (or the end of its data) stands at
/// that phase, so that it can be answered in the server's place.
#[must_use]
pub(crate) fn holds_command(name: &str) -> bool {
    matches!(name, "ehlo" | "mail" | "rcpt" | "data" | "dot" | "quit") || name.starts_with("verb(")
}

/// Whether the phase comes once in every transaction.
#[must_use]
pub(super) fn once_a_transaction(name: &str) -> bool {
    matches!(
        name,
        "mail"
            | "mail-reply"
            | "data"
            | "data-reply"
            | "content"
            | "dot"
            | "after-dot"
            | "end-reply"
            | "after-end-reply"
    )
}

/// The verb of `verb(NAME)` or `verb-reply(NAME)`.
fn verb(name: &str) -> Option<&str> {
    let word = name
        .strip_prefix("verb(")
        .or_else(|| name.strip_prefix("verb-reply("))?
        .strip_suffix(')')?;
    let good = (1..=31).contains(&word.len())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    good.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_names_and_sides() {
        for name in PHASES
            .into_iter()
            .chain(["verb(XSHADOW)", "verb-reply(XSHADOW)"])
        {
            assert!(is_phase(name), "{name}");
            assert!(!(holds_reply(name) && holds_command(name)), "{name}");
        }
        for name in ["", "Dot", "verb()", "verb(A B)", "verb(X", "after-mail"] {
            assert!(!is_phase(name), "{name}");
        }
        assert!(holds_reply("end-reply") && !holds_reply("after-end-reply"));
        assert!(holds_command("dot") && !holds_command("content"));
    }
}
