#include "worker/inference/tensor_view.h"

#include "worker/inference/untrusted.h"

namespace bitsweep {

RowLayout row_layout(const std::vector<std::int64_t>& shape) {
    RowLayout layout;
    if (shape.empty()) {
        return layout;
    }
    layout.columns = shape.back();
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) {
        layout.rows *= shape[i];
    }
    return layout;
}

Status check_rows(std::string_view name, const RowLayout& layout, std::int64_t begin,
                  std::int64_t end) {
    if (begin < 0 || end < begin || end > layout.rows) {
        return make_error(ErrorCode::invalid_input,
                          "tensor " + show_name(name) + " has " + std::to_string(layout.rows) +
                              " rows; rows [" + std::to_string(begin) + ", " + std::to_string(end) +
                              ") were asked for");
    }
    return {};
}

Error no_such_tensor(const std::string& label, std::string_view name,
                     const std::vector<std::string>& known) {
    const std::string nearest = nearest_name(name, known);
    return make_error(ErrorCode::not_found,
                      label + ": tensor " + show_name(name) + " is missing" +
                          (nearest.empty() ? "; the file has no tensors"
                                           : "; the nearest name is " + show_name(nearest)));
}

Error shape_disagrees(const std::string& label, std::string_view name,
                      const std::vector<std::int64_t>& stored,
                      const std::vector<std::int64_t>& expected, std::string_view source) {
    return make_error(ErrorCode::invalid_input,
                      label + ": tensor " + show_name(name) + " is " + shape_text(stored) +
                          " but " + std::string(source) + " says " + shape_text(expected));
}

}  // namespace bitsweep
