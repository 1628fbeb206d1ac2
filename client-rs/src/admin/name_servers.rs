//! Settings and key-value configuration of name servers (100 to 102, 219, 318, 319).

use std::collections::BTreeMap;

use bytes::Bytes;
use flotilla_remoting::bodies::KvTable;
use flotilla_remoting::headers::{
    GetKvConfigResponse, GetKvListRequest, KvConfigRequest, PutKvConfigRequest,
};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};

use super::AdminClient;
use super::reach::Ask;
use crate::error::{ClientError, Result};

/// Namespace of the order configuration. Source: RocketMQ 5.3 NamesrvUtil.
pub(super) const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

impl AdminClient {
    /// Addresses of the name servers in use.
    ///
    /// # Errors
    /// The endpoint that serves the list gave none.
    pub async fn name_servers(&self) -> Result<Vec<String>> {
        let mut addresses = self.inner().routes.name_server_addresses().await?;
        addresses.sort();
        Ok(addresses)
    }

    /// Settings of each name server, by address and name.
    ///
    /// # Errors
    /// One can't be reached, or refused.
    pub async fn name_server_configs(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let answers =
            self.at_name_servers(&Ask::new(RequestCode::GetNamesrvConfig, ExtFields::new())).await?;
        let settings = answers.into_iter().map(|(address, answer)| {
            let settings = parse_properties(&answer.frame.body);
            let settings = settings.map_err(|error| ClientError::malformed(&address, error))?;
            Ok((address, settings))
        });
        settings.collect()
    }

    /// Changes settings of every name server.
    ///
    /// # Errors
    /// `Invalid` for a name or value that can't travel; `Refused` with NO_PERMISSION for settings that may not be changed so.
    pub async fn update_name_server_configs(&self, settings: &[(&str, &str)]) -> Result<()> {
        let ask = Ask::new(RequestCode::UpdateNamesrvConfig, ExtFields::new());
        self.at_name_servers(&ask.with_body(write_properties(settings)?)).await.map(drop)
    }

    /// A value of the name servers' key-value configuration, from one of them.
    ///
    /// # Errors
    /// No name server answered.
    pub async fn kv(&self, namespace: &str, key: &str) -> Result<Option<String>> {
        let ask = Ask::new(RequestCode::GetKvConfig, KvConfigRequest { namespace, key }.encode());
        match self.at_a_name_server(&ask).await {
            Ok(answer) => Ok(answer.header(GetKvConfigResponse::decode)?.value.map(str::to_owned)),
            Err(error) if error.code() == Some(ResponseCode::QueryNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All values of a namespace, from one name server.
    ///
    /// # Errors
    /// No name server answered.
    pub async fn kv_list(&self, namespace: &str) -> Result<BTreeMap<String, String>> {
        let ask = Ask::new(RequestCode::GetKvListByNamespace, GetKvListRequest { namespace }.encode());
        match self.at_a_name_server(&ask).await {
            Ok(answer) => Ok(answer.body::<KvTable>()?.table),
            Err(error) if error.code() == Some(ResponseCode::QueryNotFound) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    /// Sets a value at every name server.
    ///
    /// # Errors
    /// One can't be reached; those before it have it.
    pub async fn put_kv(&self, namespace: &str, key: &str, value: &str) -> Result<()> {
        let ext = PutKvConfigRequest { namespace, key, value }.encode();
        self.at_name_servers(&Ask::new(RequestCode::PutKvConfig, ext)).await.map(drop)
    }

    /// Deletes a value at every name server; one that is not there is no error.
    ///
    /// # Errors
    /// As [`AdminClient::put_kv`].
    pub async fn delete_kv(&self, namespace: &str, key: &str) -> Result<()> {
        let ext = KvConfigRequest { namespace, key }.encode();
        self.at_name_servers(&Ask::new(RequestCode::DeleteKvConfig, ext)).await.map(drop)
    }

    /// Fixes the queues of an ordered topic, `broker-a:4;broker-b:4`. Clients see it when the name servers run with
    /// `orderMessageEnable=true`.
    ///
    /// # Errors
    /// As [`AdminClient::put_kv`].
    pub async fn set_order(&self, topic: &str, queues: &str) -> Result<()> {
        self.put_kv(ORDER_NAMESPACE, topic, queues).await
    }
}

/// Reads `name=value` lines as servers write them: no escapes, the first `=` separates.
/// Source: RocketMQ 5.3 MixAll.properties2String.
pub(super) fn parse_properties(
    body: &[u8],
) -> std::result::Result<BTreeMap<String, String>, std::str::Utf8Error> {
    let text = std::str::from_utf8(body)?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect())
}

/// Writes `name=value` lines as servers read them: a backslash starts an escape there.
/// Source: RocketMQ 5.3 MixAll.string2Properties, which is Java's Properties.load.
///
/// # Errors
/// `Invalid` for an empty name, or one that would end early.
pub(super) fn write_properties(settings: &[(&str, &str)]) -> Result<Bytes> {
    let mut text = String::new();
    for (name, value) in settings {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(ClientError::Invalid(format!("{name:?} is no name of a setting")));
        }
        text += name;
        text.push('=');
        for (at, c) in value.chars().enumerate() {
            match c {
                '\\' => text += "\\\\",
                '\n' => text += "\\n",
                '\r' => text += "\\r",
                // White space at the start would be skipped.
                ' ' if at == 0 => text += "\\ ",
                '\t' => text += "\\t",
                c => text.push(c),
            }
        }
        text.push('\n');
    }
    if text.is_empty() {
        return Err(ClientError::Invalid("no settings given".into()));
    }
    Ok(text.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_what_java_does_to_them() {
        let text = write_properties(&[("a", "b=c"), ("path", " C:\\x\n")]).unwrap();
        assert_eq!(text, "a=b=c\npath=\\ C:\\\\x\\n\n");
        assert_eq!(
            parse_properties(b"a=b=c\nd=\n\nnone\n").unwrap(),
            [("a".to_owned(), "b=c".to_owned()), ("d".to_owned(), String::new())].into()
        );
        for wrong in [&[("", "v")] as &[_], &[("a=b", "v")], &[("a b", "v")], &[]] {
            assert!(matches!(write_properties(wrong), Err(ClientError::Invalid(_))), "{wrong:?}");
        }
    }
}
