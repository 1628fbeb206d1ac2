//! Settings of a pull consumer, after their checks.

use std::time::Duration;

use crate::consume::settings::Common;
use crate::error::{ClientError, Result};

/// See the methods of [`super::PullConsumerBuilder`], which have the same names.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) common: Common,
    pub(crate) auto_commit: bool,
    pub(crate) auto_commit_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            common: Common::new(10_000),
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// # Errors
    /// `Invalid`, with the first setting that is out of range. Source: RocketMQ 5.3 DefaultLitePullConsumerImpl.checkConfig.
    pub(crate) fn check(&self) -> Result<()> {
        self.common.check()?;
        if self.auto_commit_interval < Duration::from_millis(100) {
            return Err(ClientError::Invalid("auto_commit_interval must be at least 100 ms".into()));
        }
        Ok(())
    }
}
