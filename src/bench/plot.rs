//! Throughput against latency, as an SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::report::{Offered, Quantiles, Report};

/// The picture's size, in pixels.
const SIZE: (u32, u32) = (800, 500);
/// The least latency that is drawn, in milliseconds: the axis is logarithmic.
const LEAST: f64 = 0.1;
/// A line: its name, its colour, and what it shows of an offer.
type Line = (&'static str, RGBColor, fn(&Quantiles) -> f64);
/// What is drawn: in colours that are told apart by those who see few, and in grey.
const LINES: [Line; 3] = [
    ("p50", RGBColor(0, 114, 178), |quantiles| quantiles.p50),
    ("p95", RGBColor(230, 159, 0), |quantiles| quantiles.p95),
    ("p99", RGBColor(213, 94, 0), |quantiles| quantiles.p99),
];

/// A kind of points: what it means, and how it is drawn.
type Point = (&'static str, fn() -> ShapeStyle);
/// What points mean.
const POINTS: [Point; 2] =
    [("sustained", || BLACK.filled()), ("behind, or not offered in full", || BLACK.stroke_width(1))];

/// Draws the offers without state. Filled points are of rates that were sustained.
///
/// # Errors
/// If there is none, or the library fails.
pub(super) fn draw(report: &Report) -> Result<String> {
    let mut offers: Vec<&Offered> = report.plain().collect();
    if offers.is_empty() {
        return Err(anyhow!("no rate was offered: there is nothing to draw (--rates)"));
    }
    offers.sort_by(|a, b| a.records_per_second.total_cmp(&b.records_per_second));
    let rates = offers.iter().map(|offer| offer.records_per_second);
    let latencies = offers.iter().flat_map(|offer| LINES.map(|(.., of)| of(&offer.latency_ms).max(LEAST)));
    let (rates, latencies) = (around(rates), around(latencies));
    let mut svg = String::new();
    paint(&mut svg, report, &offers, rates, latencies).map_err(|error| anyhow!("drawing: {error}"))?;
    Ok(svg)
}

/// A range that holds all of `values`, with some room, and two powers of ten at the least: only these are ticks.
fn around(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, most) =
        values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
    let range = least / 1.5..most * 1.5;
    let (below, above) = (range.start.log10(), range.end.log10());
    if above.floor() - below.ceil() >= 1.0 {
        return range;
    }
    // A little more, so that the ticks at both ends are inside.
    10f64.powf(below.floor()) * 0.98..10f64.powf(above.ceil()) * 1.02
}

fn paint(
    svg: &mut String,
    report: &Report,
    offers: &[&Offered],
    rates: std::ops::Range<f64>,
    latencies: std::ops::Range<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let caption = format!(
        "word-count: append to committed count, --epoch {} ms, {} word{} a record",
        report.epoch_ms,
        report.workload.words,
        if report.workload.words == 1 { "" } else { "s" }
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 18))
        .margin(15)
        // The last label of the axis is wider than the tick that it is centred on.
        .margin_right(45)
        .x_label_area_size(45)
        .y_label_area_size(60)
        .build_cartesian_2d(rates.log_scale(), latencies.log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("records a second")
        .y_desc("latency, ms")
        .x_label_formatter(&|rate| indicatif::HumanCount(rate.round() as u64).to_string())
        .y_label_formatter(&|ms| format!("{ms}"))
        .label_style(("sans-serif", 13))
        .draw()?;
    for (name, color, of) in LINES {
        let point = |offer: &&Offered| (offer.records_per_second, of(&offer.latency_ms).max(LEAST));
        chart
            .draw_series(LineSeries::new(offers.iter().map(point), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        chart.draw_series(offers.iter().map(|offer| {
            // Hollow ones cover their line: that they are hollow is to be seen.
            let inside = if offer.sustained { color } else { WHITE };
            EmptyElement::at(point(offer))
                + Circle::new((0, 0), 4, inside.filled())
                + Circle::new((0, 0), 4, color.stroke_width(1))
        }))?;
    }
    for (name, style) in POINTS {
        let none = None::<Circle<(f64, f64), i32>>;
        chart.draw_series(none)?.label(name).legend(move |(x, y)| Circle::new((x + 10, y), 4, style()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .label_font(("sans-serif", 13))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{offered, report};
    use super::*;

    #[test]
    fn each_offer_is_a_point_of_each_line() {
        let svg = draw(&report(vec![offered(1e3, true), offered(4e3, false), offered(2e3, true)])).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        // Nine points of two circles each, and two in the legend.
        assert_eq!(svg.matches("<circle").count(), 2 * 9 + 2, "{svg}");
        for text in ["p50", "p95", "p99", "records a second", "--epoch 10 ms", "sustained", "behind"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn every_axis_has_ticks() {
        assert_eq!(around([10.0, 1000.0].into_iter()), 10.0 / 1.5..1500.0);
        for (least, most) in [(182.0, 541.0), (5.0, 33.0), (0.1, 0.1), (2e5, 3e5)] {
            let range = around([least, most].into_iter());
            let ticks = (-3..9).filter(|&power| range.contains(&10f64.powi(power))).count();
            assert!(ticks >= 2 && range.contains(&least) && range.contains(&most), "{range:?}");
        }
    }

    #[test]
    fn nothing_offered_is_nothing_to_draw() {
        assert!(draw(&report(Vec::new())).unwrap_err().to_string().contains("--rates"));
    }
}
