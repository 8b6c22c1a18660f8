#include "schemas/catalog/shapes.h"
#include "worker/inference/model_files.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {

Result<ModelFiles> open_random_model(std::string_view shape_name,
                                     const RandomWeightsOptions& options) {
    const ModelShape* shape = find_shape(shape_name);
    if (shape == nullptr) {
        return make_error(ErrorCode::not_found, "no model shape is called " +
                                                    show_name(shape_name) + "; the nearest is " +
                                                    show_name(nearest_shape(shape_name)));
    }
    ModelFiles files;
    files.config = config_from_shape(*shape);
    files.weights = random_weights(files.config, options);
    files.format = "random";
    return files;
}

}  // namespace bitsweep
