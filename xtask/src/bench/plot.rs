//! The plots of the page: bars for what was compared, lines for what must stay flat.
//!
//! Owns sizes and colours. The colours are chosen twice, for light and for dark surroundings; the picture follows what
//! its reader's system prefers, and has a background of its own, so that it can be read on either.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::record::{Figure, GroupRecord, Role, Series, digits};
use crate::Outcome;

/// Width of every plot, in pixels; a page of text is about so wide.
const WIDTH: u32 = 860;

/// Where bars begin (left of it are the names) and where the longest may end.
const BARS: (i32, i32) = (210, 700);

/// Where the values stand, in a column of their own that no line crosses.
const VALUES: i32 = 724;

const TITLE_HEIGHT: i32 = 34;
const ROW_HEIGHT: i32 = 24;
const GAP: i32 = 14;

const FONT: &str = "sans-serif";

const BACKGROUND: RGBColor = RGBColor(0xff, 0xff, 0xff);
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const FAINT: RGBColor = RGBColor(0x59, 0x63, 0x6e);
const GRID: RGBColor = RGBColor(0xd1, 0xd9, 0xe0);
const OURS: RGBColor = RGBColor(0x09, 0x69, 0xda);
const PEER: RGBColor = RGBColor(0x9a, 0xa4, 0xaf);
const LIMIT: RGBColor = RGBColor(0xc9, 0xd1, 0xd9);
const TARGET: RGBColor = RGBColor(0xbc, 0x4c, 0x00);

/// The same colours for dark surroundings: light, dark.
const DARK: [(RGBColor, &str); 10] = [
    (BACKGROUND, "#0d1117"),
    (INK, "#f0f6fc"),
    (FAINT, "#9198a1"),
    (GRID, "#3d444d"),
    (OURS, "#4493f8"),
    (PEER, "#7d8590"),
    (LIMIT, "#545d68"),
    (TARGET, "#f0883e"),
    (LINES[2], "#3fb950"),
    (LINES[3], "#ab7df8"),
];

/// Lines in one plot are told apart by more than colour: each is named at its end.
const LINES: [RGBColor; 4] = [OURS, TARGET, RGBColor(0x1a, 0x7f, 0x37), RGBColor(0x82, 0x50, 0xdf)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The plot of a group.
pub(super) fn draw(group: &GroupRecord) -> Outcome<String> {
    let (lines, bars): (Vec<&Figure>, Vec<&Figure>) =
        group.figures.iter().partition(|figure| figure.key.starts_with(GROWING));
    let bars_height: i32 = bars.iter().map(|figure| height(figure)).sum();
    let lines_height = if lines.is_empty() { 0 } else { 380 };
    let size = (WIDTH, u32::try_from(bars_height + lines_height + 2 * GAP).unwrap_or(1000));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&BACKGROUND).map_err(cannot)?;
        let mut top = GAP;
        for figure in bars {
            draw_bars(&area, figure, top)?;
            top += height(figure);
        }
        if !lines.is_empty() {
            draw_lines(&area.split_vertically(top).1, &lines)?;
        }
        area.present().map_err(cannot)?;
    }
    Ok(styled(&svg, &group.title))
}

/// Keys of figures that are points of a line: `scale-MEASURE-SIZE`.
const GROWING: &str = "scale-";

fn cannot(error: impl std::fmt::Display) -> String {
    format!("cannot draw a plot: {error}")
}

fn shown(figure: &Figure) -> impl Iterator<Item = &Series> {
    figure.series.iter().filter(|series| !series.samples.is_empty())
}

fn height(figure: &Figure) -> i32 {
    let rows = i32::try_from(shown(figure).count()).unwrap_or(0);
    TITLE_HEIGHT + rows * ROW_HEIGHT + GAP
}

