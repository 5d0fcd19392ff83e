//! The samples as a picture: plots one above the other, which share the axis of time.

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::sample::Sample;
use super::series::{GAP_S, SERIES, Series};

/// Pixels of the picture.
const WIDTH: u32 = 1_100;
const TITLE: u32 = 64;
const PANEL: u32 = 170;
/// What the axis of time takes below the last plot.
const TIME: u32 = 34;

/// Pixels of the parts of a plot: its headline, what the numbers of its axis take, the margin.
const HEADLINE: u32 = 24;
const NUMBERS: u32 = 84;
const MARGIN: u32 = 24;

/// Pixels that the name of a quantity takes in a headline.
const NAME: i32 = 120;

/// Colours that those tell apart, too, who see few (after Okabe and Ito).
const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];

const INK: RGBColor = RGBColor(40, 40, 40);

/// What is plotted: a headline, and the names of quantities that share an axis.
const PANELS: [(&str, &[&str]); 9] = [
    ("events a second", &["published", "seen"]),
    ("from due to seen, ms", &["p50", "p99"]),
    ("events that wait for handlers", &["lag"]),
    ("memory, MiB", &["memory", "anonymous"]),
    ("descriptors, threads, files of the store", &["descriptors", "threads", "files"]),
    ("disk, MiB", &["journal", "tables", "cache"]),
    ("processor, µs an event", &["processor"]),
    ("so far: given up, tried again, reloaded", &["dead-letters", "retries", "reloads"]),
    ("load of the machine", &["load"]),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the samples as SVG, under a title of up to two lines.
pub fn draw(samples: &[Sample], title: &str) -> Result<String> {
    let mut text = String::new();
    {
        let panels = u32::try_from(PANELS.len())?;
        let root =
            SVGBackend::with_string(&mut text, (WIDTH, TITLE + panels * PANEL + TIME)).into_drawing_area();
        let drawn = root.fill(&WHITE).map_err(|error| anyhow!("{error}"));
        drawn.and_then(|()| all(&root, samples, title)).context("drawing the samples")?;
        root.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(text)
}

fn all(root: &Area<'_>, samples: &[Sample], title: &str) -> Result<()> {
    let (head, mut rest) = root.split_vertically(TITLE);
    for (line, (text, size)) in title.lines().zip([18, 13]).enumerate() {
        let at = (i32::try_from(MARGIN)?, if line == 0 { 14 } else { 40 });
        head.draw_text(text, &("sans-serif", size).into_text_style(&head).color(&INK), at)?;
    }
    for (index, (headline, names)) in PANELS.into_iter().enumerate() {
        let is_last = index + 1 == PANELS.len();
        let height = if is_last { PANEL + TIME } else { PANEL };
        let (area, below) = rest.split_vertically(height);
        rest = below;
        let series = names.iter().map(|name| named(name)).collect::<Result<Vec<_>>>()?;
        let panel = Panel { headline, series: &series, samples, time: if is_last { TIME } else { 0 } };
        panel.draw(&area)?;
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Series> {
    SERIES.iter().find(|series| series.name == name).with_context(|| format!("there is no quantity {name}"))
}

/// One plot.
struct Panel<'a> {
    headline: &'a str,
    series: &'a [&'static Series],
    samples: &'a [Sample],
    /// Pixels for the axis of time.
    time: u32,
}

impl Panel<'_> {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        self.draw_headline(area)?;
        let minutes = self.samples.last().map_or(1.0, |sample| sample.at_s / 60.0);
        let values =
            self.series.iter().flat_map(|series| self.samples.iter().map(|sample| (series.value)(sample)));
        let top = top(values.collect());
        let mut chart = ChartBuilder::on(area)
            .margin_top(HEADLINE)
            .margin_right(MARGIN)
            .margin_bottom(6)
            .x_label_area_size(self.time)
            .y_label_area_size(NUMBERS)
            .build_cartesian_2d(0.0..minutes, 0.0..top)?;
        // Warm-up, which is not judged.
        let warm_up = Rectangle::new([(0.0, 0.0), (minutes / 3.0, top)], INK.mix(0.05).filled());
        chart.draw_series([warm_up])?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(INK.mix(0.12))
            .axis_style(INK.mix(0.5))
            .label_style(("sans-serif", 12, &INK))
            .x_labels(16)
            .y_labels(5)
            .x_label_formatter(&|minute| number(*minute))
            .y_label_formatter(&|value| number(*value))
            .x_desc(if self.time > 0 { "minutes" } else { "" })
            .draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS) {
            for line in lines(self.samples, series, top) {
                chart.draw_series(LineSeries::new(line, colour.stroke_width(1)))?;
            }
        }
        Ok(())
    }

    /// What is shown at the left, the names in their colours at the right.
    fn draw_headline(&self, area: &Area<'_>) -> Result<()> {
        let left = i32::try_from(NUMBERS)?;
        area.draw_text(
            self.headline,
            &("sans-serif", 14, FontStyle::Bold).into_text_style(area).color(&INK),
            (left, 6),
        )?;
        let mut right = i32::try_from(WIDTH - MARGIN)?;
        for (series, colour) in self.series.iter().zip(COLOURS).rev() {
            let style = ("sans-serif", 13).into_text_style(area).color(&colour);
            let style = style.pos(Pos::new(HPos::Right, VPos::Top));
            area.draw_text(series.name, &style, (right, 7))?;
            right -= NAME;
        }
        Ok(())
    }
}

