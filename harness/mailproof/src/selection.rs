//! Which scenarios a pattern means.

use mailproof_model::suggest;

/// Whether a pattern means an id: the id itself, a prefix of it that ends at
/// a part (`smoke`, `smoke/power`), or a glob over all of it (`*` any text,
/// `?` one character).
#[must_use]
pub(crate) fn matches(pattern: &str, id: &str) -> bool {
    if pattern.contains(['*', '?']) {
        glob(pattern.as_bytes(), id.as_bytes())
    } else {
        id.starts_with(pattern)
    }
}

/// Matches in linear time but for the backtracking of one `*`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, at)) => {
                    p = after;
                    t = at + 1;
                    star = Some((after, at + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// The names most like the one that was given, the likest first; at most
/// three, and none that has nothing to do with it. People leave the family
/// out, so the last part of a name counts as well as the whole.
#[must_use]
pub(crate) fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all: Vec<&str> = all.collect();
    let mut near = Vec::new();
    while near.len() < 3 {
        let whole = suggest::nearest(name, all.iter().copied());
        let found = whole.or_else(|| {
            let part = suggest::nearest(name, all.iter().map(|known| last_part(known)))?;
            all.iter().copied().find(|known| last_part(known) == part)
        });
        let Some(found) = found else { break };
        all.retain(|known| *known != found);
        near.push(found);
    }
    near
}

fn last_part(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// `did you mean a, b?`, or what there is when nothing is near.
#[must_use]
pub(crate) fn did_you_mean<'a>(name: &str, all: impl Iterator<Item = &'a str> + Clone) -> String {
    let near = nearest(name, all.clone());
    let quote = |names: &[&str]| {
        let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
        quoted.join(", ")
    };
    if near.is_empty() {
        let known: Vec<_> = all.take(12).collect();
        format!("there are {}", quote(&known))
    } else {
        format!("did you mean {}?", quote(&near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_prefixes_or_globs() {
        for (pattern, id, yes) in [
            ("smoke", "smoke/no-fault", true),
            ("smoke/no", "smoke/no-fault", true),
            ("no-fault", "smoke/no-fault", false),
            ("*/no-*", "smoke/no-fault", true),
            ("*", "smoke/no-fault", true),
            ("smoke/?o-fault", "smoke/no-fault", true),
            ("smoke/*x", "smoke/no-fault", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("", "smoke/no-fault", true),
        ] {
            assert_eq!(matches(pattern, id), yes, "{pattern} {id}");
        }
    }

    #[test]
    fn the_nearest_names_come_first() {
        let ids = ["smoke/no-fault", "smoke/power-cut", "shadow/no-fault"];
        assert_eq!(
            nearest("smoke/nofault", ids.into_iter())[0],
            "smoke/no-fault"
        );
        assert_eq!(nearest("powercut", ids.into_iter()), ["smoke/power-cut"]);
        assert!(nearest("zzz", ids.into_iter()).is_empty());
        assert!(did_you_mean("zzz", ids.into_iter()).starts_with("there are"));
    }
}