/// One bar per contestant with its spread, and the target across them.
fn draw_bars(area: &Area<'_>, figure: &Figure, top: i32) -> Outcome {
    let target = figure.target.as_ref().map(|target| target.limit);
    let longest = shown(figure)
        .map(|series| series.samples.max())
        .chain(target)
        .fold(f64::MIN_POSITIVE, f64::max);
    let at = |value: f64| BARS.0 + (f64::from(BARS.1 - BARS.0) * value / longest).round() as i32;
    let title = (FONT, 15).into_font().style(FontStyle::Bold).color(&INK);
    let text = |text: &str, x, y, colour: &RGBColor, side| {
        let style = (FONT, 13).into_font().color(colour).pos(Pos::new(side, VPos::Center));
        area.draw(&Text::new(text.to_owned(), (x, y), style)).map_err(cannot)
    };
    area.draw(&Text::new(figure.title.clone(), (GAP, top), title)).map_err(cannot)?;
    let first = top + TITLE_HEIGHT;
    let mut middle = first + ROW_HEIGHT / 2;
    for series in shown(figure) {
        let (median, colour) = (series.samples.median(), colour(series.role));
        text(&series.name, BARS.0 - 10, middle, &INK, HPos::Right)?;
        let corners = [(BARS.0, middle - 8), (at(median), middle + 8)];
        area.draw(&Rectangle::new(corners, colour.filled())).map_err(cannot)?;
        let spread = [(at(series.samples.min()), middle), (at(series.samples.max()), middle)];
        area.draw(&PathElement::new(spread.to_vec(), INK.stroke_width(1))).map_err(cannot)?;
        let value = figure.unit.show(median);
        text(&value, VALUES, middle, &INK, HPos::Left)?;
        middle += ROW_HEIGHT;
    }
    if let Some(target) = &figure.target {
        let (x, bottom) = (at(target.limit), middle - ROW_HEIGHT / 2);
        let line = vec![(x, first - 2), (x, bottom)];
        area.draw(&PathElement::new(line, TARGET.stroke_width(2))).map_err(cannot)?;
        let word = if target.aim { "aim" } else { "target" };
        text(&format!("{word}: {}", target.words), x, first - 9, &TARGET, HPos::Center)?;
    }
    Ok(())
}

fn colour(role: Role) -> RGBColor {
    match role {
        Role::Ours => OURS,
        Role::Peer => PEER,
        Role::Limit => LIMIT,
    }
}

/// One line per measure over the number of tasks.
fn draw_lines(area: &Area<'_>, figures: &[&Figure]) -> Outcome {
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for figure in figures {
        let Some((name, size)) = figure.key[GROWING.len()..].rsplit_once('-') else { continue };
        let (Ok(size), Some(ours)) = (size.parse::<f64>(), figure.ours()) else { continue };
        let point = (size, ours.samples.median());
        match lines.iter_mut().find(|(other, _)| *other == name) {
            Some((_, points)) => points.push(point),
            None => lines.push((name, vec![point])),
        }
    }
    let points = || lines.iter().flat_map(|(_, points)| points);
    let highest = points().map(|point| point.1).fold(1.0, f64::max) * 1.15;
    let smallest = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let largest = points().map(|point| point.0).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(GAP)
        .margin_right(90)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d((smallest..largest).log_scale(), 0.0..highest)
        .map_err(cannot)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(FAINT)
        .x_labels(4)
        .x_desc("tasks in the store")
        .y_desc("milliseconds")
        .x_label_formatter(&|value| digits(*value))
        .y_label_formatter(&|value| digits(*value))
        .label_style((FONT, 13).into_font().color(&FAINT))
        .axis_desc_style((FONT, 13).into_font().color(&FAINT))
        .draw()
        .map_err(cannot)?;
    for ((name, points), colour) in lines.iter().zip(LINES) {
        let style = ShapeStyle::from(colour).stroke_width(2);
        chart.draw_series(LineSeries::new(points.clone(), style)).map_err(cannot)?;
        let dots = points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
        chart.draw_series(dots).map_err(cannot)?;
        if let Some(last) = points.last() {
            let (x, y) = chart.backend_coord(last);
            let origin = area.get_base_pixel();
            let style =
                (FONT, 13).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Center));
            let at = (x - origin.0 + 10, y - origin.1);
            area.draw(&Text::new((*name).to_owned(), at, style)).map_err(cannot)?;
        }
    }
    Ok(())
}

/// Adds what the drawing library does not know: a name for those who cannot see it, and the dark colours.
fn styled(svg: &str, title: &str) -> String {
    let mut dark = String::new();
    for (light, to) in DARK {
        let from = format!("#{:02X}{:02X}{:02X}", light.0, light.1, light.2);
        dark.push_str(&format!("[fill=\"{from}\"]{{fill:{to}}}[stroke=\"{from}\"]{{stroke:{to}}}"));
    }
    let head = format!(
        "<title>{title}</title>\n<style>text{{font-family:system-ui,sans-serif}}\
         @media (prefers-color-scheme:dark){{{dark}}}</style>\n"
    );
    match svg.find("<rect") {
        Some(at) => format!("{}{head}{}", &svg[..at], &svg[at..]),
        None => svg.to_owned(),
    }
}
