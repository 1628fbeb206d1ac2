//! Makes the unique ids of messages. Source: RocketMQ 5.3 MessageClientIDSetter; layout in `flotilla_remoting`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use flotilla_remoting::message::UniqueId;

/// What all ids of this process share.
struct Process {
    ip: IpAddr,
    number: u16,
    /// Stands where Java has the hash of its class loader: tells apart processes with equal number on one address.
    salt: u32,
    counter: AtomicU16,
}

fn process() -> &'static Process {
    static PROCESS: OnceLock<Process> = OnceLock::new();
    PROCESS.get_or_init(|| Process {
        ip: local_ip().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        number: std::process::id() as u16,
        salt: rand::random(),
        counter: AtomicU16::new(0),
    })
}

/// An id that no other message of any client has: 65,536 ids a millisecond are told apart.
pub(crate) fn next() -> UniqueId {
    let process = process();
    UniqueId {
        ip: process.ip,
        process: process.number,
        loader_hash: process.salt,
        month_ms: month_ms(now_ms()),
        counter: process.counter.fetch_add(1, Ordering::Relaxed),
    }
}

/// Time of day now, in ms since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the start of the month (UTC; readers only take differences).
fn month_ms(now_ms: i64) -> u32 {
    const DAY_MS: i64 = 86_400_000;
    let day_of_month = day_of_month(now_ms.div_euclid(DAY_MS));
    u32::try_from((day_of_month - 1) * DAY_MS + now_ms.rem_euclid(DAY_MS)).unwrap_or(0)
}

/// Day of the month, from 1, of a day since 1970, in the Gregorian calendar: eras of 146,097 days that start in March.
fn day_of_month(days: i64) -> i64 {
    let day_of_era = (days + 719_468).rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    day_of_year - (153 * month + 2) / 5 + 1
}

/// The address that leads out of this machine; nothing is sent.
pub(crate) fn local_ip() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_have_the_official_length() {
        let ids: HashSet<String> = (0..20_000).map(|_| next().to_string()).collect();
        assert_eq!(ids.len(), 20_000);
        assert!(ids.iter().all(|id| id.len() == 32 || id.len() == 56));
    }

    #[test]
    fn months_start_where_the_calendar_says() {
        // 1970-01-01, 1972-02-29, 2000-03-01, 2026-11-26.
        for (days, day) in [(0, 1), (789, 29), (11_017, 1), (20_783, 26)] {
            assert_eq!(day_of_month(days), day, "{days}");
        }
        assert_eq!(month_ms(11_017 * 86_400_000 + 5), 5);
    }
}
