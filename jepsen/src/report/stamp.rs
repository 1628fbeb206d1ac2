//! Times of day, in UTC, without a calendar library.

const MS_PER_DAY: i64 = 86_400_000;

/// `2026-11-26 07:33:21.123`. `ms` counts since 1970.
pub(super) fn written(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(0);
    let (year, month, day) = date(ms.div_euclid(MS_PER_DAY));
    let of_day = ms.rem_euclid(MS_PER_DAY);
    let (hours, minutes, rest) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day % 60_000);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{:02}.{:03}", rest / 1000, rest % 1000)
}

/// The first time of day among the first bytes of a line, in milliseconds since 1970. The forms that Flotilla and
/// RocketMQ log are known: `2026-11-26T07:33:21.123456Z` and `2026-11-26 07:33:21[.123|,123]`.
///
/// LIMIT: a zone is not read; a log in another zone than UTC finds no place beside the faults.
pub(super) fn read(line: &str) -> Option<u64> {
    let bytes = &line.as_bytes()[..line.len().min(96)];
    let shape = b"dddd-dd-dd?dd:dd:dd";
    let fits = |at: &[u8]| {
        at.iter().zip(shape).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            b'?' => matches!(byte, b'T' | b' '),
            form => byte == form,
        })
    };
    let at = bytes.windows(shape.len()).position(fits)?;
    let number = |from: usize, len: usize| -> i64 {
        bytes[at + from..at + from + len]
            .iter()
            .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let days = days(number(0, 4), number(5, 2), number(8, 2));
    let seconds = number(11, 2) * 3600 + number(14, 2) * 60 + number(17, 2);
    let after = &bytes[at + shape.len()..];
    let mut millis = 0;
    if matches!(after.first(), Some(b'.' | b',')) {
        let digits = after[1..].iter().take_while(|byte| byte.is_ascii_digit()).take(3);
        let scale = [100, 10, 1];
        millis = digits.zip(scale).map(|(digit, scale)| i64::from(digit - b'0') * scale).sum();
    }
    u64::try_from(days * MS_PER_DAY + seconds * 1000 + millis).ok()
}

/// Days since 1970 of a date of the Gregorian calendar. Years are taken to begin in March, so that leap days end them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The reverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_the_reverse_of_each_other() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 3, 1), 11_017);
        for day in (-200_000..200_000).step_by(7) {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn stamps_of_both_brokers_are_read() {
        let ms = 1_795_678_401_123;
        assert_eq!(written(ms), "2026-11-26 07:33:21.123");
        assert_eq!(read("2026-11-26T07:33:21.123456Z  INFO flotilla: started"), Some(ms));
        assert_eq!(read("2026-11-26 07:33:21,123 WARN main - x"), Some(ms));
        assert_eq!(read("2026-11-26 07:33:21 WARN main - x"), Some(ms - 123));
        assert_eq!(read(r#"{"timestamp":"2026-11-26T07:33:21.1Z","level":"INFO"}"#), Some(ms - 23));
        assert_eq!(read("thread 'main' panicked"), None);
        assert_eq!(read("2026-11-26T07:33"), None);
    }
}
