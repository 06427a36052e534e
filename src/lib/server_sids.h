/* Start-N-Sessions and Stop-N-Sessions at the Server, and their acknowledgments (RFC 5938 sections
 * 3.2 to 3.5). Part of the Server machine; drivers use server.h alone, where tw_server_answer_sids
 * is declared. */
#ifndef TW_LIB_SERVER_SIDS_H
#define TW_LIB_SERVER_SIDS_H

#include "lib/server.h"

/* Acts on the command that is complete in the channel: the driver is asked, and the SIDs stay there
 * until it has answered. */
void tw_server_sids_take(struct tw_server *server);

#endif
