// SPDX-License-Identifier: GPL-2.0

//! The results as drawings.

use super::results::{Measured, Results};
use anyhow::{anyhow, Result};
use plotters::prelude::*;
use std::path::Path;

/// A line of a drawing.
struct Series {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// The rows `<prefix>-<number>` of one driver.
fn points(
    results: &Results,
    prefix: &str,
    driver: &str,
    of: fn(&Measured) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let rows = results.rows.iter().filter_map(|row| {
        let number: f64 = row.name.strip_prefix(prefix)?.parse().ok()?;
        Some((number, of(row.driver(driver)?)?))
    });
    rows.collect()
}

fn draw(path: &Path, title: &str, x: &str, y: &str, list: &[Series]) -> Result<()> {
    let all = || list.iter().flat_map(|series| series.points.iter().copied());
    if all().next().is_none() {
        return Ok(());
    }
    let range = |of: fn((f64, f64)) -> f64| {
        let (low, high) = all().map(of).fold((f64::INFINITY, 0f64), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        (low / 1.3)..(high * 1.5)
    };
    let fail = |error: String| anyhow!("drawing {}: {error}", path.display());
    let area = SVGBackend::new(path, (760, 480)).into_drawing_area();
    area.fill(&WHITE).map_err(|e| fail(e.to_string()))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(range(|p| p.0).log_scale(), range(|p| p.1).log_scale())
        .map_err(|e| fail(e.to_string()))?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .light_line_style(WHITE)
        .draw()
        .map_err(|e| fail(e.to_string()))?;
    for series in list.iter().filter(|series| !series.points.is_empty()) {
        let color = series.color;
        chart
            .draw_series(
                LineSeries::new(series.points.clone(), color.stroke_width(2)).point_size(3),
            )
            .map_err(|e| fail(e.to_string()))?
            .label(series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.4))
        .draw()
        .map_err(|e| fail(e.to_string()))?;
    area.present().map_err(|e| fail(e.to_string()))
}

const FASTRPC: RGBColor = RGBColor(0xb0, 0x3a, 0x2e);
const MAPPED: RGBColor = RGBColor(0xd6, 0x89, 0x10);
const QDA: RGBColor = RGBColor(0x1f, 0x61, 0x8d);
const CALLED: RGBColor = RGBColor(0x5d, 0xad, 0xe2);
const FLOOR: RGBColor = RGBColor(0x70, 0x70, 0x70);

/// Names of the files that [`all`] makes.
pub const FILES: [&str; 5] = [
    "bench-inline.svg",
    "bench-registered.svg",
    "bench-threads.svg",
    "bench-sessions.svg",
    "bench-buffers.svg",
];

/// Draws latency against size, throughput against threads, and lives of buffers.
///
/// # Errors
///
/// When a file cannot be written.
pub fn all(results: &Results, dir: &Path) -> Result<()> {
    let series = |name, color, prefix, driver, of| Series {
        name,
        color,
        points: points(results, prefix, driver, of),
    };
    draw(
        &dir.join(FILES[0]),
        "A call with inline arguments, one in and one out",
        "bytes each",
        "wall time, p50, µs",
        &[
            series("fastrpc", FASTRPC, "inline-", "fastrpc", Measured::p50),
            series("qda", QDA, "inline-", "qda", Measured::p50),
        ],
    )?;
    draw(
        &dir.join(FILES[1]),
        "A call with one registered buffer",
        "bytes",
        "wall time, p50, µs",
        &[
            series(
                "fastrpc, per call",
                FASTRPC,
                "registered-",
                "fastrpc",
                Measured::p50,
            ),
            series(
                "fastrpc, mapped before",
                MAPPED,
                "mapped-",
                "fastrpc",
                Measured::p50,
            ),
            series("qda", QDA, "registered-", "qda", Measured::p50),
        ],
    )?;
    for (file, prefix, title) in [
        (FILES[2], "threads-", "Threads that share a session"),
        (FILES[3], "threads-many-", "Threads, up to 12 sessions"),
    ] {
        draw(
            &dir.join(file),
            title,
            "threads",
            "calls a second",
            &[
                series("floor", FLOOR, prefix, "floor", Measured::rate),
                series("fastrpc", FASTRPC, prefix, "fastrpc", Measured::rate),
                series("qda", QDA, prefix, "qda", Measured::rate),
            ],
        )?;
    }
    let life = |name, color, prefix, driver| {
        series(
            name,
            color,
            prefix,
            driver,
            Measured::instructions as fn(&Measured) -> _,
        )
    };
    draw(
        &dir.join(FILES[4]),
        "A buffer is allocated, written to and freed",
        "bytes",
        "instructions",
        &[
            life("floor: its pages", FLOOR, "alloc-free-", "floor"),
            life("fastrpc", FASTRPC, "alloc-free-", "fastrpc"),
            life("fastrpc, with a call", MAPPED, "alloc-use-free-", "fastrpc"),
            life("qda", QDA, "alloc-free-", "qda"),
            life("qda, with a call", CALLED, "alloc-use-free-", "qda"),
        ],
    )
}
