/* Whether a Request-TW-Session asks for something that no session of a Server can be.
 *
 * A part of the Server machine with no state of its own: it judges by the message, the modes chosen
 * and the configuration. Addresses, ports and limits that others use too are the driver's to judge.
 */
#ifndef TW_LIB_SERVER_REQUEST_H
#define TW_LIB_SERVER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/server.h"

/* True with the first reason in the order of the fields (RFC 5357 section 3.5). Without Reflect
 * Octets among the modes its two fields must be given as 0. */
bool tw_server_request_find_fault(const struct tw_request *request, uint32_t modes,
                                  const struct tw_server_config *config,
                                  enum tw_server_reject_reason *reason);

#endif
