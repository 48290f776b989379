//! The content of a message while it comes in, by DATA or in chunks, within
//! the limits on its size and on memory.

use crate::queue::Queue;

/// A message being received.
#[derive(Debug)]
pub(super) struct Content {
    /// Our trace field, and what came up to now; empty once it is refused.
    pub(super) body: Vec<u8>,
    pub(super) sequence: u64,
    /// Length of the trace field before the content.
    traced: usize,
    /// Bytes booked in the budget.
    booked: usize,
    /// Why the message is refused in the end; its bytes are dropped.
    pub(super) refusal: Option<&'static str>,
}

impl Content {
    /// Content that begins with the trace field `body`.
    ///
    /// # Errors
    /// The reply when the budget does not allow even that.
    pub(super) fn begin(
        sequence: u64,
        body: Vec<u8>,
        queue: &mut Queue,
    ) -> Result<Self, &'static str> {
        let booked = body.len();
        if !queue.reserve(booked) {
            return Err("452 4.3.1 Out of memory for messages\r\n");
        }
        Ok(Self {
            traced: booked,
            body,
            sequence,
            booked,
            refusal: None,
        })
    }

    /// What came, without our trace field.
    pub(super) fn received(&self) -> &[u8] {
        &self.body[self.traced..]
    }

    /// Accounts for what was appended to `body`.
    pub(super) fn grown(&mut self, queue: &mut Queue) {
        if self.refusal.is_some() {
            return self.body.clear();
        }
        let limit = usize::try_from(queue.config.max_message_bytes).unwrap_or(usize::MAX);
        let grown = self.body.len() - self.booked;
        if self.body.len() - self.traced > limit {
            self.refuse("552 5.3.4 Message too big\r\n", queue);
        } else if queue.reserve(grown) {
            self.booked += grown;
        } else {
            self.refuse("452 4.3.1 Out of memory for messages\r\n", queue);
        }
    }

    /// The message is refused in the end; the first reason counts.
    pub(super) fn refuse(&mut self, why: &'static str, queue: &mut Queue) {
        self.refusal.get_or_insert(why);
        self.release(queue);
    }

    /// Drops what came and gives its bytes back.
    pub(super) fn release(&mut self, queue: &mut Queue) {
        queue.free(std::mem::take(&mut self.booked));
        self.body.clear();
        self.traced = 0;
    }
}
