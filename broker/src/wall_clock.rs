//! The time of day, for what people and tools read. What is decided never depends on it.

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    i64::try_from(flotilla_raft_store::wall_clock::now_ms()).unwrap_or(i64::MAX)
}

/// A time as RocketMQ's tools write it, `2023-11-14#22:13:20:005`, in UTC: the broker's own zone would be a guess.
/// Source: UtilAll.timeMillisToHumanString 5.3.3 and QueueTimeSpan.
pub fn text(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = date(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}#{hour:02}:{minute:02}:{second:02}:{milli:03}")
}

/// Year, month and day of a number of days since 1970, by counting in eras of 400 years that begin in March.
fn date(days: i64) -> (i64, i64, i64) {
    let from_march_0000 = days + 719_468;
    let era = from_march_0000.div_euclid(146_097);
    let day_of_era = from_march_0000.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_tools_do() {
        // The first is of vector `consume_time_span`.
        assert_eq!(text(1_700_000_000_005), "2023-11-14#22:13:20:005");
        assert_eq!(text(0), "1970-01-01#00:00:00:000");
        assert_eq!(text(-1), "1969-12-31#23:59:59:999");
        assert_eq!(text(951_782_400_000), "2000-02-29#00:00:00:000");
        assert_eq!(text(4_107_542_399_999), "2100-02-28#23:59:59:999");
    }
}
