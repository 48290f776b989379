//! The harness's mailbox on a real socket: the host of [`MailboxCore`].

use std::sync::Arc;

use mailproof_model::party::Witness;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::links::Dialled;
use super::record::Recorder;
use crate::link::LinkContext;
use crate::mailbox::{MailboxCore, MailboxOutput};

/// Most bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Serves every connection that a link dials. Others are closed unheard: what
/// no link has seen is not part of the run.
pub(crate) async fn serve(
    listener: TcpListener,
    dialled: Dialled,
    context: Arc<LinkContext>,
    recorder: Arc<Recorder>,
) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                recorder.trouble(format!("the mailbox cannot accept: {error}"));
                tokio::task::yield_now().await;
                continue;
            }
        };
        if let Some((conn, from)) = dialled.take(from) {
            let core = MailboxCore::new(conn, from, Arc::clone(&context));
            tokio::spawn(session(stream, core, Arc::clone(&recorder)));
        }
    }
}

/// One connection, to its end.
async fn session(mut stream: TcpStream, mut core: MailboxCore, recorder: Arc<Recorder>) {
    let _ = stream.set_nodelay(true);
    let mut out = Vec::new();
    let mut buffer = vec![0; CHUNK];
    core.greet(&mut out);
    loop {
        for output in out.drain(..) {
            match output {
                MailboxOutput::Record(what) => {
                    // What is not written down is not answered either.
                    if recorder.record(Witness::Mailbox, what).is_err() {
                        return;
                    }
                }
                MailboxOutput::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                MailboxOutput::Close => {
                    let _ = stream.shutdown().await;
                    return;
                }
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => core.bytes(&buffer[..read], &mut out),
        }
    }
}
