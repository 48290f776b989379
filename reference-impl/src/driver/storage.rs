//! The disk thread: carries out one batch after another.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::sync::mpsc::UnboundedSender;

use crate::disk::FsDisk;
use crate::store::{Batch, BatchId};

/// What a batch came to.
pub(super) type Done = (BatchId, io::Result<()>);

/// The way to the disk thread. It ends with this value, after the batch it is
/// at.
#[derive(Debug)]
pub(super) struct Storage {
    batches: Option<mpsc::Sender<Batch>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Storage {
    pub(super) fn start(mut disk: FsDisk, send: UnboundedSender<Done>) -> io::Result<Self> {
        let (batches, receive) = mpsc::channel::<Batch>();
        let thread = thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || {
                for batch in receive {
                    let result = batch.execute(&mut disk);
                    if send.send((batch.id, result)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    pub(super) fn commit(&self, batch: Batch) {
        if let Some(batches) = &self.batches {
            // The thread ends only after this value.
            let _ = batches.send(batch);
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
