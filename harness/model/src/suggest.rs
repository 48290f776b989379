//! "Did you mean": the known name nearest to one that is not known.

/// The candidate nearest to `found`, if one is near enough that a person may
/// have meant it: at most a third of the letters differ, case aside.
pub fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    if found.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| (distance(&found, &candidate.to_lowercase()), candidate))
        .filter(|(far, candidate)| {
            let letters = candidate.chars().count().max(found.chars().count());
            *far <= (letters / 3).max(1) && *far < letters
        })
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// The number of letters to insert, delete, replace or swap with their
/// neighbour to turn one text into the other (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_a_stranger_is_not() {
        let names = ["node-lost", "power-cut", "pause", "crash"];
        assert_eq!(nearest("node-lots", names), Some("node-lost"));
        assert_eq!(nearest("power_cut", names), Some("power-cut"));
        assert_eq!(nearest("Crash", names), Some("crash"));
        assert_eq!(nearest("puase", names), Some("pause"));
        assert_eq!(nearest("teleport", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("x", ["y"]), None);
    }

    #[test]
    fn distance_counts_single_slips_as_one() {
        for (a, b, far) in [
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "ab", 1),
            ("", "ab", 2),
            ("abc", "xyz", 3),
        ] {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }
}
