//! GET_BROKER_RUNTIME_INFO (28): the state of this replica as a table of texts.
//!
//! mqadmin clusterList and the exporter read the texts without asking whether they are there or are numbers, so every key of
//! RocketMQ is answered, with 0 where there is no such thing here: no pool of buffers, no timer store, no queue but the
//! proposer's.
//!
//! Source: RocketMQ 5.3 AdminBrokerProcessor.prepareRuntimeInfo, StoreStatsService.getRuntimeInfo,
//! DefaultMessageStore.getRuntimeInfo, ScheduleMessageService.buildRunningStats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use flotilla_raft_store::wall_clock::now_ms;
use flotilla_remoting::bodies::{self, KvTable};
use flotilla_remoting::version;
use tokio::runtime::Handle;

use super::respond::success_body;
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::group::proposer::InFlight;
use crate::limits::{HELD_PULLS_MAX, PROPOSER_QUEUE_MAX};
use crate::metrics::Metrics;
use crate::stats::{Rate, Stats};

/// Serves 28 with local values.
#[derive(Clone)]
pub struct RuntimeInfoHandler {
    pub group: Group,
    pub in_flight: Arc<InFlight>,
    pub stats: Arc<Stats>,
    pub metrics: Metrics,
    /// Folder of all data.
    pub root: PathBuf,
    pub runtime: Handle,
}

impl Handler for RuntimeInfoHandler {
    fn handle(&self, call: Call) {
        let this = self.clone();
        // Asking the file system may block.
        self.runtime.spawn_blocking(move || {
            let table = this.table(now_ms()).into_iter().map(|(key, value)| (key.into_owned(), value));
            success_body(call, bodies::encode(&KvTable { table: table.collect() }));
        });
    }
}

type Table = BTreeMap<std::borrow::Cow<'static, str>, String>;

impl RuntimeInfoHandler {
    fn table(&self, now_ms: u64) -> Table {
        let mut table = Table::new();
        self.broker(&mut table);
        self.queues(&mut table);
        self.counters(&mut table, now_ms);
        self.rates(&mut table);
        self.store(&mut table);
        self.delays(&mut table);
        table
    }

    fn broker(&self, table: &mut Table) {
        // Asked of a master for its special services, which only the leader runs here.
        put(table, "brokerActive", self.group.leads());
        put(table, "brokerVersion", version::CURRENT);
        put(table, "brokerVersionDesc", version::CURRENT_NAME);
        // There is no moment before which sends are refused.
        put(table, "startAcceptSendRequestTimeStamp", 0);
        // No store of timed messages.
        for key in ["timerReadBehind", "timerOffsetBehind", "timerCongestNum"] {
            put(table, key, 0);
        }
        for key in ["timerEnqueueTps", "timerDequeueTps"] {
            put(table, key, "0.0");
        }
    }

    /// The proposer's is the only queue that requests wait in: pulls are answered or held, the rest is answered at once.
    fn queues(&self, table: &mut Table) {
        let waiting = self.in_flight.waiting();
        let waited =
            waiting.since.map_or(0, |since| Instant::now().saturating_duration_since(since).as_millis());
        put(table, "sendThreadPoolQueueSize", self.group.queued() + waiting.count);
        put(table, "sendThreadPoolQueueCapacity", PROPOSER_QUEUE_MAX);
        put(table, "sendThreadPoolQueueHeadWaitTimeMills", waited);
        for (queue, capacity) in
            [("pull", HELD_PULLS_MAX), ("litePull", HELD_PULLS_MAX), ("query", 0), ("ack", 0)]
        {
            put(table, format!("{queue}ThreadPoolQueueSize"), 0);
            put(table, format!("{queue}ThreadPoolQueueCapacity"), capacity);
            put(table, format!("{queue}ThreadPoolQueueHeadWaitTimeMills"), 0);
        }
        put(table, "EndTransactionQueueSize", 0);
        put(table, "EndTransactionThreadPoolQueueCapacity", 0);
        // No lock around the page cache: one thread writes.
        put(table, "pageCacheLockTimeMills", 0);
    }

    fn counters(&self, table: &mut Table, now_ms: u64) {
        let totals = self.metrics.totals();
        let mornings = self.stats.mornings();
        put(table, "msgPutTotalYesterdayMorning", mornings.yesterday.puts);
        put(table, "msgPutTotalTodayMorning", mornings.today.puts);
        put(table, "msgPutTotalTodayNow", totals.puts_of_users);
        put(table, "msgGetTotalYesterdayMorning", mornings.yesterday.gets);
        put(table, "msgGetTotalTodayMorning", mornings.today.gets);
        put(table, "msgGetTotalTodayNow", totals.gets_of_users);

        put(table, "bootTimestamp", self.stats.started_ms());
        put(table, "runtime", runtime_text(now_ms.saturating_sub(self.stats.started_ms())));
        put(table, "putMessageTimesTotal", totals.puts);
        put(table, "putMessageFailedTimes", self.metrics.failed_puts());
        put(table, "putMessageSizeTotal", totals.put_bytes);
        let average = if totals.puts == 0 { 0.0 } else { totals.put_bytes as f64 / totals.puts as f64 };
        put(table, "putMessageAverageSize", format!("{average:?}"));
        let minute = self.stats.put_times_of_minute();
        put(table, "putMessageEntireTimeMax", self.metrics.put_times().longest_ms());
        put(table, "putMessageDistributeTime", minute.text());
        put(table, "putLatency99", format!("{:.2}", minute.quantile_ms(0.99)));
        put(table, "putLatency999", format!("{:.2}", minute.quantile_ms(0.999)));
        put(table, "getMessageEntireTimeMax", self.metrics.get_times().longest_ms());
        // Views are extended by apply itself: nothing is dispatched through a buffer.
        put(table, "dispatchMaxBuffer", 0);
    }

