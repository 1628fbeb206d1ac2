//! Base64 as two bodies need it: standard (bit sets, signatures) and URL-safe (recall handles), both padded.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Standard alphabet, padded.
pub fn encode(bytes: &[u8]) -> String {
    encode_with(bytes, STANDARD)
}

/// URL-safe alphabet, padded.
pub fn encode_url_safe(bytes: &[u8]) -> String {
    encode_with(bytes, URL_SAFE)
}

fn encode_with(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            if index <= chunk.len() {
                let digit = word >> (18 - 6 * index) & 0x3F;
                text.push(char::from(alphabet[digit as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Reads both alphabets, padded or not; `None` for anything else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    // One digit alone holds no byte.
    if digits.len() % 4 == 1 || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.chunks(4) {
        let mut word = 0_u32;
        for digit in chunk {
            word = word << 6 | digit_value(*digit)?;
        }
        word <<= 6 * (4 - chunk.len());
        let [_, first, second, third] = word.to_be_bytes();
        bytes.extend_from_slice(&[first, second, third][..chunk.len() - 1]);
    }
    Some(bytes)
}

fn digit_value(digit: u8) -> Option<u32> {
    Some(match digit {
        b'A'..=b'Z' => u32::from(digit - b'A'),
        b'a'..=b'z' => u32::from(digit - b'a') + 26,
        b'0'..=b'9' => u32::from(digit - b'0') + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        for size in 0..=bytes.len() {
            assert_eq!(decode(&encode(&bytes[..size])).as_deref(), Some(&bytes[..size]));
            assert_eq!(decode(&encode_url_safe(&bytes[..size])).as_deref(), Some(&bytes[..size]));
        }
        assert_eq!(encode(b"\xFB\xFF"), "+/8=");
        assert_eq!(encode_url_safe(b"\xFB\xFF"), "-_8=");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["A", "AAAAA", "A*==", "AA===", "é"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
