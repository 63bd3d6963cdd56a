//! Charts, drawn here as SVG: no script is needed to see them, and the same numbers stand in a table below each.
//!
//! The drawing is stretched to the room that there is, so texts are beside it and not in it. Colours come from classes, for light and dark; what a
//! colour says, a pattern and the legend say too. With `chart.js` the arrow keys go from step to step.

use std::fmt::Write as _;

use maud::{Markup, html};

/// The drawing's own height; its width is the number of steps.
const HEIGHT: f64 = 100.0;

/// One line, or one kind of bars.
pub(crate) struct Series<'a> {
    /// What it shows.
    pub(crate) name: &'a str,
    /// A value for each step; none where there is nothing to say.
    pub(crate) values: Vec<Option<f64>>,
}

impl<'a> Series<'a> {
    pub(crate) fn new(name: &'a str, values: impl IntoIterator<Item = Option<f64>>) -> Self {
        Self { name, values: values.into_iter().collect() }
    }
}

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Bars, a later series in front of those before it: for parts of a whole, the whole first.
    Bars,
    /// Lines.
    Lines,
}

/// Values over time.
pub(crate) struct Chart<'a> {
    /// Its own on the page.
    pub(crate) id: &'a str,
    /// What it shows.
    pub(crate) title: &'a str,
    /// How it is drawn.
    pub(crate) shape: Shape,
    /// When each step begins, as people read it.
    pub(crate) steps: &'a [String],
    /// At most four, each with a value for each step.
    pub(crate) series: Vec<Series<'a>>,
    /// A value as people read it, with its unit.
    pub(crate) unit: fn(f64) -> String,
}

/// The next larger number of 1, 2, 5, 10, 20, ...: where the axis ends.
fn axis_end(largest: f64) -> f64 {
    if !largest.is_finite() || largest <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(largest.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|end| *end >= largest).unwrap_or(largest)
}

fn largest(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().copied().fold(0.0, f64::max)
}

/// Lines through the values, broken where there is none; a value alone between two holes is a short line.
fn path(values: &[Option<f64>], end: f64) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            drawing = false;
            continue;
        };
        let y = HEIGHT - value / end * HEIGHT;
        let alone = !drawing && values.get(index + 1).is_none_or(Option::is_none);
        // Writing into a text can't fail.
        let _ = if alone {
            write!(path, "M{:.2} {y:.2}H{:.2}", index as f64 + 0.3, index as f64 + 0.7)
        } else {
            write!(path, "{}{:.1} {y:.2}", if drawing { 'L' } else { 'M' }, index as f64 + 0.5)
        };
        drawing = true;
    }
    path
}

