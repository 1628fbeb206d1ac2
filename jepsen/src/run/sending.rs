//! Which client library sends, as a run is told.

use std::path::Path;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use crate::java::{Java, LIBRARY_VERSION};
use crate::workload::{Sends, Workload};

/// Where the official Java client is kept.
const CACHE: &str = "target/jepsen-java";
/// How often that client asks for routes unless it is told otherwise, in ms. Source: RocketMQ 5.5.0
/// ClientConfig.pollNameServerInterval.
const POLL_MS: u32 = 30_000;

/// A client library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClientKind {
    /// Ours, 4 clients with 3 senders each
    #[default]
    Rust,
    /// The official one, 5.5.0, one producer with 12 threads and its defaults; needs java 17 and javac, and mvn the first time
    Java,
}

/// Which client library sends, and how it is set.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// What sends in the workload queue; the others, and all consumers, are always ours
    #[arg(long, value_enum, default_value = "rust")]
    pub client: ClientKind,

    /// How often the Java client asks for routes, in ms (pollNameServerInterval) [default: its own, 30000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(10..=600_000))]
    pub poll_ms: Option<u32>,
}

impl Sending {
    /// Looks for what the client needs, and fetches and compiles it if it is the first time.
    ///
    /// # Errors
    /// The arguments contradict each other; something is not there.
    pub async fn prepare(&self, workload: Workload) -> anyhow::Result<Sends> {
        match self.client {
            ClientKind::Rust => {
                ensure!(
                    self.poll_ms.is_none(),
                    "--poll-ms: only --client java asks for routes by a clock alone"
                );
                Ok(Sends::Rust)
            }
            ClientKind::Java => {
                ensure!(
                    workload == Workload::Queue,
                    "--client java: only the workload queue has senders in Java"
                );
                let poll_ms = self.poll_ms;
                let java = tokio::task::spawn_blocking(move || Java::prepare(Path::new(CACHE), poll_ms));
                Ok(Sends::Java(java.await.context("the Java client")??))
            }
        }
    }

    /// The library, for a table.
    pub fn name(&self) -> String {
        match self.client {
            ClientKind::Rust => "Rust, ours".to_owned(),
            ClientKind::Java => format!("Java {LIBRARY_VERSION}"),
        }
    }

    /// How often the library asks for routes whatever happens, in ms; `None` where it asks at the first sign that one is stale.
    pub fn poll(&self) -> Option<u32> {
        (self.client == ClientKind::Java).then(|| self.poll_ms.unwrap_or(POLL_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_no_client_can_do_is_refused() {
        let rust = Sending { client: ClientKind::Rust, poll_ms: Some(1000) };
        assert!(rust.prepare(Workload::Queue).await.is_err());
        let java = Sending { client: ClientKind::Java, poll_ms: None };
        assert!(java.prepare(Workload::Log).await.is_err());
        assert_eq!((java.poll(), rust.poll()), (Some(30_000), None));
    }
}
