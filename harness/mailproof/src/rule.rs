//! The texts of the rules that scenarios and findings name.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it asks for, in one or two sentences.
    pub text: String,
    /// Where it comes from: an RFC section, a vendor's document, this project.
    pub source: String,
    /// How firm that is: `must`, `should`, `vendor`, `house`.
    pub grade: Grade,
}

/// How firm a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// An RFC says MUST.
    Must,
    /// An RFC says SHOULD.
    Should,
    /// A vendor's documentation states it of its own product.
    Vendor,
    /// It follows from stated facts; no document says it in so many words.
    Inferred,
    /// A rule of this project.
    House,
}

impl Grade {
    /// What it means, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Must => "an RFC says MUST",
            Self::Should => "an RFC says SHOULD",
            Self::Vendor => "the vendor states it of its own product",
            Self::Inferred => "inferred from stated facts",
            Self::House => "a rule of this project; no RFC says it",
        }
    }
}

const TEXT: &str = include_str!("../rules.toml");

static RULES: LazyLock<BTreeMap<String, Rule>> =
    LazyLock::new(|| toml::from_str(TEXT).unwrap_or_default());

/// The rule with that id; case does not matter.
#[must_use]
pub fn find(id: &str) -> Option<(&'static str, &'static Rule)> {
    all().find(|(known, _)| known.eq_ignore_ascii_case(id))
}

/// Every rule, by id.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Rule)> + Clone {
    RULES.iter().map(|(id, rule)| (id.as_str(), rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_well_formed() {
        let rules: BTreeMap<String, Rule> = toml::from_str(TEXT).unwrap();
        assert!(rules.len() > 40);
        for (id, rule) in rules {
            assert!(rule.text.ends_with('.'), "{id}");
            assert!(!rule.source.is_empty(), "{id}");
        }
    }

    #[test]
    fn ids_are_found_in_any_case() {
        assert_eq!(find("r052").unwrap().0, "R052");
        assert!(find("R999").is_none());
    }
}