impl Chart<'_> {
    /// A value of a series at a step, in words.
    fn told(&self, series: &Series<'_>, step: usize) -> String {
        series.values.get(step).copied().flatten().map_or_else(|| "–".to_owned(), self.unit)
    }

    /// What who does not see the drawing is told of it first.
    fn description(&self) -> String {
        let mut text = String::new();
        for series in &self.series {
            let top = largest(&series.values);
            let at = series.values.iter().position(|value| *value == Some(top)).and_then(|step| self.steps.get(step));
            let last = self.steps.len().checked_sub(1).map(|step| self.told(series, step)).unwrap_or_default();
            let _ = match at {
                Some(at) if top > 0.0 => {
                    write!(text, "{}: highest {} at {at}, last {last}. ", series.name, (self.unit)(top))
                }
                _ => write!(text, "{}: nothing. ", series.name),
            };
        }
        text.push_str("All values are in the table below.");
        text
    }

    /// The chart with its table.
    pub(crate) fn render(&self) -> Markup {
        let end = axis_end(self.series.iter().map(|series| largest(&series.values)).fold(0.0, f64::max));
        let width = self.steps.len().max(1);
        let middle = self.steps.get(width / 2);
        html! {
            figure.chart id=(self.id) data-chart {
                figcaption id={ (self.id) "-title" } { (self.title) }
                @if self.series.len() > 1 {
                    ul.legend { @for (index, series) in self.series.iter().enumerate() {
                        li { span class={ "swatch s" (index) } {} (series.name) }
                    } }
                }
                div.plot {
                    div.ticks aria-hidden="true" {
                        span { ((self.unit)(end)) }
                        span { ((self.unit)(end / 2.0)) }
                        span { ((self.unit)(0.0)) }
                    }
                    svg viewBox={ "0 0 " (width) " 100" } preserveAspectRatio="none" role="img"
                        aria-labelledby={ (self.id) "-title " (self.id) "-about" } {
                        desc id={ (self.id) "-about" } { (self.description()) }
                        path.rule d={ "M0 0H" (width) "M0 50H" (width) "M0 100H" (width) } {}
                        @for (index, series) in self.series.iter().enumerate() {
                            (self.drawn(index, series, end))
                        }
                        @for step in 0..self.steps.len() {
                            rect.step x=(step) y="0" width="1" height="100" { title { (self.step_in_words(step)) } }
                        }
                    }
                    div.times aria-hidden="true" {
                        span { (self.steps.first().map_or("", String::as_str)) }
                        @if width > 2 { span { (middle.map_or("", String::as_str)) } }
                        span { (self.steps.last().map_or("", String::as_str)) }
                    }
                    // What the keyboard is at; its room is kept, so that nothing moves when a script fills it.
                    output.said {}
                }
                details {
                    summary { "The numbers" span.unseen { " of “" (self.title) "”" } }
                    (self.table())
                }
            }
        }
    }

    fn drawn(&self, index: usize, series: &Series<'_>, end: f64) -> Markup {
        match self.shape {
            Shape::Lines => html! { path class={ "line s" (index) } d=(path(&series.values, end)) {} },
            Shape::Bars => html! {
                g class={ "bars s" (index) } {
                    @for (step, value) in series.values.iter().enumerate() {
                        @if let Some(value) = value.filter(|value| *value > 0.0) {
                            // What is there is seen, however little.
                            @let height = (value / end * HEIGHT).max(1.0);
                            rect x={ (format!("{:.2}", step as f64 + 0.12)) } width="0.76"
                                y={ (format!("{:.2}", HEIGHT - height)) } height={ (format!("{height:.2}")) } {}
                        }
                    }
                }
            },
        }
    }

    fn step_in_words(&self, step: usize) -> String {
        let mut text = self.steps.get(step).cloned().unwrap_or_default();
        for (index, series) in self.series.iter().enumerate() {
            let _ =
                write!(text, "{} {}: {}", if index == 0 { " –" } else { "," }, series.name, self.told(series, step));
        }
        text
    }

    fn table(&self) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-label={ "The numbers of “" (self.title) "”" } {
                table {
                    caption.unseen { (self.title) }
                    thead { tr {
                        th scope="col" { "From (UTC)" }
                        @for series in &self.series { th.number scope="col" { (series.name) } }
                    } }
                    tbody {
                        @for (step, from) in self.steps.iter().enumerate().rev() {
                            tr {
                                th scope="row" { (from) }
                                @for series in &self.series { td.number { (self.told(series, step)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A small line without axes, for a row of a table or beside a number. `words` says what it shows and comes to.
pub(crate) fn sparkline(words: &str, values: &[u64]) -> Markup {
    #[allow(clippy::cast_precision_loss)] // To be drawn.
    let values: Vec<Option<f64>> = values.iter().map(|value| Some(*value as f64)).collect();
    let end = axis_end(largest(&values));
    html! {
        svg.sparkline viewBox={ "0 0 " (values.len().max(1)) " 100" } preserveAspectRatio="none" role="img" aria-label=(words) {
            path class="line s0" d=(path(&values, end)) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (largest, end) in
            [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (47.0, 50.0), (0.03, 0.05), (100.0, 100.0), (501.0, 1000.0)]
        {
            assert!((axis_end(largest) - end).abs() < 1e-9, "{largest} ends at {}", axis_end(largest));
        }
    }

    #[test]
    fn what_is_drawn_is_said_too() {
        let steps = ["10:00", "11:00", "12:00"].map(str::to_owned);
        let chart = Chart {
            id: "c",
            title: "Requests <all>",
            shape: Shape::Bars,
            steps: &steps,
            series: vec![
                Series::new("Requests", [Some(4.0), Some(10.0), None]),
                Series::new("Errors", [Some(0.0), Some(1.0), None]),
            ],
            unit: |value| format!("{value}"),
        };
        let html = chart.render().into_string();
        assert!(html.contains("Requests: highest 10 at 11:00, last –."), "{html}");
        assert!(html.contains("<title>11:00 – Requests: 10, Errors: 1</title>"), "{html}");
        assert_eq!(html.matches("<tr>").count(), 4, "a head and a row for each step");
        assert_eq!(html.matches(r#"width="0.76""#).count(), 3, "no bar for nothing");
        assert!(!html.contains("<all>") && !html.contains("style="), "{html}");
    }

    #[test]
    fn lines_break_where_nothing_is_known() {
        let values = [Some(1.0), Some(2.0), None, Some(2.0), None];
        assert_eq!(path(&values, 2.0), "M0.5 50.00L1.5 0.00M3.30 0.00H3.70");
    }
}
