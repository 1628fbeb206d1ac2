//! What can be set for a client: everything that its producers and consumers share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::name_servers::NameServers;

/// Access key and secret for brokers that check signatures.
#[derive(Clone)]
pub struct Credentials {
    /// Name of the account.
    pub access_key: String,
    /// Its secret: signs each request, never sent.
    pub secret_key: String,
    /// Token of a temporary account.
    pub security_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Settings of a [`Client`]; [`ClientOptions::default`] asks the environment for the name servers.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where routes come from. Default: [`NameServers::from_environment`], else `127.0.0.1:9876`.
    pub name_servers: NameServers,
    /// Tells apart clients of one process in lists of members. Default: process number and start time.
    pub instance_name: Option<String>,
    /// Address in the client's id, for people who read lists of members. Default: the address towards the name server.
    pub client_ip: Option<IpAddr>,
    /// Signs every request.
    pub credentials: Option<Credentials>,
    /// Period of the route refresh. The first sign of a stale route refreshes at once, whatever this says. Default 30 s.
    pub route_refresh: Duration,
    /// Period of heartbeats to all brokers in use. Default 30 s; brokers forget a silent client after 120 s.
    pub heartbeat: Duration,
    /// Time for one call to a name server or broker where an operation has no limit of its own. Default 3 s.
    pub call_timeout: Duration,
    /// How long a broker may owe an answer before the client asks the name servers whether another one leads by now, again and
    /// again while it does. When another one does, what is outstanding at the old one ends as [`Unknown`], see the README; a
    /// broker that is only slow is waited for as long as ever. Should be longer than most answers take. Default 400 ms.
    ///
    /// [`Unknown`]: crate::ClientError::Unknown
    pub silence_limit: Duration,
    /// Time to open a connection. Default 3 s.
    pub connect_timeout: Duration,
    /// Gets counts and durations.
    pub metrics: Arc<dyn Metrics>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            name_servers: NameServers::from_environment().unwrap_or_else(NameServers::local),
            instance_name: None,
            client_ip: None,
            credentials: None,
            route_refresh: Duration::from_secs(30),
            heartbeat: Duration::from_secs(30),
            call_timeout: Duration::from_secs(3),
            silence_limit: Duration::from_millis(400),
            connect_timeout: Duration::from_secs(3),
            metrics: Arc::new(crate::metrics::NoMetrics),
        }
    }
}

impl ClientOptions {
    /// Defaults with these name servers, as [`NameServers::parse`] reads them.
    ///
    /// # Errors
    /// The text holds no address.
    pub fn new(name_servers: &str) -> Result<ClientOptions> {
        Ok(ClientOptions { name_servers: NameServers::parse(name_servers)?, ..ClientOptions::default() })
    }

    /// Signs every request with this account.
    #[must_use]
    pub fn credentials(
        mut self,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> ClientOptions {
        let (access_key, secret_key) = (access_key.into(), secret_key.into());
        self.credentials = Some(Credentials { access_key, secret_key, security_token: None });
        self
    }

    /// Sets the instance name.
    #[must_use]
    pub fn instance_name(mut self, name: impl Into<String>) -> ClientOptions {
        self.instance_name = Some(name.into());
        self
    }

    /// Sets who gets counts and durations.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn Metrics>) -> ClientOptions {
        self.metrics = metrics;
        self
    }

    /// Starts a client with these settings. Must be called within a tokio runtime, which runs its tasks.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn start(self) -> Result<Client> {
        Client::new(self)
    }
}
