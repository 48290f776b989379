//! The harness's test messages, byte for byte reproducible.

/// What a test message is made from. The same values give the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct MessageSpec<'a> {
    /// The run's id: letters, digits and `-`, at most 64.
    pub run: &'a str,
    /// The message's number within the run.
    pub number: u64,
    /// Bytes of content wanted. Honoured within one line; never less than the
    /// headers and two lines need.
    pub size: usize,
    /// Seed of the body.
    pub seed: u64,
    /// Address in From.
    pub from: &'a str,
    /// Addresses in To; their count is also in the identity header.
    pub to: &'a [&'a str],
    /// Seconds since 1970-01-01T00:00:00Z, for Date.
    pub unix_seconds: i64,
}

impl MessageSpec<'_> {
    /// The content for one attempt, counted from 1. Attempts differ in the
    /// first header line only.
    #[must_use]
    pub fn content(&self, _attempt: u32) -> Vec<u8> {
        Vec::new()
    }

    /// The Message-ID, with its angle brackets.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("<{}.{}@mailproof.test>", self.number, self.run)
    }
}
