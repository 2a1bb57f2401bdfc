//! Times measured, and what is said of them.

use std::time::Duration;

/// Times in milliseconds, in ascending order; at least one.
#[derive(Debug, Clone)]
pub struct Times(Vec<f64>);

impl Times {
    /// `None` if there are none.
    pub fn new(times: impl IntoIterator<Item = Duration>) -> Option<Times> {
        let times = times.into_iter().map(|time| time.as_secs_f64() * 1e3);
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        (!times.is_empty()).then_some(Times(times))
    }

    pub fn all(&self) -> &[f64] {
        &self.0
    }

    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    pub fn median(&self) -> f64 {
        let times = &self.0;
        (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2.0
    }

    pub fn tail(&self) -> Tail {
        match self.0.len() {
            ..100 => Tail::Most(self.most()),
            _ => Tail::Percentile99(self.percentile(99)),
        }
    }

    /// The least time that so many percent of all do not exceed (nearest rank).
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.max(1) - 1]
    }

    /// Mean, median and tail, by name.
    pub fn summary(&self) -> [(&'static str, f64); 3] {
        let tail = match self.tail() {
            Tail::Percentile99(time) => ("99th percentile", time),
            Tail::Most(time) => ("most", time),
        };
        [("mean", self.mean()), ("median", self.median()), tail]
    }

    pub fn least(&self) -> f64 {
        self.0[0]
    }

    pub fn most(&self) -> f64 {
        self.percentile(100)
    }
}

/// How slow times get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tail {
    Percentile99(f64),
    /// Of fewer than 100, the greatest, which their 99th percentile would be too.
    Most(f64),
}

/// The median of numbers that are no times; the upper one of two.
pub fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: impl IntoIterator<Item = u64>) -> Times {
        Times::new(milliseconds.into_iter().map(Duration::from_millis)).unwrap()
    }

    #[test]
    fn figures_are_those_of_the_textbook() {
        let times = of([4, 1, 3, 2]);
        assert_eq!((times.mean(), times.median()), (2.5, 2.5));
        assert_eq!((times.least(), times.most()), (1.0, 4.0));
        assert_eq!(of([5, 1, 9]).median(), 5.0);
        assert_eq!(of(1..=200).percentile(99), 198.0);
        assert_eq!(of([7]).percentile(99), 7.0);
        assert_eq!(of(1..=99).tail(), Tail::Most(99.0));
        assert_eq!(of(1..=100).tail(), Tail::Percentile99(99.0));
        assert!(Times::new([]).is_none());
    }
}
