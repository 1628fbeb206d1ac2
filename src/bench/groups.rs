//! Consumer groups of a run: they have names of their own, and are deleted at the servers when it is over, so that runs leave
//! nothing behind that is kept, counted and shown for ever.

use flotilla_client::Client;
use flotilla_client::admin::{AdminClient, Scope};

/// Name of one group of a run, by the run's random number.
pub fn name(run: u64, group: &str) -> String {
    format!("flotilla_bench_{run:x}_{group}")
}

/// Deletes groups that nobody is a member of any more. What fails is told on standard error and ends it: it is no part of
/// what is measured, and the next group would fare no better.
pub async fn delete(name_servers: &str, groups: &[String]) {
    let client = match Client::connect(name_servers) {
        Ok(client) => client,
        Err(error) => return eprintln!("groups are not deleted: {error}"),
    };
    let admin = AdminClient::new(&client);
    for group in groups {
        if let Err(error) = admin.delete_group(group, true, &Scope::All).await {
            eprintln!("group {group} and those after it are not deleted: {error}");
            break;
        }
    }
    client.shutdown().await;
}
