//! The node: sessions, queue and store tied together.

use crate::config::{Config, ConfigError};
use crate::disk::Disk;
use crate::io::{Input, Now, Output};
use crate::store::{DatabaseId, Record, Store, StoreError, StoreOptions};
use crate::view::QueuesView;

/// What a node starts from.
#[derive(Debug)]
pub struct Boot {
    /// Its configuration.
    pub config: Config,
    /// Seed of its random source. A real driver takes it from the operating
    /// system: authentication nonces come from it.
    pub seed: u64,
    /// The time of the start.
    pub now: Now,
    /// The opened store.
    pub store: Store,
    /// The records that opening it found, in order.
    pub records: Vec<Record>,
}

impl Boot {
    /// Opens the store in `disk`; `fresh` is the randomness from which a new
    /// store's identity is minted.
    ///
    /// # Errors
    /// When the configuration does not hold or the store refuses to open.
    pub fn open(
        config: Config,
        seed: u64,
        fresh: u128,
        now: Now,
        disk: &mut dyn Disk,
    ) -> Result<Self, BootError> {
        config.check()?;
        let segment_bytes = config.segment_bytes;
        let (store, records) = Store::open(disk, StoreOptions { segment_bytes }, fresh)?;
        Ok(Self {
            config,
            seed,
            now,
            store,
            records,
        })
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The configuration does not hold.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The store does not open, or a live record cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A record that the store vouches for cannot be understood.
    #[error("store record {seq}: expected {expected}; was it written by a later version?")]
    Record {
        /// Its sequence in the store.
        seq: u64,
        /// What was expected.
        expected: &'static str,
    },
}

/// A node.
#[derive(Debug)]
pub struct Node {
    store: Store,
}

impl Node {
    /// Starts a node; `disk` is only read, for the content of live records.
    ///
    /// # Errors
    /// When the configuration does not hold or a record cannot be read.
    pub fn new(boot: Boot, disk: &dyn Disk, out: &mut Vec<Output>) -> Result<Self, BootError> {
        let _ = (disk, out);
        boot.config.check()?;
        Ok(Self { store: boot.store })
    }

    /// Takes one input and appends what has to be done to `out`.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        let _ = (now, input, out);
    }

    /// The inspection view.
    #[must_use]
    pub fn queues(&self) -> QueuesView {
        QueuesView {
            database_id: self.database_id().to_string(),
            ..QueuesView::default()
        }
    }

    /// Identity of the queue database.
    #[must_use]
    pub fn database_id(&self) -> DatabaseId {
        self.store.database_id()
    }

    /// Whether a node told to drain has nothing under way any more.
    #[must_use]
    pub fn drained(&self) -> bool {
        false
    }
}
