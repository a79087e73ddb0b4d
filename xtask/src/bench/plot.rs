//! Figures as plots: where each mark stands. How it looks is the templates'.

use serde::Serialize;

use super::table::{bytes, median, millis};
use super::{
    Bench, COLD, COLD_TO_REQUEST, COLD_WITH_CONTAINER, EMPTY, READ, RESTORED, RESTORED_TO_REQUEST,
    RESTORED_WITH_CONTAINER,
};

/// Width of every plot, and where its area begins and ends, in pixels.
pub const WIDTH: f64 = 760.0;
const LEFT: f64 = 208.0;
const RIGHT: f64 = 700.0;
/// Where the area begins below title and note.
const TOP: f64 = 58.0;
/// Behind the longest bar its value stands.
const ROOM: f64 = 1.16;

/// One plot.
#[derive(Debug, Clone, Serialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub note: String,
    /// In pixels, as every position.
    pub height: f64,
    /// In the order in which they are drawn.
    pub marks: Vec<Mark>,
}

/// One thing that is drawn. `class` says how it looks.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Mark {
    /// A bar; `tip` is shown where a pointer rests.
    Bar { x: f64, y: f64, width: f64, height: f64, class: String, tip: String },
    /// A straight line.
    Line { x1: f64, y1: f64, x2: f64, y2: f64, class: &'static str },
    /// One measurement.
    Dot { x: f64, y: f64, class: &'static str, tip: String },
    /// A line through points.
    Path { points: Vec<[f64; 2]>, class: &'static str },
    /// Text, whose `anchor` is `start`, `middle` or `end`.
    Text { x: f64, y: f64, anchor: &'static str, class: &'static str, text: String },
}

/// Every plot for which there are figures.
pub fn plots(bench: &Bench) -> Vec<Plot> {
    [starts(bench), restores(bench), stages(bench), rates(bench), dumped(bench), resident(bench)]
        .into_iter()
        .flatten()
        .collect()
}

/// Tenths of a pixel are enough.
fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl Plot {
    fn new(title: &str, note: String) -> Plot {
        Plot { title: title.to_owned(), note, height: 0.0, marks: Vec::new() }
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str, tip: String) {
        let class = class.to_owned();
        let (x, y, width, height) = (px(x), px(y), px(width.max(0.0)), px(height));
        self.marks.push(Mark::Bar { x, y, width, height, class, tip });
    }

    fn line(&mut self, from: [f64; 2], to: [f64; 2], class: &'static str) {
        let [[x1, y1], [x2, y2]] = [from.map(px), to.map(px)];
        self.marks.push(Mark::Line { x1, y1, x2, y2, class });
    }

    fn text(&mut self, x: f64, y: f64, anchor: &'static str, class: &'static str, text: impl Into<String>) {
        self.marks.push(Mark::Text { x: px(x), y: px(y), anchor, class, text: text.into() });
    }

    /// The axis below an area that ends at `bottom`, with lines through it, and the name of what is on it.
    fn across(&mut self, axis: &Axis, top: f64, bottom: f64, name: &str) {
        for tick in axis.ticks() {
            let x = axis.at(tick);
            self.line([x, top], [x, bottom], "grid");
            self.text(x, bottom + 16.0, "middle", "tick", shown(tick));
        }
        self.text(axis.to, bottom + 34.0, "end", "axis", name);
        self.height = bottom + 46.0;
    }

    /// The axis beside an area, with lines through it.
    fn beside(&mut self, axis: &Axis, left: f64, right: f64, name: &str) {
        for tick in axis.ticks() {
            let y = axis.at(tick);
            self.line([left, y], [right, y], "grid");
            self.text(left - 8.0, y + 4.0, "end", "tick", shown(tick));
        }
        self.text(left - 8.0, axis.to - 10.0, "end", "axis", name);
    }
}

/// From 0 to a highest value, drawn between two positions.
struct Axis {
    highest: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// The highest value gets a little room.
    fn new(highest: f64, from: f64, to: f64) -> Axis {
        let highest = if highest.is_finite() && highest > 0.0 { highest * 1.06 } else { 1.0 };
        Axis { highest, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * value / self.highest
    }

    /// Four to nine round values.
    fn ticks(&self) -> Vec<f64> {
        let rough = self.highest / 5.0;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
        let step = step.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough);
        (0..).map(|number| f64::from(number) * step).take_while(|value| *value <= self.highest).collect()
    }
}

fn shown(value: f64) -> String {
    let text = format!("{value:.2}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Cold beside restored.
fn starts(bench: &Bench) -> Option<Plot> {
    let rows = [
        ("to ready,", "from the container's start", COLD, RESTORED),
        ("to ready,", "container start included", COLD_WITH_CONTAINER, RESTORED_WITH_CONTAINER),
        ("to the first warm-up request,", "container start included", COLD_TO_REQUEST, RESTORED_TO_REQUEST),
    ];
    let present: Vec<_> = rows
        .into_iter()
        .filter_map(|(first, second, cold, restored)| {
            Some((first, second, bench.series(cold)?, bench.series(restored)?))
        })
        .collect();
    let highest = present.iter().flat_map(|row| [row.2.p95(), row.3.p95()]).fold(0.0, f64::max);
    let mut plot = Plot::new(
        "To the first correct answer",
        "Bars are medians, whiskers reach to the 95th percentile. Shorter is better.".into(),
    );
    if present.is_empty() {
        return None;
    }
    let axis = Axis::new(highest * ROOM / 1000.0, LEFT, RIGHT);
    let bottom = TOP + present.len() as f64 * 62.0;
    plot.across(&axis, TOP, bottom, "seconds");
    for (number, (first, second, cold, restored)) in present.into_iter().enumerate() {
        let y = TOP + 8.0 + number as f64 * 62.0;
        plot.text(LEFT - 12.0, y + 17.0, "end", "label", first);
        plot.text(LEFT - 12.0, y + 33.0, "end", "label", second);
        for (series, class, y) in [(cold, "cold", y), (restored, "restored", y + 24.0)] {
            let (middle, high) = (axis.at(series.median() / 1000.0), axis.at(series.p95() / 1000.0));
            let name = format!("{}: median {} ms", series.name, millis(series.median()));
            plot.bar(LEFT, y, middle - LEFT, 20.0, class, name);
            plot.line([middle, y + 10.0], [high, y + 10.0], "whisker");
            plot.line([high, y + 5.0], [high, y + 15.0], "whisker");
            let value = format!("{class} {}", crate::progress::seconds(duration(series.median())));
            plot.text(high + 7.0, y + 14.5, "start", "value", value);
        }
    }
    Some(plot)
}

fn duration(millis: f64) -> std::time::Duration {
    std::time::Duration::from_secs_f64((millis / 1000.0).max(0.0))
}

/// Every restore, in its order.
fn restores(bench: &Bench) -> Option<Plot> {
    let series = bench.series(RESTORED)?;
    let (left, bottom) = (64.0, TOP + 190.0);
    let highest = series.percentile(1.0).max(bench.median(READ).unwrap_or_default());
    let axis = Axis::new(highest, bottom, TOP + 14.0);
    let note = format!(
        "From the container's start to ready, in the order in which they were made; n = {}.",
        series.millis.len()
    );
    let mut plot = Plot::new("Every restore", note);
    plot.beside(&axis, left, RIGHT, "ms");
    let place = |number: usize| {
        left + 14.0 + (RIGHT - left - 28.0) * (number as f64 + 0.5) / series.millis.len() as f64
    };
    for (number, value) in series.millis.iter().enumerate() {
        let tip = format!("restore {}: {} ms", number + 1, millis(*value));
        plot.marks.push(Mark::Dot { x: px(place(number)), y: px(axis.at(*value)), class: "restored", tip });
    }
    let lines = [
        ("median", Some(series.median()), "middle-line"),
        ("p95", Some(series.p95()), "high-line"),
        ("plain read", bench.median(READ), "floor-line"),
    ];
    let mut lines: Vec<_> =
        lines.into_iter().filter_map(|(name, value, class)| Some((axis.at(value?), name, class))).collect();
    lines.sort_by(|one, other| one.0.total_cmp(&other.0));
    // From the top, so that the names of lines side by side stand in the lines' order and not over each other.
    let mut free = f64::MIN;
    for (y, name, class) in lines {
        plot.line([left, y], [RIGHT, y], class);
        let at = (y + 4.0).max(free);
        plot.text(RIGHT + 6.0, at, "start", "tick", name);
        free = at + 13.0;
    }
    plot.height = bottom + 16.0;
    Some(plot)
}

/// Where the time of a restore goes, above what it cannot be less than.
fn stages(bench: &Bench) -> Option<Plot> {
    let all: f64 = bench.stages.iter().map(super::Series::median).sum();
    let floor = [("an empty container", EMPTY), ("reading the pages", READ)];
    let floor: Vec<_> = floor.into_iter().filter_map(|(name, of)| Some((name, bench.median(of)?))).collect();
    let traced = bench.stages.first().filter(|stage| !stage.millis.is_empty())?.millis.len();
    let mut plot = Plot::new(
        "Where the time of a restore goes",
        format!(
            "Medians of {traced} restores of which CRIU wrote down everything, one stage after the other."
        ),
    );
    let highest = all.max(floor.iter().map(|(_, value)| value).sum());
    let axis = Axis::new(highest, 90.0, RIGHT);
    let bottom = TOP + 92.0;
    plot.across(&axis, TOP, bottom, "ms since the container was asked for");
    let mut x = axis.at(0.0);
    plot.text(x - 10.0, TOP + 27.0, "end", "label", "restore");
    for (number, stage) in bench.stages.iter().enumerate() {
        let next = x + axis.at(stage.median()) - axis.at(0.0);
        let tip = format!("{}: {} ms", stage.name, millis(stage.median()));
        plot.bar(x, TOP + 8.0, next - x, 30.0, &format!("stage-{number}"), tip);
        x = next;
    }
    x = axis.at(0.0);
    plot.text(x - 10.0, TOP + 68.0, "end", "label", "floor");
    for (number, (name, value)) in floor.iter().enumerate() {
        let next = x + axis.at(*value) - axis.at(0.0);
        plot.bar(
            x,
            TOP + 52.0,
            next - x,
            24.0,
            &format!("floor-{number}"),
            format!("{name}: {} ms", millis(*value)),
        );
        plot.text(x + 6.0, TOP + 68.0, "start", "inside", *name);
        x = next;
    }
    let rows = bench.stages.len().div_ceil(2);
    for (number, stage) in bench.stages.iter().enumerate() {
        let x = 90.0 + (number / rows) as f64 * 340.0;
        let y = bottom + 54.0 + (number % rows) as f64 * 20.0;
        plot.bar(x, y - 10.0, 11.0, 11.0, &format!("stage-{number}"), String::new());
        plot.text(x + 18.0, y, "start", "label", stage.name.clone());
        plot.text(x + 305.0, y, "end", "value", millis(stage.median()));
    }
    plot.height = bottom + 54.0 + rows as f64 * 20.0;
    Some(plot)
}

/// What a warm JVM is worth.
fn rates(bench: &Bench) -> Option<Plot> {
    let rates: Vec<_> = bench.rates.iter().map(|rate| (rate, rate.per_second())).collect();
    let (first, _) = rates.first().filter(|(_, values)| !values.is_empty())?;
    let (left, bottom) = (64.0, TOP + 190.0);
    let highest = rates.iter().flat_map(|(_, values)| values).copied().fold(0.0, f64::max);
    let up = Axis::new(highest, bottom, TOP + 14.0);
    let seconds =
        rates.iter().map(|(_, values)| values.len()).max()? as f64 * first.bucket_millis as f64 / 1000.0;
    let across = Axis { highest: seconds, from: left, to: RIGHT };
    let note = format!("One caller that asks {} again at once; means of the instances.", first.request);
    let mut plot = Plot::new("Requests a second, from ready on", note);
    plot.beside(&up, left, RIGHT, "per s");
    plot.across(&across, bottom, bottom, "seconds since ready and one request");
    for (rate, values) in &rates {
        let class = if rate.name == "cold" { "cold" } else { "restored" };
        let width = rate.bucket_millis as f64 / 1000.0;
        let points = values.iter().enumerate().flat_map(|(number, value)| {
            let y = up.at(*value);
            let from = number as f64 * width;
            [[across.at(from), y], [across.at(from + width), y]].map(|point| point.map(px))
        });
        let points: Vec<[f64; 2]> = points.collect();
        let last = points.last().copied().unwrap_or_default();
        plot.marks.push(Mark::Path { points, class });
        plot.text(RIGHT + 6.0, last[1] + 4.0, "start", "tick", rate.name.clone());
    }
    Some(plot)
}

/// Bars from the left, one a row: name, size, how it looks.
fn sizes(mut plot: Plot, rows: &[(String, u64, &str)]) -> Option<Plot> {
    const MIB: f64 = (1 << 20) as f64;
    let highest = rows.iter().map(|(_, size, _)| *size).max()? as f64 / MIB;
    let axis = Axis::new(highest * ROOM, LEFT, RIGHT);
    let bottom = TOP + rows.len() as f64 * 28.0 + 4.0;
    plot.across(&axis, TOP, bottom, "MiB");
    for (number, (name, size, class)) in rows.iter().enumerate() {
        let y = TOP + 6.0 + number as f64 * 28.0;
        let x = axis.at(*size as f64 / MIB);
        plot.text(LEFT - 12.0, y + 14.5, "end", "label", name.clone());
        plot.bar(LEFT, y, x - LEFT, 20.0, class, format!("{name}: {}", bytes(*size)));
        plot.text(x + 7.0, y + 14.5, "start", "value", bytes(*size));
    }
    Some(plot)
}

/// The checkpoint, by what it is used for.
fn dumped(bench: &Bench) -> Option<Plot> {
    let rows: Vec<_> =
        bench.kinds().into_iter().map(|(kind, size)| (kind.to_owned(), size, "restored")).collect();
    let all = bytes(bench.memory.values().sum());
    let note = format!("Pages of the checkpoint by what the JVM uses them for; {all} in all.");
    sizes(Plot::new("What is in the checkpoint", note), &rows)
}

/// The process, cold and restored.
fn resident(bench: &Bench) -> Option<Plot> {
    let rows = bench.resident.iter().filter_map(|resident| {
        let class = if resident.name.starts_with("cold") { "cold" } else { "restored" };
        Some((resident.name.clone(), median(&resident.rss)?, class))
    });
    let note = "Resident set size (RSS) of the process, medians.".to_owned();
    sizes(Plot::new("Memory of the JVM", note), &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_values() {
        let check = |highest: f64, expected: &[&str]| {
            let ticks: Vec<String> =
                Axis { highest, from: 0.0, to: 1.0 }.ticks().into_iter().map(shown).collect();
            assert_eq!(ticks, expected, "{highest}");
        };
        check(6.3, &["0", "2", "4", "6"]);
        check(0.25, &["0", "0.05", "0.1", "0.15", "0.2", "0.25"]);
        check(1.0, &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        check(430.0, &["0", "100", "200", "300", "400"]);
        check(Axis::new(f64::NAN, 0.0, 1.0).highest, &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    }
}
