// A build without CUDA: nothing to measure.
#include "worker/inference/ceilings/ceilings.h"

namespace bitsweep {
namespace {

Error no_cuda() {
    return make_error(ErrorCode::unsupported,
                      "this build has no CUDA: configure it where nvcc is on PATH");
}

}  // namespace

int device_count() {
    return 0;
}

Result<DeviceIdentity> device_identity(int) {
    return no_cuda();
}

Result<DeviceCeilings> measured_ceilings(int, std::string*) {
    return no_cuda();
}

Result<double> read_bandwidth_now(int) {
    return no_cuda();
}

Result<std::uint64_t> device_used_bytes(int) {
    return no_cuda();
}

}  // namespace bitsweep
