//! Log lines on standard error, in UTC, as text or JSON. Standard output belongs to the commands' own answers.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, LoggingArgs};

/// Starts logging for the whole process. `default` applies when neither the command line nor RUST_LOG says anything.
pub fn start(args: &LoggingArgs, default: &str) -> anyhow::Result<()> {
    let directives = args.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok());
    let directives =
        quieten(directives.filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned()));
    let filter =
        EnvFilter::try_new(&directives).with_context(|| format!("log level '{directives}' can't be read"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

/// The consensus library tells each step at `info`, and at `warn` each call that failed, ten a second for a peer that is down: unless it
/// is named, only its errors are wanted. What an operator should know is told once, by the code that calls it.
fn quieten(directives: String) -> String {
    if directives.contains("openraft") { directives } else { format!("{directives},openraft=error") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consensus_library_is_heard_only_when_it_is_named() {
        assert_eq!(quieten("info".to_owned()), "info,openraft=error");
        assert_eq!(quieten("warn,openraft=debug".to_owned()), "warn,openraft=debug");
        assert!(EnvFilter::try_new(quieten("debug".to_owned())).is_ok());
    }
}
