//! Measured numbers and their statistics.

/// At least one number, in ascending order.
pub struct Samples(Vec<f64>);

impl Samples {
    /// Fails if there are no numbers.
    pub fn new(mut numbers: Vec<f64>) -> crate::Result<Samples> {
        numbers.sort_by(f64::total_cmp);
        match numbers.is_empty() {
            false => Ok(Samples(numbers)),
            true => Err("nothing was measured".into()),
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    pub fn median(&self) -> f64 {
        (self.0[(self.0.len() - 1) / 2] + self.0[self.0.len() / 2]) / 2.0
    }

    /// The 99th percentile by nearest rank, which is the maximum of fewer than 100 numbers.
    pub fn p99(&self) -> f64 {
        self.0[(self.0.len() * 99).div_ceil(100) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_correct() {
        let samples = Samples::new(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((samples.count(), samples.mean()), (4, 2.5));
        assert_eq!((samples.median(), samples.p99()), (2.5, 4.0));
        let samples = Samples::new((1..=201).map(f64::from).collect()).unwrap();
        assert_eq!((samples.median(), samples.p99()), (101.0, 199.0));
        assert!(Samples::new(Vec::new()).is_err());
    }
}
