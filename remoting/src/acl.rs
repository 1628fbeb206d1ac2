//! What a signed request signs. The signature itself (HMAC-SHA1, base64) is computed by whoever holds the keys.
//!
//! The content is the values of all received ext fields but the signature, by key in ascending order, and then the body:
//! unknown fields count too, and every value as it came.
//! Source: RocketMQ 5.3 AclUtils.combineRequestContent; vectors of kind `acl_signature`.

use crate::ext::ExtFields;
use crate::headers::key;

/// Requests up to this version (4.9.3) leave the unique-key mark out of the signature.
const WITHOUT_UNIQUE_KEY_QUERY: i32 = 399;

/// The bytes that a request's signature covers; `version` is the sender's.
pub fn signed_content(ext: &ExtFields, body: &[u8], version: i32) -> Vec<u8> {
    let mut fields: Vec<(&str, &str)> = ext
        .iter()
        .filter(|(name, _)| *name != key::SIGNATURE)
        .filter(|(name, _)| version > WITHOUT_UNIQUE_KEY_QUERY || *name != key::UNIQUE_KEY_QUERY)
        .collect();
    // Java sorts by UTF-16 units; it differs from UTF-8 order only beyond the basic plane, where no key lies.
    fields.sort_unstable_by_key(|(name, _)| *name);
    let size = fields.iter().map(|(_, value)| value.len()).sum::<usize>() + body.len();
    let mut content = Vec::with_capacity(size);
    for (_, value) in fields {
        content.extend_from_slice(value.as_bytes());
    }
    content.extend_from_slice(body);
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_and_old_unique_key_mark_are_left_out() {
        let ext =
            ExtFields::from_iter([("b", "2"), ("Signature", "x"), ("_UNIQUE_KEY_QUERY", "true"), ("A", "1")]);
        assert_eq!(signed_content(&ext, b"!", 479), b"1true2!");
        assert_eq!(signed_content(&ext, b"!", 399), b"12!");
    }
}
