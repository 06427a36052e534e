/* Reads twamp-server.conf: inih takes the lines apart, this knows their numbers. */
#ifndef TWD_FILE_H
#define TWD_FILE_H

#include <stdbool.h>

#include "reflector/config.h"

/* The configuration of the file, or NULL with an error of one line, `FILE:LINE: key: what and what
 * instead`, that names the first fault. A file that does not exist is an error only when
 * `must_exist`, and means all defaults otherwise. */
struct twd_config *twd_file_load(const char *path, bool must_exist, GError **error);

#endif
