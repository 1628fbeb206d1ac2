//! Protocol version numbers: ordinals of an enum in which each release has a snapshot and a release slot.
//!
//! Source: RocketMQ 5.3 MQVersion; vector `version_numbers`. From 4.0.0 on the numbering is regular; before it only the
//! thresholds below are named.

/// The version that this broker reports: RocketMQ 5.3.3.
pub const CURRENT: i32 = 479;
/// Name of [`CURRENT`] as tools show it.
pub const CURRENT_NAME: &str = "V5_3_3";

/// First version whose registration body is the full wrapper (3.0.11).
pub const FULL_REGISTRATION: i32 = 37;
/// First version to which 307 and 309 are forwarded (snapshot slot of 3.1.8).
pub const RUNNING_INFO: i32 = 62;
/// First version whose `maxReconsumeTimes` is honoured (3.4.9).
pub const MAX_RECONSUME_TIMES: i32 = 121;
/// First version that gets routes with quoted integer keys (4.9.4).
pub const STANDARD_ROUTE_JSON: i32 = 401;
/// First version whose compressed registration ends with topic queue mappings (5.0.0).
pub const QUEUE_MAPPINGS: i32 = 413;
/// Clients above this version (5.3.1) understand GO_AWAY.
pub const GO_AWAY_ABOVE: i32 = 475;
/// Largest number of the enum; larger ones print as its name.
pub const HIGHER: i32 = 612;

const V4_0_0: i32 = 213;
const V5_0_0: i32 = 413;

/// Name of a version number of the 4.0.0 line or later (`V5_3_3`, `V5_3_3_SNAPSHOT`, `HIGHER_VERSION`); for the
/// irregular numbers before it `V3` and the number.
pub fn name(version: i32) -> String {
    if version >= HIGHER {
        return "HIGHER_VERSION".to_owned();
    }
    // Releases from 4.0.0 on have odd numbers, their snapshots come one before.
    let snapshot = version % 2 == 0;
    let release = if snapshot { version + 1 } else { version };
    let suffix = if snapshot { "_SNAPSHOT" } else { "" };
    let (major, slot) = match release {
        V5_0_0.. => (5, (release - V5_0_0) / 2),
        V4_0_0.. => (4, (release - V4_0_0) / 2),
        _ => return format!("V3_{version}"),
    };
    format!("V{major}_{}_{}{suffix}", slot / 10, slot % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_enum() {
        assert_eq!(name(CURRENT), CURRENT_NAME);
        assert_eq!(name(478), "V5_3_3_SNAPSHOT");
        assert_eq!(name(412), "V5_0_0_SNAPSHOT");
        assert_eq!(name(409), "V4_9_8");
        assert_eq!(name(612), "HIGHER_VERSION");
        assert_eq!(name(i32::MAX), "HIGHER_VERSION");
        assert_eq!(name(i32::MIN), format!("V3_{}", i32::MIN));
    }
}
