//! The official Java client in a process of its own, told by lines what to do: tests/compat/rust/java.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, bail};
use flotilla_remoting::base64;
use tokio::sync::mpsc;

use super::PATIENCE;

/// A process with the Java client; killed when dropped.
pub struct Java {
    process: Child,
    input: ChildStdin,
    answers: mpsc::UnboundedReceiver<String>,
    got: mpsc::UnboundedReceiver<Got>,
}

/// A message that a consumer of the Java client was given.
#[derive(Clone, Debug)]
pub struct Got {
    pub topic: String,
    pub queue_id: i32,
    pub queue_offset: i64,
    pub message_id: String,
    pub flag: i32,
    pub attempts: i32,
    pub body: Vec<u8>,
    pub properties: BTreeMap<String, String>,
}

impl Java {
    /// Starts one; `None`, said aloud, when run.sh did not say where its classes are.
    pub async fn start(name_servers: &str) -> Option<Java> {
        let Some(classes) = std::env::var_os("COMPAT_JAVA_CLASSPATH") else {
            eprintln!("skipped: needs the Java client, run tests/compat/rust/run.sh");
            return None;
        };
        let mut process = Command::new("java")
            .args(["-Xmx128m", "-XX:+UseSerialGC", "-Drocketmq.client.logLevel=WARN", "-cp"])
            .arg(classes)
            .args(["io.flotilla.compat.rust.Peer", name_servers])
            .env_remove("NAMESRV_ADDR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("java");
        let input = process.stdin.take().expect("piped");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (answer_sender, answers) = mpsc::unbounded_channel();
        let (got_sender, got) = mpsc::unbounded_channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let told = match line.strip_prefix("got ") {
                    Some(message) => got_sender.send(Got::parse(message).expect("a message")).is_ok(),
                    None => answer_sender.send(line).is_ok(),
                };
                if !told {
                    break;
                }
            }
        });
        let mut java = Java { process, input, answers, got };
        assert_eq!(java.answer().await.expect("start"), "ready");
        Some(java)
    }

    /// Does one thing; gives the words of the answer without the first.
    pub async fn tell(&mut self, line: &str) -> anyhow::Result<Vec<String>> {
        self.input.write_all(format!("{line}\n").as_bytes())?;
        self.input.flush()?;
        let answer = self.answer().await?;
        let mut words = answer.split(' ').map(str::to_owned);
        match words.next().as_deref() {
            Some("failed") => bail!("{line}: {answer}"),
            _ => Ok(words.collect()),
        }
    }

    async fn answer(&mut self) -> anyhow::Result<String> {
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv()).await.context("no answer")?;
        answer.context("java has ended")
    }

    /// The next message that one of its consumers is given.
    pub async fn got(&mut self) -> Got {
        let got = tokio::time::timeout(PATIENCE, self.got.recv()).await;
        got.expect("no message at the Java consumer").expect("java has ended")
    }

    /// Messages that its consumers were given and nobody asked for yet.
    pub fn got_already(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.got.try_recv().ok()).collect()
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Got {
    fn parse(line: &str) -> anyhow::Result<Got> {
        let words: Vec<&str> = line.split(' ').collect();
        let [_group, topic, queue_id, queue_offset, message_id, flag, attempts, body, properties @ ..] =
            words.as_slice()
        else {
            bail!("{line}")
        };
        let pairs = properties.iter().map(|pair| {
            let (name, value) = pair.split_once(':').context("a property")?;
            anyhow::Ok((text(name)?, text(value)?))
        });
        Ok(Got {
            topic: (*topic).to_owned(),
            queue_id: queue_id.parse()?,
            queue_offset: queue_offset.parse()?,
            message_id: (*message_id).to_owned(),
            flag: flag.parse()?,
            attempts: attempts.parse()?,
            body: bytes(body)?,
            properties: pairs.collect::<anyhow::Result<_>>()?,
        })
    }
}

/// Bytes as one word.
pub fn word(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    if bytes.is_empty() { "-".to_owned() } else { base64::encode(bytes) }
}

/// The bytes of a word.
pub fn bytes(word: &str) -> anyhow::Result<Vec<u8>> {
    if word == "-" { Ok(Vec::new()) } else { base64::decode(word).context("base64") }
}

fn text(word: &str) -> anyhow::Result<String> {
    Ok(String::from_utf8(bytes(word)?)?)
}
