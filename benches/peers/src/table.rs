//! Formats the medians of a scenario.

use crate::measure::{Outcome, median};
use crate::scenario::{Column, Scenario};

/// The results of each run of the scenario, by round; `None` if a round failed.
pub type Outcomes = Vec<Vec<Option<Outcome>>>;

pub fn print(scenario: &Scenario, outcomes: &Outcomes) {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(scenario.columns.iter().map(|column| column.title.to_owned()));
    for (run, rounds) in scenario.runs.iter().zip(outcomes) {
        let mut row = vec![run.label.to_owned()];
        for column in &scenario.columns {
            row.push(cell(scenario, column, rounds, outcomes));
        }
        rows.push(row);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0))
        .collect();
    println!("\n{}: {}", scenario.name, scenario.about);
    for row in rows {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        println!("{}", line.trim_end());
    }
}

/// The median of a column over the rounds, or of its ratios.
fn cell(
    scenario: &Scenario,
    column: &Column,
    rounds: &[Option<Outcome>],
    outcomes: &Outcomes,
) -> String {
    let value = |outcome: &Option<Outcome>| outcome.as_ref().map_or(f64::NAN, column.value);
    let values = match column.over {
        None => rounds.iter().map(value).collect(),
        Some(base) => {
            let base = scenario.runs.iter().position(|run| run.label == base);
            let Some(base) = base.and_then(|i| outcomes.get(i)) else { return "-".into() };
            rounds.iter().zip(base).map(|(one, other)| value(one) / value(other)).collect()
        }
    };
    let median = median(values);
    if median.is_nan() { "-".into() } else { format!("{median:.*}", column.decimals) }
}
