//! Values of flags.

pub(super) fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).ok_or("must be above 0".to_owned())
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=100.0).contains(share)).ok_or("must be from 0 to 100".to_owned())
}
