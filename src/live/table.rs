//! The live table, as lines of styled text: they fit any size of window, and the last one stays on the screen.

use std::time::Duration;

use indicatif::HumanCount;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{RenderDirection, Sparkline, Widget};

use super::picture::{Picture, TopRow};

const QUIET: Style = Style::new().fg(Color::DarkGray);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const ROWS: Style = Style::new().fg(Color::Cyan);
const LAG: Style = Style::new().fg(Color::Yellow);
const RATE: Style = Style::new().fg(Color::Green);

/// The width of the figures, and of the lag beside them, in columns.
const FIGURES: u16 = 50;
const LAGS: u16 = 28;
/// The height of the figures.
const BLOCK: u16 = 5;
/// The lag that fills a bar, in records.
const FULL: i64 = 100_000;

/// Draws the picture into `area`, whatever its size.
pub(crate) fn draw(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let mut rows = Rows { left: area };
    if area.height >= 16 {
        head(picture, rows.take(1), buffer);
    }
    progress(picture, rows.take(1), buffer);
    rows.take(u16::from(area.height >= 18));
    let block = rows.take(BLOCK);
    let (figures_area, beside) = split(block, FIGURES);
    figures(picture, figures_area, buffer);
    if beside.width >= LAGS {
        let (lag_area, rest) = split(beside, LAGS + 2);
        lags(picture, lag_area, buffer);
        if rest.width >= 20 {
            history(picture, rest, buffer);
        }
    } else {
        lag_line(picture, rows.take(1), buffer);
    }
    rows.take(u16::from(area.height >= 18));
    top(picture, rows.left, buffer);
}

/// Hands out rows from the top.
struct Rows {
    left: Rect,
}

impl Rows {
    fn take(&mut self, height: u16) -> Rect {
        let height = height.min(self.left.height);
        let taken = Rect { height, ..self.left };
        self.left.y += height;
        self.left.height -= height;
        taken
    }
}

fn split(area: Rect, width: u16) -> (Rect, Rect) {
    let width = width.min(area.width);
    (Rect { width, ..area }, Rect { x: area.x + width, width: area.width - width, ..area })
}

fn put(lines: Vec<Line<'_>>, area: Rect, buffer: &mut Buffer) {
    for (line, row) in lines.iter().zip(area.rows()) {
        line.render(row, buffer);
    }
}

fn head(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let name = format!(" {}", picture.name);
    let left =
        Line::from(vec![Span::styled(name, STRONG), Span::styled(format!("  {}", picture.dataflow), QUIET)]);
    let right = Line::styled(format!("{} ", picture.title), QUIET).right_aligned();
    if left.width() + right.width() < area.width.into() {
        right.render(area, buffer);
    }
    left.render(area, buffer);
}

fn progress(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let text = format!(" {} ", picture.progress.text);
    let Some(part) = picture.progress.part else { return Line::raw(text).render(area, buffer) };
    let width = usize::from(area.width).saturating_sub(Span::raw(&*text).width() + 1);
    let filled = ((width as f64 * part.clamp(0.0, 1.0)) as usize).min(width);
    let line = Line::from(vec![
        Span::raw(" "),
        Span::styled("━".repeat(filled), RATE),
        Span::styled("━".repeat(width - filled), QUIET),
        Span::raw(text),
    ]);
    line.render(area, buffer);
}

fn figures(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let Picture { now, mean, figures, .. } = picture;
    let row = |name: &str, now: f64, mean: f64, total: u64| {
        Line::from(vec![
            Span::styled(format!(" {name:<8}"), QUIET),
            Span::styled(format!("{:>12}", human(now)), RATE.add_modifier(Modifier::BOLD)),
            Span::raw(format!("{:>12}{:>15}", human(mean), HumanCount(total).to_string())),
        ])
    };
    let at = |quantile| Duration::from_micros(figures.latencies.value_at_quantile(quantile));
    put(
        vec![
            Line::styled(format!(" {:8}{:>12}{:>12}{:>15}", "", "now /s", "mean /s", "total"), QUIET),
            row("records", now.records, mean.records, figures.records),
            row(picture.rows, now.rows, mean.rows, figures.rows),
            Line::from(vec![
                Span::styled(" epoch   ", QUIET),
                Span::styled(format!("{:>12}", HumanCount(figures.epoch).to_string()), STRONG),
            ]),
            Line::from(vec![
                Span::styled(" latency ", QUIET),
                Span::styled(format!("{:>12}", millis(figures.latency)), STRONG),
                Span::raw(format!("   p50 {}   p99 {}", millis(at(0.5)), millis(at(0.99)))),
            ]),
        ],
        area,
        buffer,
    );
}

fn lags(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let (title, lags) = &picture.lags;
    let mut lines = vec![Line::styled(*title, QUIET)];
    let names = lags.iter().take(usize::from(BLOCK) - 1).map(|(name, _)| Span::raw(name.as_str()).width());
    let longest = names.max().unwrap_or(0).clamp(3, 12);
    for (name, lag) in lags {
        lines.push(Line::from(vec![
            Span::raw(format!(
                "{} {:>8} ",
                fit(name, longest, true),
                HumanCount(*lag.max(&0) as u64).to_string()
            )),
            Span::styled(bar(*lag as f64 / FULL as f64, LAGS.into(), longest + 10), LAG),
        ]));
    }
    put(lines, area, buffer);
}

fn lag_line(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let mut spans = vec![Span::styled(" lag     ", QUIET)];
    for (name, lag) in &picture.lags.1 {
        spans.push(Span::styled(format!(" {name}:"), QUIET));
        spans.push(Span::styled(format!("{:<8}", HumanCount(*lag.max(&0) as u64).to_string()), LAG));
    }
    Line::from(spans).render(area, buffer);
}

