#include "results/analysis/plot.h"

#include <algorithm>
#include <cmath>

#include "results/analysis/html.h"
#include "results/analysis/number_text.h"
#include "results/analysis/text_width.h"

namespace bitsweep {
namespace {

constexpr int palette = 8;
constexpr int right = 16, top = 14, bottom = 46;  // margins, room for ticks and labels
constexpr double radius = 4.5;
constexpr double em_12 = 6.9,
                 em_11 = 5.9;  // mean width of a character of 12 and 11 px system fonts

std::string at(double value) {
    return plain_text(std::round(value * 10) / 10);
}

std::string series_class(int series) {
    return series < 0 ? "neutral" : "s" + std::to_string(series % palette);
}

std::string attributes(std::initializer_list<std::pair<const char*, double>> values) {
    std::string out;
    for (const auto& [name, value] : values) {
        out += " " + std::string(name) + "=\"" + at(value) + "\"";
    }
    return out;
}

std::string text_at(double x, double y, const std::string& classes, const std::string& text) {
    return "<text" + attributes({{"x", x}, {"y", y}}) + " class=\"" + classes + "\">" +
           html::escaped(text) + "</text>\n";
}

// Widens the axis so that marks do not sit on its ends.
Axis widened(Axis axis) {
    if (axis.scale == Scale::logarithmic) {
        const double room = std::max(1.08, std::pow(axis.high / axis.low, 0.05));
        axis.low /= room;
        axis.high *= room;
        return axis;
    }
    const double span = axis.high > axis.low ? axis.high - axis.low : std::fabs(axis.high) + 1e-9;
    axis.low = axis.from_zero ? 0 : axis.low - 0.06 * span;
    axis.high += 0.06 * span;
    return axis;
}

// 1.5M, 2.4k, 0.03, 1e-7
std::string tick_text(double value) {
    const double size = std::fabs(value);
    if (size >= 1e9) {
        return plain_text(value / 1e9) + "B";
    }
    if (size >= 1e6) {
        return plain_text(value / 1e6) + "M";
    }
    if (size >= 1e5) {
        return plain_text(value / 1e3) + "k";
    }
    return size != 0 && size < 1e-3 ? small_text(value) : plain_text(value);
}

std::vector<double> logarithmic_ticks(const Axis& axis) {
    const double decades = std::log10(axis.high / axis.low);
    const std::vector<double> steps = decades < 0.8 ? std::vector<double>{1, 1.5, 2, 3, 4, 5, 6, 8}
                                      : decades < 2.2 ? std::vector<double>{1, 2, 5}
                                                      : std::vector<double>{1};
    const double stride = std::max(1.0, std::ceil(decades / 8));
    std::vector<double> ticks;
    for (double power = std::floor(std::log10(axis.low)); power <= std::log10(axis.high);
         power += stride) {
        for (const double step : steps) {
            const double value = step * std::pow(10, power);
            if (value >= axis.low && value <= axis.high) {
                ticks.push_back(value);
            }
        }
    }
    return ticks;
}

std::vector<double> linear_ticks(const Axis& axis) {
    const double rough = (axis.high - axis.low) / 6;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    const double step = rough / power < 1.5   ? power
                        : rough / power < 3.5 ? 2 * power
                        : rough / power < 7.5 ? 5 * power
                                              : 10 * power;
    std::vector<double> ticks;
    for (double i = std::ceil(axis.low / step - 1e-9); i * step <= axis.high; ++i) {
        ticks.push_back(i * step);
    }
    return ticks;
}

// Share of the way from low to high.
double place(const Axis& axis, double value) {
    if (axis.scale == Scale::logarithmic) {
        return std::log(value / axis.low) / std::log(axis.high / axis.low);
    }
    return (value - axis.low) / (axis.high - axis.low);
}

// A closed path around a centre: circle, square, triangle, diamond, triangle down, hexagon, cross,
// bar.
std::string shape(double x, double y, Mark mark) {
    const std::string classes =
        "class=\"mark " + series_class(mark.series) + (mark.hollow ? " hollow" : "") + "\"";
    const double r = radius;
    const auto path = [&](std::initializer_list<std::pair<double, double>> corners) {
        std::string points;
        for (const auto& [dx, dy] : corners) {
            points += (points.empty() ? "" : " ") + at(x + dx * r) + "," + at(y + dy * r);
        }
        return "<polygon " + classes + " points=\"" + points + "\">";
    };
    switch (mark.series < 0 ? 0 : mark.series % palette) {
        case 1:
            return path({{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}});
        case 2:
            return path({{0, -1.2}, {1.1, 0.8}, {-1.1, 0.8}});
        case 3:
            return path({{0, -1.25}, {1.25, 0}, {0, 1.25}, {-1.25, 0}});
        case 4:
            return path({{0, 1.2}, {1.1, -0.8}, {-1.1, -0.8}});
        case 5:
            return path({{1, 0}, {0.5, 0.95}, {-0.5, 0.95}, {-1, 0}, {-0.5, -0.95}, {0.5, -0.95}});
        case 6:
            return path({{-0.4, -1.2},
                         {0.4, -1.2},
                         {0.4, -0.4},
                         {1.2, -0.4},
                         {1.2, 0.4},
                         {0.4, 0.4},
                         {0.4, 1.2},
                         {-0.4, 1.2},
                         {-0.4, 0.4},
                         {-1.2, 0.4},
                         {-1.2, -0.4},
                         {-0.4, -0.4}});
        case 7:
            return path({{-1.3, -0.6}, {1.3, -0.6}, {1.3, 0.6}, {-1.3, 0.6}});
        default:
            return "<circle " + classes + attributes({{"cx", x}, {"cy", y}, {"r", r}}) + ">";
    }
}

std::string closing(Mark mark) {
    const bool circle = mark.series < 0 || mark.series % palette == 0;
    return circle ? "</circle>" : "</polygon>";
}

std::string open_svg(const std::string& description, int width, int height) {
    return "<svg viewBox=\"0 0 " + std::to_string(width) + " " + std::to_string(height) +
           "\" style=\"max-width:" + std::to_string(width) + "px\" role=\"img\" aria-label=\"" +
           html::escaped(description) + "\">\n";
}

}  // namespace

std::vector<std::pair<double, std::string>> ticks_of(const Axis& axis) {
    const auto values =
        axis.scale == Scale::logarithmic ? logarithmic_ticks(axis) : linear_ticks(axis);
    std::vector<std::pair<double, std::string>> ticks;
    for (const double value : values) {
        ticks.emplace_back(value, tick_text(std::fabs(value) < 1e-12 ? 0 : value));
    }
    return ticks;
}

Plot::Plot(std::string description, Axis x, Axis y, int width, int height)
    : description_(std::move(description)),
      x_(widened(std::move(x))),
      y_(widened(std::move(y))),
      width_(width),
      height_(height) {}

int Plot::left() const {
    std::size_t longest = 0;
    for (const auto& [value, text] : ticks_of(y_)) {
        longest = std::max(longest, text.size());
    }
    return std::max(64, 30 + static_cast<int>(em_12 * static_cast<double>(longest)));
}

double Plot::px(double x) const {
    return left() + std::clamp(place(x_, x), 0.0, 1.0) * (width_ - left() - right);
}

double Plot::py(double y) const {
    return height_ - bottom - std::clamp(place(y_, y), 0.0, 1.0) * (height_ - top - bottom);
}

void Plot::rule(double y) {
    rules_.push_back(py(y));
    back_ += "<line class=\"rule\"" +
             attributes({{"x1", left()}, {"x2", width_ - right}, {"y1", py(y)}, {"y2", py(y)}}) +
             "/>\n";
}

void Plot::band(double x_low, double x_high, int series) {
    const double from = px(x_low), to = px(x_high);
    back_ += "<rect class=\"band " + series_class(series) + "\"" +
             attributes({{"x", from},
                         {"y", top},
                         {"width", std::max(1.5, to - from)},
                         {"height", height_ - top - bottom}}) +
             "/>\n";
}

// Steps of less than half a label's height: none fits between them.
void Plot::keep_clear(double x0, double y0, double x1, double y1) {
    constexpr double step = 5;
    const int steps = 1 + static_cast<int>(std::hypot(x1 - x0, y1 - y0) / step);
    for (int i = 1; i < steps; ++i) {
        const double share = static_cast<double>(i) / steps;
        lines_.emplace_back(x0 + share * (x1 - x0), y0 + share * (y1 - y0));
    }
}

void Plot::line(const std::vector<std::pair<double, double>>& points, int series, bool dashed,
                double aside) {
    std::string path;
    for (const auto& [x, y] : points) {
        path += (path.empty() ? "M" : " L") + at(px(x) + aside) + "," + at(py(y));
    }
    for (std::size_t i = 1; i < points.size(); ++i) {
        const auto& [x0, y0] = points[i - 1];
        const auto& [x1, y1] = points[i];
        keep_clear(px(x0) + aside, py(y0), px(x1) + aside, py(y1));
    }
    marks_ += "<path class=\"line " + series_class(series) + (dashed ? " dashed" : "") + "\" d=\"" +
              path + "\"/>\n";
}

void Plot::point(double x, double y, double low, double high, Mark mark, const std::string& title) {
    if (!std::isfinite(x) || !std::isfinite(y)) {
        return;
    }
    const double place = px(x) + mark.aside;
    if (std::isfinite(low) && std::isfinite(high)) {
        marks_ += "<line class=\"whisker " + series_class(mark.series) + "\"" +
                  attributes({{"x1", place}, {"x2", place}, {"y1", py(low)}, {"y2", py(high)}}) +
                  "/>\n";
    }
    points_.emplace_back(place, py(y));
    marks_ += shape(place, py(y), mark) + "<title>" + html::escaped(title) + "</title>" +
              closing(mark) + "\n";
}

void Plot::label(double x, double y, const std::string& text) {
    if (std::isfinite(x) && std::isfinite(y)) {
        labels_.push_back({px(x), py(y), text});
    }
}

// Each label takes the first of eight places around its point that touches no point, no rule and no
// label before it; one that finds none is left to its point's title.
std::string Plot::labels() const {
    struct Box {
        double x0, y0, x1, y1;
        bool meets(const Box& b) const { return x0 < b.x1 && b.x0 < x1 && y0 < b.y1 && b.y0 < y1; }
    };
    std::vector<Box> taken;
    for (const auto& [x, y] : points_) {
        taken.push_back({x - radius, y - radius, x + radius, y + radius});
    }
    for (const auto& [x, y] : lines_) {
        taken.push_back({x - 1, y - 1, x + 1, y + 1});
    }
    for (const double y : rules_) {
        taken.push_back({0, y - 1, static_cast<double>(width_), y + 1});
    }
    std::string out;
    for (const Label& label : labels_) {
        const double wide = em_11 * display_width(label.text);
        for (const auto& [dx, dy] : {std::pair{8, -6},
                                     {8, 14},
                                     {-8, -6},
                                     {-8, 14},
                                     {8, -19},
                                     {8, 27},
                                     {-8, -19},
                                     {-8, 27}}) {
            const double x = label.x + dx, y = label.y + dy;
            const Box box{dx > 0 ? x : x - wide, y - 10, dx > 0 ? x + wide : x, y + 3};
            const bool inside = box.x0 > left() && box.x1 < width_ && box.y0 > 0;
            if (inside && std::none_of(taken.begin(), taken.end(),
                                       [&](const Box& other) { return box.meets(other); })) {
                taken.push_back(box);
                out += text_at(x, y, dx > 0 ? "small" : "end small", label.text);
                break;
            }
        }
    }
    return out;
}

std::string Plot::axes() const {
    std::string out;
    for (const auto& [value, text] : ticks_of(x_)) {
        const double x = px(value);
        out += "<line class=\"grid\"" +
               attributes({{"x1", x}, {"x2", x}, {"y1", top}, {"y2", height_ - bottom}}) + "/>\n";
        const bool outside = x + em_12 * static_cast<double>(text.size()) / 2 > width_;
        out +=
            text_at(outside ? width_ : x, height_ - bottom + 17, outside ? "end" : "middle", text);
    }
    for (const auto& [value, text] : ticks_of(y_)) {
        const double y = py(value);
        out += "<line class=\"grid\"" +
               attributes({{"x1", left()}, {"x2", width_ - right}, {"y1", y}, {"y2", y}}) + "/>\n" +
               text_at(left() - 7, y + 4, "end", text);
    }
    out += text_at((left() + width_ - right) / 2.0, height_ - 8, "middle axis", x_.label);
    const double middle = (top + height_ - bottom) / 2.0;
    out += "<text transform=\"translate(14 " + at(middle) +
           ") rotate(-90)\" class=\"middle axis\">" + html::escaped(y_.label) + "</text>\n";
    return out;
}

std::string Plot::svg() const {
    return open_svg(description_, width_, height_) + axes() + back_ + marks_ + labels() +
           "</svg>\n";
}

std::string stacked_bars(const std::string& description, const std::vector<StackedBar>& bars,
                         const std::vector<std::string>& part_names,
                         const std::string& axis_label) {
    constexpr int width = 1000, row = 26, bar_left = 150, bar_right = 90, head = 8, foot = 40;
    double longest = 0;
    for (const StackedBar& bar : bars) {
        double sum = 0;
        for (const double part : bar.parts) {
            sum += std::isfinite(part) ? part : 0;
        }
        longest = std::max(longest, sum);
    }
    const Axis axis{axis_label, Scale::linear, 0, longest > 0 ? longest : 1, true};
    const int height = head + foot + row * static_cast<int>(bars.size());
    const auto px = [&](double value) {
        return bar_left + value / axis.high * (width - bar_left - bar_right);
    };
    std::string out = open_svg(description, width, height);
    for (const auto& [value, text] : ticks_of(axis)) {
        out += "<line class=\"grid\"" +
               attributes(
                   {{"x1", px(value)}, {"x2", px(value)}, {"y1", head}, {"y2", height - foot}}) +
               "/>\n" + text_at(px(value), height - foot + 16, "middle", text);
    }
    double y = head;
    for (const StackedBar& bar : bars) {
        out += text_at(bar_left - 8, y + row / 2.0 + 4, "end", bar.label);
        double from = 0;
        for (std::size_t i = 0; i < bar.parts.size(); ++i) {
            if (!(bar.parts[i] > 0)) {
                continue;
            }
            const double wide = px(from + bar.parts[i]) - px(from);
            out +=
                "<rect class=\"part p" + std::to_string(i % palette) + "\"" +
                attributes({{"x", px(from)}, {"y", y + 4}, {"width", wide}, {"height", row - 8}}) +
                "><title>" +
                html::escaped(bar.label + ", " + part_names[i] + ": " +
                              significant(bar.parts[i], 3) + " " + axis_label) +
                "</title></rect>\n";
            from += bar.parts[i];
        }
        out += text_at(px(from) + 6, y + row / 2.0 + 4, "small", bar.note);
        y += row;
    }
    return out +
           text_at((bar_left + width - bar_right) / 2.0, height - 6, "middle axis", axis_label) +
           "</svg>\n";
}

std::string legend(const std::vector<std::string>& names, bool bars) {
    std::string items;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i].empty()) {
            continue;
        }
        const auto series = static_cast<int>(i);
        const std::string mark = bars ? "<rect class=\"part p" + std::to_string(i % palette) +
                                            "\" x=\"1\" y=\"2\" width=\"14\" height=\"12\"/>"
                                      : shape(8, 8, {series, false}) + closing({series, false});
        items += html::element("span", "",
                               "<svg class=\"key\" viewBox=\"0 0 16 16\" aria-hidden=\"true\">" +
                                   mark + "</svg>" + html::escaped(names[i]));
    }
    return html::element("p", "legend", items);
}

}  // namespace bitsweep
