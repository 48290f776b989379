//! Reading a message's header block (RFC 5322 2.2).

/// A message split into header block and body, without copying. Lines may end
/// in CRLF or, as in a store on disk, in LF.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Every header line with its line ending.
    pub header: &'a [u8],
    /// What follows the empty line; empty if there is none.
    pub body: &'a [u8],
}
