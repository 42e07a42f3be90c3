/* Names that a system cannot give to a file, and those that the files get instead. */
#ifndef QS_ESCAPE_H
#define QS_ESCAPE_H

#include "restore.h"

/* A name that every system can give to a file. In each part of the name, characters that some system does not
 * allow, and the percent sign, become %XX, their bytes as hexadecimal digits: control characters, \ : * ? " <
 * > |, a dot or space at the end, and the first letter of a name that Windows has for devices (CON, NUL.txt).
 * A part of more than 255 bytes is cut, and ends in ~ and a checksum. A name without any of these stays as it
 * is. malloc'd; NULL when out of memory. */
char *qs_escape_name(const char *name);

/* Escapes the names of outputs that cannot be created in an empty folder, with a warning for each. *changed:
 * are there any? MEMORY. */
qstore_status qs_escape_outputs(const qstore_archive *archive, qs_output *outputs, size_t n_outputs,
                                const char *folder, const qstore_work *work, int *changed,
                                qstore_error *error);

#endif
