"""The house rules as data: which room may include what, which link targets it may name, limits, seams."""

# Room of a path: the longest matching prefix wins.
ROOMS = {
    "schemas/": "schemas",
    "schemas/catalog/": "catalog",
    "coordinator/expand/": "expand",
    "coordinator/scheduler/": "scheduler",
    "coordinator/transport/": "transport",
    "coordinator/launchers/": "launchers",
    "coordinator/server/": "server",
    "coordinator/cli/": "cli",
    "coordinator/main.cpp": "cli",
    "worker/agent/": "agent",
    "worker/runner/": "runner",
    "worker/metrics/": "metrics",
    "worker/inference/": "inference",
    "results/store/": "store",
    "results/analysis/": "analysis",
    "tests/": "tests",
}

# Rooms (or single files) that a room may include, besides itself.
MAY_INCLUDE = {
    "schemas": {"schemas/catalog/"},  # canonical forms ask which axes a method reads
    "catalog": {"schemas/"},
    "expand": {"schemas/", "schemas/catalog/"},
    "scheduler": {"schemas/", "schemas/catalog/"},
    "transport": {"schemas/"},
    "launchers": {"schemas/"},
    "server": {"coordinator/", "results/store/", "schemas/", "schemas/catalog/"},
    "cli": {"coordinator/", "worker/agent/", "results/", "schemas/", "schemas/catalog/"},
    "agent": {"schemas/"},
    "runner": {"schemas/", "schemas/catalog/", "worker/inference/", "worker/metrics/"},
    "metrics": {"schemas/", "schemas/catalog/memory.h", "worker/inference/trace.h",
                "worker/inference/ceilings/device_ceilings.h"},
    "inference": {"schemas/status.h", "schemas/catalog/"},
    "store": {"schemas/", "schemas/catalog/"},
    "analysis": {"schemas/", "schemas/catalog/", "results/store/"},
    "tests": {""},
}

# Third-party headers (prefix of the <...> name) and who may use them: rooms or single files.
THIRD_PARTY = {
    "nlohmann/": {"schemas/codec", "schemas/content.cpp", "agent", "runner", "results/analysis/", "cli",
                  "worker/inference/json_file", "worker/inference/safetensors", "worker/inference/tokenizer",
                  "results/store/", "coordinator/transport/keys", "coordinator/server/"},
    "valijson/": {"schemas/codec"},
    "sodium": {"schemas/content.cpp", "transport"},
    "openssl/": {"schemas/content.cpp"},
    "yaml-cpp/": {"coordinator/expand/matrix_yaml"},
    "zmq": {"transport", "agent"},
    "sqlite3": {"store"},
    "boost/program_options": {"cli", "runner"},
    "spdlog/": {"server", "cli", "agent", "runner"},
    "httplib": {"cli"},
    "nvml": {"agent", "metrics"},
    "torch/": {"inference"},
    "ATen/": {"inference"},
    "c10/": {"inference", "worker/runner/run_job.cpp", "worker/runner/provenance.cpp"},
    "cuda": {"inference"},
    "cublas": {"inference"},
    "cooperative_groups": {"inference"},
    "Eigen/": {"analysis"},
    "gtest/": {"tests"},
    "gmock/": {"tests"},
}

