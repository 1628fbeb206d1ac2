//! `flotilla bench` against a group of three processes: what it counts is what happened.

mod support;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use flotilla_client::admin::AdminClient;
use serde_json::Value;
use support::forgetful::Forgetful;
use support::process::{Process, flotilla};
use support::wait::claim;
use support::{Cluster, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);

/// Runs a command to its end; gives its exit code, the line of JSON, and standard error.
fn bench(arguments: &[&str]) -> anyhow::Result<(Option<i32>, Value, String)> {
    let output = flotilla(&[&["bench"], arguments].concat()).output()?;
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(out.lines().count() <= 1, "more than one line: {out}");
    let json = match out.trim() {
        "" => Value::Null,
        line => serde_json::from_str(line).with_context(|| line.to_owned())?,
    };
    Ok((output.status.code(), json, err))
}

fn number(json: &Value, key: &str) -> anyhow::Result<u64> {
    json[key].as_u64().with_context(|| format!("{key} in {json}"))
}

#[test]
fn what_is_produced_is_consumed_and_every_count_agrees() {
    run(LIMIT, async {
        let cluster = Cluster::start_with(&[]).await?;
        let name_server = cluster.name_server();
        let common = ["--namesrv", &name_server, "--json"];
        let bench = |arguments: &[&str]| {
            let (code, json, err) = bench(&[arguments, &common].concat())?;
            ensure!(code == Some(0), "{arguments:?}: {code:?}\n{err}");
            eprintln!("{json}");
            ensure!(json["tool"] == "flotilla bench" && json["target"] == name_server, "{json}");
            ensure!(json["messages_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{json}");
            ensure!(json["client_cpu_seconds"].as_f64().is_some_and(|cpu| cpu > 0.0), "{json}");
            anyhow::Ok((json, err))
        };

        let time = ["--seconds", "1", "--warmup", "0"];
        let produce = ["produce", "--topic", "plain", "--size", "uniform:100-300", "--clients", "8"];
        let (produced, _) = bench(&[&produce[..], &time].concat())?;
        let acked = number(&produced, "acked")?;
        ensure!(acked > 0 && number(&produced, "sent")? == acked, "{produced}");
        ensure!(number(&produced, "failed")? + number(&produced, "unknown")? == 0, "{produced}");
        ensure!(produced["size"] == "uniform:100-300" && produced["clients"] == 8, "{produced}");
        ensure!(number(&produced["latency_us"], "p50")? <= number(&produced["latency_us"], "max")?);
        ensure!(produced["ack_gap_ms_max"].as_f64().is_some_and(|gap| gap > 0.0), "{produced}");
        ensure!(produced.get("received").is_none() && produced.get("lost").is_none(), "{produced}");

        // Two groups, each of two consumers, get everything once.
        let wanted = (2 * acked).to_string();
        let (consumed, _) = bench(&[
            "consume",
            "--topic",
            "plain",
            "--clients",
            "2",
            "--groups",
            "2",
            "--messages",
            &wanted,
        ])?;
        ensure!(number(&consumed, "received")? == 2 * acked, "{consumed} of {acked}");
        ensure!(number(&consumed, "duplicates")? + number(&consumed, "out_of_order")? == 0, "{consumed}");

        let keyed = ["produce", "--topic", "keyed", "--keys", "5", "--window", "4", "--clients", "2"];
        let keyed = bench(&[&keyed[..], &time, &["--rate", "500"]].concat())?.0;
        let batched = ["produce", "--topic", "keyed", "--batch", "10", "--clients", "2"];
        let batched = bench(&[&batched[..], &time].concat())?.0;
        ensure!(number(&batched, "acked")? % 10 == 0 && batched["batch"] == 10, "{batched}");
        let sum = number(&keyed, "acked")? + number(&batched, "acked")?;
        let (consumed, _) = bench(&["consume", "--topic", "keyed", "--messages", &sum.to_string()])?;
        ensure!(number(&consumed, "received")? == sum, "{consumed} of {sum}");
        ensure!(number(&consumed, "duplicates")? + number(&consumed, "out_of_order")? == 0, "{consumed}");

        // On a topic that holds messages of others already.
        let both = ["e2e", "--topic", "plain", "--rate", "500", "--seconds", "1", "--warmup", "1"];
        let (both, err) = bench(&both)?;
        ensure!(err.contains("warm-up") && err.contains("messages/s"), "no progress was shown: {err}");
        ensure!(number(&both, "acked")? > 400, "the rate was not kept: {both}");
        let closed = ["e2e", "--topic", "plain", "--rate", "0", "--clients", "2", "--window", "8"];
        let (closed, _) = bench(&[&closed[..], &time].concat())?;
        ensure!(number(&closed, "acked")? > 0, "{closed}");
        for both in [both, closed] {
            ensure!(number(&both, "received")? == number(&both, "acked")?, "{both}");
            for key in ["lost", "duplicates", "out_of_order"] {
                ensure!(number(&both, key)? == 0, "{both}");
            }
        }
        let left = groups(&name_server, &["plain", "keyed"]).await?;
        ensure!(!left.iter().any(|group| group.starts_with("flotilla_bench")), "groups are left: {left:?}");
        Ok(())
    });
}

/// All consumer groups of a cluster: those with settings, and those that have consumed of these topics.
async fn groups(name_server: &str, topics: &[&str]) -> anyhow::Result<Vec<String>> {
    let client = flotilla_client::Client::connect(name_server)?;
    let admin = AdminClient::new(&client);
    let mut groups = admin.groups().await?;
    for topic in topics {
        groups.extend(admin.groups_of_topic(topic).await?);
    }
    client.shutdown().await;
    Ok(groups)
}

#[test]
fn fewer_messages_than_asked_for_end_with_1_and_are_shown() {
    run(LIMIT, async {
        let cluster = Cluster::start_with(&[]).await?;
        let name_server = cluster.name_server();
        let common = ["--namesrv", &name_server, "--topic", "few", "--json"];
        let produce = ["produce", "--clients", "1", "--rate", "50", "--seconds", "1", "--warmup", "0"];
        let (code, produced, err) = bench(&[&produce[..], &common].concat())?;
        ensure!(code == Some(0), "{code:?}\n{err}");
        let consume = ["consume", "--messages", "1000000", "--seconds", "2"];
        let (code, consumed, err) = bench(&[&consume[..], &common].concat())?;
        let acked = number(&produced, "acked")?;
        ensure!(code == Some(1), "{code:?} {consumed}\n{err}");
        ensure!(err.contains(&format!("{acked} of 1000000 messages came")), "{err}");
        ensure!(number(&consumed, "received")? == acked, "{consumed} of {acked}");
        Ok(())
    });
}

#[test]
fn time_of_a_consumer_begins_with_the_first_message() {
    run(LIMIT, async {
        let cluster = Cluster::start_with(&[]).await?;
        let name_server = cluster.name_server();
        let common = ["--namesrv", &name_server, "--topic", "later", "--json"];
        let consume = ["bench", "consume", "--from", "last", "--messages", "8", "--seconds", "60"];
        let folder = tempfile::tempdir()?;
        let waiting = Process::start("consumer", folder.path(), &[&consume[..], &common].concat())?;
        // It waits for messages when its time goes by.
        eventually(Duration::from_secs(60), "three seconds without a message", || async {
            let log = waiting.log();
            claim(log.lines().any(|line| line.trim_start().starts_with("3 s")), log)
        })
        .await?;
        let produce = ["produce", "--clients", "1", "--rate", "10", "--seconds", "1", "--warmup", "0"];
        let (code, _, err) = bench(&[&produce[..], &common].concat())?;
        ensure!(code == Some(0), "{code:?}\n{err}");
        let ended = waiting.end(Duration::from_secs(30)).await?;
        ensure!(ended.success(), "{}", waiting.log());
        let consumed: Value = serde_json::from_str(&waiting.out())?;
        ensure!(consumed["seconds"].as_f64().is_some_and(|seconds| seconds < 3.0), "{consumed}");
        Ok(())
    });
}

#[test]
fn acked_messages_that_are_missing_end_with_1() {
    run(LIMIT, async {
        let server = Forgetful::start()?;
        let address = server.address();
        let common = ["--namesrv", &address, "--rate", "100", "--seconds", "1", "--json"];
        for command in ["e2e", "failover"] {
            // On a thread of its own: the server is on this one.
            let arguments: Vec<String> =
                [command].iter().chain(&common).map(|text| (*text).to_owned()).collect();
            let arguments = move || bench(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            let (code, json, err) = tokio::task::spawn_blocking(arguments).await??;
            ensure!(code == Some(1), "{command}: {code:?}\n{err}");
            ensure!(number(&json, "acked")? > 0, "{command}: {json}\n{err}");
            // The warm-up's are missing too.
            ensure!(number(&json, "lost")? >= number(&json, "acked")?, "{command}: {json}\n{err}");
        }
        Ok(())
    });
}

#[test]
fn without_a_rate_no_more_is_sent_than_there_is_room_for_until_it_arrives() {
    run(LIMIT, async {
        let server = Forgetful::start()?;
        let address = server.address();
        let load = move || {
            let room = ["--rate", "0", "--clients", "2", "--window", "3", "--seconds", "1", "--warmup", "0"];
            bench(&[&["e2e", "--namesrv", &address, "--json"][..], &room].concat())
        };
        let (code, json, err) = tokio::task::spawn_blocking(load).await??;
        ensure!(code == Some(1), "{code:?}\n{err}");
        ensure!(number(&json, "acked")? == 6 && number(&json, "lost")? == 6, "{json}\n{err}");
        Ok(())
    });
}

#[test]
fn requests_that_were_due_and_not_sent_are_counted_and_make_latency_worse() {
    run(LIMIT, async {
        let cluster = Cluster::start_with(&[]).await?;
        let (code, json, err) = bench(&[
            "produce",
            "--namesrv",
            &cluster.name_server(),
            "--topic",
            "behind",
            "--clients",
            "1",
            "--rate",
            "1000000",
            "--seconds",
            "2",
            "--warmup",
            "0",
            "--json",
        ])?;
        ensure!(code == Some(0), "{code:?}\n{err}");
        let (sent, behind) = (number(&json, "sent")?, number(&json, "behind")?);
        ensure!(sent + behind == 2_000_000, "{json}");
        // Almost all of two seconds' requests were not sent: half of them had waited for a second in the end.
        let median = number(&json["latency_us"], "p50")?;
        ensure!((800_000..1_200_000).contains(&median), "{json}");
        Ok(())
    });
}

#[test]
fn a_failing_command_keeps_the_trials_before_it_and_ends_with_1() {
    run(LIMIT, async {
        let cluster = Cluster::start_with(&[]).await?;
        let folder = tempfile::tempdir()?;
        let mark = folder.path().join("killed");
        let kill = format!("test ! -e '{0}' && touch '{0}'", mark.display());
        let (code, json, err) = bench(&[
            "failover",
            "--namesrv",
            &cluster.name_server(),
            "--topic",
            "kept",
            "--rate",
            "200",
            "--seconds",
            "2",
            "--trials",
            "3",
            "--kill",
            &kill,
            "--json",
        ])?;
        ensure!(code == Some(1) && err.contains("--kill"), "{code:?}\n{err}");
        ensure!(json["trials"].as_array().is_some_and(|trials| trials.len() == 1), "{json}\n{err}");
        ensure!(number(&json, "acked")? > 0 && number(&json, "lost")? == 0, "{json}\n{err}");
        Ok(())
    });
}

#[test]
fn a_killed_leader_shows_as_a_gap_and_loses_nothing() {
    run(LIMIT, async {
        let cluster = Cluster::start_with(&[]).await?;
        let leader = cluster.leader().await?;
        let kill = format!("kill -9 {}", cluster.process(leader)?.id());
        let (code, json, err) = bench(&[
            "failover",
            "--namesrv",
            &cluster.name_server(),
            "--topic",
            "failover",
            "--rate",
            "200",
            "--seconds",
            "8",
            "--kill",
            &kill,
            "--json",
        ])?;
        eprintln!("{json}\n{err}");
        ensure!(code == Some(0), "{code:?}\n{err}");
        let trials = json["trials"].as_array().context("trials")?;
        ensure!(trials.len() == 1 && json["ack_gap_ms_max"] == trials[0]["ack_gap_ms"], "{json}");
        // An election takes longer than a commit, and the load went on after it.
        ensure!(json["ack_gap_ms_max"].as_f64().is_some_and(|gap| (50.0..7_000.0).contains(&gap)), "{json}");
        ensure!(number(&json, "acked")? > 800, "{json}");
        ensure!(number(&json, "lost")? + number(&json, "duplicates")? == 0, "{json}");
        Ok(())
    });
}

#[test]
fn what_is_missing_is_said_and_ends_with_1() {
    run(LIMIT, async {
        let (code, json, err) = bench(&["produce"])?;
        ensure!(code == Some(1) && json.is_null(), "{code:?} {json}");
        ensure!(err.contains("no name server: give --namesrv HOST:PORT"), "{err}");

        let nobody = support::settings::free_port()?;
        let nobody = format!("127.0.0.1:{nobody}");
        let (code, _, err) = bench(&["e2e", "--namesrv", &nobody])?;
        ensure!(code == Some(1) && err.contains(&nobody), "{code:?} {err}");
        Ok(())
    });
}

#[test]
fn a_report_is_made_of_a_file_of_results() {
    run(LIMIT, async {
        let folder = tempfile::tempdir()?;
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench/report/results.test.jsonl");
        let page = folder.path().join("performance.md");
        let output = flotilla(&["bench", "report"]).arg(results).arg("--page").arg(&page).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(std::fs::read_to_string(&page)?.contains("| sync-64 | flotilla |"));
        ensure!(folder.path().join("performance/throughput.svg").is_file());
        Ok(())
    });
}
