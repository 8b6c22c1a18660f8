#include <algorithm>

#include "worker/inference/models/families.h"
#include "worker/inference/models/loader.h"

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

Result<Decoder> load_decoder(Loader& loader) {
    const auto* row = std::ranges::find(table, loader.config().family, &ModelFamilyRow::family);
    ASSERT(row != std::end(table));
    Decoder decoder = TRY(row->load(loader));
    TRY(loader.check_layers(decoder.linear_inputs));
    return decoder;
}

}  // namespace bitsweep
