/* Temporary files and folders. Their names say which process made them, so that a later run can remove those
 * of processes that were killed. js/node/temp.js makes and removes the same names. */
#ifndef QS_TEMP_H
#define QS_TEMP_H

#include "error.h"

/* Names of temporary files and folders are TEMP_PREFIX HOST "-" PID "-" RANDOM. HOST is the first 8 hex
 * digits of the SHA-256 of the machine's identity, its name and its PID namespace, PID the process's number
 * in decimal, RANDOM 12 characters of a to z and 2 to 7. */
#define QS_TEMP_PREFIX ".qstore-"

/* Does the name, without a folder, begin as those of temporary files do? Such files are no part of a model.
 */
int qs_temp_is_name(const char *name);

/* Creates a file in the folder of `path`, open for reading and writing, with the permissions of any new file.
 * The caller frees *temp_path. Messages speak of `path`. */
qstore_status qs_temp_create(int *fd, char **temp_path, const char *path, qstore_error *error);

/* Creates a folder in `folder`. The caller frees *temp_path. */
qstore_status qs_temp_create_folder(char **temp_path, const char *folder, qstore_error *error);

/* Creates a file without a name, on the filesystem of path. It is gone when it is closed, even after a
 * crash. */
qstore_status qs_spool_create(int *fd, const char *path, qstore_error *error);

/* Gives a finished file its name. Without `force`, fails with EXISTS if the name is taken, even if another
 * program took it just now. */
qstore_status qs_temp_rename(const char *temp_path, const char *path, int force, qstore_error *error);

/* Removes a folder with all that is in it, and follows no links. Failures are ignored. */
void qs_temp_remove_folder(const char *path);

/* Removes temporary files and folders from `folder` if processes of this machine made them that have ended.
 * Failures are ignored. */
void qs_temp_sweep(const char *folder);

#endif