    /// Levels that hold a message now or did. Source: ScheduleMessageService.buildRunningStats 5.3.3.
    fn delays(&self, table: &mut Table) {
        for level in self.group.tables().delay_progress() {
            let progress = format!("{},{}", level.next, level.max);
            put(table, format!("scheduleMessageOffset_{}", level.level()), progress);
        }
    }

    fn rates(&self, table: &mut Table) {
        put(table, "putTps", self.stats.rate_text(Rate::Put));
        put(table, "getFoundTps", self.stats.rate_text(Rate::Found));
        put(table, "getMissTps", self.stats.rate_text(Rate::Miss));
        put(table, "getTotalTps", self.stats.rate_text(Rate::Total));
        let transferred = self.stats.rate_text(Rate::Transferred);
        // The spelling of older tools and of the dashboard.
        put(table, "getTransferedTps", &transferred);
        put(table, "getTransferredTps", transferred);
    }

    fn store(&self, table: &mut Table) {
        let log = self.group.replica().log();
        let (first, end) = log.bounds();
        let applied = self.group.tables().applied().end_position;
        let oldest = log.segments().first().map(|segment| segment.first_time_ms).filter(|time| *time > 0);
        put(table, "commitLogMinOffset", first);
        put(table, "commitLogMaxOffset", end);
        put(table, "dispatchBehindBytes", end.saturating_sub(applied));
        put(table, "earliestMessageTimeStamp", oldest.map_or("-1".to_owned(), |time| time.to_string()));
        put(table, "remainTransientStoreBufferNumbs", 0);
        put(table, "remainHowManyDataToCommit", human_bytes(0));
        put(table, "remainHowManyDataToFlush", human_bytes(end.saturating_sub(log.synced())));
        let disk = Disk::of(&self.root);
        put(table, "commitLogDiskRatio", disk.ratio());
        put(table, format!("commitLogDiskRatio_{}/store", self.root.display()), disk.ratio());
        put(table, "consumeQueueDiskRatio", disk.ratio());
        let capacity = format!("Total : {}, Free : {}.", human_bytes(disk.total), human_bytes(disk.free));
        put(table, "commitLogDirCapacity", capacity);
    }
}

fn put(table: &mut Table, key: impl Into<std::borrow::Cow<'static, str>>, value: impl ToString) {
    table.insert(key.into(), value.to_string());
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, Default)]
struct Disk {
    total: u64,
    free: u64,
    /// What of the free bytes is not kept back for the system's own user.
    available: u64,
}

impl Disk {
    /// Zeros when it can't be asked.
    fn of(folder: &Path) -> Self {
        rustix::fs::statvfs(folder).map_or_else(
            |_| Self::default(),
            |space| Self {
                total: space.f_blocks * space.f_frsize,
                free: space.f_bfree * space.f_frsize,
                available: space.f_bavail * space.f_frsize,
            },
        )
    }

    /// Whole percents in use, rounded up as `df` does, as a share of 1; -1 when unknown.
    /// Source: UtilAll.getDiskPartitionSpaceUsedPercent 5.3.3.
    fn ratio(self) -> String {
        let used = self.total.saturating_sub(self.free);
        match used + self.available {
            0 => "-1.0".to_owned(),
            entire => format!("{:?}", (u128::from(used) * 100).div_ceil(entire.into()) as f64 / 100.0),
        }
    }
}

/// `1.5 KiB`. Source: MixAll.humanReadableByteCount 5.3.3.
fn human_bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = bytes.ilog2() / 10;
    let unit = ["K", "M", "G", "T", "P", "E"][power as usize - 1];
    format!("{:.1} {unit}iB", bytes as f64 / (1u64 << (10 * power)) as f64)
}

/// `[ 0 days, 1 hours, 2 minutes, 3 seconds ]`. Source: StoreStatsService.getFormatRuntime 5.3.3.
fn runtime_text(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_times_read_as_those_of_rocketmq() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
        assert_eq!(runtime_text(3_723_999), "[ 0 days, 1 hours, 2 minutes, 3 seconds ]");
        assert_eq!(runtime_text(86_400_000 * 12), "[ 12 days, 0 hours, 0 minutes, 0 seconds ]");
    }

    #[test]
    fn disk_use_is_rounded_up_to_whole_percents_of_what_users_can_have() {
        let gib = 1 << 30;
        assert_eq!(Disk { total: 100 * gib, free: 60 * gib, available: 50 * gib }.ratio(), "0.45");
        assert_eq!(Disk { total: 100 * gib, free: 0, available: 0 }.ratio(), "1.0");
        assert_eq!(Disk::default().ratio(), "-1.0");
        assert_ne!(Disk::of(Path::new("/")).ratio(), "-1.0");
    }
}