fn history(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let area = Rect { width: area.width - 1, ..area };
    let mut rows = Rows { left: area };
    Line::styled("records/s over time", QUIET).render(rows.take(1), buffer);
    let latest_first: Vec<u64> = picture.history.iter().rev().copied().collect();
    Sparkline::default()
        .data(latest_first)
        .direction(RenderDirection::RightToLeft)
        .style(RATE)
        .render(rows.left, buffer);
}

fn top(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let top = &picture.top;
    let mut lines = vec![Line::styled(format!(" {}", top.title), QUIET)];
    let shown = &top.rows[..top.rows.len().min(usize::from(area.height).saturating_sub(1))];
    let width =
        |text: fn(&TopRow) -> &str| shown.iter().map(|row| Span::raw(text(row)).width()).max().unwrap_or(0);
    // What is long leaves room for what is beside it.
    let names = width(|row| &row.name).min(usize::from(area.width) / 2);
    let values = width(|row| &row.value).clamp(13, 40);
    let most = shown.iter().map(|row| row.size.abs()).fold(0.0, f64::max);
    for row in shown {
        let before = format!(" {} {} ", fit(&row.name, names, false), fit(&row.value, values, true));
        let size = if most > 0.0 { row.size.abs() / most } else { 0.0 };
        lines.push(Line::from(vec![
            Span::styled(before, STRONG),
            Span::styled(bar(size, area.width.into(), names + values + 4), ROWS),
        ]));
    }
    put(lines, area, buffer);
}

/// The text in just so many columns: cut where it has more, and filled up with spaces at its end, or before it where it is
/// a number.
fn fit(text: &str, columns: usize, number: bool) -> String {
    let mut kept = String::new();
    let (whole, mut used) = (Span::raw(text).width(), 0);
    for letter in text.chars() {
        let wide = Span::raw(letter.to_string()).width();
        let room = if whole > columns { columns.saturating_sub(1) } else { columns };
        if used + wide > room {
            break;
        }
        kept.push(letter);
        used += wide;
    }
    if whole > columns && columns > 0 {
        kept.push('…');
        used += 1;
    }
    let fill = " ".repeat(columns.saturating_sub(used));
    if number { fill + &kept } else { kept + &fill }
}

/// A bar in eighths of a column, for a part between 0 and 1 of what `used` columns leave of `width`.
fn bar(part: f64, width: usize, used: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let room = width.saturating_sub(used) * 8;
    let eighths = ((room as f64 * part.clamp(0.0, 1.0)).round() as usize).min(room);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn human(rate: f64) -> String {
    HumanCount(rate as u64).to_string()
}

/// A latency in milliseconds.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::picture::{Progress, Rate, Top};
    use crate::status::Figures;

    fn sample() -> Picture {
        let figures = Figures { records: 3_456_789, rows: 27_654_321, epoch: 98_765, ..Figures::default() };
        let row = |rank: i64| TopRow {
            name: format!("word{rank}"),
            value: HumanCount((1_000_000 / rank) as u64).to_string(),
            size: 1_000_000.0 / rank as f64,
        };
        Picture {
            name: "cutwater demo",
            dataflow: "word-count".into(),
            title: "2 workers".into(),
            progress: Progress { part: Some(0.4), text: "12 s of 30 s".into() },
            elapsed: Duration::from_secs(12),
            rows: "words",
            figures,
            now: Rate { records: 312_345.0, rows: 2_498_760.0 },
            mean: Rate { records: 298_123.0, rows: 2_398_123.0 },
            history: vec![300_000; 12],
            lags: ("lag, records", (0..4).map(|partition| (partition.to_string(), 12_345)).collect()),
            top: Top { title: "top words, of 19,876".into(), rows: (1..=100).map(row).collect() },
        }
    }

    fn drawn(width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw(&sample(), area, &mut buffer);
        let symbols: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        symbols.chunks(width.max(1).into()).map(|row| row.concat()).collect()
    }

    #[test]
    fn every_size_can_be_drawn() {
        for width in 0..180 {
            for height in 0..50 {
                drawn(width, height);
            }
        }
    }

    #[test]
    fn the_figures_are_there_narrow_and_wide() {
        for (width, height) in [(60, 20), (80, 24), (140, 40)] {
            let text = drawn(width, height).join("\n");
            for wanted in
                ["12 s of 30 s", "312,345", "2,498,760", "3,456,789", "12,345", "98,765", "19,876", "word1 "]
            {
                assert!(text.contains(wanted), "{wanted:?} is missing at {width}x{height}:\n{text}");
            }
        }
    }

    #[test]
    fn bars_have_the_length_of_their_part() {
        assert_eq!(bar(1.0, 4, 0), "████");
        assert_eq!(bar(0.5, 3, 0), "█▌");
        assert_eq!(bar(0.0, 4, 0), "");
        assert_eq!(bar(2.0, 4, 3), "█");
        assert_eq!(bar(1.0, 4, 5), "");
    }

    #[test]
    fn text_of_any_width_fits_its_columns() {
        for text in ["", "a", "word", "中文字", "e\u{301}te\u{301}", "a中b中"] {
            for columns in 0..12 {
                for number in [false, true] {
                    assert_eq!(
                        Span::raw(fit(text, columns, number)).width(),
                        columns,
                        "{text:?} in {columns}"
                    );
                }
            }
        }
        assert_eq!(
            (&*fit("word", 6, false), &*fit("12", 4, true), &*fit("words", 4, false)),
            ("word  ", "  12", "wor…")
        );
    }
}
