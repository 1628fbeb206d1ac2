//! The Java program as a child process: it is told of each send by a line, and tells by a line how it ended.
//!
//! It ends with its handle at the latest. Where nobody is left to drop that, because the harness was interrupted or killed, the
//! end of its standard input ends it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::install::Java;
use super::line::{Ended, Line, Ready};

/// Longest wait until the producer has started: a JVM beside builds takes its time.
const START: Duration = Duration::from_secs(60);
/// Longest wait for the end of a send. The library gives one up after 3 s, or some more where it waits for routes and
/// connections before.
const SEND: Duration = Duration::from_secs(60);

/// A running program.
#[derive(Debug)]
pub struct Program {
    child: Mutex<Child>,
    orders: Mutex<ChildStdin>,
    waiting: Arc<Mutex<Waiting>>,
    ready: Ready,
    log: PathBuf,
}

/// Who waits for which line: at most one for each thread of the program.
#[derive(Debug, Default)]
struct Waiting {
    ready: Option<oneshot::Sender<Ready>>,
    ends: HashMap<u32, oneshot::Sender<Ended>>,
    /// Why no more lines come.
    over: Option<String>,
}

impl Program {
    /// Starts it with so many threads, in a process group of its own, so that Ctrl-C in a terminal reaches the harness only. Its
    /// errors are appended to `log`; what the library writes goes below `home`. `inside` puts the command where clients are.
    ///
    /// # Errors
    /// It can't be started, or its producer does not start.
    pub async fn start(
        java: &Java,
        (name_servers, topic): (&str, &str),
        threads: u32,
        home: &Path,
        log: &Path,
        inside: impl FnOnce(Command) -> Command,
    ) -> anyhow::Result<Program> {
        let command = java.command(home, name_servers, topic, threads);
        Program::spawn(inside(command), log).await
    }

    async fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Program> {
        let errors = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).process_group(0);
        let mut child =
            command.spawn().with_context(|| format!("the Java program can't be started: {command:?}"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (tell, told) = oneshot::channel();
        let waiting = Arc::new(Mutex::new(Waiting { ready: Some(tell), ..Waiting::default() }));
        let ready = Ready { client: String::new(), poll_ms: 0, attempts_max: 1 };
        let (orders, lines) = pipes.context("a child has the pipes that it was started with")?;
        // From here on its drop ends the child.
        let log = log.to_owned();
        let mut program =
            Program { child: Mutex::new(child), orders: Mutex::new(orders), waiting, ready, log };
        let waiting = program.waiting.clone();
        std::thread::Builder::new().name("java-lines".into()).spawn(move || listen(lines, &waiting))?;
        let ready = timeout(START, told).await.context("the Java program does not start in time")?;
        program.ready = ready.map_err(|_| program.gone())?;
        Ok(program)
    }

    /// What it said of itself.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Has one of its threads send one message, and waits for the end of that. Dropped half-way the send goes on, and its thread
    /// can be given nothing more.
    ///
    /// # Errors
    /// The program has ended, or told nothing in time: what became of the send is not known. Or the thread is at work.
    pub async fn send(&self, thread: u32, id: u64, padding: usize) -> anyhow::Result<Ended> {
        let (tell, told) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.over.is_some() {
                drop(waiting);
                return Err(self.gone());
            }
            ensure!(
                waiting.ends.insert(thread, tell).is_none(),
                "thread {thread} of the Java program is at work"
            );
        }
        // A pipe takes hundreds of these, and there is one at most for each thread: this does not block.
        let order = format!("{thread} {id} {padding}\n");
        if self.orders.lock().write_all(order.as_bytes()).is_err() {
            return Err(self.gone());
        }
        let ended =
            timeout(SEND, told).await.with_context(|| format!("the Java program does not end send {id}"))?;
        let ended = ended.map_err(|_| self.gone())?;
        ensure!(ended.id == id, "the Java program was told to send {id} and sent {}", ended.id);
        Ok(ended)
    }

    /// Why nothing more comes from it.
    fn gone(&self) -> anyhow::Error {
        let why = self.waiting.lock().over.clone().unwrap_or_else(|| "it takes no orders".to_owned());
        anyhow!("the Java program is of no use any more: {why}; see {}", self.log.display())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Hands lines to who waits for them, until there are no more.
fn listen(lines: ChildStdout, waiting: &Mutex<Waiting>) {
    let mut over = "it ended".to_owned();
    for line in BufReader::new(lines).lines() {
        let taken = line.context("its output can't be read").and_then(|line| take(&line, waiting));
        if let Err(error) = taken {
            over = format!("{error:#}");
            break;
        }
    }
    let mut waiting = waiting.lock();
    // Whoever waits wakes up without an answer.
    *waiting = Waiting { over: Some(over), ..Waiting::default() };
}

fn take(line: &str, waiting: &Mutex<Waiting>) -> anyhow::Result<()> {
    match Line::parse(line)? {
        Line::Ready(ready) => {
            let waits = waiting.lock().ready.take().context("it became ready twice")?;
            // Who was to be told may have given up.
            let _ = waits.send(ready);
        }
        Line::Ended(ended) => {
            let waits = waiting.lock().ends.remove(&ended.thread);
            let waits = waits.with_context(|| format!("it ended a send that nobody asked for: {line}"))?;
            let _ = waits.send(ended);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const READY: &str = r#"echo '{"event":"ready","client":"V","poll_ms":5,"attempts_max":3}'"#;

    /// A shell instead of Java, which says it is ready and does what the script says.
    async fn program(script: &str, folder: &Path) -> anyhow::Result<Program> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        Program::spawn(command, &folder.join("log")).await
    }

    #[tokio::test]
    async fn a_send_ends_with_its_own_line() {
        let folder = tempfile::tempdir().unwrap();
        let ended = r#"{\"event\":\"ended\",\"thread\":$thread,\"id\":$id,\"stored\":null,\"attempts\":[],\"error\":null}"#;
        // Answers two orders in the other order.
        let answer = format!("echo \"{ended}\"");
        let script =
            format!("{READY}; read a b x; read thread id x; {answer}; thread=$a; id=$b; {answer}; cat");
        let program = program(&script, folder.path()).await.unwrap();
        assert_eq!(program.ready().attempts_max, 3);
        let (one, other) = tokio::join!(program.send(0, 70, 1), program.send(1, 71, 2));
        assert_eq!((one.unwrap().id, other.unwrap().id), (70, 71));
    }

    #[tokio::test]
    async fn a_program_that_ends_or_talks_nonsense_leaves_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let failed = program("exit 3", folder.path()).await.unwrap_err().to_string();
        assert!(failed.contains("it ended"), "{failed}");
        for (does, says) in
            [("read order", "it ended"), ("read order; echo hello; cat", "no line of the Java program")]
        {
            let program = program(&format!("{READY}; {does}"), folder.path()).await.unwrap();
            for _ in 0..2 {
                let failed = program.send(0, 1, 0).await.unwrap_err().to_string();
                assert!(failed.contains(says), "{failed}");
            }
        }
    }

    #[tokio::test]
    async fn a_dropped_program_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(&format!("{READY}; exec sleep 600"), folder.path()).await.unwrap();
        let pid = program.child.lock().id();
        drop(program);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
