//! The live table, as lines of styled text: they fit any size of window, and the last one stays on the screen.

use std::time::Duration;

use indicatif::HumanCount;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{RenderDirection, Sparkline, Widget};

use super::picture::{Phase, Picture};

const QUIET: Style = Style::new().fg(Color::DarkGray);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const WORDS: Style = Style::new().fg(Color::Cyan);
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
pub(super) fn draw(picture: &Picture, area: Rect, buffer: &mut Buffer) {
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
    words(picture, rows.left, buffer);
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
    let left = Line::from(vec![Span::styled(" cutwater demo", STRONG), Span::styled("  word-count", QUIET)]);
    let hint = if picture.phase == Phase::Generating { ", q ends it" } else { "" };
    let right = Line::styled(format!("{}{hint} ", picture.title), QUIET).right_aligned();
    if left.width() + right.width() < area.width.into() {
        right.render(area, buffer);
    }
    left.render(area, buffer);
}

fn progress(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let (done, length) = (picture.elapsed.as_secs(), picture.length.as_secs());
    let text = match picture.phase {
        Phase::Generating => format!(" {} s of {length} s ", done.min(length)),
        Phase::Draining => " counting what is left ".to_owned(),
        Phase::Done => format!(" done after {done} s "),
    };
    let width = usize::from(area.width).saturating_sub(text.len() + 1);
    let part = match picture.phase {
        Phase::Generating => picture.elapsed.as_secs_f64() / picture.length.as_secs_f64().max(1.0),
        Phase::Draining | Phase::Done => 1.0,
    };
    let filled = ((width as f64 * part) as usize).min(width);
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
            row("words", now.words, mean.words, figures.rows),
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
    let mut lines = vec![Line::styled("not yet counted, records", QUIET)];
    for ((_, partition), &lag) in &picture.figures.lag {
        lines.push(Line::from(vec![
            Span::raw(format!("{partition:>3} {:>8} ", HumanCount(lag.max(0) as u64).to_string())),
            Span::styled(bar(lag as f64 / FULL as f64, LAGS.into(), 13), LAG),
        ]));
    }
    put(lines, area, buffer);
}

fn lag_line(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let mut spans = vec![Span::styled(" lag     ", QUIET)];
    for ((_, partition), &lag) in &picture.figures.lag {
        spans.push(Span::styled(format!(" {partition}:"), QUIET));
        spans.push(Span::styled(format!("{:<8}", HumanCount(lag.max(0) as u64).to_string()), LAG));
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

fn words(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let top = &picture.top;
    let title = format!(" top words, of {} distinct", HumanCount(top.distinct as u64));
    let mut lines = vec![Line::styled(title, QUIET)];
    let shown = &top.words[..top.words.len().min(usize::from(area.height).saturating_sub(1))];
    let longest = shown.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
    let most = shown.first().map_or(1, |&(_, count)| count.max(1));
    for (word, count) in shown {
        let number = HumanCount(u64::try_from(*count).unwrap_or(0)).to_string();
        let before = format!(" {word:<longest$} {number:>13} ");
        let used = before.len() + 1;
        lines.push(Line::from(vec![
            Span::styled(before, STRONG),
            Span::styled(bar(*count as f64 / most as f64, area.width.into(), used), WORDS),
        ]));
    }
    put(lines, area, buffer);
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
pub(super) fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::counts::Top;
    use crate::demo::picture::Rate;
    use crate::status::Figures;

    fn sample() -> Picture {
        let mut figures =
            Figures { records: 3_456_789, rows: 27_654_321, epoch: 98_765, ..Figures::default() };
        figures.lag = (0..4).map(|partition| (("lines".to_owned(), partition), 12_345)).collect();
        let words = (1..=100).map(|rank| (format!("word{rank}"), 1_000_000 / rank)).collect();
        Picture {
            title: "2 workers".into(),
            phase: Phase::Generating,
            elapsed: Duration::from_secs(12),
            length: Duration::from_secs(30),
            figures,
            now: Rate { records: 312_345.0, words: 2_498_760.0 },
            mean: Rate { records: 298_123.0, words: 2_398_123.0 },
            history: vec![300_000; 12],
            top: Top { distinct: 19_876, words },
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
}
