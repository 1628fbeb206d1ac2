//! Totals at the beginning of today and of yesterday. Source: RocketMQ 5.3 BrokerStats.

const DAY_MS: u64 = 24 * 3_600_000;

/// Messages stored and handed out, without system topics, since this node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    pub puts: u64,
    pub gets: u64,
}

/// Totals at two midnights, UTC; zero for those before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mornings {
    /// Days since 1970 of the last look.
    day: Option<u64>,
    pub today: Moment,
    pub yesterday: Moment,
}

impl Mornings {
    /// Looks whether a day has begun.
    pub fn look(&mut self, now_ms: u64, now: Moment) {
        let today = now_ms / DAY_MS;
        match self.day {
            // A clock that was put back does not begin a day again.
            Some(day) if today <= day => return,
            // Days without a look, such as those of a suspended machine: nothing was counted in them.
            Some(day) => self.yesterday = if today == day + 1 { self.today } else { now },
            None => {}
        }
        if self.day.is_some() {
            self.today = now;
        }
        self.day = Some(today);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(puts: u64) -> Moment {
        Moment { puts, gets: 2 * puts }
    }

    #[test]
    fn the_first_day_begins_with_nothing() {
        let mut mornings = Mornings::default();
        mornings.look(10 * DAY_MS + 5, moment(7));
        mornings.look(10 * DAY_MS + 6, moment(9));
        assert_eq!((mornings.today, mornings.yesterday), (moment(0), moment(0)));
    }

    #[test]
    fn each_midnight_moves_today_to_yesterday() {
        let mut mornings = Mornings::default();
        mornings.look(10 * DAY_MS, moment(0));
        mornings.look(11 * DAY_MS, moment(100));
        assert_eq!((mornings.today, mornings.yesterday), (moment(100), moment(0)));
        mornings.look(11 * DAY_MS + 1, moment(120));
        mornings.look(12 * DAY_MS, moment(150));
        assert_eq!((mornings.today, mornings.yesterday), (moment(150), moment(100)));
    }

    #[test]
    fn days_without_a_look_and_a_clock_put_back_count_nothing_twice() {
        let mut mornings = Mornings::default();
        mornings.look(10 * DAY_MS, moment(0));
        mornings.look(11 * DAY_MS, moment(100));
        mornings.look(14 * DAY_MS, moment(150));
        assert_eq!((mornings.today, mornings.yesterday), (moment(150), moment(150)));
        mornings.look(13 * DAY_MS, moment(160));
        assert_eq!((mornings.today, mornings.yesterday), (moment(150), moment(150)));
    }
}
