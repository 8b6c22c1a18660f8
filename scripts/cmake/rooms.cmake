# A room is one CMake target. bitsweep_room(NAME SOURCES ... LINK ...) and bitsweep_test(NAME SOURCES ... LINK ...)
# are the only ways to make one, so that flags and include paths are the same everywhere.

add_library(bitsweep_flags INTERFACE)
target_include_directories(bitsweep_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
# -Wrestrict of GCC 12 sees impossible overlaps in inlined std::string operations (GCC bug 105651).
target_compile_options(bitsweep_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-missing-field-initializers>
  $<$<CXX_COMPILER_ID:GNU>:$<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${BITSWEEP_WERROR}>>:-Werror>)
if(BITSWEEP_SANITIZE)
  # -Wmaybe-uninitialized of GCC 12 is wrong about std::regex once it is instrumented (GCC bug 105562). Its checks of every access for null and
  # alignment double the time of a build (schemas/codec_message.cpp: 39 s with them, 18 s without): null is reported by the address sanitizer all the same.
  target_compile_options(bitsweep_flags INTERFACE -fsanitize=${BITSWEEP_SANITIZE} -fno-omit-frame-pointer
    $<$<CXX_COMPILER_ID:GNU>:$<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized -fno-sanitize=null,alignment>>)
  target_link_options(bitsweep_flags INTERFACE -fsanitize=${BITSWEEP_SANITIZE})
endif()

find_program(BITSWEEP_CCACHE ccache)
if(BITSWEEP_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${BITSWEEP_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${BITSWEEP_CCACHE})
endif()
find_program(BITSWEEP_MOLD mold)
if(BITSWEEP_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

function(bitsweep_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINK" ${ARGN})
  if(ROOM_SOURCES)
    add_library(${name} STATIC ${ROOM_SOURCES})
    target_link_libraries(${name} PUBLIC bitsweep_flags ${ROOM_LINK})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE bitsweep_flags ${ROOM_LINK})
  endif()
endfunction()

# One test program of a room. Tests find committed data through BITSWEEP_SOURCE_DIR.
function(bitsweep_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE bitsweep_flags ${TEST_LINK} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE BITSWEEP_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                             BITSWEEP_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 300)
  endif()
  if(BITSWEEP_SANITIZE)
    math(EXPR TEST_TIMEOUT "4 * ${TEST_TIMEOUT}")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${TEST_TIMEOUT} LABELS "${TEST_LABELS}")
endfunction()
