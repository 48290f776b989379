//! The disk thread: carries out one batch after another, and reads.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::sync::mpsc::UnboundedSender;

use bytes::Bytes;

use crate::disk::{Disk as _, FsDisk};
use crate::store::{Batch, BatchId, Extent};

/// What came of a piece of work.
pub(super) enum Done {
    Batch(BatchId, io::Result<()>),
    Read(u64, io::Result<Bytes>),
}

enum Job {
    Batch(Batch),
    Read(u64, Extent),
}

/// The way to the disk thread. It ends with this value, after the batch it is
/// at.
#[derive(Debug)]
pub(super) struct Storage {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Storage {
    pub(super) fn start(mut disk: FsDisk, send: UnboundedSender<Done>) -> io::Result<Self> {
        let (jobs, receive) = mpsc::channel::<Job>();
        let thread = thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || {
                for job in receive {
                    let done = match job {
                        Job::Batch(batch) => Done::Batch(batch.id, batch.execute(&mut disk)),
                        Job::Read(read, at) => {
                            let bytes = disk.read(&at.file, at.offset, at.len);
                            Done::Read(read, bytes.map(Bytes::from))
                        }
                    };
                    if send.send(done).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(super) fn commit(&self, batch: Batch) {
        self.send(Job::Batch(batch));
    }

    pub(super) fn read(&self, read: u64, extent: Extent) {
        self.send(Job::Read(read, extent));
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after this value.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
