//! Decimal text of integers, written without a formatter: a response head holds about ten of them.

use bytes::BytesMut;

/// Appends the decimal text of a number.
pub(super) fn put_decimal(out: &mut BytesMut, value: i64) {
    // 19 digits and a sign.
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_is_that_of_the_formatter() {
        for value in [0, 1, -1, 9, 10, -10, i64::MAX, i64::MIN, 1_700_000_000_000] {
            let mut out = BytesMut::new();
            put_decimal(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
