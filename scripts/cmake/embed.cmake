# bitsweep_embed(HEADER FILES...): text files of the source tree as constants of a generated header,
# so that a program carries its schemas and migrations instead of looking for them at run time.
#   bitsweep_embed(schemas/embedded_schemas.h a/job.schema.json)
#   -> #include "schemas/embedded_schemas.h", bitsweep::embedded::job_schema_json
# Sets BITSWEEP_EMBEDDED to the header's path: list it among the sources of the target that includes it.

set(BITSWEEP_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/write_embedded.cmake)

function(bitsweep_embed header)
  set(output ${PROJECT_BINARY_DIR}/generated/${header})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${output}" "-DFILES=${ARGN}" -P ${BITSWEEP_EMBED_SCRIPT}
    DEPENDS ${ARGN} ${BITSWEEP_EMBED_SCRIPT}
    COMMENT "Embedding ${header}"
    VERBATIM)
  set(BITSWEEP_EMBEDDED ${output} PARENT_SCOPE)
endfunction()
