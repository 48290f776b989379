//! What both kinds of session have: buffers, a time limit, an end.

use bytes::BytesMut;

use crate::io::{ConnId, TlsName};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// After everything written has left.
    Shutdown,
    /// At once.
    Abort,
    /// The other side, or the caller, ended it already.
    Gone,
}

/// One connection, as its session sees it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    /// Bytes to be written at the end of this input; what was written before
    /// shares its memory.
    pub(crate) out: BytesMut,
    /// Bytes that are not used up yet.
    pub(crate) inbuf: Vec<u8>,
    /// When the session's patience ends, on the monotonic clock; `u64::MAX`
    /// for never.
    pub(crate) deadline: u64,
    /// The deadline that grants a last hearing; 0: none was granted.
    pub(crate) last_call: u64,
    /// The time the session's timer is set to; 0 for none.
    pub(crate) armed: u64,
    pub(crate) close: Option<Close>,
    /// TLS is to begin after what is written: as a client of this name, or as
    /// a server.
    pub(crate) secure: Option<Option<TlsName>>,
    /// The node has it on its list of sessions to look after.
    pub(crate) dirty: bool,
}

impl Link {
    /// A link whose buffers have `room` bytes: enough for several replies, or
    /// several messages.
    pub(crate) fn new(conn: ConnId, room: usize) -> Self {
        Self {
            conn,
            out: BytesMut::with_capacity(room),
            inbuf: Vec::new(),
            deadline: u64::MAX,
            last_call: 0,
            armed: 0,
            close: None,
            secure: None,
            dirty: false,
        }
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Ends the connection; the first way asked for counts, save that an
    /// abort overrides an orderly end.
    pub(crate) fn end(&mut self, close: Close) {
        match (self.close, close) {
            (None, _) | (Some(Close::Shutdown), Close::Abort | Close::Gone) => {
                self.close = Some(close);
            }
            _ => {}
        }
    }

    /// Drops the connection even if it counts as gone already.
    pub(crate) fn abort(&mut self) {
        self.close = Some(Close::Abort);
    }

    /// Has the caller close a connection that counts as gone already.
    pub(crate) fn finish(&mut self) {
        if self.close == Some(Close::Gone) {
            self.close = Some(Close::Shutdown);
        }
    }

    pub(crate) fn open(&self) -> bool {
        self.close.is_none()
    }
}
