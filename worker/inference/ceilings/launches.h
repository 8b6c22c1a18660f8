// What it costs to start work on the current device.
#pragma once

#include "schemas/status.h"
#include "worker/inference/ceilings/device_ceilings.h"
#include "worker/inference/ceilings/device_objects.h"

namespace bitsweep::ceilings {

// Fills launch_ns, round_trip_ns and graph_node_ns.
Status measure_launches(Stopwatch& watch, DeviceCeilings& to);

}  // namespace bitsweep::ceilings
