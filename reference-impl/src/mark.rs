//! Coverage marks: rare conditions that a search should reach.
//!
//! A mark is what the node says of itself, so it proves nothing about mail; it
//! tells a campaign which corners its seeds have turned, and which they have
//! not.

/// A rare condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// Copies of a primary were taken over because it was silent too long.
    TakeoverBySilence,
    /// Copies of a primary were taken over because its database ID changed.
    TakeoverByDatabase,
}

impl Mark {
    /// Every mark, in the order of reports.
    pub const ALL: [Self; 2] = [Self::TakeoverBySilence, Self::TakeoverByDatabase];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TakeoverBySilence => "takeover-by-silence",
            Self::TakeoverByDatabase => "takeover-by-database",
        }
    }

    /// What has happened, in words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::TakeoverBySilence => "a shadow took over mail of a primary that was silent",
            Self::TakeoverByDatabase => {
                "a shadow took over mail of a primary that came back with another database"
            }
        }
    }
}
