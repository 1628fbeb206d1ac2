//! How long messages are kept: part of the group's settings, because replicas must delete alike.

use std::fmt;

use crate::codec::{CodecError, CodecReason, Decode, Encode, Reader, put_bool, put_u32, put_u64};

/// Rules of retention; the defaults are RocketMQ's.
// Source: RocketMQ 5.3 MessageStoreConfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// `fileReservedTime`: hours for which messages are kept at least.
    pub reserved_hours: u32,
    /// `deleteWhen`: hours of the day, in UTC, at which older segments are deleted.
    pub delete_when: Hours,
    /// `diskMaxUsedSpaceRatio`: disk use in percent above which every hour is such an hour.
    pub disk_used_percent_max: u8,
    /// `cleanFileForciblyEnable`: whether younger segments go when the disk is nearly full.
    pub delete_forcibly: bool,
    /// `logRetentionBytesMax`: bytes of log beyond which the oldest segments go at any hour and any age; 0 = no limit.
    pub log_bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            reserved_hours: 72,
            delete_when: Hours::of([4]),
            disk_used_percent_max: 75,
            delete_forcibly: true,
            log_bytes_max: 0,
        }
    }
}

/// A set of hours of the day; bit n stands for hour n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours(u32);

impl Hours {
    const ALL: u32 = (1 << 24) - 1;

    /// The set of these hours; those beyond 23 are passed over.
    pub fn of(hours: impl IntoIterator<Item = u8>) -> Self {
        Self(hours.into_iter().filter(|hour| *hour < 24).fold(0, |set, hour| set | 1 << hour))
    }

    pub fn contains(self, hour: u8) -> bool {
        hour < 24 && self.0 & (1 << hour) != 0
    }
}

/// As RocketMQ writes them: `04;16`.
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for hour in (0..24).filter(|hour| self.contains(*hour)) {
            write!(f, "{separator}{hour:02}")?;
            separator = ";";
        }
        Ok(())
    }
}

impl Encode for Retention {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, self.reserved_hours);
        put_u32(out, self.delete_when.0);
        out.push(self.disk_used_percent_max);
        put_bool(out, self.delete_forcibly);
        put_u64(out, self.log_bytes_max);
    }
}

impl Decode for Retention {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let reserved_hours = input.u32("reserved hours")?;
        let hours = input.u32("hours of deletion")?;
        if hours & !Hours::ALL != 0 {
            return Err(input.error("hours of deletion", CodecReason::Unknown(hours.into())));
        }
        Ok(Self {
            reserved_hours,
            delete_when: Hours(hours),
            disk_used_percent_max: input.u8("disk use")?,
            delete_forcibly: input.bool("delete forcibly")?,
            log_bytes_max: input.u64("log bytes")?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hours_are_written_as_in_a_file_of_rocketmq() {
        assert_eq!(Hours::of([16, 4, 24]).to_string(), "04;16");
        assert_eq!(Hours::of([]).to_string(), "");
        assert!(Hours::of([0, 23]).contains(23) && !Hours::of([0, 23]).contains(1));
    }

    #[test]
    fn hours_that_no_day_has_are_refused() {
        let mut bytes = Vec::new();
        Retention { delete_when: Hours(1 << 24), ..Retention::default() }.encode(&mut bytes);
        assert!(Retention::decode(&mut Reader::new(&bytes)).is_err());
    }
}
