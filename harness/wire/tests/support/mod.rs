//! A client and a mailbox joined through an observer, every stream cut at
//! arbitrary bytes.
#![allow(dead_code, missing_docs)]

use mailproof_wire::{
    Client, ClientEvent, ClientOptions, Mailbox, MailboxEvent, MailboxOptions, Observer, Point,
    Policy, Reply,
};

/// What the observer saw, with the offset in its whole direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) from_client: bool,
    pub(crate) end: u64,
    pub(crate) point: Point,
}

pub(crate) struct Loop {
    pub(crate) client: Client,
    pub(crate) mailbox: Mailbox,
    pub(crate) observer: Observer,
    pub(crate) client_events: Vec<ClientEvent>,
    pub(crate) mailbox_events: Vec<MailboxEvent>,
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) client_sent: Vec<u8>,
    pub(crate) server_sent: Vec<u8>,
    cuts: Vec<usize>,
    cut: usize,
}

impl Loop {
    /// `cuts` are the chunk sizes, used in turn; empty: never cut.
    pub(crate) fn new(
        client: ClientOptions,
        mailbox: MailboxOptions,
        policy: Policy,
        cuts: &[usize],
    ) -> Self {
        Self {
            client: Client::new(client),
            mailbox: Mailbox::new(mailbox, policy),
            observer: Observer::default(),
            client_events: Vec::new(),
            mailbox_events: Vec::new(),
            sightings: Vec::new(),
            client_sent: Vec::new(),
            server_sent: Vec::new(),
            cuts: cuts.to_vec(),
            cut: 0,
        }
    }

    fn chunk(&mut self, left: usize) -> usize {
        if self.cuts.is_empty() {
            return left;
        }
        self.cut = (self.cut + 1) % self.cuts.len();
        self.cuts[self.cut].clamp(1, left)
    }

    /// Runs until nothing moves. `answer` gives the reply to each message.
    pub(crate) fn run(&mut self, mut answer: impl FnMut(usize) -> Vec<Reply>) {
        let mut messages = 0;
        self.mailbox.greet(&mut self.mailbox_events);
        let mut to_server = Vec::new();
        let mut to_client = Vec::new();
        loop {
            self.client.transmit(&mut to_server);
            self.mailbox.transmit(&mut to_client);
            if to_server.is_empty() && to_client.is_empty() && !self.mailbox.is_waiting() {
                return;
            }
            if !to_server.is_empty() {
                let size = self.chunk(to_server.len());
                let chunk: Vec<u8> = to_server.drain(..size).collect();
                self.see(&chunk, true);
                self.mailbox.received(&chunk, &mut self.mailbox_events);
            }
            // An observer sees the bytes of both directions in between.
            if !to_client.is_empty() {
                let size = self.chunk(to_client.len());
                let chunk: Vec<u8> = to_client.drain(..size).collect();
                self.see(&chunk, false);
                self.client.received(&chunk, &mut self.client_events);
            }
            if self.mailbox.is_waiting() && to_server.is_empty() {
                let replies = answer(messages);
                messages += 1;
                self.mailbox
                    .answer_each(&replies, &mut self.mailbox_events)
                    .expect("a message waits");
            }
        }
    }

    fn see(&mut self, chunk: &[u8], from_client: bool) {
        let mut points = Vec::new();
        let sent = if from_client {
            self.observer.client_bytes(chunk, &mut points);
            &mut self.client_sent
        } else {
            self.observer.server_bytes(chunk, &mut points);
            &mut self.server_sent
        };
        for point in points {
            assert!(point.start <= point.end && point.end <= chunk.len());
            self.sightings.push(Sighting {
                from_client,
                end: (sent.len() + point.end) as u64,
                point,
            });
        }
        sent.extend_from_slice(chunk);
    }
}
