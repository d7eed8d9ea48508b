//! The tables a person reads, and the budgets printed beside the figures.
//!
//! A figure over its budget is marked, never an error: times on a shared machine prove nothing by themselves. What is
//! counted instead of timed is guarded by `tests/budget.rs`.

use crate::timed::{AT_ONCE, Pair, Timing};

/// What a figure may be at most, or must be at least.
#[derive(Clone, Copy)]
pub enum Budget {
    AtMost(f64),
    AtLeast(f64),
    None,
}

impl Budget {
    fn mark(self, figure: f64) -> String {
        let (kept, text) = match self {
            Self::AtMost(limit) => (figure <= limit, format!("<= {limit}")),
            Self::AtLeast(limit) => (figure >= limit, format!(">= {limit}")),
            Self::None => return "-".to_owned(),
        };
        format!("{text} {}", if kept { "ok" } else { "OVER" })
    }
}

/// ms that an ADD may take longer than its delegates alone.
pub fn added_by_add(networks: usize) -> Budget {
    match networks {
        0 => Budget::AtMost(0.6),
        2 => Budget::AtMost(1.0),
        _ => Budget::None,
    }
}

/// ADDs per second in a burst on two cores.
pub fn adds_per_second(networks: usize) -> Budget {
    match networks {
        0 => Budget::AtLeast(1000.0),
        2 => Budget::AtLeast(620.0),
        _ => Budget::None,
    }
}

/// us from start to end of VERSION.
pub const START: Budget = Budget::AtMost(300.0);
/// KiB resident at most in one call.
pub const MEMORY: Budget = Budget::AtMost(4096.0);
/// KiB of the binary.
pub const SIZE: Budget = Budget::AtMost(4096.0);

pub fn heading(text: &str) {
    println!("\n{text}");
    println!(
        "  {:<22}{:>18}{:>20}{:>9}{:>17}   budget",
        "", "bare p50/p99 ms", "plugin p50/p99 ms", "ratio", "+ms p50 (p10)"
    );
}

/// One row of times: both subjects, ratio and difference of the medians.
pub fn row(name: &str, pair: &Pair, budget: Budget) {
    let (bare, plugin) = (pair.bare.percentile(0.5), pair.plugin.percentile(0.5));
    let both = |p50: f64, p99: f64| format!("{p50:.2} / {p99:.2}");
    println!(
        "  {name:<22}{:>18}{:>20}{:>8.2}x{:>+9.2} {:<8}  {}",
        both(bare, pair.bare.percentile(0.99)),
        both(plugin, pair.plugin.percentile(0.99)),
        plugin / bare,
        pair.added(0.5),
        format!("({:+.2})", pair.added(0.1)),
        budget.mark(pair.added(0.5)),
    );
}

/// Pods per second, from the median burst.
pub fn rates(networks: usize, timing: &Timing, budget: Budget) {
    let rate = |ms: f64| f64::from(u32::try_from(AT_ONCE).unwrap_or_default()) / ms * 1e3;
    let row = |name: String, pair: &Pair, budget: Budget| {
        let (bare, plugin) = (pair.bare.percentile(0.5), pair.plugin.percentile(0.5));
        let (bare, plugin) = (rate(bare), rate(plugin));
        println!(
            "  {name:<22}{bare:>16.0}/s{plugin:>18.0}/s{:>8.2}x{:>17}   {}",
            plugin / bare,
            "",
            budget.mark(plugin)
        );
    };
    row(format!("ADDs/s, {networks} extra"), &timing.add_burst, budget);
    row(format!("DELs/s, {networks} extra"), &timing.del_burst, Budget::None);
}

/// One counted figure.
pub fn figure(name: &str, value: f64, unit: &str, budget: Budget) {
    println!("  {name:<46}{value:>12.0} {unit:<6}  {}", budget.mark(value));
}

/// A line below a figure that explains it.
pub fn note(text: &str) {
    println!("      {text}");
}
