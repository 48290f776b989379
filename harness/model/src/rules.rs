//! The rules that scenarios are evidence for: 161 of transport shadow
//! redundancy and 152 of SMTP and high availability. The rules themselves are
//! data, in `rules/*.toml` beside this crate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::suggest;

const EXCHANGE: &str = include_str!("../rules/exchange.toml");
const SMTP: &str = include_str!("../rules/smtp.toml");

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `OUT-04`, `R052`, ….
    pub id: String,
    /// The rule in one sentence.
    pub text: String,
    /// Where it comes from and how binding it is.
    pub origin: Origin,
}

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Transport shadow redundancy.
    Shadow {
        /// Which model it holds for.
        model: Model,
        /// How well it is known, strongest first.
        grades: Vec<Grade>,
        /// Whether the value it speaks of is this project's own choice; such
        /// rules are reported apart.
        profile: bool,
        /// The documents behind it; empty: it follows from the purpose.
        sources: Vec<String>,
    },
    /// SMTP and its extensions, or the house rules on top.
    Smtp {
        /// How binding it is.
        level: Level,
        /// RFC and sections; none for house rules.
        reference: Option<String>,
        /// Whether the RFC has to be read again before a verdict rests on
        /// the rule.
        unread: bool,
    },
}

/// A model of shadow redundancy, or mail between servers of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The previous hop keeps its copy until the next hop reports delivery.
    Hold,
    /// A copy is made on a peer before the 250.
    Copy,
    /// Both models.
    Both,
    /// Mail from a server of the hold model to one of the copy model.
    HoldToCopy,
    /// Mail from a server of the copy model to one of the hold model.
    CopyToHold,
}

/// How well a rule is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Grade {
    /// Stated by the vendor.
    V,
    /// Stated by the vendor, reached only as a quotation.
    Vx,
    /// Seen in the field.
    F,
    /// Inferred.
    I,
    /// Undocumented: this project chose.
    U,
}

/// How binding a rule of SMTP is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// MUST or MUST NOT.
    Must,
    /// SHOULD or SHOULD NOT.
    Should,
    /// An obligation in running text.
    Prose,
    /// No RFC: what redundancy has to mean.
    House,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShadowFile {
    rules: BTreeMap<String, ShadowRow>,
    source: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShadowRow {
    model: Model,
    grade: Vec<Grade>,
    #[serde(default)]
    profile: bool,
    source: Vec<String>,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmtpFile {
    rules: BTreeMap<String, SmtpRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmtpRow {
    level: Level,
    #[serde(rename = "ref")]
    reference: Option<String>,
    #[serde(default)]
    unread: bool,
    text: String,
}

/// Both files; a file that cannot be read has no rules, which the tests of
/// this module notice.
static RULES: LazyLock<BTreeMap<String, Rule>> = LazyLock::new(|| {
    let mut rules = BTreeMap::new();
    if let Ok(file) = toml::from_str::<ShadowFile>(EXCHANGE) {
        for (id, row) in file.rules {
            let rule = Rule {
                id: id.clone(),
                text: row.text,
                origin: Origin::Shadow {
                    model: row.model,
                    grades: row.grade,
                    profile: row.profile,
                    sources: row
                        .source
                        .into_iter()
                        .map(|key| file.source.get(&key).cloned().unwrap_or(key))
                        .collect(),
                },
            };
            rules.insert(id, rule);
        }
    }
    if let Ok(file) = toml::from_str::<SmtpFile>(SMTP) {
        for (id, row) in file.rules {
            let rule = Rule {
                id: id.clone(),
                text: row.text,
                origin: Origin::Smtp {
                    level: row.level,
                    reference: row.reference,
                    unread: row.unread,
                },
            };
            rules.insert(id, rule);
        }
    }
    rules
});

/// Every rule, by its id.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    RULES.values()
}

/// The rule of that id.
#[must_use]
pub fn get(id: &str) -> Option<&'static Rule> {
    RULES.get(id)
}

/// The rule whose id is nearest to one that does not exist, if one is near.
#[must_use]
pub fn nearest(id: &str) -> Option<&'static Rule> {
    // An id without its hyphen or its leading zero is common.
    let plain = |text: &str| -> String {
        let letters: String = text.chars().filter(|c| c.is_ascii_alphabetic()).collect();
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        format!(
            "{}{}",
            letters.to_uppercase(),
            digits.trim_start_matches('0')
        )
    };
    let wanted = plain(id);
    RULES
        .values()
        .find(|rule| plain(&rule.id) == wanted)
        .or_else(|| get(suggest::nearest(id, RULES.keys().map(String::as_str))?))
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hold => "hold model",
            Self::Copy => "copy model",
            Self::Both => "both models",
            Self::HoldToCopy => "hold model to copy model",
            Self::CopyToHold => "copy model to hold model",
        })
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V => "stated by the vendor",
            Self::Vx => "stated by the vendor (quoted)",
            Self::F => "seen in the field",
            Self::I => "inferred",
            Self::U => "undocumented",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Prose => "obligation in prose",
            Self::House => "house rule",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_there_with_its_sources() {
        let shadow: ShadowFile = toml::from_str(EXCHANGE).unwrap();
        let smtp: SmtpFile = toml::from_str(SMTP).unwrap();
        assert_eq!((shadow.rules.len(), smtp.rules.len()), (161, 152));
        assert_eq!(all().count(), 161 + 152);
        let mut used = std::collections::BTreeSet::new();
        for (id, row) in &shadow.rules {
            assert!(!row.grade.is_empty(), "{id}");
            for key in &row.source {
                assert!(shadow.source.contains_key(key), "{id}: {key}");
                used.insert(key);
            }
        }
        assert_eq!(used.len(), shadow.source.len());
        for (id, row) in &smtp.rules {
            assert_eq!(row.reference.is_none(), row.level == Level::House, "{id}");
        }
    }

    #[test]
    fn the_families_have_the_sizes_that_are_known() {
        let of = |prefix: &str| all().filter(|r| r.id.starts_with(prefix)).count();
        for (prefix, count) in [
            ("NEG-", 10),
            ("E14-", 16),
            ("DACK-", 11),
            ("PROM-", 6),
            ("CRE-", 24),
            ("DIS-", 16),
            ("HB-", 15),
            ("OUT-", 12),
            ("DED-", 8),
            ("FORK-", 6),
            ("MIX-", 7),
            ("SN-", 22),
            ("ADM-", 8),
            ("R0", 59),
            ("C0", 29),
            ("D0", 13),
        ] {
            assert_eq!(of(prefix), count, "{prefix}");
        }
    }

    #[test]
    fn each_rule_is_one_plain_sentence() {
        for rule in all() {
            let text = &rule.text;
            assert!(text.ends_with('.'), "{}: {text}", rule.id);
            assert!((20..=200).contains(&text.len()), "{}: {text}", rule.id);
            assert!(
                text.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit()),
                "{}: {text}",
                rule.id
            );
        }
    }

    #[test]
    fn a_slip_in_an_id_is_understood() {
        for (slip, id) in [
            ("OUT04", "OUT-04"),
            ("out-4", "OUT-04"),
            ("R52", "R052"),
            ("HBB-03", "HB-03"),
        ] {
            assert!(get(slip).is_none());
            assert_eq!(nearest(slip).map(|r| r.id.as_str()), Some(id), "{slip}");
        }
        assert!(nearest("nothing at all").is_none());
    }
}
