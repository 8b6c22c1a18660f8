#include "worker/inference/models/model.h"

namespace bitsweep {
namespace {

constexpr ModelFamilyRow table[] = {
    {ModelFamily::gpt2, load_gpt2},     {ModelFamily::opt, load_opt},
    {ModelFamily::llama, load_llama},   {ModelFamily::qwen2, load_llama},
    {ModelFamily::mistral, load_llama},
};

}  // namespace

std::span<const ModelFamilyRow> model_families() {
    return table;
}

}  // namespace bitsweep
