//! Pairs of measurements, and the lines of the table that they become.

use std::time::{Duration, Instant};

/// Below this a median says little.
const FEWEST_PAIRS: usize = 20;

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    AtMost(f64),
    AtLeast(f64),
}

/// One line.
#[derive(Debug)]
pub(crate) struct Row {
    measure: String,
    median: f64,
    least: f64,
    most: f64,
    unit: &'static str,
    reach: Reach,
    detail: String,
}

impl Row {
    /// Of values that are what is wanted themselves.
    pub(crate) fn of(measure: &str, unit: &'static str, values: &[f64], reach: Reach) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        let (measure, median, detail) = (measure.to_owned(), middle(&sorted), String::new());
        Self { measure, median, least, most, unit, reach, detail }
    }

    /// Of the times of `pairs`: how much of their time ours takes.
    pub(crate) fn of_times(measure: &str, pairs: &[(Duration, Duration)], reach: Reach) -> Self {
        let ratios = pairs.iter().map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64());
        let row = Self::of(measure, "×", &ratios.collect::<Vec<_>>(), reach);
        Self { detail: medians(pairs), ..row }
    }

    /// Of the times of `pairs` that moved as many bytes: how much of their speed ours has.
    pub(crate) fn of_speeds(measure: &str, pairs: &[(Duration, Duration)], reach: Reach) -> Self {
        let ratios = pairs.iter().map(|(ours, theirs)| theirs.as_secs_f64() / ours.as_secs_f64());
        let row = Self::of(measure, "×", &ratios.collect::<Vec<_>>(), reach);
        Self { detail: medians(pairs), ..row }
    }

    pub(crate) fn print(&self) {
        let Self { measure, median, least, most, unit, reach, detail } = self;
        let (met, reach) = match reach {
            Reach::AtMost(most) => (median <= most, format!("≤ {most}{unit}")),
            Reach::AtLeast(least) => (median >= least, format!("≥ {least}{unit}")),
        };
        let met = if met { "met" } else { "not met" };
        let value = format!("{median:.2}{unit} ({least:.2}–{most:.2})");
        println!("{measure:<52} {value:<24} {reach:<9} {met:<8} {detail}");
    }
}

pub(crate) fn print_head() {
    let [measure, value, reach, met] = ["measure", "median (least–most)", "reach", ""];
    println!("{measure:<52} {value:<24} {reach:<9} {met:<8} ours, theirs");
}

/// Run both in turn, as often as a median needs, after one run of each that does not count.
pub(crate) fn pairs(
    count: usize,
    ours: impl FnMut(),
    theirs: impl FnMut(),
) -> Vec<(Duration, Duration)> {
    assert!(count >= FEWEST_PAIRS, "{count} pairs are too few for a median");
    few_pairs(count, ours, theirs)
}

/// The same for what takes so long that a row has to say how often it ran.
pub(crate) fn few_pairs(
    count: usize,
    mut ours: impl FnMut(),
    mut theirs: impl FnMut(),
) -> Vec<(Duration, Duration)> {
    ours();
    theirs();
    (0..count).map(|_| (timed(&mut ours), timed(&mut theirs))).collect()
}

pub(crate) fn timed(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn medians(pairs: &[(Duration, Duration)]) -> String {
    let median = |of: fn(&(Duration, Duration)) -> Duration| {
        let mut times: Vec<f64> = pairs.iter().map(|pair| of(pair).as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        middle(&times)
    };
    format!("{:.1} ms, {:.1} ms", median(|pair| pair.0), median(|pair| pair.1))
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}
