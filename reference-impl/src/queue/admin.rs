//! Commands of the administrator, carried out.

use serde_json::json;

use super::Queue;
use crate::admin::Command;

impl Queue {
    /// Carries a command out; the answer follows when it is durable.
    pub(crate) fn command(&mut self, ticket: u64, command: Command) {
        if !self.ready {
            // What is mounted is not settled before the start is durable.
            return self.safety.early.push((ticket, command));
        }
        let answer = match self.obey(command) {
            Ok(answer) => answer,
            Err(error) => json!({ "error": error }),
        };
        self.answer_admin(ticket, answer.to_string());
    }

    /// Carries out what came too early.
    pub(crate) fn early_commands(&mut self) {
        for (ticket, command) in std::mem::take(&mut self.safety.early) {
            self.command(ticket, command);
        }
    }

    fn obey(&mut self, command: Command) -> Result<serde_json::Value, String> {
        let done = json!({ "done": true });
        match command {
            Command::Mount { database, as_of } => {
                let request = self.mount(&database, as_of)?;
                Ok(json!({ "done": true, "request": request }))
            }
            Command::Dismount { database, to } => {
                self.dismount(&database, to.as_deref())?;
                Ok(done)
            }
            Command::Resubmit {
                database,
                start,
                end,
                unresponsive,
            } => {
                self.check_interval(start, end)?;
                if self.database_number(&database).is_none() {
                    return Err(format!("there is no mailbox database {database}"));
                }
                let mut names = Vec::new();
                for name in &unresponsive {
                    let peer = self
                        .find_peer(name)
                        .ok_or_else(|| format!("there is no peer {name}"))?;
                    names.push(self.peers[peer].name.to_string());
                }
                let id = self.request(&database, start, end, "", "", &names);
                Ok(json!({ "done": true, "request": id }))
            }
            Command::Requests => Ok(json!({ "requests": self.request_rows() })),
            Command::Enable { id, enabled } => self.enable_request(id, enabled).map(|()| done),
            Command::Remove { id } => self.remove_request(id).map(|()| done),
        }
    }
}