# Link targets of each bitsweep_room(), by target; everything else is an error.
MAY_LINK = {
    "bitsweep_schemas": {"bitsweep_catalog", "third_party_json", "third_party_valijson", "third_party_sodium",
                         "third_party_crypto"},
    "bitsweep_catalog": {"bitsweep_schemas"},
    "bitsweep_expand": {"bitsweep_schemas", "bitsweep_catalog", "third_party_yaml"},
    "bitsweep_scheduler": {"bitsweep_schemas", "bitsweep_catalog"},
    "bitsweep_transport": {"bitsweep_schemas", "third_party_zmq", "third_party_sodium", "third_party_json"},
    "bitsweep_launchers": {"bitsweep_schemas"},
    "bitsweep_server": {"bitsweep_schemas", "bitsweep_catalog", "bitsweep_expand", "bitsweep_scheduler",
                        "bitsweep_transport", "bitsweep_launchers", "bitsweep_store", "third_party_spdlog",
                        "third_party_json"},
    "bitsweep_cli": {"bitsweep_schemas", "bitsweep_catalog", "bitsweep_server", "bitsweep_expand",
                     "bitsweep_transport", "bitsweep_launchers", "bitsweep_agent", "bitsweep_store",
                     "bitsweep_analysis", "third_party_program_options", "third_party_spdlog",
                     "third_party_httplib", "third_party_json"},
    "bitsweep_agent": {"bitsweep_schemas", "third_party_zmq", "third_party_json", "third_party_spdlog"},
    "bitsweep_metrics": {"bitsweep_schemas", "bitsweep_catalog", "third_party_threads"},
    "bitsweep_runner_room": {"bitsweep_schemas", "bitsweep_catalog", "bitsweep_inference", "bitsweep_metrics",
                             "bitsweep_inference_calibration",
                             "bitsweep_inference_ceilings", "third_party_program_options", "third_party_spdlog",
                             "third_party_json", "third_party_torch"},
    "bitsweep_inference": {"bitsweep_schemas", "bitsweep_catalog", "bitsweep_inference_files",
                           "bitsweep_inference_quant", "bitsweep_inference_backend", "bitsweep_inference_models",
                           "bitsweep_inference_decode"},
    "bitsweep_inference_files": {"bitsweep_schemas", "bitsweep_catalog", "third_party_json"},
    "bitsweep_inference_quant": {"bitsweep_schemas", "bitsweep_catalog", "bitsweep_inference_backend"},
    "bitsweep_inference_backend": {"bitsweep_schemas", "bitsweep_catalog", "third_party_torch",
                                   "third_party_threads"},
    "bitsweep_inference_models": {"bitsweep_schemas", "bitsweep_catalog", "bitsweep_inference_files",
                                  "bitsweep_inference_quant", "bitsweep_inference_backend", "third_party_torch"},
    "bitsweep_inference_calibration": {"bitsweep_inference"},
    "bitsweep_inference_program": {"bitsweep_schemas"},
    "bitsweep_inference_decode": {"bitsweep_inference_program", "bitsweep_inference_backend", "third_party_cudart"},
    "bitsweep_inference_ceilings": {"bitsweep_schemas", "third_party_cudart", "third_party_cublaslt"},
    "bitsweep_store": {"bitsweep_schemas", "bitsweep_catalog", "third_party_sqlite"},
    "bitsweep_analysis": {"bitsweep_schemas", "bitsweep_catalog", "bitsweep_store", "third_party_json",
                          "third_party_eigen"},
}

TOP_LEVEL = {"coordinator", "worker", "schemas", "experiments", "results", "tests", "scripts", "CMakeLists.txt",
             "CMakePresets.json", "README.md", "LICENSE"}

FILE_LINES = 600
FUNCTION_LINES = 70
KERNEL_LINES = 200
COLUMNS = 100
INTERFACE_METHODS = 5  # kept by review; see the rooms' READMEs

# Files where exceptions of libraries end. Everything else returns Result<T>.
SEAMS = {
    "worker/runner/run_job.cpp", "worker/runner/main.cpp", "coordinator/main.cpp",
    "coordinator/expand/matrix_yaml.cpp", "coordinator/transport/router.cpp", "worker/agent/dealer.cpp",
}
SEAM_PREFIXES = ("schemas/codec", "coordinator/cli/options")

# What the pure room must not touch, and what to do instead.
PURE_ROOM_BANS = {
    r"std::chrono": "take a TimePoint argument",
    r"\btime\s*\(": "take a TimePoint argument",
    r"random_device|std::mt19937|\brand\s*\(": "take randomness as a seed argument",
    r"std::thread|std::mutex|std::atomic|std::async": "stay single-threaded; the server calls step()",
    r"fstream|fopen|std::filesystem": "return a command; the server touches files",
    r"\bgetenv\b": "take the value as an argument",
}

# Never in a library: end the caller's process.
PROCESS_ENDS = r"(?<![\w:.>])(?:std::)?(?:exit|abort|_exit|quick_exit|terminate)\s*\("
PROCESS_END_FILES = {"schemas/status.h", "coordinator/main.cpp", "worker/runner/main.cpp"}
