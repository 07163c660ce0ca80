"""Charts: what stands where, and that they can be read without being seen."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from inkdigits.evaluation.charts import Axis, Plot, bar, interval, ranked, sheet, strip


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def plot(**options) -> Plot:
    axes = {"x": Axis.percent(0, 1, "sure"), "y": Axis.percent(0.5, 1, "right"), **options}
    return Plot("Tom & Jerry", "From <here> to there.", name="p", **axes)


def test_a_chart_has_a_title_and_a_description_under_names_of_its_own():
    svg = parsed(plot().svg())
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby").split() == [svg.find("title").get("id"), svg.find("desc").get("id")]
    assert (svg.find("title").text, svg.find("desc").text) == ("Tom & Jerry", "From <here> to there.")
    assert {"sure", "right"} <= {text.text for text in svg.iter("text")}


def test_points_stand_where_the_ticks_say():
    chart = plot()
    chart.line([(0.2, 0.6), (0.8, 1.0)])
    chart.points([(0.4, 0.7, 0.5, 0.9)])
    svg = parsed(chart.svg())
    texts = [(t.text, float(t.get("x")), float(t.get("y"))) for t in svg.iter("text")]
    y_at = {text: y - 4 for text, x, y in texts if text.endswith("%") and x < 54}
    x_at = {text: x for text, x, _ in texts if text.endswith("%") and x >= 54}
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in svg.find("polyline").get("points").split())
    assert (x0, y0) == pytest.approx((x_at["20%"], y_at["60%"]), abs=0.1)
    assert (x1, y1) == pytest.approx((x_at["80%"], y_at["100%"]), abs=0.1)
    mark = svg.find("circle")
    assert (float(mark.get("cx")), float(mark.get("cy"))) == pytest.approx((x_at["40%"], y_at["70%"]), abs=0.1)


def test_nothing_sticks_out_of_the_drawing():
    chart = plot(x=Axis.decades(123_456, "n"))
    chart.columns([(1, 10, 0.7)])
    chart.line([(1e-9, -5), (1e99, 5)])
    svg = parsed(chart.svg())
    _, _, width, height = map(float, svg.get("viewBox").split())
    for x, y in (map(float, point.split(",")) for point in svg.find("polyline").get("points").split()):
        assert 0 <= x <= width
        assert 0 <= y <= height
    for text in svg.iter("text"):
        half = len(text.text) * 3 if text.get("text-anchor") == "middle" else 0
        assert float(text.get("x")) + half <= width + 1


def test_columns_stand_on_the_axis_and_empty_ones_are_left_out():
    chart = plot(y=Axis.decades(1000, "n"))
    chart.columns([(0.0, 0.5, 1000), (0.5, 1.0, 0)])
    [column] = parsed(chart.svg()).iter("rect")
    top = float(column.get("y"))
    assert top + float(column.get("height")) == pytest.approx(chart.at(0, 0)[1], abs=0.2)
    assert top == pytest.approx(chart.at(0, 1000)[1], abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "ends", "first"),
    [
        (0, 1, (0, 1), "0%"),
        (0.9901, 0.9968, (0.99, 0.998), "99.0%"),
        (0.53, 1, (0.5, 1), "50%"),
        (0.99957, 1, (0.9995, 1), "99.95%"),
        (1 - 1e-9, 1, (0.9999, 1), "99.99%"),
        (1, 1, (0.9999, 1), "99.99%"),
        (0, 0, (0, 0.0001), "0.00%"),
    ],
)
def test_percent_axes_end_at_round_values(low, high, ends, first):
    axis = Axis.percent(low, high, "")
    assert (axis.low, axis.high) == pytest.approx(ends)
    assert axis.text(axis.ticks[0]) == first
    assert 2 <= len(axis.ticks) <= 8
    assert len({axis.text(tick) for tick in axis.ticks}) == len(axis.ticks)


def test_decades_reach_the_largest_count():
    for high, top in [(0, 10), (1, 10), (10, 10), (11, 100), (9999, 10_000)]:
        axis = Axis.decades(high, "")
        assert axis.high == top
        assert axis.share(0) == 0
        assert axis.share(high) <= 1


def test_small_charts_show_their_values_and_leave_words_to_the_table():
    axis = Axis.percent(0.5, 1, "")
    assert parsed(bar(0.25)).findall("rect")[1].get("width") == "25.00"
    dot = parsed(interval(0.75, 0.5, 1.0, axis)).find("circle")
    assert float(dot.get("cx")) == 60
    places = [float(c.get("cx")) for c in parsed(strip([1.0, 0.75, 0.5], axis)).iter("circle")]
    assert places == [156, 80, 4]
    for svg in (bar(0.5), interval(0.5, 0.5, 0.5, axis), strip([0.5], axis)):
        assert parsed(svg).get("aria-hidden") == "true"


@pytest.mark.parametrize(("low", "high"), [(0.003, 0.9), (0.5, 0.5), (1, 1000), (0.02, 0.05)])
def test_a_logarithmic_axis_holds_its_values_and_is_not_much_wider(low, high):
    axis = Axis.logarithmic(low, high, lambda value: f"{value:g}", "")
    assert low / 2.5 - 1e-9 <= axis.low <= low * (1 + 1e-9)
    assert high * (1 - 1e-9) <= axis.high <= max(high * 2.5, axis.low * 2.5) * (1 + 1e-9)
    assert axis.share(axis.low) == 0
    assert axis.share(axis.high) == 1
    gaps = [b / a for a, b in zip(axis.ticks, axis.ticks[1:], strict=False)]
    assert all(gap == pytest.approx(2) or gap == pytest.approx(2.5) for gap in gaps)


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 2), (1, 30), (0, 39), (0, 1000)])
def test_counts_have_few_whole_ticks_from_the_first_on(first, last):
    axis = Axis.count(first, last, "epoch")
    assert axis.ticks[0] == first
    assert 1 <= len(axis.ticks) <= 9
    assert all(isinstance(tick, int) and first <= tick <= last for tick in axis.ticks)


def test_a_sheet_is_a_file_by_itself_with_its_plots_next_to_each_other_and_a_legend():
    one, two = plot(), plot()
    one.line([(0, 0.5), (1, 1)], "curve s0")
    svg = parsed(sheet("A & B", [one, two], ["first <run>", "second"]))
    ns = "{http://www.w3.org/2000/svg}"
    assert [part.get("x") for part in svg.findall(f"{ns}svg")] == ["28", "416"]
    texts = [text.text for text in svg.findall(f"{ns}text")]
    assert texts == ["A & B", "first <run>", "second"]
    style = svg.find(f"{ns}style").text
    assert all(style.count(f".s{i}" + "{stroke:") == 2 for i in range(8))  # on light paper, and on dark


def test_ranked_bars_are_as_long_as_their_shares_and_say_them():
    svg = parsed(ranked("What mattered", {"learning_rate": 0.8, "batch_size": 0.2}))
    ns = "{http://www.w3.org/2000/svg}"
    first, second = (float(r.get("width")) for r in svg.findall(f"{ns}rect") if r.get("class") == "column")
    assert first == pytest.approx(4 * second, abs=0.2)
    assert {"learning_rate", "80.0%", "batch_size", "20.0%"} <= {text.text for text in svg.iter(f"{ns}text")}
    assert svg.find(f"{ns}desc").text == "learning_rate 80.0%; batch_size 20.0%"
