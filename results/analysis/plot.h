// Plots as SVG inside a page: colours are the page's (light and dark), every mark has a title that
// a pointer or a screen reader finds, and series differ by shape as well as by colour.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace bitsweep {

enum class Scale { linear, logarithmic };

struct Axis {
    std::string label;
    Scale scale = Scale::linear;
    double low = 0, high = 1;  // of the data; the axis is widened to leave room
    bool from_zero = false;    // a linear axis of amounts begins at 0
};

// Colour and shape of a series: an index into the palette of the page's style; negative: neutral.
struct Mark {
    int series = -1;
    bool hollow = false;  // external, dominated or excluded
    double aside = 0;     // pixels to the right, so that series at one x do not hide each other
};

class Plot {
 public:
    // `description` is what a screen reader says; `width` and `height` in CSS pixels.
    Plot(std::string description, Axis x, Axis y, int width = 1000, int height = 400);

    void rule(double y);                                 // horizontal reference
    void band(double x_low, double x_high, int series);  // vertical, between two values
    void line(const std::vector<std::pair<double, double>>& points, int series, bool dashed = false,
              double aside = 0);
    // `low` and `high`: the interval, NaN where there is none.
    void point(double x, double y, double low, double high, Mark mark, const std::string& title);
    void label(double x, double y, const std::string& text);  // beside a point, where there is room

    std::string svg() const;

 private:
    double px(double x) const;
    double py(double y) const;
    void keep_clear(double x0, double y0, double x1, double y1);  // of labels, in pixels
    int left() const;  // margin: room for the axis' name and the longest tick
    std::string axes() const;
    std::string labels() const;
    std::string description_;
    Axis x_, y_;
    int width_, height_;
    std::string back_, marks_;  // bands and rules lie behind
    struct Label {
        double x, y;  // of the point, in pixels
        std::string text;
    };
    std::vector<Label> labels_;
    std::vector<std::pair<double, double>> points_;  // pixels, for labels to keep away from
    std::vector<std::pair<double, double>> lines_;   // likewise, close together along each line
    std::vector<double> rules_;                      // likewise, heights
};

// One horizontal bar of parts that add up.
struct StackedBar {
    std::string label;
    std::vector<double> parts;  // NaN and 0 take no place
    std::string note;           // behind the bar
};
// Bars share one linear axis from 0; parts are named by the page's legend.
std::string stacked_bars(const std::string& description, const std::vector<StackedBar>& bars,
                         const std::vector<std::string>& part_names, const std::string& axis_label);

// The legend of series or parts, as HTML; an empty name is not shown.
std::string legend(const std::vector<std::string>& names, bool bars = false);

// Ticks of an axis with the texts beside them.
std::vector<std::pair<double, std::string>> ticks_of(const Axis& axis);

}  // namespace bitsweep
