/* Opening an archive that may come through a pipe. */
#ifndef QSTORE_CLI_PIPE_H
#define QSTORE_CLI_PIPE_H

#include <qstore.h>

/* Opens the archive at path, or on standard input where path is "-". Standard input is read only as far as
 * the variant `precision` needs ("all": to its end), into a temporary file without a name. Fails like
 * qstore_open() and qstore_find_variant(). */
qstore_status cli_open(const char *path, const char *precision, qstore_archive **archive,
                       qstore_error *error);

#endif
