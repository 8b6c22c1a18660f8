# Libraries from outside, one interface target each. Rooms name these, never a path.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
cmake_policy(SET CMP0167 NEW)  # Boost brings its own CMake package
find_package(Boost 1.74 REQUIRED COMPONENTS program_options)
pkg_check_modules(zmq REQUIRED IMPORTED_TARGET libzmq)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(crypto REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(sqlite REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(httplib REQUIRED IMPORTED_TARGET cpp-httplib)
if(BITSWEEP_TESTS)
  find_package(GTest REQUIRED)
endif()

add_library(third_party_json INTERFACE)
target_link_libraries(third_party_json INTERFACE nlohmann_json::nlohmann_json)
add_library(third_party_valijson INTERFACE)  # header only: <valijson/...>
add_library(third_party_spdlog INTERFACE)
target_link_libraries(third_party_spdlog INTERFACE spdlog::spdlog)
add_library(third_party_yaml INTERFACE)
target_link_libraries(third_party_yaml INTERFACE yaml-cpp)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
add_library(third_party_eigen INTERFACE)
target_link_libraries(third_party_eigen INTERFACE Eigen3::Eigen)
add_library(third_party_program_options INTERFACE)
target_link_libraries(third_party_program_options INTERFACE Boost::program_options)
add_library(third_party_zmq INTERFACE)
target_link_libraries(third_party_zmq INTERFACE PkgConfig::zmq Threads::Threads)
add_library(third_party_sodium INTERFACE)
target_link_libraries(third_party_sodium INTERFACE PkgConfig::sodium)
add_library(third_party_crypto INTERFACE)  # of OpenSSL: hashes
target_link_libraries(third_party_crypto INTERFACE PkgConfig::crypto)
add_library(third_party_sqlite INTERFACE)
target_link_libraries(third_party_sqlite INTERFACE PkgConfig::sqlite)
add_library(third_party_httplib INTERFACE)
target_link_libraries(third_party_httplib INTERFACE PkgConfig::httplib Threads::Threads)
add_library(third_party_threads INTERFACE)
target_link_libraries(third_party_threads INTERFACE Threads::Threads)

# libtorch from PyPI's wheel. Its own find_package stops where no CUDA toolkit is installed, and CPU
# code needs two libraries only, so they are named here.
file(GLOB BITSWEEP_TORCH_GUESS ${PROJECT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/torch)
set(BITSWEEP_TORCH_DIR "${BITSWEEP_TORCH_GUESS}" CACHE PATH "Folder of the torch 2.11.0 package")
if(NOT EXISTS ${BITSWEEP_TORCH_DIR}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "torch 2.11.0 not found in '${BITSWEEP_TORCH_DIR}': run scripts/setup, or set BITSWEEP_TORCH_DIR")
endif()
add_library(third_party_torch INTERFACE)
target_include_directories(third_party_torch SYSTEM INTERFACE
  ${BITSWEEP_TORCH_DIR}/include ${BITSWEEP_TORCH_DIR}/include/torch/csrc/api/include)
target_link_libraries(third_party_torch INTERFACE
  ${BITSWEEP_TORCH_DIR}/lib/libtorch_cpu.so ${BITSWEEP_TORCH_DIR}/lib/libc10.so)
# torch's libraries name CUDA libraries that its own run path finds at load time, not at link time.
target_link_options(third_party_torch INTERFACE -Wl,--allow-shlib-undefined)

if(BITSWEEP_HAS_CUDA)
  add_library(third_party_cudart INTERFACE)
  target_link_libraries(third_party_cudart INTERFACE CUDA::cudart_static)
  add_library(third_party_cublaslt INTERFACE)
  target_link_libraries(third_party_cublaslt INTERFACE CUDA::cublasLt)
endif()
