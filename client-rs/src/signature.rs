//! Signs requests: HMAC-SHA1 over what `flotilla_remoting::acl` says, in base64.
//! Source: RocketMQ 5.3 AclClientRPCHook, AclUtils.calSignature; vectors of kind `acl_signature`.

use flotilla_remoting::acl::signed_content;
use flotilla_remoting::base64;
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::key;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::options::Credentials;

/// Adds access key and signature to a request that is complete otherwise.
pub(crate) fn sign(frame: &mut Frame, credentials: &Credentials) {
    let ext = &mut frame.header.ext;
    ext.insert(key::ACCESS_KEY, &credentials.access_key);
    if let Some(token) = &credentials.security_token {
        ext.insert(key::SECURITY_TOKEN, token);
    }
    let content = signed_content(ext, &frame.body, frame.header.version);
    let signature = signature(credentials.secret_key.as_bytes(), &content);
    ext.insert(key::SIGNATURE, &signature);
}

fn signature(secret: &[u8], content: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("a key of any length will do");
    mac.update(content);
    base64::encode(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_rfc_2202() {
        // RFC 2202, test case 2.
        let digest = signature(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(digest, "7/zfauXrL6LSdBbV8YTfnCWafHk=");
    }
}