/// The points of a quantity, in minutes, as lines that break where the samples have a gap: the sample after it is of a time
/// in which something stood still. What is above the top is shown at the top.
fn lines(samples: &[Sample], series: &Series, top: f64) -> Vec<Vec<(f64, f64)>> {
    let mut lines = vec![Vec::new()];
    for sample in samples {
        let value = (series.value)(sample);
        if sample.interval_s >= GAP_S || !value.is_finite() {
            lines.push(Vec::new());
        } else {
            let line = lines.last_mut().expect("there is one from the beginning on");
            line.push((sample.at_s / 60.0, value.min(top)));
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// Where an axis ends: above all values but the highest hundredth, so that a single one does not make all others flat,
/// at 1, 2, 3, 5 or 8 times a power of ten.
fn top(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    values.sort_unstable_by(f64::total_cmp);
    let highest = values.get(values.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0.0);
    let wanted = (highest * 1.05).max(1.0);
    let power = 10_f64.powf(wanted.log10().floor());
    let steps = [1.0, 2.0, 3.0, 5.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= wanted).unwrap_or(wanted)
}

/// A number with its thousands apart.
fn number(value: f64) -> String {
    if value.abs() < 10.0 && value.fract().abs() > 1e-9 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Sample> {
        let sample = |second: u32| Sample { at_s: f64::from(second), interval_s: 1.0, ..Sample::default() };
        (1..=120).map(sample).collect()
    }

    #[test]
    fn an_axis_ends_above_all_but_the_highest() {
        for (values, end) in [
            (vec![], 1.0),
            (vec![0.2], 1.0),
            (vec![7.0], 8.0),
            (vec![19.9], 30.0),
            (vec![960.0], 2_000.0),
            (vec![f64::NAN, 40.0], 50.0),
        ] {
            assert!((top(values.clone()) - end).abs() < 1e-9, "{values:?}");
        }
        let mut with_one = vec![10.0; 999];
        with_one.push(1e9);
        assert!(top(with_one) < 30.0);
    }

    #[test]
    fn numbers_are_easy_to_read() {
        let written = [0.0, 0.5, 2.0, 150.0, 1_000.0, 1_234_567.0, -1_000.0].map(number);
        assert_eq!(written, ["0", "0.5", "2", "150", "1,000", "1,234,567", "-1,000"]);
    }

    #[test]
    fn a_line_breaks_where_the_samples_do_and_stays_below_the_top() {
        let mut samples = samples();
        (samples[50].interval_s, samples[70].load) = (30.0, f64::NAN);
        samples[10].load = 99.0;
        let lines = lines(&samples, named("load").unwrap(), 5.0);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [50, 19, 49]);
        assert!(lines.iter().flatten().all(|(_, value)| *value <= 5.0));
    }

    #[test]
    fn everything_that_is_plotted_is_there() {
        let svg = draw(&samples(), "a title\nand more").unwrap();
        assert!(svg.starts_with("<svg"), "{}", &svg[..80]);
        for text in PANELS.iter().flat_map(|(headline, names)| names.iter().chain([headline])) {
            assert!(svg.contains(*text), "{text}");
        }
        assert!(svg.contains("a title") && svg.contains("minutes"));
        // Nothing but what was sampled is needed to draw.
        assert!(draw(&[], "").is_ok());
    }
}
