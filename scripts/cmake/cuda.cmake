# CUDA is optional: with a toolkit the CUDA parts compile too, without one the same commands build the CPU product.

set(BITSWEEP_HAS_CUDA OFF)
if(NOT BITSWEEP_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 75-real 90a-real)  # releases add 80, 86, 89 and PTX
    endif()
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 20)
    find_package(CUDAToolkit REQUIRED)
    set(BITSWEEP_HAS_CUDA ON)
  elseif(BITSWEEP_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BITSWEEP_CUDA=ON, but no CUDA compiler was found: put nvcc on PATH")
  endif()
endif()
message(STATUS "CUDA: ${BITSWEEP_HAS_CUDA}")
