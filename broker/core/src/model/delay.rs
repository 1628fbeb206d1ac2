//! The delays of the levels, `messageDelayLevel`: level 1 is the first.

use std::fmt;
use std::sync::Arc;

use crate::codec::{CodecError, CodecReason, Decode, Encode, Reader, put_count, put_u64};
use crate::limits::{DELAY_LEVELS_MAX, DELAY_MS_MAX};

/// RocketMQ's delays.
// Source: RocketMQ 5.3 MessageStoreConfig#messageDelayLevel.
const DEFAULT_MS: [u64; 18] = {
    const S: u64 = 1000;
    const M: u64 = 60 * S;
    const H: u64 = 60 * M;
    [
        S,
        5 * S,
        10 * S,
        30 * S,
        M,
        2 * M,
        3 * M,
        4 * M,
        5 * M,
        6 * M,
        7 * M,
        8 * M,
        9 * M,
        10 * M,
        20 * M,
        30 * M,
        H,
        2 * H,
    ]
};

/// Units of a delay, the largest first.
const UNITS: [(char, u64); 4] = [('d', 86_400_000), ('h', 3_600_000), ('m', 60_000), ('s', 1000)];

/// Delays in milliseconds, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayLevels(Arc<[u64]>);

/// Why a text is no list of delays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelayLevelsError {
    #[error("expected delays such as 1s 5s 2m 1h 1d, found none")]
    Empty,
    #[error("expected a number followed by s, m, h or d, found '{0}'")]
    Delay(String),
    #[error("'{0}' is longer than 100 years")]
    TooLong(String),
    #[error("{0} levels are more than {DELAY_LEVELS_MAX}")]
    TooMany(usize),
}

impl DelayLevels {
    /// Reads `1s 5s 2m 1h 1d`.
    ///
    /// # Errors
    /// The first delay that is none.
    // Source: RocketMQ 5.3 ScheduleMessageService#parseDelayLevel, which refuses the start as well.
    pub fn parse(text: &str) -> Result<Self, DelayLevelsError> {
        let delays = text.split_whitespace().map(parse_delay).collect::<Result<Vec<u64>, _>>()?;
        match delays.len() {
            0 => Err(DelayLevelsError::Empty),
            count if count > DELAY_LEVELS_MAX => Err(DelayLevelsError::TooMany(count)),
            _ => Ok(Self(delays.into())),
        }
    }

    /// The highest level.
    pub fn max_level(&self) -> u32 {
        u32::try_from(self.0.len()).expect("the number of levels is bounded")
    }

    /// The level that counts for a message that asks for this one, which is above 0: at most the highest.
    // Source: RocketMQ 5.3 HookUtils#transformDelayLevelMessage.
    pub fn capped(&self, level: i32) -> u32 {
        u32::try_from(level).unwrap_or(1).clamp(1, self.max_level())
    }

    /// Delay of the messages in a queue of the schedule topic, whose number is the level less 1. A queue beyond the list has
    /// the last delay: its message was capped to another list.
    pub fn delay_ms(&self, queue_id: u32) -> u64 {
        self.0.get(queue_id as usize).or(self.0.last()).copied().expect("there is at least one level")
    }

    /// The longer delay of each level of two lists.
    pub(crate) fn longer(&self, other: &Self) -> Self {
        let count = self.max_level().max(other.max_level());
        Self((0..count).map(|queue_id| self.delay_ms(queue_id).max(other.delay_ms(queue_id))).collect())
    }
}

impl Default for DelayLevels {
    fn default() -> Self {
        Self(DEFAULT_MS.into())
    }
}

impl fmt::Display for DelayLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, delay_ms) in self.0.iter().enumerate() {
            let whole = |(_, unit): &&(char, u64)| delay_ms.is_multiple_of(*unit) && delay_ms >= unit;
            // Delays are whole seconds; 0 has no unit of its own.
            let (letter, unit) = UNITS.iter().find(whole).unwrap_or(&('s', 1000));
            write!(f, "{}{}{letter}", if at == 0 { "" } else { " " }, delay_ms / unit)?;
        }
        Ok(())
    }
}

fn parse_delay(text: &str) -> Result<u64, DelayLevelsError> {
    let wrong = || DelayLevelsError::Delay(text.to_owned());
    let letter = text.chars().next_back().ok_or_else(wrong)?;
    let (_, unit) = UNITS.iter().find(|(known, _)| *known == letter).ok_or_else(wrong)?;
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let delay = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(*unit));
    delay.filter(|delay| *delay <= DELAY_MS_MAX).ok_or_else(|| DelayLevelsError::TooLong(text.to_owned()))
}

impl DelayLevels {
    /// The delays without their count.
    pub(super) fn put_delays(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|delay_ms| put_u64(out, *delay_ms));
    }

    /// Reads as many delays as were counted.
    pub(super) fn decode_counted(input: &mut Reader<'_>, count: u64) -> Result<Self, CodecError> {
        let start = input.clone();
        let over = |value: u64, limit: u64| {
            Err(start.error("delay levels", CodecReason::OverLimit { value, limit }))
        };
        if count == 0 {
            return Err(start.error("delay levels", CodecReason::Unknown(0)));
        }
        if count > DELAY_LEVELS_MAX as u64 {
            return over(count, DELAY_LEVELS_MAX as u64);
        }
        let delays = (0..count).map(|_| input.u64("delay")).collect::<Result<Vec<u64>, _>>()?;
        match delays.iter().find(|delay| **delay > DELAY_MS_MAX) {
            Some(delay) => over(*delay, DELAY_MS_MAX),
            None => Ok(Self(delays.into())),
        }
    }
}

impl Encode for DelayLevels {
    fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.0.len());
        self.put_delays(out);
    }
}

impl Decode for DelayLevels {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let count = input.u32("delay levels")?;
        Self::decode_counted(input, count.into())
    }
}
